//! What a reconcile would do for an object, without doing any of it: the same stages up to the
//! plan.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::conditions::{Finding, Reason};
use vpce_core::observed::Lookup;
use vpce_core::plan::Step;
use vpce_core::resolve::{Binding, Writes};

use super::context::Context;
use super::converge::Observation;
use super::findings::Findings;
use super::observe::{self, Age, observe};
use super::reconcile::Reconciliation;
use super::stop::Stop;
use crate::bound::findings::Parts as _;
use crate::k8s::caches::Endpoint;

/// What would be done, and how things stand before.
#[derive(Debug)]
pub(crate) struct Preview {
    /// Where; none for an object that shares the endpoint of another.
    pub binding: Option<Binding>,
    /// Why none of it is done for now, where that is so.
    pub frozen: Option<Finding>,
    /// In this order.
    pub steps: Vec<Step>,
    /// How the endpoint stands.
    pub endpoint: Finding,
    /// How the Service stands.
    pub service: Finding,
    /// How the DNS names stand.
    pub names: Finding,
    /// How the ConfigMap stands.
    pub config_map: Finding,
    /// What AWS does not know at the moment, though the status names it: it is asked again before
    /// it is believed gone.
    pub unconfirmed: Vec<String>,
}

/// Looks at AWS and Kubernetes and plans. What was read of AWS may be this old: objects of one
/// region share a read.
///
/// # Errors
/// What the object's condition would say where nothing can be planned.
pub(crate) async fn preview(ctx: &Context, object: Arc<Endpoint>, age: Duration) -> Result<Preview, Finding> {
    let mut reconciliation = Reconciliation::new(ctx, object);
    planned(&mut reconciliation, age).await.map_err(Stop::finding)
}

async fn planned(reconciliation: &mut Reconciliation<'_>, age: Duration) -> Result<Preview, Stop> {
    if let Some(following) = reconciliation.following() {
        let mut observed = reconciliation.published(&following);
        let adding = reconciliation.add_config_map(following.config_map, &mut observed);
        Box::pin(adding).await?;
        let now = reconciliation.steps_of(&following, &observed);
        return Ok(Preview {
            binding: None,
            frozen: None,
            steps: reconciliation.all_steps_of(&following, &observed),
            endpoint: now.endpoint,
            service: now.service,
            names: now.names,
            config_map: now.config_map,
            unconfirmed: Vec::new(),
        });
    }
    // Boxed, or its type grows too deep for the compiler.
    Box::pin(reconciliation.discover()).await?;
    let prepared = reconciliation.prepare()?;
    if let Some(moving) = &reconciliation.moving {
        let message = format!("{moving}; run the command again once that is done");
        return Err(Stop::bad_spec(
            &prepared.resolved.binding,
            Finding::bad(Reason::Updating, message),
        ));
    }
    let access = reconciliation.open(&prepared.resolved).await?;
    let desired = prepared.desired.as_ref();
    if desired.is_some() {
        reconciliation
            .check_capacity(&prepared.resolved, false)
            .map_err(Findings::of_account)?;
        reconciliation.check_groups(&access, desired).await?;
    }
    let Reconciliation { ctx, object, owner, .. } = &*reconciliation;
    let known = &object.status;
    let read = observe(ctx, &access.region, &access.ec2, owner, known, desired, Age(age)).await;
    read.map_err(|error| access.unread(error))?;
    let mut seen = observe::found(ctx, &access.region, owner, object, known, desired);
    let adding = reconciliation.add_addresses(&prepared, &access, age, &mut seen);
    // Boxed, or its type grows too deep for the compiler.
    Box::pin(adding).await?;
    let adding = reconciliation.add_zonal_names(&prepared, &access, &mut seen);
    Box::pin(adding).await?;
    let has_config_map = desired.is_some_and(|desired| desired.config_map);
    Box::pin(reconciliation.add_config_map(has_config_map, &mut seen)).await?;
    let mut unconfirmed = Vec::new();
    if seen.endpoint == Lookup::Unconfirmed {
        unconfirmed.extend(known.vpc_endpoint_id.clone());
    }
    if seen.group == Lookup::Unconfirmed {
        unconfirmed.extend(known.security_group_id.clone());
    }
    let observation = Observation::of(seen);
    let now = reconciliation.steps_from(&prepared, &observation, &observation.seen);
    let steps = reconciliation.all_steps(&prepared, &observation);
    Ok(Preview {
        steps,
        endpoint: now.endpoint,
        service: now.service,
        names: now.names,
        config_map: now.config_map,
        unconfirmed,
        frozen: match prepared.resolved.writes {
            Writes::Allowed => None,
            Writes::Frozen(finding) => Some(finding),
        },
        binding: Some(prepared.resolved.binding),
    })
}
