//! What a reconcile would do for an object, without doing any of it: the same stages up to the
//! plan.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::conditions::{Finding, Reason};
use vpce_core::endpoint_service::Step;
use vpce_core::observed::Lookup;
use vpce_core::resolve::{Binding, Writes};

use super::context::Context;
use super::converge::Observation;
use super::reconcile::{Reconciliation, Stop};
use crate::k8s::caches::EndpointService;

/// What would be done, and how things stand before.
#[derive(Debug)]
pub(crate) struct Preview {
    /// Where.
    pub binding: Binding,
    /// Why none of it is done for now, where that is so.
    pub frozen: Option<Finding>,
    /// In this order.
    pub steps: Vec<Step>,
    /// How the endpoint service stands.
    pub service: Finding,
    /// How its load balancers stand.
    pub load_balancers: Finding,
    /// How its private DNS name stands.
    pub private_dns: Finding,
    /// The endpoint service that AWS does not know at the moment, though the status names it: it is
    /// asked again before it is believed gone.
    pub unconfirmed: Option<String>,
}

/// Looks at AWS and plans. What was read of AWS may be this old: objects of one region share a
/// read.
///
/// # Errors
/// What the object's condition would say where nothing can be planned.
pub(crate) async fn preview(ctx: &Context, object: Arc<EndpointService>, age: Duration) -> Result<Preview, Finding> {
    let mut reconciliation = Reconciliation::new(ctx, object);
    planned(&mut reconciliation, age).await.map_err(Stop::finding)
}

async fn planned(reconciliation: &mut Reconciliation<'_>, age: Duration) -> Result<Preview, Stop> {
    // Boxed, or its type grows too deep for the compiler.
    Box::pin(reconciliation.discover()).await?;
    let prepared = reconciliation.prepare()?;
    if reconciliation.moving {
        let message = "the spec was edited before there was an endpoint service, and the object is bound again; run the \
                       command again once that is done";
        return Err(Stop::bad_spec(
            &prepared.resolved.binding,
            Finding::bad(Reason::Updating, message),
        ));
    }
    let access = reconciliation.open(&prepared.resolved).await?;
    reconciliation.refresh(&access, age).await?;
    let observation = Observation::of(reconciliation.found(&access.region, prepared.desired.as_ref()));
    let now = reconciliation.steps_from(&prepared, &observation, &observation.seen, false);
    let of_service = reconciliation.of_service.clone().err();
    let of_service = of_service.filter(|_| prepared.desired.is_some());
    let status = &reconciliation.object.status;
    Ok(Preview {
        steps: reconciliation.all_steps(&prepared, &observation),
        service: now.service,
        private_dns: now.private_dns,
        load_balancers: of_service.unwrap_or(now.load_balancers),
        unconfirmed: status
            .service_id
            .clone()
            .filter(|_| observation.seen.service == Lookup::Unconfirmed),
        frozen: match prepared.resolved.writes {
            Writes::Allowed => None,
            Writes::Frozen(finding) => Some(finding),
        },
        binding: prepared.resolved.binding,
    })
}
