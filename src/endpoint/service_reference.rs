//! An object that names a VPCEndpointService of this cluster in place of a service's name.

use kube::ResourceExt;
use vpce_core::api::VPCEndpointSpec;
use vpce_core::conditions::{Finding, Reason};
use vpce_core::ids::{AccountId, EndpointServiceId};
use vpce_core::object_key::ObjectKey;
use vpce_core::observed::{Lookup, Observed};
use vpce_core::resolve::Resolved;
use vpce_core::tenancy;

use super::reconcile::Reconciliation;
use crate::aws::region::AccountRegionKey;
use crate::k8s::caches::{Endpoint, EndpointService};

/// The VPCEndpointService that an object names, where it names one.
pub(super) fn named(object: &Endpoint) -> Option<ObjectKey> {
    let reference = object.spec.as_ref().ok()?.vpc_endpoint_service_ref.as_deref()?;
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    let namespace = reference.namespace.as_deref().unwrap_or(own);
    Some(ObjectKey::new::<EndpointService>(namespace, &reference.name))
}

impl Reconciliation<'_> {
    /// The spec with the service's name, which may be that of a VPCEndpointService that it names.
    ///
    /// # Errors
    /// What the endpoint waits for.
    pub(super) fn completed(&self, spec: &VPCEndpointSpec) -> Result<VPCEndpointSpec, Finding> {
        let mut spec = spec.clone();
        let Some(key) = named(&self.object) else {
            return Ok(spec);
        };
        let status = &self.object.status;
        if status.vpc_endpoint_id.is_some() {
            // What it connects to stays, whatever has become of the object.
            spec.vpc_endpoint_service_id.clone_from(&status.vpc_endpoint_service_id);
            spec.service_region = spec.service_region.or_else(|| status.service_region.clone());
            return Ok(spec);
        }
        let ObjectKey { namespace, name, .. } = &key;
        let own = &self.owner.namespace;
        let caches = &self.ctx.shared.caches;
        let labels = caches.namespace(own);
        let labels = labels.as_deref().map(ResourceExt::labels);
        let found = caches.endpoint_service(namespace, name).filter(|service| {
            let consumers = service.spec.as_ref().ok().and_then(|spec| spec.consumers.as_ref());
            namespace == own || consumers.is_some_and(|consumers| tenancy::consumes(consumers, own, labels))
        });
        // What does not exist and what is not offered look the same: names of other namespaces are
        // not for everyone.
        let Some(service) = found else {
            return Err(Finding::bad(
                Reason::NotOffered,
                format!(
                    "there is no VPCEndpointService {namespace}/{name}, or it is not offered to the namespace {own}: ask \
                     its team to add {own} to spec.consumers.namespaces"
                ),
            ));
        };
        let offered = &service.status;
        let (Some(service_name), Some(region)) = (&offered.service_name, &offered.region) else {
            return Err(Finding::bad(
                Reason::EndpointServiceNotReady,
                format!("VPCEndpointService {namespace}/{name} has no endpoint service yet: it is being created"),
            ));
        };
        spec.vpc_endpoint_service_id = Some(service_name.clone());
        spec.service_region = spec.service_region.or_else(|| Some(region.clone()));
        Ok(spec)
    }

    /// Why no endpoint is created yet for an object that names a VPCEndpointService: AWS would say
    /// that the service does not exist as long as the account is not allowed.
    pub(super) fn waits_to_be_allowed(&self, resolved: &Resolved, seen: &Observed) -> Option<Finding> {
        if seen.endpoint != Lookup::Absent {
            return None;
        }
        let key = named(&self.object)?;
        let account = &resolved.binding.account_id;
        let service = self.ctx.shared.caches.endpoint_service(&key.namespace, &key.name);
        let principals = service.and_then(|service| {
            let status = &service.status;
            let region = AccountRegionKey {
                partition: resolved.role.partition(),
                account_id: status.account.as_ref()?.account_id.parse().ok()?,
                region: status.region.as_deref()?.into(),
            };
            let id: EndpointServiceId = status.service_id.as_deref()?.into();
            self.ctx.shared.regions.find(&region)?.consumers_of(&id).principals
        });
        let allows = |principal: &String| principal == "*" || principal.split(':').nth(4) == Some(account.as_str());
        let is_allowed = principals.is_some_and(|principals| principals.iter().any(allows));
        (!is_allowed).then(|| not_allowed_yet(&key, account))
    }
}

fn not_allowed_yet(key: &ObjectKey, account: &AccountId) -> Finding {
    let ObjectKey { namespace, name, .. } = key;
    Finding::bad(
        Reason::EndpointServiceNotReady,
        format!("VPCEndpointService {namespace}/{name} does not allow AWS account {account} yet: it is being allowed"),
    )
}
