//! The effect of a step on what was observed. The applier records it, and so does
//! [`simulate`](super::simulate()), so that both see the same until AWS is read again.

use std::collections::BTreeSet;

use super::observed::{Connection, Observed, ObservedEndpointService, PrivateDns, Verification};
use super::step::{ServiceChange, Step};
use crate::ids::{EndpointId, EndpointServiceId};
use crate::observed::{Lookup, State};
use crate::tags;

/// What AWS answered to a step that it carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done: all that most actions answer.
    Done,
    /// CreateVpcEndpointServiceConfiguration describes the endpoint service.
    Created(ObservedEndpointService),
    /// AcceptVpcEndpointConnections and RejectVpcEndpointConnections say for which endpoints they
    /// did nothing.
    DoneBut(BTreeSet<EndpointId>),
}

/// What a step has changed.
pub enum Effect<'s> {
    /// Nothing that can be known before it is read.
    Unknown,
    /// There is a new endpoint service.
    Created(ObservedEndpointService),
    /// An endpoint service has changed.
    Changed(&'s EndpointServiceId, Change<'s, ObservedEndpointService>),
    /// An endpoint service allows other principals.
    PrincipalsChanged(&'s EndpointServiceId, Change<'s, BTreeSet<String>>),
    /// Connections of an endpoint service are in another state.
    ConnectionsChanged(&'s EndpointServiceId, Change<'s, Vec<Connection>>),
}

/// How something has changed.
pub type Change<'s, R> = Box<dyn FnOnce(&mut R) + 's>;

impl Step {
    /// What the step has changed when AWS has answered this to it.
    pub fn effect(&self, outcome: Outcome) -> Effect<'_> {
        let except = match outcome {
            Outcome::Created(service) => return Effect::Created(service),
            Outcome::Done => BTreeSet::new(),
            Outcome::DoneBut(except) => except,
        };
        match self {
            Self::Create { .. } => Effect::Unknown,
            Self::Modify(id, change) => changed(id, |service| change.apply(service)),
            Self::ModifyPermissions { id, add, remove } => {
                let change = |there: &mut BTreeSet<String>| {
                    there.retain(|principal| !remove.contains(principal));
                    there.extend(add.iter().cloned());
                };
                Effect::PrincipalsChanged(id, Box::new(change))
            }
            Self::Accept(id, endpoints) => decided(id, endpoints, except, State::Pending),
            Self::Reject(id, endpoints) => decided(id, endpoints, except, State::Rejected),
            Self::Tag(id, tags) => changed(id, |service| service.tags.extend(tags.clone())),
            Self::Untag(id, keys) => changed(id, |service| service.tags.retain(|key, _| !keys.contains(key))),
            Self::VerifyPrivateDns(id) => changed(id, |service| {
                if let Some(private) = &mut service.private_dns {
                    private.state = Verification::Pending;
                }
            }),
            Self::Delete(id) => changed(id, |service| service.state = State::Deleting),
        }
    }
}

fn changed<'s>(id: &'s EndpointServiceId, change: impl FnOnce(&mut ObservedEndpointService) + 's) -> Effect<'s> {
    Effect::Changed(id, Box::new(change))
}

/// The connections of these endpoints are in this state, but for the exceptions.
fn decided<'s>(
    id: &'s EndpointServiceId,
    endpoints: &'s BTreeSet<EndpointId>,
    except: BTreeSet<EndpointId>,
    state: State,
) -> Effect<'s> {
    let change = move |all: &mut Vec<Connection>| {
        let is_decided = |one: &&mut Connection| endpoints.contains(&one.endpoint) && !except.contains(&one.endpoint);
        for connection in all.iter_mut().filter(is_decided) {
            connection.state = state.clone();
        }
    };
    Effect::ConnectionsChanged(id, Box::new(change))
}

impl ServiceChange {
    fn apply(&self, service: &mut ObservedEndpointService) {
        match self {
            Self::AddLoadBalancers(_, arns) => service.load_balancers.extend(arns.iter().cloned()),
            Self::RemoveLoadBalancers(_, arns) => service.load_balancers.retain(|arn| !arns.contains(arn)),
            Self::AcceptanceRequired(required) => service.acceptance_required = *required,
            Self::AddAddressTypes(types) => service.address_types.extend(types),
            Self::RemoveAddressTypes(types) => service.address_types.retain(|type_| !types.contains(type_)),
            Self::PrivateDnsName(name) => {
                service.private_dns = name.as_deref().map(PrivateDns::unverified).map(Box::new)
            }
        }
    }
}

impl Observed {
    /// Takes in what a step has changed.
    pub fn record(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Unknown => {}
            Effect::Created(service) => {
                self.service = Lookup::Owned(service);
                self.principals = Some(BTreeSet::new());
                self.connections = Some(Vec::new());
            }
            Effect::Changed(id, change) => {
                let Lookup::Owned(service) = &mut self.service else {
                    return;
                };
                if service.id != *id {
                    return;
                }
                change(service);
                // Without the owner's tags it is no longer the owner's.
                if !service.tags.contains_key(tags::CLUSTER) {
                    self.service = Lookup::Unowned(service.clone());
                }
            }
            Effect::PrincipalsChanged(id, change) => {
                if let Some(there) = self.principals.as_mut().filter(|_| self.service.is(id)) {
                    change(there);
                }
            }
            Effect::ConnectionsChanged(id, change) => {
                if let Some(there) = self.connections.as_mut().filter(|_| self.service.is(id)) {
                    change(there);
                }
            }
        }
    }
}

impl Lookup<ObservedEndpointService> {
    /// Whether it is this one, and ours.
    fn is(&self, id: &EndpointServiceId) -> bool {
        self.owned().is_some_and(|service| service.id == *id)
    }
}
