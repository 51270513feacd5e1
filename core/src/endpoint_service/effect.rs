//! The effect of a step on what was observed. The applier records it, and so does
//! [`simulate`](super::simulate()), so that both see the same until AWS is read again.

use std::collections::BTreeSet;

use super::observed::{Observed, ObservedEndpointService};
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
    Changed(
        &'s EndpointServiceId,
        Box<dyn FnOnce(&mut ObservedEndpointService) + 's>,
    ),
    /// Other principals are allowed: these, and no longer those.
    PrincipalsChanged(&'s BTreeSet<String>, &'s BTreeSet<String>),
    /// The connections of these endpoints are in this state, but for those of the second set.
    ConnectionsChanged(&'s BTreeSet<EndpointId>, BTreeSet<EndpointId>, State),
}

impl Step {
    /// What the step has changed when AWS has answered this to it.
    pub fn effect(&self, outcome: Outcome) -> Effect<'_> {
        fn changed<'s>(
            id: &'s EndpointServiceId,
            change: impl FnOnce(&mut ObservedEndpointService) + 's,
        ) -> Effect<'s> {
            Effect::Changed(id, Box::new(change))
        }
        let except = match outcome {
            Outcome::Created(service) => return Effect::Created(service),
            Outcome::Done => BTreeSet::new(),
            Outcome::DoneBut(except) => except,
        };
        match self {
            Self::Create { .. } => Effect::Unknown,
            Self::Modify(id, change) => changed(id, |service| change.apply(service)),
            Self::ModifyPermissions { id: _, add, remove } => Effect::PrincipalsChanged(add, remove),
            Self::Accept(_, endpoints) => Effect::ConnectionsChanged(endpoints, except, State::Pending),
            Self::Reject(_, endpoints) => Effect::ConnectionsChanged(endpoints, except, State::Rejected),
            Self::Tag(id, tags) => changed(id, |service| service.tags.extend(tags.clone())),
            Self::Untag(id, keys) => changed(id, |service| service.tags.retain(|key, _| !keys.contains(key))),
            Self::Delete(id) => changed(id, |service| service.state = State::Deleting),
        }
    }
}

impl ServiceChange {
    fn apply(&self, service: &mut ObservedEndpointService) {
        match self {
            Self::AddLoadBalancers(_, arns) => service.load_balancers.extend(arns.iter().cloned()),
            Self::RemoveLoadBalancers(_, arns) => service.load_balancers.retain(|arn| !arns.contains(arn)),
            Self::AcceptanceRequired(required) => service.acceptance_required = *required,
            Self::AddAddressTypes(types) => service.address_types.extend(types),
            Self::RemoveAddressTypes(types) => service.address_types.retain(|type_| !types.contains(type_)),
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
            Effect::PrincipalsChanged(add, remove) => {
                if let Some(there) = &mut self.principals {
                    there.retain(|principal| !remove.contains(principal));
                    there.extend(add.iter().cloned());
                }
            }
            Effect::ConnectionsChanged(endpoints, except, state) => {
                let all = self.connections.iter_mut().flatten();
                let changed = all.filter(|one| endpoints.contains(&one.endpoint) && !except.contains(&one.endpoint));
                for connection in changed {
                    connection.state = state.clone();
                }
            }
        }
    }
}
