//! Whether AWS may still be written for an object: asked before each write, since what was resolved
//! when the reconcile began may be revoked while it is under way.

use std::sync::Arc;

use kube::ResourceExt;
use vpce_core::api::VPCEndpointSpec;
use vpce_core::network::Place;
use vpce_core::resolve::{self, Resolved, Subject};

use super::reconcile::Reconciliation;
use crate::aws::Permitted;
use crate::settings::Mode;

impl Reconciliation<'_> {
    /// Resolves again, with the one AWSAccount that the object is bound to. Whatever has changed of
    /// what was resolved, its mapping, its guardrails or its tags, the next reconcile starts from
    /// it. So it does where the spec was edited: what is made for the former one may have to go,
    /// and another leader may look for it already.
    pub(super) fn permission(&self, spec: Option<&VPCEndpointSpec>, resolved: &Resolved) -> Permitted {
        let shared = self.ctx.shared.clone();
        let namespace = self.owner.namespace.clone();
        let resolved = resolved.clone();
        // What the spec says is not asked of where the object leaves.
        let spec = spec.filter(|_| self.moving.is_none());
        let account = spec.and_then(|spec| spec.account.clone());
        let region = spec.and_then(|spec| spec.region.clone());
        let deleting = self.leaves();
        let object_name = self.owner.name.clone();
        let generation = self.object.metadata.generation;
        Arc::new(move || {
            let newest = shared.caches.endpoint(&namespace, &object_name);
            if newest.is_some_and(|newest| newest.metadata.generation > generation) {
                return false;
            }
            let name = &resolved.binding.account;
            let Some(found) = shared.caches.account(name) else {
                return false;
            };
            let known = shared.caches.namespace(&namespace);
            let subject = Subject {
                namespace: &namespace,
                labels: known.as_deref().map(ResourceExt::labels),
                binding: Some(&resolved.binding),
                account: account.as_deref(),
                region: region.as_deref(),
                // It is bound, and so has its region.
                place: Place::Vpc,
                deleting,
                read_only: shared.settings.mode == Mode::ReadOnly,
            };
            let only = resolve::Account {
                name,
                spec: found.spec.as_ref().map_err(|unparsed| unparsed.error.as_str()),
            };
            resolve::resolve(subject, &[only]).is_ok_and(|now| now == resolved)
        })
    }
}
