//! What a reconcile would do for an object, without doing any of it: the same way of the data, up to the plan.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::authorize::authorize_deletion;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::observed::Lookup;
use vpce_core::plan::{Step, simulate};
use vpce_core::resolve::{Binding, Writes};

use super::context::Context;
use super::explain::explain;
use super::observe::{self, Age, observe};
use super::reconcile::{Reconciliation, is_legacy, not_ready};
use super::status::{self, Standing};
use crate::aws::ec2::Ec2;
use crate::aws::region::{RefreshError, Region};
use crate::k8s::caches::Endpoint;

/// What would be done, and how things stand before.
#[derive(Debug)]
pub struct Preview {
    /// Where.
    pub binding: Binding,
    /// Why none of it is done for now, where that is so.
    pub frozen: Option<Finding>,
    /// In this order.
    pub steps: Vec<Step>,
    /// How the endpoint stands.
    pub endpoint: Finding,
    /// How the Service stands.
    pub service: Finding,
    /// What AWS does not know at the moment, though the status names it: it is asked again before it is believed gone.
    pub unconfirmed: Vec<String>,
}

/// Looks at AWS and Kubernetes and plans.
///
/// # Errors
/// What the object's condition would say where nothing can be planned.
pub async fn preview(ctx: &Context, object: Arc<Endpoint>) -> Result<Preview, Finding> {
    let mut reconciliation = Reconciliation::new(ctx, object);
    if is_legacy(&reconciliation.object) {
        return Err(status::legacy_unsettled());
    }
    let (spec, policy) = match reconciliation.object.spec.clone() {
        Ok(spec) => {
            let policy = spec.deletion_policy;
            (Some(spec), policy)
        }
        Err(unparsed) if reconciliation.deleting => (None, unparsed.deletion_policy()),
        Err(unparsed) => return Err(status::does_not_parse(&unparsed.error)),
    };
    reconciliation
        .compare_binding(spec.as_ref())
        .map_err(|findings| findings.summary(Standing::default()))?;
    if let Some(moving) = &reconciliation.moving {
        return Err(Finding::bad(
            Reason::Updating,
            format!("{moving}; ask again once that is done"),
        ));
    }
    let resolved = reconciliation.resolve(spec.as_ref())?;
    let desired = match spec.as_ref().filter(|_| !reconciliation.deleting) {
        None => None,
        Some(spec) => {
            let (desired, allowed) = reconciliation.desired(spec, &resolved)?;
            allowed?;
            Some(desired)
        }
    };
    let opened = reconciliation.open(&resolved).await;
    let (region, ec2) = opened.map_err(|refusal| not_ready(&resolved.binding.account, &refusal))?;
    let not_seen = |error| unseen(error, resolved.role.as_str(), &ec2);
    if !reconciliation.deleting {
        reconciliation.admit(&resolved, false)?;
        let checked = reconciliation.check_groups(&region, &ec2, desired.as_ref()).await;
        checked.map_err(not_seen)??;
    }
    look(&reconciliation, &region, &ec2).await.map_err(not_seen)?;
    let known = &reconciliation.object.status;
    let seen = observe::found(
        ctx,
        &region,
        &reconciliation.owner,
        &reconciliation.object,
        known,
        desired.as_ref(),
    );
    let policy = authorize_deletion(policy, &resolved, &reconciliation.owner.namespace);
    let policy = policy.as_ref().copied();
    let now = reconciliation.plan(desired.as_ref(), policy, &seen, None);
    let simulated = simulate(&seen, desired.as_ref(), |seen| {
        reconciliation.plan(desired.as_ref(), policy, seen, None)
    });
    let mut unconfirmed = Vec::new();
    if seen.endpoint == Lookup::Unconfirmed {
        unconfirmed.extend(known.vpc_endpoint_id.clone());
    }
    if seen.group == Lookup::Unconfirmed {
        unconfirmed.extend(known.security_group_id.clone());
    }
    Ok(Preview {
        binding: resolved.binding,
        frozen: match resolved.writes {
            Writes::Allowed => None,
            Writes::Frozen(finding) => Some(finding),
        },
        steps: simulated.steps,
        endpoint: now.endpoint,
        service: now.service,
        unconfirmed,
    })
}

async fn look(reconciliation: &Reconciliation<'_>, region: &Region, ec2: &Ec2) -> Result<(), RefreshError> {
    observe(
        reconciliation.ctx,
        region,
        ec2,
        &reconciliation.owner,
        &reconciliation.object.status,
        Age(Duration::ZERO),
    )
    .await
}

fn unseen(error: RefreshError, role: &str, ec2: &Ec2) -> Finding {
    match error {
        RefreshError::Failed(error) => explain(&error, role, &ec2.account_id, &ec2.region),
        RefreshError::Busy(time) => Finding::bad(
            Reason::RateLimited,
            format!(
                "the rate of AWS leaves no room for {} s: ask again then",
                time.as_secs()
            ),
        ),
    }
}
