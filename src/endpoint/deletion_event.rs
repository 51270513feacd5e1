//! The event that says, when an object goes, what was deleted in AWS for it, or stays there.

use vpce_core::api::{DeletionPolicy, VPCEndpointStatus};
use vpce_core::conditions::{EventKind, Finding};
use vpce_core::observed::{Lookup, Observed};
use vpce_core::tags::RETAINED;

use super::reconcile::Reconciliation;
use super::status;

impl Reconciliation<'_> {
    /// Tells it while the object is still there to tell it on.
    pub(super) fn record_deletion(&self, policy: Result<DeletionPolicy, &Finding>, seen: &Observed) {
        let status = &self.object.status;
        let Some(binding) = status::binding(status) else {
            return;
        };
        let (reason, resources, what) = match policy {
            Ok(DeletionPolicy::Delete) => (
                "Deleted",
                deleted(status),
                "deleted; an object that is applied again gets another endpoint, with another DNS name",
            ),
            Ok(DeletionPolicy::Retain) => (
                "Retained",
                retained(seen),
                "retained: it belongs to no object any more, and keeps costing (docs/guides/deleted-by-accident.md)",
            ),
            // Nothing was left, or the object would have stayed.
            Err(_) => return,
        };
        if resources.is_empty() {
            return;
        }
        let note = format!(
            "AWS account {} in {}, AWSAccount {}: {} {what}",
            binding.account_id,
            binding.region,
            binding.account,
            resources.join(" and ")
        );
        self.ctx
            .shared
            .events
            .publish(&*self.object, EventKind::Normal, reason, "Delete", &note);
    }
}

/// What the status names, which AWS has confirmed to be gone.
fn deleted(status: &VPCEndpointStatus) -> Vec<String> {
    let endpoint = status.vpc_endpoint_id.iter().map(|id| format!("endpoint {id}"));
    let group = status.security_group_id.iter().map(|id| format!("security group {id}"));
    endpoint.chain(group).collect()
}

/// What is there and marked as retained: what lost its tags otherwise was never touched.
fn retained(seen: &Observed) -> Vec<String> {
    let endpoint = match &seen.endpoint {
        Lookup::Unowned(resource) if resource.tags.contains_key(RETAINED) => Some(format!("endpoint {}", resource.id)),
        _ => None,
    };
    let group = match &seen.group {
        Lookup::Unowned(resource) if resource.tags.contains_key(RETAINED) => {
            Some(format!("security group {}", resource.id))
        }
        _ => None,
    };
    endpoint.into_iter().chain(group).collect()
}
