//! Feeds VPCEndpointServices to their reconcile.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::conditions::Finding;
use vpce_core::object_key::ObjectKey;

use super::bind;
use super::context::Context;
use super::findings::Findings;
use super::queues;
use super::reconcile::reconcile;
use super::status;
use crate::bound::controller::Controller;
use crate::bound::findings::{Parts as _, Standing};
use crate::bound::memories::Memories;
use crate::bound::queues::leave;
use crate::k8s::caches::{CacheWriter, EndpointService};
use crate::k8s::controller::{self, Config, Next};
use crate::k8s::requeue::Request;
use crate::k8s::writes::Refused;
use crate::shared::Shared;

/// Reconciles VPCEndpointServices until `stop` ends.
pub(crate) async fn run(
    ctx: Arc<Context>,
    writer: CacheWriter<EndpointService>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let shared = ctx.shared.clone();
    let requests = shared.requeuer.queue::<EndpointService>();
    let observed = ctx.clone();
    let observe = move |event: &_| queues::watched(&observed, event);
    let objects = controller::watched(&shared.client, &shared.metrics, writer, observe);
    let config = Config {
        concurrency: shared.settings.worker_concurrency,
        debounce: Duration::ZERO,
    };
    // Nothing is decided before all that decisions are made from is known.
    controller::run(ctx, config, shared.caches.filled(), objects, requests, stop).await;
}

impl Controller for Context {
    type Object = EndpointService;

    const NAME: &'static str = "vpcendpointservice";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn memories(&self) -> &Memories<EndpointService> {
        &self.memories
    }

    fn requested(&self, request: Request) -> Vec<ObjectKey> {
        queues::requested(self, request)
    }

    async fn reconcile(&self, object: Arc<EndpointService>) -> Result<Next, kube::Error> {
        reconcile(self, object).await
    }

    async fn tell_of_refusal(&self, object: Arc<EndpointService>, refused: &Refused) -> Next {
        bind::tell_of_refusal(self, object, refused).await
    }

    async fn say(&self, object: &Arc<EndpointService>, finding: Finding) -> Result<(), kube::Error> {
        let (mut status, findings) = (object.status.clone(), Findings::of_account(finding));
        status::set_conditions(&mut status, &findings, Standing::default(), object.metadata.generation);
        self.writer().status(object, status).await.map(drop)
    }

    fn leave(&self, object: &EndpointService) {
        leave(&self.shared, &self.memories, object);
    }
}
