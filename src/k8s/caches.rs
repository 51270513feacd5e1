//! The objects that are watched, as the API server last sent them, and the questions that are asked
//! about them: each is answered from an index, never by going through all objects.

mod indexed;
mod kept;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use vpce_core::api::{AWSAccount, LegacyStatus, VPCEndpoint, VPCEndpointService, Watched};
use vpce_core::conditions::Reason;
use vpce_core::ids::RoleArn;
use vpce_core::object_key::ObjectKey;
use vpce_core::tenancy;

use self::indexed::Cache;
pub(crate) use self::indexed::{CacheWriter, Indexed};
use self::kept::Packed;
use self::sync::CacheSync;
use super::dns_endpoint::DNSEndpoint;

/// A VPCEndpoint as it is watched.
pub(crate) type Endpoint = Watched<VPCEndpoint>;
/// A VPCEndpointService as it is watched.
pub(crate) type EndpointService = Watched<VPCEndpointService>;
/// An AWSAccount as it is watched.
pub(crate) type Account = Watched<AWSAccount>;

/// A Namespace as it is watched.
pub(crate) type NamespaceMeta = PartialObjectMeta<Namespace>;

/// What VPCEndpoints are found by.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum EndpointTerm {
    Namespace(String),
    /// The AWSAccount that it is bound to.
    Account(String),
    /// The AWS account that it is bound to.
    AccountId(String),
    /// It is bound to no AWSAccount, and in this namespace.
    Unbound(String),
    /// It waits for room in an AWSAccount, and is in this namespace.
    WaitsForRoom(String),
    /// The Python operator created this endpoint for it, by its id.
    CreatedByPython(String),
    /// It shares the endpoint of the object of this namespace and name.
    RefersTo(String),
    /// It names the VPCEndpointService of this namespace and name.
    Consumes(String),
    /// It publishes, or asks for, this DNS name.
    DnsName(String),
    /// It publishes, or asks for, any.
    DnsNames,
    /// What it connects to, from which VPC: [`hash_of`] these.
    Connection(u64),
}

/// Stands for an AWS account, a VPC and a service in an index, where text would take more memory
/// than the answer is worth.
fn hash_of(account_id: &str, vpc: &str, service: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (account_id, vpc, service).hash(&mut hasher);
    hasher.finish()
}

/// The AWS account, VPC and service of an endpoint of the object's own.
fn connection(object: &Endpoint) -> Option<(&str, &str, &str)> {
    let status = &object.status;
    let account = status.account.as_ref()?;
    let vpc = &status.network.as_ref()?.vpc_id;
    Some((&account.account_id, vpc, status.vpc_endpoint_service_id.as_deref()?))
}

impl Indexed for Endpoint {
    type Term = EndpointTerm;
    type Kept = Arc<Self>;

    fn terms(&self) -> Vec<EndpointTerm> {
        let namespace = self.namespace().unwrap_or_default();
        let mut terms = vec![EndpointTerm::Namespace(namespace.clone())];
        let reference = self.spec.as_ref().ok().and_then(|spec| spec.vpc_endpoint_ref.as_ref());
        match (&self.status.account, reference) {
            (_, Some(reference)) => {
                let other = reference.namespace.as_ref().unwrap_or(&namespace);
                terms.push(EndpointTerm::RefersTo(format!("{other}/{}", reference.name)));
            }
            (Some(binding), None) => terms.extend([
                EndpointTerm::Account(binding.name.clone()),
                EndpointTerm::AccountId(binding.account_id.clone()),
            ]),
            (None, None) => terms.push(EndpointTerm::Unbound(namespace.clone())),
        }
        let service = self
            .spec
            .as_ref()
            .ok()
            .and_then(|spec| spec.vpc_endpoint_service_ref.as_ref());
        terms.extend(service.map(|service| {
            let other = service.namespace.as_ref().unwrap_or(&namespace);
            EndpointTerm::Consumes(format!("{other}/{}", service.name))
        }));
        let mut conditions = self.status.conditions.iter();
        if conditions.any(|condition| condition.reason == Reason::AccountFull.as_str()) {
            terms.push(EndpointTerm::WaitsForRoom(namespace));
        }
        let connection = connection(self).map(|(account_id, vpc, service)| hash_of(account_id, vpc, service));
        terms.extend(connection.map(EndpointTerm::Connection));
        let wanted = self.spec.as_ref().map_or(&[][..], |spec| &spec.dns_names);
        let wanted = wanted.iter().map(|wanted| &wanted.name);
        let names: BTreeSet<&String> = self.status.dns_names.iter().chain(wanted).collect();
        terms.extend((!names.is_empty()).then_some(EndpointTerm::DnsNames));
        terms.extend(names.into_iter().cloned().map(EndpointTerm::DnsName));
        let created = self.status.create_fn.as_ref().and_then(LegacyStatus::endpoint);
        terms.extend(created.map(|id| EndpointTerm::CreatedByPython(id.to_string())));
        terms
    }
}

/// What VPCEndpointServices are found by.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum EndpointServiceTerm {
    Namespace(String),
    /// The AWSAccount that it is bound to.
    Account(String),
    /// The AWS account that it is bound to.
    AccountId(String),
    /// It is bound to no AWSAccount, and in this namespace.
    Unbound(String),
    /// The name by which endpoints connect to it.
    ServiceName(String),
    /// The Service whose load balancer it offers, by namespace and name.
    LoadBalancerService(String),
}

impl Indexed for EndpointService {
    type Term = EndpointServiceTerm;
    type Kept = Arc<Self>;

    fn terms(&self) -> Vec<EndpointServiceTerm> {
        let namespace = self.namespace().unwrap_or_default();
        let mut terms = vec![EndpointServiceTerm::Namespace(namespace.clone())];
        match &self.status.account {
            Some(binding) => terms.extend([
                EndpointServiceTerm::Account(binding.name.clone()),
                EndpointServiceTerm::AccountId(binding.account_id.clone()),
            ]),
            None => terms.push(EndpointServiceTerm::Unbound(namespace)),
        }
        let name = self.status.service_name.clone();
        terms.extend(name.map(EndpointServiceTerm::ServiceName));
        let service = self
            .spec
            .as_ref()
            .ok()
            .and_then(|spec| spec.load_balancer.service.as_ref());
        let service = service.map(|service| format!("{}/{}", self.namespace().unwrap_or_default(), service.name));
        terms.extend(service.map(EndpointServiceTerm::LoadBalancerService));
        terms
    }
}

/// What AWSAccounts are found by.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum AccountTerm {
    /// The AWS account that its role is in.
    AccountId(String),
    /// A namespace that it names.
    Namespace(String),
    /// A label without which its selector selects no namespace.
    Label(String, String),
    /// It has a selector that no single label decides.
    Selector,
}

impl Indexed for Account {
    type Term = AccountTerm;
    type Kept = Arc<Self>;

    fn terms(&self) -> Vec<AccountTerm> {
        let Ok(spec) = &self.spec else {
            return Vec::new();
        };
        let role = spec.role_arn.parse::<RoleArn>().ok();
        let mut terms: Vec<AccountTerm> = role
            .map(|role| AccountTerm::AccountId(role.account().to_string()))
            .into_iter()
            .chain(spec.namespaces.iter().cloned().map(AccountTerm::Namespace))
            .collect();
        if let Some(selector) = &spec.namespace_selector {
            let label = selector.match_labels.iter().flatten().next();
            terms.push(match label {
                Some((key, value)) => AccountTerm::Label(key.clone(), value.clone()),
                None => AccountTerm::Selector,
            });
        }
        terms
    }
}

/// What Namespaces are found by: a label and its value.
impl Indexed for NamespaceMeta {
    type Term = (String, String);
    type Kept = Arc<Self>;

    fn terms(&self) -> Vec<(String, String)> {
        let labels = self.labels().iter();
        labels.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// What Services are found by: the UID of the object that controls them.
impl Indexed for Service {
    type Term = String;
    type Kept = Packed<Self>;

    fn terms(&self) -> Vec<String> {
        controllers(self)
    }
}

/// What EndpointSlices are found by: the UID of the object that controls them.
impl Indexed for EndpointSlice {
    type Term = String;
    type Kept = Packed<Self>;

    fn terms(&self) -> Vec<String> {
        controllers(self)
    }
}

/// What DNSEndpoints are found by: the UID of the object that controls them.
impl Indexed for DNSEndpoint {
    type Term = String;
    type Kept = Packed<Self>;

    fn terms(&self) -> Vec<String> {
        controllers(self)
    }
}

fn controllers(object: &impl ResourceExt) -> Vec<String> {
    let owners = object.owner_references().iter();
    let controllers = owners.filter(|owner| owner.controller == Some(true));
    controllers.map(|owner| owner.uid.clone()).collect()
}

/// The objects that are watched.
#[derive(Clone)]
pub(crate) struct Caches {
    sync: CacheSync,
    endpoints: Cache<Endpoint>,
    endpoint_services: Cache<EndpointService>,
    accounts: Cache<Account>,
    namespaces: Cache<NamespaceMeta>,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    dns_endpoints: Cache<DNSEndpoint>,
}

/// What fills the caches.
pub(crate) struct CacheWriters {
    /// VPCEndpoints.
    pub(crate) endpoints: CacheWriter<Endpoint>,
    /// VPCEndpointServices.
    pub(crate) endpoint_services: CacheWriter<EndpointService>,
    /// AWSAccounts.
    pub(crate) accounts: CacheWriter<Account>,
    /// Namespaces, as metadata.
    pub(crate) namespaces: CacheWriter<NamespaceMeta>,
    /// Services with our label.
    pub(crate) services: CacheWriter<Service>,
    /// EndpointSlices with our label.
    pub(crate) slices: CacheWriter<EndpointSlice>,
    /// DNSEndpoints with our label.
    pub(crate) dns_endpoints: CacheWriter<DNSEndpoint>,
}

impl Caches {
    /// Empty caches, and what fills them.
    pub(crate) fn new() -> (Self, CacheWriters) {
        let sync = CacheSync::default();
        let (endpoints, endpoint_writer) = Cache::new(&sync);
        let (endpoint_services, endpoint_service_writer) = Cache::new(&sync);
        let (accounts, account_writer) = Cache::new(&sync);
        let (namespaces, namespace_writer) = Cache::new(&sync);
        let (services, service_writer) = Cache::new(&sync);
        let (slices, slice_writer) = Cache::new(&sync);
        // Nothing waits for a kind that there may not be.
        let (dns_endpoints, dns_endpoint_writer) = Cache::new(&CacheSync::default());
        let caches = Self {
            sync,
            endpoints,
            endpoint_services,
            accounts,
            namespaces,
            services,
            slices,
            dns_endpoints,
        };
        let writers = CacheWriters {
            endpoints: endpoint_writer,
            endpoint_services: endpoint_service_writer,
            accounts: account_writer,
            namespaces: namespace_writer,
            services: service_writer,
            slices: slice_writer,
            dns_endpoints: dns_endpoint_writer,
        };
        (caches, writers)
    }

    /// Waits until every kind has been listed once.
    pub(crate) async fn filled(&self) {
        self.sync.wait(|_| true).await;
    }

    /// Waits until every other kind has been listed once.
    pub(crate) async fn others_filled<K: Resource<DynamicType = ()>>(&self) {
        self.sync.wait(|kind| *kind != K::kind(&())).await;
    }

    /// A VPCEndpoint.
    pub(crate) fn endpoint(&self, namespace: &str, name: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.get(namespace, name)
    }

    /// A VPCEndpointService.
    pub(crate) fn endpoint_service(&self, namespace: &str, name: &str) -> Option<Arc<EndpointService>> {
        self.endpoint_services.get(namespace, name)
    }

    /// An AWSAccount.
    pub(crate) fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.get("", name)
    }

    /// A Service with our label.
    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(namespace, name)
    }

    /// An EndpointSlice with our label.
    pub(crate) fn slice(&self, namespace: &str, name: &str) -> Option<Arc<EndpointSlice>> {
        self.slices.get(namespace, name)
    }

    /// The VPCEndpoints that are bound to an AWS account, a VPC and a service.
    pub(crate) fn with_endpoint_for(&self, account_id: &str, vpc: &str, service: &str) -> Vec<Arc<Endpoint>> {
        let term = EndpointTerm::Connection(hash_of(account_id, vpc, service));
        let mut found = self.endpoints.by(&term);
        found.retain(|object| connection(object) == Some((account_id, vpc, service)));
        found
    }

    /// A DNSEndpoint with our label.
    pub(crate) fn dns_endpoint(&self, namespace: &str, name: &str) -> Option<Arc<DNSEndpoint>> {
        self.dns_endpoints.get(namespace, name)
    }

    /// The DNSEndpoints that an object controls, by its UID.
    pub(crate) fn dns_endpoints_owned_by(&self, uid: &str) -> Vec<Arc<DNSEndpoint>> {
        self.dns_endpoints.by(&uid.to_owned())
    }

    /// The VPCEndpoints that publish a DNS name, or ask for it.
    pub(crate) fn naming(&self, name: &str) -> Vec<Arc<Endpoint>> {
        self.endpoints.by(&EndpointTerm::DnsName(name.to_owned()))
    }

    /// The VPCEndpoints that publish DNS names, or ask for some.
    pub(crate) fn with_dns_names(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.by(&EndpointTerm::DnsNames)
    }

    /// All VPCEndpoints, for what reports each.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.all()
    }

    /// All VPCEndpointServices, for what reports each.
    pub(crate) fn endpoint_services(&self) -> Vec<Arc<EndpointService>> {
        self.endpoint_services.all()
    }

    /// All AWSAccounts, for what reports each.
    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.all()
    }

    /// The VPCEndpoints in a namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<Endpoint>> {
        self.endpoints.by(&EndpointTerm::Namespace(namespace.to_owned()))
    }

    /// The VPCEndpoints that are bound to an AWSAccount, in order of namespace and name.
    pub(crate) fn bound_to(&self, account: &str) -> Vec<Arc<Endpoint>> {
        self.endpoints.by(&EndpointTerm::Account(account.to_owned()))
    }

    /// The VPCEndpointServices in a namespace.
    pub(crate) fn endpoint_services_in_namespace(&self, namespace: &str) -> Vec<Arc<EndpointService>> {
        let term = EndpointServiceTerm::Namespace(namespace.to_owned());
        self.endpoint_services.by(&term)
    }

    /// The VPCEndpointServices that are bound to an AWSAccount.
    pub(crate) fn endpoint_services_bound_to(&self, account: &str) -> Vec<Arc<EndpointService>> {
        let term = EndpointServiceTerm::Account(account.to_owned());
        self.endpoint_services.by(&term)
    }

    /// The VPCEndpointServices that are bound to an AWS account, by whichever AWSAccount.
    pub(crate) fn endpoint_services_bound_to_account_id(&self, account_id: &str) -> Vec<Arc<EndpointService>> {
        let term = EndpointServiceTerm::AccountId(account_id.to_owned());
        self.endpoint_services.by(&term)
    }

    /// The VPCEndpointServices that are bound to no AWSAccount, in the namespaces that this one
    /// maps.
    pub(crate) fn endpoint_services_unbound_in(&self, account: &str) -> Vec<Arc<EndpointService>> {
        let namespaces = self.namespaces_of(account).into_iter();
        let unbound = namespaces.map(EndpointServiceTerm::Unbound);
        unbound.flat_map(|term| self.endpoint_services.by(&term)).collect()
    }

    /// The VPCEndpointServices to which endpoints connect by this name: one, unless a status was
    /// written by others than the operator.
    pub(crate) fn offering(&self, service_name: &str) -> Vec<Arc<EndpointService>> {
        let term = EndpointServiceTerm::ServiceName(service_name.to_owned());
        self.endpoint_services.by(&term)
    }

    /// The VPCEndpointServices that offer the load balancer of a Service.
    pub(crate) fn offering_load_balancer_of(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointService>> {
        let term = EndpointServiceTerm::LoadBalancerService(format!("{namespace}/{service}"));
        self.endpoint_services.by(&term)
    }

    /// How many VPCEndpointServices are bound to an AWSAccount.
    pub(crate) fn count_endpoint_services_bound_to(&self, account: &str) -> usize {
        let term = EndpointServiceTerm::Account(account.to_owned());
        self.endpoint_services.count(&term)
    }

    /// How many VPCEndpoints are bound to an AWSAccount.
    pub(crate) fn count_bound_to(&self, account: &str) -> usize {
        self.endpoints.count(&EndpointTerm::Account(account.to_owned()))
    }

    /// The VPCEndpoints that are bound to an AWS account, by whichever AWSAccount.
    pub(crate) fn bound_to_account_id(&self, account_id: &str) -> Vec<Arc<Endpoint>> {
        self.endpoints.by(&EndpointTerm::AccountId(account_id.to_owned()))
    }

    /// The VPCEndpoints that are bound to no AWSAccount, in the namespaces that this one maps.
    pub(crate) fn unbound_in(&self, account: &str) -> Vec<Arc<Endpoint>> {
        let namespaces = self.namespaces_of(account).into_iter();
        let unbound = namespaces.map(EndpointTerm::Unbound);
        unbound.flat_map(|term| self.endpoints.by(&term)).collect()
    }

    /// The VPCEndpoints that wait for room in an AWSAccount, in the namespaces that this one maps.
    pub(crate) fn waiting_for_room_in(&self, account: &str) -> Vec<Arc<Endpoint>> {
        let namespaces = self.namespaces_of(account).into_iter();
        let waiting = namespaces.map(EndpointTerm::WaitsForRoom);
        waiting.flat_map(|term| self.endpoints.by(&term)).collect()
    }

    /// The VPCEndpoints for which the Python operator created an endpoint, by its id.
    pub(crate) fn created_by_python(&self, id: &str) -> Vec<Arc<Endpoint>> {
        self.endpoints.by(&EndpointTerm::CreatedByPython(id.to_owned()))
    }

    /// The VPCEndpoints that share the endpoint of an object, or ask to.
    pub(crate) fn referring_to(&self, key: &ObjectKey) -> Vec<Arc<Endpoint>> {
        let term = EndpointTerm::RefersTo(format!("{}/{}", key.namespace, key.name));
        self.endpoints.by(&term)
    }

    /// The VPCEndpoints that name a VPCEndpointService.
    pub(crate) fn consuming(&self, key: &ObjectKey) -> Vec<Arc<Endpoint>> {
        let term = EndpointTerm::Consumes(format!("{}/{}", key.namespace, key.name));
        self.endpoints.by(&term)
    }

    /// The Services that an object controls, by its UID.
    pub(crate) fn services_owned_by(&self, uid: &str) -> Vec<Arc<Service>> {
        self.services.by(&uid.to_owned())
    }

    /// The EndpointSlices that an object controls, by its UID.
    pub(crate) fn slices_owned_by(&self, uid: &str) -> Vec<Arc<EndpointSlice>> {
        self.slices.by(&uid.to_owned())
    }

    /// The AWSAccounts whose role is in an AWS account.
    pub(crate) fn accounts_of(&self, account_id: &str) -> Vec<Arc<Account>> {
        self.accounts.by(&AccountTerm::AccountId(account_id.to_owned()))
    }

    /// The AWSAccounts that map a namespace, in order of their names.
    pub(crate) fn accounts_mapping(&self, namespace: &str) -> Vec<Arc<Account>> {
        let Some(meta) = self.namespace(namespace) else {
            return Vec::new();
        };
        let labels = meta.labels();
        let by_label = labels
            .iter()
            .map(|(key, value)| AccountTerm::Label(key.clone(), value.clone()));
        let terms = [AccountTerm::Namespace(namespace.to_owned()), AccountTerm::Selector];
        let candidates = terms
            .into_iter()
            .chain(by_label)
            .flat_map(|term| self.accounts.by(&term));
        let mapping: BTreeMap<String, Arc<Account>> = candidates
            .filter(|account| maps(account, &meta))
            .map(|account| (account.name_any(), account))
            .collect();
        mapping.into_values().collect()
    }

    /// The namespaces that an AWSAccount maps, of those that are known.
    fn namespaces_of(&self, account: &str) -> BTreeSet<String> {
        let Some(account) = self.account(account) else {
            return BTreeSet::new();
        };
        let Ok(spec) = &account.spec else {
            return BTreeSet::new();
        };
        let named = spec.namespaces.iter().filter_map(|name| self.namespace(name));
        let label = |selector: &LabelSelector| selector.match_labels.clone()?.into_iter().next();
        let selected = match spec.namespace_selector.as_ref().map(label) {
            Some(Some(label)) => self.namespaces.by(&label),
            // No label decides.
            Some(None) => self.namespaces.all(),
            None => Vec::new(),
        };
        let candidates = named.chain(selected);
        let mapped = candidates.filter(|namespace| maps(&account, namespace));
        mapped.map(|namespace| namespace.name_any()).collect()
    }

    /// A Namespace, if it is known.
    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<NamespaceMeta>> {
        self.namespaces.get("", name)
    }

    /// Whether an AWSAccount maps a namespace to this AWS account.
    pub(crate) fn maps_to(&self, account: &str, namespace: &str, account_id: &str) -> bool {
        let found = self.account(account);
        let role = found.as_ref().and_then(|found| found.spec.as_ref().ok());
        let role = role.and_then(|spec| spec.role_arn.parse::<RoleArn>().ok());
        role.is_some_and(|role| role.account().as_str() == account_id) && self.maps(account, namespace)
    }

    /// Whether an AWSAccount maps a namespace.
    pub(crate) fn maps(&self, account: &str, namespace: &str) -> bool {
        let both = self.account(account).zip(self.namespace(namespace));
        both.is_some_and(|(account, namespace)| maps(&account, &namespace))
    }
}

fn maps(account: &Account, namespace: &NamespaceMeta) -> bool {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let spec = account.spec.as_ref().ok();
    spec.is_some_and(|spec| tenancy::maps(spec, name, Some(namespace.labels())))
}
