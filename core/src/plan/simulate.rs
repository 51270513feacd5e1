//! What would be done from first to last, without doing it.

use super::effect::Outcome;
use super::{Plan, Step};
use crate::api::{EndpointType, IpAddressType};
use crate::config_map::ObservedConfigMap;
use crate::desired::Desired;
use crate::names::ObservedDnsEndpoint;
use crate::observed::{Lookup, Observed, ObservedEndpoint, ObservedGroup, ObservedService, ServiceContent, State};
use crate::slices::{AddressFamily, InterfaceAddress, KnownAddresses, ObservedSlice};

/// What stands for the id of a group that AWS has not made yet.
const NEW_GROUP: &str = "sg-new";
/// What stands for the id of an endpoint that AWS has not made yet.
const NEW_ENDPOINT: &str = "vpce-new";
/// So many rounds end every plan: made, waited for, changed, cleaned up, with room to spare.
const ROUNDS: usize = 16;

/// What a simulation has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulation {
    /// All steps, in this order.
    pub steps: Vec<Step>,
    /// What would be observed after them.
    pub reached: Observed,
}

/// The steps from what is there to where planning has nothing left to do, if AWS carries out each
/// and nothing else changes. What AWS has not made yet is called `sg-new` and `vpce-new`.
pub fn simulate(observed: &Observed, desired: Option<&Desired>, plan: impl Fn(&Observed) -> Plan) -> Simulation {
    let mut seen = observed.clone();
    if desired.is_some() && seen.endpoint == Lookup::Deleted {
        seen.endpoint = Lookup::Absent;
    }
    let steps = to_the_end(
        &mut seen,
        |seen| plan(seen).steps,
        |seen, step: &Step| seen.record(step.effect(expected_outcome(step))),
        end_of_wait,
    );
    Simulation { steps, reached: seen }
}

/// All steps until planning has nothing left to do and AWS is at nothing. What is seen changes with
/// each step that is carried out, and where AWS ends what it is at.
pub(crate) fn to_the_end<Seen, Step>(
    seen: &mut Seen,
    plan: impl Fn(&Seen) -> Vec<Step>,
    carry_out: impl Fn(&mut Seen, &Step),
    end_of_wait: impl Fn(&mut Seen) -> bool,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..ROUNDS {
        let next = plan(seen);
        let waits = next.is_empty();
        for step in &next {
            carry_out(seen, step);
        }
        steps.extend(next);
        if waits && !end_of_wait(seen) {
            break;
        }
    }
    steps
}

/// What is answered to a step where all goes well.
fn expected_outcome(step: &Step) -> Outcome {
    match step {
        Step::CreateGroup {
            name,
            description,
            vpc,
            tags,
        } => Outcome::Group(ObservedGroup::created(NEW_GROUP.into(), name, description, vpc, tags)),
        Step::CreateEndpoint {
            vpc,
            target,
            attachment,
            options,
            tags,
        } => Outcome::Endpoint(ObservedEndpoint::created(
            NEW_ENDPOINT.into(),
            vpc,
            target,
            attachment,
            options,
            tags,
        )),
        Step::PublishService {
            name,
            target,
            ports,
            metadata,
            exists: _,
        } => Outcome::Service(ObservedService::published(
            name,
            ServiceContent {
                target: target.clone(),
                ports: ports.clone(),
                metadata: metadata.clone(),
            },
        )),
        Step::PublishDnsEndpoint {
            name,
            content,
            exists: _,
        } => Outcome::DnsEndpoint(ObservedDnsEndpoint::published(name, content.clone())),
        Step::PublishConfigMap {
            name,
            content,
            exists: _,
        } => Outcome::ConfigMap(ObservedConfigMap::published(name, content.clone())),
        Step::PublishSlice { content, exists: _ } => Outcome::Slice(ObservedSlice::published(content.clone())),
        Step::Authorize(..)
        | Step::Revoke(..)
        | Step::UpdateRuleDescriptions(..)
        | Step::ModifyEndpoint { .. }
        | Step::Tag(..)
        | Step::Untag(..)
        | Step::DeleteEndpoint(_)
        | Step::DeleteGroup(_)
        | Step::DeleteService(_)
        | Step::DeleteSlice(_)
        | Step::DeleteDnsEndpoint(_)
        | Step::DeleteConfigMap(_) => Outcome::Done,
    }
}

/// What stands for the addresses of network interfaces that AWS has not made yet.
fn expected_addresses(endpoint: &ObservedEndpoint) -> KnownAddresses {
    let families: &[AddressFamily] = match endpoint.options.ip_address_type.unwrap_or_default() {
        IpAddressType::Ipv4 => &[AddressFamily::Ipv4],
        IpAddressType::Dualstack => &AddressFamily::ALL,
        IpAddressType::Ipv6 => &[AddressFamily::Ipv6],
    };
    let of_interface = |interface: &String| {
        let address = |family: &AddressFamily| InterfaceAddress {
            family: *family,
            address: format!("the {family} address of {interface}"),
            zone: None,
        };
        families.iter().map(address).collect::<Vec<_>>()
    };
    KnownAddresses::All(endpoint.interfaces.iter().flat_map(of_interface).collect())
}

/// AWS ends what it is at; says whether it was at anything.
fn end_of_wait(seen: &mut Observed) -> bool {
    let before = seen.spare_endpoints.len();
    seen.spare_endpoints
        .retain(|endpoint| endpoint.state != State::Deleting);
    let spare_gone = seen.spare_endpoints.len() < before;
    let Lookup::Owned(endpoint) = &mut seen.endpoint else {
        return spare_gone;
    };
    match endpoint.state {
        State::Pending => {
            endpoint.state = State::Available;
            let interface = |subnet| format!("eni-new-in-{subnet}");
            let attachment = endpoint.attachment.known();
            let subnets = attachment.into_iter().flat_map(|attachment| attachment.subnets());
            endpoint.interfaces = subnets.map(interface).collect();
            if seen.addresses == KnownAddresses::Unknown && !endpoint.interfaces.is_empty() {
                seen.addresses = expected_addresses(endpoint);
            }
            let type_ = endpoint.endpoint_type();
            let has_names = type_.is_some_and(EndpointType::has_dns_name) && endpoint.dns_names.is_empty();
            if let (true, Some(target)) = (has_names, &endpoint.target) {
                endpoint.dns_names = vec![format!("{}-dns.{target}", endpoint.id)];
            }
            true
        }
        State::Deleting => {
            seen.endpoint = Lookup::Absent;
            true
        }
        _ => spare_gone,
    }
}
