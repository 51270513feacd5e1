//! The VPCEndpoints of this cluster that name an object: which of them may connect, and which
//! endpoints are theirs. What their statuses say is compared with what is known: who may write one
//! could name any account, and any endpoint.

use std::collections::BTreeSet;

use kube::{Resource, ResourceExt};
use vpce_core::endpoint_service::Discovered;
use vpce_core::ids::{AccountId, EndpointId};
use vpce_core::object_key::ObjectKey;
use vpce_core::ownership::LookupById;
use vpce_core::resolve::Resolved;
use vpce_core::tags::{Claim, Owner};
use vpce_core::tenancy;

use super::context::Context;
use super::reconcile::Reconciliation;
use crate::aws::region::AccountRegionKey;
use crate::k8s::caches::{Endpoint, EndpointService};
use crate::k8s::conditions;

impl Reconciliation<'_> {
    /// What the cluster knows of what the spec names; `load_balancers` are those of its Service.
    pub(super) fn discovered(&self, resolved: &Resolved, load_balancers: BTreeSet<String>) -> Discovered {
        let mut discovered = Discovered {
            load_balancers,
            ..Discovered::default()
        };
        let caches = &self.ctx.shared.caches;
        for consumer in caches.consuming(&ObjectKey::of(&*self.object)) {
            let Some(binding) = consumer.status.account.as_ref() else {
                continue;
            };
            let Ok(account) = binding.account_id.parse::<AccountId>() else {
                continue;
            };
            let namespace = consumer.namespace().unwrap_or_default();
            let endpoint = self.endpoint_of(&consumer, &account, resolved);
            if !self.admits(&namespace) {
                discovered.revoked.extend(endpoint);
                continue;
            }
            // Where the mapping is revoked the endpoint is frozen, and its connection stays.
            if endpoint.is_some() || caches.maps_to(&binding.name, &namespace, account.as_str()) {
                discovered.accounts.insert(account.clone());
            }
            discovered.endpoints.extend(endpoint.map(|id| (id, account)));
        }
        discovered
    }

    /// Whether VPCEndpoints of a namespace may connect by naming the object.
    fn admits(&self, namespace: &str) -> bool {
        let labels = self.ctx.shared.caches.namespace(namespace);
        let labels = labels.as_deref().map(ResourceExt::labels);
        let consumers = self.object.spec.as_ref().ok().and_then(|spec| spec.consumers.as_ref());
        namespace == self.owner.namespace
            || consumers.is_some_and(|consumers| tenancy::consumes(consumers, namespace, labels))
    }

    /// The endpoint of a VPCEndpoint: in the account that it is bound to, under the id of its
    /// status and with its tags, as it was last read there.
    fn endpoint_of(&self, consumer: &Endpoint, account: &AccountId, resolved: &Resolved) -> Option<EndpointId> {
        let id: EndpointId = consumer.status.vpc_endpoint_id.as_deref()?.into();
        let key = AccountRegionKey {
            partition: resolved.role.partition(),
            account_id: account.clone(),
            region: consumer.status.region.as_deref()?.into(),
        };
        let owner = Owner {
            cluster: self.ctx.shared.clusters.clone(),
            kind: Endpoint::kind(&()),
            namespace: consumer.namespace()?,
            name: consumer.name_any(),
            uid: consumer.uid()?,
        };
        let found = self.ctx.shared.regions.find(&key)?.find(&owner, (Some(&id), None));
        match found.endpoints.by_id {
            LookupById::Found(endpoint) if owner.claim(&endpoint.tags) == Claim::Ours => Some(id),
            _ => None,
        }
    }
}

/// The VPCEndpoints that name an object and are not Ready may have waited for what has changed of
/// it.
pub(super) fn enqueue_waiting(ctx: &Context, object: &EndpointService) {
    for consumer in ctx.shared.caches.consuming(&ObjectKey::of(object)) {
        let ready = conditions::find(&consumer.status.conditions, vpce_core::conditions::READY);
        if ready.is_none_or(|ready| ready.status != "True") {
            ctx.shared.requeuer.enqueue(ObjectKey::of(&*consumer));
        }
    }
}
