//! Endpoints of one AWS account and region, each with a group of its own: applied together and
//! deleted together.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::bed::{Bed, REGION, role, service};
use super::objects::{ACCOUNT, ENDPOINT, count_ready};
use crate::aws::{RoleSpec, ServiceSpec};

pub(super) const AWS_ACCOUNT: &str = "111111111111";
const NAMESPACE: &str = "team";
const ACCOUNT_READY_WITHIN: Duration = Duration::from_secs(60);
/// Looking takes time from what is measured.
const PAUSE: Duration = Duration::from_secs(1);

/// Prepares the account; the specs of endpoints in so many VPCs of it, to be used round-robin.
pub(super) fn one_account(bed: &Bed, vpcs: usize) -> Result<Vec<Value>> {
    let aws = &bed.aws;
    aws.add_role(&role(AWS_ACCOUNT), RoleSpec::default())?;
    aws.add_service(REGION, &service(), ServiceSpec::default());
    let mut specs = Vec::new();
    for vpc in 1..=vpcs {
        specs.push(bed.add_network(AWS_ACCOUNT, vpc)?.generated());
    }
    bed.objects.create_namespaces(&[NAMESPACE])?;
    let account = json!({"role_arn": role(AWS_ACCOUNT), "namespaces": [NAMESPACE], "default_region": REGION});
    bed.objects.create_accounts([("team".to_owned(), account)])?;
    bed.wait("the account is Ready", ACCOUNT_READY_WITHIN, PAUSE, || {
        Ok(count_ready(&bed.objects.all(ACCOUNT)?) == 1)
    })?;
    aws.clear_calls();
    Ok(specs)
}

/// Applies so many and waits until all are Ready; how long that took, in simulated seconds.
pub(super) fn create(
    bed: &Bed,
    specs: &[Value],
    count: usize,
    within: Duration,
    meanwhile: impl FnOnce(),
) -> Result<f64> {
    let begin = bed.aws.now();
    let spec = |at: usize| specs[at % specs.len()].clone();
    let endpoint = |at: usize| (NAMESPACE.to_owned(), format!("endpoint-{at}"), spec(at));
    bed.objects.create_endpoints((0..count).map(endpoint))?;
    meanwhile();
    bed.wait("every endpoint is Ready", within, PAUSE, || {
        Ok(count_ready(&bed.objects.all(ENDPOINT)?) == count)
    })?;
    Ok(bed.aws.now() - begin)
}

/// Deletes them all and waits until they are gone; how long that took, in simulated seconds.
pub(super) fn delete(bed: &Bed, within: Duration) -> Result<f64> {
    let begin = bed.aws.now();
    let all = ["--all", "--wait=false", "--namespace", NAMESPACE];
    bed.plane
        .kubectl(&[&["delete", "vpcendpoints"], &all[..]].concat())?
        .success()?;
    bed.wait("nothing is left", within, PAUSE, || {
        Ok(bed.objects.all(ENDPOINT)?.is_empty())
    })?;
    Ok(bed.aws.now() - begin)
}
