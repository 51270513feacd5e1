//! What the status of a VPCEndpointService remembers, and in which order: what could not be found
//! again otherwise is written before AWS is changed.
//!
//! Before anything is created the status names account, region, type and load balancers ([`bind`]);
//! before tags are set and connections accepted, the keys and the accounts ([`announce`]); what was
//! created, once it is found ([`take_over`]). It is known as the object's own by its id from then
//! on.

use std::collections::{BTreeMap, BTreeSet};

use super::connections::remembered_consumers;
use super::desired::Desired;
use super::observed::{Connection, Observed, ObservedEndpointService};
use crate::api::{ConnectionStatus, ConnectionsStatus, LoadBalancerType, PrivateDnsStatus, VPCEndpointServiceStatus};
use crate::ids::EndpointServiceId;
use crate::observed::State;
use crate::resolve::Binding;
use crate::tags::{DISPLAY_NAME, RESERVED_PREFIX};

/// So many connections are named in a status.
const MOST_NAMED: usize = 20;

/// What a status acknowledges that an object has, or may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// The endpoint service.
    pub service: Option<EndpointServiceId>,
    /// The type and the load balancers that it has, or may have been created with.
    pub load_balancers: Option<(LoadBalancerType, BTreeSet<String>)>,
}

impl Acknowledged {
    /// Of a status.
    pub fn of(status: &VPCEndpointServiceStatus) -> Self {
        let arns = || status.load_balancer_arns.iter().cloned().collect();
        Self {
            service: status.service_id.as_deref().map(Into::into),
            load_balancers: status.load_balancer_type.map(|type_| (type_, arns())),
        }
    }
}

/// What an object is bound to, if it is.
pub fn binding(status: &VPCEndpointServiceStatus) -> Option<Binding> {
    Binding::of_status(status.account.as_ref(), status.region.as_deref())
}

/// Binds, before anything is created.
pub fn bind(status: &mut VPCEndpointServiceStatus, binding: &Binding, desired: &Desired, generation: Option<i64>) {
    status.account = Some(binding.to_status());
    status.region = Some(binding.region.to_string());
    status.load_balancer_type = Some(desired.load_balancer_type);
    status.load_balancer_arns = desired.load_balancers.iter().cloned().collect();
    status.bound_generation = generation;
    status.incarnation.get_or_insert(0);
    announce(status, desired, None);
}

/// Whether what is desired could be created under what the status names. Where it could not,
/// nothing is created before it is certain that nothing was created as the status says; then the
/// object is bound again.
pub fn agrees(status: &VPCEndpointServiceStatus, binding: &Binding, desired: &Desired) -> bool {
    let desired = Some((desired.load_balancer_type, desired.load_balancers.clone()));
    self::binding(status).as_ref() == Some(binding)
        && (status.service_id.is_some() || Acknowledged::of(status).load_balancers == desired)
}

/// Notes what is about to be set: the keys of tags, and the accounts whose connections are
/// accepted. Says whether the status has changed, and so has to be written first.
pub fn announce(status: &mut VPCEndpointServiceStatus, desired: &Desired, connections: Option<&[Connection]>) -> bool {
    let mut keys: BTreeSet<String> = status.tag_keys.iter().cloned().collect();
    keys.extend(tag_keys(desired).map(str::to_owned));
    let accounts = remembered_consumers(desired, &status.consumer_account_ids, connections);
    let announced = (
        keys.into_iter().collect::<Vec<_>>(),
        accounts.into_iter().collect::<Vec<_>>(),
    );
    let is_new = announced.0 != status.tag_keys || announced.1 != status.consumer_account_ids;
    (status.tag_keys, status.consumer_account_ids) = announced;
    is_new
}

/// The next endpoint service is another than the one before, which is gone; it is created with what
/// is desired.
pub fn next_incarnation(status: &mut VPCEndpointServiceStatus, desired: &Desired) {
    // It has only to differ from the one before, whatever that was.
    status.incarnation = Some(status.incarnation.unwrap_or(0).wrapping_add(1));
    status.load_balancer_type = Some(desired.load_balancer_type);
    status.load_balancer_arns = desired.load_balancers.iter().cloned().collect();
    forget_service(status);
}

/// Unbinds, once nothing is left. What is created from now on is of another incarnation.
pub fn unbind(status: &mut VPCEndpointServiceStatus) {
    status.account = None;
    status.region = None;
    status.bound_generation = None;
    status.load_balancer_type = None;
    status.load_balancer_arns.clear();
    status.consumer_account_ids.clear();
    status.tag_keys.clear();
    status.incarnation = Some(status.incarnation.unwrap_or(0).wrapping_add(1));
    forget_service(status);
}

fn forget_service(status: &mut VPCEndpointServiceStatus) {
    status.service_id = None;
    status.service_name = None;
    status.state = None;
    status.zone_ids.clear();
    status.dns_names.clear();
    status.private_dns = None;
    status.connections = None;
}

/// Takes over what was observed. `was_ready` says whether the object was Ready, for this
/// generation, before: what was tagged just now may be shown without.
pub fn take_over(
    status: &mut VPCEndpointServiceStatus,
    observed: &Observed,
    desired: Option<&Desired>,
    was_ready: bool,
) {
    // The status has nothing of what is not the object's own: another may have written the id into
    // it.
    let Some(service) = observed.service.owned() else {
        return;
    };
    let ObservedEndpointService {
        id,
        name,
        state,
        load_balancer_type,
        load_balancers,
        acceptance_required: _,
        address_types: _,
        zone_ids,
        dns_names,
        private_dns,
        tags,
    } = service;
    status.service_id = Some(id.to_string());
    status.service_name = Some(name.clone()).filter(|name| !name.is_empty());
    status.state = Some(spelled(state));
    status.load_balancer_type = Some(*load_balancer_type);
    status.load_balancer_arns = load_balancers.iter().cloned().collect();
    status.zone_ids.clone_from(zone_ids);
    status.dns_names.clone_from(dns_names);
    status.private_dns = private_dns.as_ref().map(|private| PrivateDnsStatus {
        name: private.name.clone(),
        state: private.state.to_string(),
        record_type: private.record.as_ref().map(|(type_, _, _)| type_.clone()),
        record_name: private.record_name(),
        record_value: private.record.as_ref().map(|(_, _, value)| value.clone()),
    });
    status.zone_ids.sort();
    status.dns_names.sort();
    if let Some(connections) = &observed.connections {
        status.connections = Some(summary(connections));
    }
    let Some(desired) = desired else {
        return;
    };
    forget_keys(status, desired, tags, was_ready);
    announce(status, desired, observed.connections.as_deref());
}

/// A key that is no longer wanted is forgotten when no tag has it any more.
fn forget_keys(
    status: &mut VPCEndpointServiceStatus,
    desired: &Desired,
    there: &BTreeMap<String, String>,
    was_ready: bool,
) {
    let wanted: BTreeSet<&str> = tag_keys(desired).collect();
    let is_left = |key: &String| !was_ready || wanted.contains(key.as_str()) || there.contains_key(key);
    status.tag_keys.retain(is_left);
}

/// The keys of the tags that are set beside the owner's.
fn tag_keys(desired: &Desired) -> impl Iterator<Item = &str> {
    let keys = desired.tags.keys().map(String::as_str);
    keys.filter(|key| *key != DISPLAY_NAME && !key.starts_with(RESERVED_PREFIX))
}

/// The state of an endpoint service, which EC2 spells with a capital.
fn spelled(state: &State) -> String {
    let text = state.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// How many there are in each state, and the first: those that wait for acceptance before others.
fn summary(connections: &[Connection]) -> ConnectionsStatus {
    let count = |is: fn(&State) -> bool| {
        let count = connections.iter().filter(|one| is(&one.state)).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    let mut sorted: Vec<&Connection> = connections.iter().collect();
    sorted.sort_by_key(|one| (one.state != State::PendingAcceptance, &one.endpoint));
    let named = |one: &&Connection| ConnectionStatus {
        vpc_endpoint_id: one.endpoint.to_string(),
        owner: one.owner.clone(),
        state: one.state.to_string(),
    };
    let (available, pending_acceptance) = (
        count(|state| *state == State::Available),
        count(|state| *state == State::PendingAcceptance),
    );
    let (pending, rejected) = (
        count(|state| *state == State::Pending),
        count(|state| *state == State::Rejected),
    );
    let all = i64::try_from(connections.len()).unwrap_or(i64::MAX);
    ConnectionsStatus {
        available,
        pending_acceptance,
        pending,
        rejected,
        other: all - available - pending_acceptance - pending - rejected,
        first: sorted.iter().take(MOST_NAMED).map(named).collect(),
    }
}
