//! The names of an endpoint for single availability zones, by the zones' ids, where DNS names lead
//! to them. AWS spells them with the names of zones, which differ between AWS accounts.

use std::sync::Arc;
use std::time::Duration;

use vpce_core::conditions::Finding;
use vpce_core::desired::Desired;
use vpce_core::names::{self, ZonalNames};
use vpce_core::observed::{Observed, ObservedEndpoint};

use super::prepare::Prepared;
use super::reconcile::Reconciliation;
use super::stop::Stop;
use crate::bound::access::Access;
use crate::bound::explain::explain;
use crate::k8s::caches::Endpoint;

/// The zones of subnets do not change: those of new ones are known after this time.
const READ_EVERY: Duration = Duration::from_hours(1);

fn asks_for_zones(object: &Endpoint) -> bool {
    let spec = object.spec.as_ref();
    spec.is_ok_and(|spec| spec.dns_names.iter().any(|name| name.zone_id.is_some()))
}

impl Reconciliation<'_> {
    /// Whether DNS names lead to single zones: those of the object, or of one that shares its
    /// endpoint.
    pub(super) fn publishes_zonal_names(&self, desired: Option<&Desired>) -> bool {
        let own = || desired.is_some_and(|desired| desired.names.iter().any(|name| name.zone_id.is_some()));
        let mut sharing = self.sharing().into_iter();
        desired.is_some() && (own() || sharing.any(|other: Arc<Endpoint>| asks_for_zones(&other)))
    }

    /// Adds the zonal names to what was seen, reading the subnets of the VPC where their zones are
    /// not known. That they cannot be read is the names' trouble alone.
    pub(super) async fn add_zonal_names(
        &self,
        prepared: &Prepared,
        access: &Access,
        seen: &mut Observed,
    ) -> Result<(), Stop> {
        let are_published = self.publishes_zonal_names(prepared.desired.as_ref());
        let Some(endpoint) = seen.endpoint.owned().filter(|_| are_published) else {
            return Ok(());
        };
        seen.names.zonal = self.zonal_names(prepared, access, endpoint).await?;
        Ok(())
    }

    async fn zonal_names(
        &self,
        prepared: &Prepared,
        access: &Access,
        endpoint: &ObservedEndpoint,
    ) -> Result<ZonalNames, Stop> {
        let Access { region, ec2, .. } = access;
        match region.refresh_zones(ec2, &endpoint.vpc, READ_EVERY).await {
            Err(error) => return Err(access.unread(error).into()),
            Ok(Some(error)) => {
                let resolved = &prepared.resolved;
                let finding = explain(&error, resolved.role.as_str(), &ec2.account_id, &ec2.region);
                let about = format!("{} {}", error.action, ec2.region);
                crate::account::record_event(&self.ctx.shared, &resolved.binding.account, &finding, &about);
                return Ok(ZonalNames::Unreadable(Finding::bad(
                    finding.reason,
                    format!("the zones of the endpoint cannot be read: {}", finding.message),
                )));
            }
            Ok(None) => {}
        }
        let zones = region.zone_names(&endpoint.vpc);
        Ok(match zones.is_empty() {
            true => ZonalNames::Unknown,
            false => ZonalNames::Known(names::zonal(&endpoint.id, &endpoint.dns_names, &zones)),
        })
    }
}
