//! A second endpoint for the same service in one VPC, which costs as much as the first: an event
//! says so before it is created, and names the first where that is shared with this namespace.

use std::sync::Arc;

use kube::ResourceExt;
use vpce_core::api::EndpointType;
use vpce_core::conditions::EventKind;
use vpce_core::desired::Desired;

use super::reconcile::Reconciliation;
use super::reference::as_referent;
use crate::k8s::caches::Endpoint;

impl Reconciliation<'_> {
    /// Tells of others that have what the object is about to get.
    pub(super) fn tell_of_duplicates(&self, desired: &Desired) {
        if desired.existing.is_some() || desired.attachment.endpoint_type(&desired.target) == EndpointType::Gateway {
            return;
        }
        let target = desired.target.to_string();
        let caches = &self.ctx.shared.caches;
        let mut others = caches.with_endpoint_for(desired.account_id.as_str(), desired.vpc.as_str(), &target);
        others.retain(|other| other.metadata.uid != self.object.metadata.uid);
        if others.is_empty() {
            return;
        }
        let namespace = caches.namespace(&self.owner.namespace);
        let labels = namespace.as_deref().map(ResourceExt::labels);
        let is_shared = |other: &&Arc<Endpoint>| as_referent(other).allows(&self.owner.namespace, labels);
        let advice = match others.iter().find(is_shared) {
            Some(other) => {
                let shared = as_referent(other);
                format!(
                    "VPCEndpoint {}/{} shares its endpoint with this namespace: set vpc_endpoint_ref in place of it",
                    shared.namespace, shared.name
                )
            }
            None => "ask your platform team whether one can be shared (spec.share)".to_owned(),
        };
        let note = format!(
            "{} for {target} in {}: AWS charges for this one as well, by the hour for each of its {} network interfaces. {advice}",
            match others.len() {
                1 => "there is another endpoint".to_owned(),
                more => format!("there are {more} other endpoints"),
            },
            desired.vpc,
            desired.attachment.subnets().len(),
        );
        self.ctx
            .shared
            .events
            .publish(&*self.object, EventKind::Normal, "DuplicateEndpoint", "Bind", &note);
    }
}
