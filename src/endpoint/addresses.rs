//! The addresses of the endpoint's network interfaces, where headless Services publish them.

use std::time::Duration;

use vpce_core::conditions::Finding;
use vpce_core::desired::Desired;
use vpce_core::observed::{Observed, ObservedEndpoint};
use vpce_core::slices::KnownAddresses;

use super::prepare::Prepared;
use super::reconcile::Reconciliation;
use super::reference;
use super::stop::Stop;
use crate::aws::error::CallError;
use crate::aws::region::RefreshError;
use crate::bound::access::Access;
use crate::bound::explain::explain;

impl Reconciliation<'_> {
    /// Whether the addresses are published: for the object, or for one that shares its endpoint.
    pub(super) fn publishes_addresses(&self, desired: Option<&Desired>) -> bool {
        let service = desired.and_then(|desired| desired.service.as_ref());
        service.is_some_and(|service| service.headless)
            || desired.is_some_and(|desired| desired.config_map)
            || (desired.is_some() && reference::publishes_addresses(&self.ctx.shared.caches, &self.object))
    }

    /// Adds what the region knows of the addresses to what was seen, reading them where they are
    /// not known or too old. That they cannot be read is the Service's trouble alone.
    pub(super) async fn add_addresses(
        &self,
        prepared: &Prepared,
        access: &Access,
        age: Duration,
        seen: &mut Observed,
    ) -> Result<(), Stop> {
        let are_published = self.publishes_addresses(prepared.desired.as_ref());
        let Some(endpoint) = seen.endpoint.owned().filter(|_| are_published) else {
            return Ok(());
        };
        seen.addresses = self.addresses(prepared, access, age, endpoint).await?;
        Ok(())
    }

    async fn addresses(
        &self,
        prepared: &Prepared,
        access: &Access,
        age: Duration,
        endpoint: &ObservedEndpoint,
    ) -> Result<KnownAddresses, Stop> {
        let age = age.min(self.ctx.shared.resync_interval());
        let read = access.region.refresh_addresses(&access.ec2, endpoint, age).await;
        let known = access.region.addresses(endpoint);
        match read {
            Err(RefreshError::Failed(error)) if error.is_expired_session() => {
                Err(access.unread(RefreshError::Failed(error)).into())
            }
            // An interface keeps its addresses for as long as it is there.
            Err(RefreshError::Failed(error)) if !matches!(known, KnownAddresses::All(_)) => {
                Ok(KnownAddresses::Unreadable(self.unreadable(prepared, access, &error)))
            }
            Ok(()) | Err(_) => Ok(known),
        }
    }

    fn unreadable(&self, prepared: &Prepared, access: &Access, error: &CallError) -> Finding {
        let resolved = &prepared.resolved;
        let ec2 = &access.ec2;
        let finding = explain(error, resolved.role.as_str(), &ec2.account_id, &ec2.region);
        let about = format!("{} {}", error.action, ec2.region);
        crate::account::record_event(&self.ctx.shared, &resolved.binding.account, &finding, &about);
        Finding::bad(
            finding.reason,
            format!("the addresses of the endpoint cannot be read: {}", finding.message),
        )
    }
}
