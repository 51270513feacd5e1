//! Feeds AWSAccounts to their reconcile.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use tracing::Span;
use vpce_core::object_key::ObjectKey;

use super::context::Context;
use super::reconcile::reconcile;
use crate::k8s::caches::{Account, CacheWriter};
use crate::k8s::controller::{self, Config, Failure, Next, Reconciler};
use crate::k8s::requeue::Request;
use crate::shared::Shared;
use crate::telemetry::{Metrics, Outcome};

/// So many AWSAccounts are reconciled at once.
const CONCURRENCY: u16 = 16;
/// Endpoints that come and go together are counted together.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// After a write that the API server refused, or that met an object that had changed.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// Reconciles AWSAccounts until `stop` ends.
pub(crate) async fn run(
    shared: Arc<Shared>,
    writer: CacheWriter<Account>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let ctx = Arc::new(Context::new(shared.clone()));
    let requests = shared.requeuer.queue::<Account>();
    let requeuer = shared.requeuer.clone();
    let objects = controller::watched(&shared.client, &shared.metrics, writer, |_| {})
        .inspect(move |account| requeuer.account_changed(&account.name));
    let config = Config {
        concurrency: CONCURRENCY,
        debounce: DEBOUNCE,
    };
    // Who uses an account is not known before the caches are filled.
    controller::run(ctx, config, shared.caches.filled(), objects, requests, stop).await;
}

impl Reconciler for Context {
    type Object = Account;

    const CONTROLLER: &'static str = "awsaccount";
    /// Dry runs of all actions, each given up after half a minute, stay well below.
    const DEADLINE: Duration = Duration::from_secs(1200);

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    fn requested(&self, request: Request) -> Vec<ObjectKey> {
        match request {
            Request::Requeue(key) | Request::Enqueue(key) => vec![key],
            Request::AccountChanged(_) | Request::NamespaceChanged(_) | Request::AcceptanceAwaited(_) => Vec::new(),
        }
    }

    fn cached(&self, key: &ObjectKey) -> Option<Arc<Account>> {
        self.shared.caches.account(&key.name)
    }

    fn begin(&self, account: Arc<Account>) -> Result<Arc<Account>, Duration> {
        Ok(account)
    }

    fn account(&self, account: &Account) -> String {
        account.name_any()
    }

    fn span(&self, account: &Account) -> Span {
        tracing::info_span!("reconcile", account = account.name_any())
    }

    async fn reconcile(&self, account: Arc<Account>) -> Result<(Outcome, Next), kube::Error> {
        // Boxed, or its type grows too deep for the compiler.
        let next = Box::pin(reconcile(self, account)).await?;
        Ok((Outcome::Ok, next.map_or(Next::Gone, Next::After)))
    }

    async fn failed(&self, account: Arc<Account>, failure: Failure) -> Next {
        let name = account.name_any();
        match failure {
            Failure::Conflict => {}
            Failure::Refused(error) => {
                tracing::warn!(account = name, %error, "a request to the API server failed");
            }
            Failure::Panic => {
                tracing::error!(account = name, "a reconcile panicked; this is a bug");
                return Next::After(self.shared.resync_interval());
            }
            Failure::Timeout => {
                tracing::warn!(account = name, "a reconcile timed out");
            }
        }
        Next::After(AFTER_ERROR)
    }

    fn ended(&self, _: &Account, next: Next) -> Option<Duration> {
        match next {
            Next::After(time) | Next::NotBefore(time) => Some(time),
            Next::WhenRoom | Next::Gone => None,
        }
    }
}
