//! What a reconcile would do for an object, without doing any of it: the same way of the data, up to the plan.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::conditions::{Finding, Reason};
use vpce_core::observed::Sight;
use vpce_core::plan::{Farewell, Step, foresee};
use vpce_core::resolve::{Binding, Writes};

use super::explain::explain;
use super::observe::{self, Age, observe};
use super::reconcile::{Pass, farewell, is_legacy, not_ready};
use super::status::{self, Standing};
use crate::aws::ec2::Ec2;
use crate::aws::region::{LookError, Region};
use crate::context::{Endpoint, Shared};

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
pub async fn preview(ctx: &Shared, object: Arc<Endpoint>) -> Result<Preview, Finding> {
    let mut pass = Pass::new(ctx, object);
    if is_legacy(&pass.object) {
        return Err(status::legacy_unsettled());
    }
    let (spec, policy) = match pass.object.spec.clone() {
        Ok(spec) => {
            let policy = spec.deletion_policy;
            (Some(spec), policy)
        }
        Err(unparsed) if pass.deleting => (None, unparsed.deletion_policy()),
        Err(unparsed) => return Err(status::does_not_parse(&unparsed.error)),
    };
    pass.compare_binding(spec.as_ref())
        .map_err(|findings| findings.summary(Standing::default()))?;
    if let Some(moving) = &pass.moving {
        return Err(Finding::bad(
            Reason::Updating,
            format!("{moving}; ask again once that is done"),
        ));
    }
    let resolved = pass.resolve(spec.as_ref())?;
    let desired = match spec.as_ref().filter(|_| !pass.deleting) {
        None => None,
        Some(spec) => {
            let (desired, allowed) = pass.desired(spec, &resolved)?;
            allowed?;
            Some(desired)
        }
    };
    let opened = pass.open(&resolved).await;
    let (region, ec2) = opened.map_err(|refusal| not_ready(&resolved.binding.account, &refusal))?;
    let not_seen = |error| unseen(error, resolved.role.as_str(), &ec2);
    if !pass.deleting {
        pass.admit(&resolved, false)?;
        let checked = pass.check_groups(&region, &ec2, desired.as_ref()).await;
        checked.map_err(not_seen)??;
    }
    look(&pass, &region, &ec2).await.map_err(not_seen)?;
    let known = &pass.object.status;
    let seen = observe::found(ctx, &region, &pass.owner, &pass.object, known, desired.as_ref());
    let refused;
    let farewell = match farewell(policy, &resolved, &pass.owner.namespace) {
        Ok(farewell) => farewell,
        Err(why) => {
            refused = why;
            Farewell::Refused(&refused)
        }
    };
    let now = pass.plan(desired.as_ref(), farewell, &seen, None);
    let steps = foresee(&seen, desired.as_ref(), |seen| {
        pass.plan(desired.as_ref(), farewell, seen, None)
    });
    let mut unconfirmed = Vec::new();
    if seen.endpoint == Sight::Unconfirmed {
        unconfirmed.extend(known.vpc_endpoint_id.clone());
    }
    if seen.group == Sight::Unconfirmed {
        unconfirmed.extend(known.security_group_id.clone());
    }
    Ok(Preview {
        binding: resolved.binding,
        frozen: match resolved.writes {
            Writes::Allowed => None,
            Writes::Frozen(finding) => Some(finding),
        },
        steps,
        endpoint: now.endpoint,
        service: now.service,
        unconfirmed,
    })
}

async fn look(pass: &Pass<'_>, region: &Region, ec2: &Ec2) -> Result<(), LookError> {
    observe(
        pass.ctx,
        region,
        ec2,
        &pass.owner,
        &pass.object.status,
        Age(Duration::ZERO),
    )
    .await
}

fn unseen(error: LookError, role: &str, ec2: &Ec2) -> Finding {
    match error {
        LookError::Failed(error) => explain(&error, role, &ec2.account_id, &ec2.region),
        LookError::Busy(time) => Finding::bad(
            Reason::WaitingInLine,
            format!(
                "the rate of AWS leaves no room for {} s: ask again then",
                time.as_secs()
            ),
        ),
    }
}
