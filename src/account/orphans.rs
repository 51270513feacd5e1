//! Looks for what belongs to no object in the AWS account of an AWSAccount.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::ResourceExt;
use vpce_core::api::{AWSAccountSpec, OrphansStatus};

use crate::aws::region::RefreshError;
use crate::aws::region::orphans::Present;
use crate::aws::sessions::{Session, SessionKey};
use crate::k8s::caches::Account;
use crate::shared::Shared;

/// The status names so many.
const LISTED: usize = 20;

/// What was left over, and when there is more to look for.
pub(crate) struct Found {
    /// What belongs to no object.
    pub(crate) orphans: OrphansStatus,
    /// When what was retained is due to be counted.
    pub(crate) next: Option<Duration>,
}

/// Reads the regions that the AWSAccount names, or that its endpoints are in, where no other
/// reconcile has lately; then says what is left over in all regions of the AWS account. What was
/// retained is counted a resync interval after the first read: until then, a restarted operator has
/// more urgent calls to make.
pub(crate) async fn look(
    shared: &Shared,
    account: &Account,
    spec: &AWSAccountSpec,
    session: &Session,
    role: &SessionKey,
) -> Found {
    let mut next = None::<Duration>;
    let name = account.name_any();
    for region_name in regions_of(shared, &name, spec) {
        let (region, ec2) = shared.in_region(session, &region_name.as_str().into());
        let age = shared.settings.account_probe_interval;
        let read = async {
            region.refresh_all(&ec2, age).await?;
            if spec.allow_endpoint_services {
                region.refresh_all_endpoint_services(&ec2, age).await?;
            }
            let wait = shared.resync_interval().saturating_sub(region.age());
            if wait.is_zero() {
                return region.read_retained(&ec2, age).await;
            }
            next = next.into_iter().chain([wait]).min();
            Ok(())
        };
        if let Err(error) = read.await {
            if matches!(&error, RefreshError::Failed(error) if error.is_expired_session()) {
                shared.sessions.forget(role).await;
            }
            tracing::debug!(
                account = name,
                region = region_name,
                ?error,
                "orphans are not known here yet"
            );
        }
    }
    let present = Present::of(&shared.caches, role.role_arn.account());
    let (mut ids, mut count) = (Vec::new(), 0);
    for region in shared.regions.of(role.role_arn.account()) {
        let (orphans, counted) = region.orphans(&present);
        ids.extend(orphans.into_iter().map(|orphan| orphan.id));
        count += counted;
    }
    ids.sort();
    ids.truncate(LISTED);
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let orphans = OrphansStatus { count, ids };
    Found { orphans, next }
}

/// The regions in which something of ours may be.
pub(crate) fn regions_of(shared: &Shared, account: &str, spec: &AWSAccountSpec) -> BTreeSet<String> {
    let users = shared.caches.bound_to(account);
    let used = users.iter().filter_map(|endpoint| endpoint.status.region.clone());
    let services = shared.caches.endpoint_services_bound_to(account);
    let offered = services.iter().filter_map(|service| service.status.region.clone());
    let named = spec
        .default_region
        .iter()
        .chain(spec.allowed_regions.iter().flatten())
        .chain(spec.networks.iter().map(|network| &network.region))
        .cloned();
    used.chain(offered).chain(named).collect()
}
