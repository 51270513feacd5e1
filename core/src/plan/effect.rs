//! The effect of a step on what was observed. The applier records it in the region's snapshot, and
//! [`simulate`](super::simulate()) in what it goes by, so that both see the same until AWS is read
//! again.

use super::{ResourceId, Step};
use crate::config_map::ObservedConfigMap;
use crate::ids::{EndpointId, GroupId};
use crate::names::ObservedDnsEndpoint;
use crate::observed::{Lookup, Observed, ObservedEndpoint, ObservedGroup, ObservedService, State};
use crate::slices::{KnownAddresses, ObservedSlice};
use crate::tags;

/// What AWS or the API server answered to a step that it carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done: all that these actions answer.
    Done,
    /// CreateVpcEndpoint describes the endpoint.
    Endpoint(ObservedEndpoint),
    /// CreateSecurityGroup: what was asked for, under the id that was answered.
    Group(ObservedGroup),
    /// The Service as the API server stores it.
    Service(ObservedService),
    /// The EndpointSlice as the API server stores it.
    Slice(ObservedSlice),
    /// The DNSEndpoint as the API server stores it.
    DnsEndpoint(ObservedDnsEndpoint),
    /// The ConfigMap as the API server stores it.
    ConfigMap(ObservedConfigMap),
}

/// What a step has changed.
pub enum Effect<'s> {
    /// Nothing that can be known before it is read.
    Unknown,
    /// There is a new endpoint.
    EndpointCreated(ObservedEndpoint),
    /// An endpoint has changed.
    EndpointChanged(&'s EndpointId, Change<'s, ObservedEndpoint>),
    /// There is a new security group.
    GroupCreated(ObservedGroup),
    /// A security group has changed.
    GroupChanged(&'s GroupId, Change<'s, ObservedGroup>),
    /// A security group is gone.
    GroupDeleted(&'s GroupId),
    /// There is a Service like this.
    ServicePublished(ObservedService),
    /// A Service of this name is gone.
    ServiceDeleted(&'s str),
    /// There is an EndpointSlice like this.
    SlicePublished(ObservedSlice),
    /// An EndpointSlice of this name is gone.
    SliceDeleted(&'s str),
    /// There is a DNSEndpoint like this.
    DnsEndpointPublished(ObservedDnsEndpoint),
    /// A DNSEndpoint of this name is gone.
    DnsEndpointDeleted(&'s str),
    /// There is a ConfigMap like this.
    ConfigMapPublished(ObservedConfigMap),
    /// The ConfigMap is gone.
    ConfigMapDeleted,
}

/// How a resource has changed.
pub type Change<'s, R> = Box<dyn FnOnce(&mut R) + 's>;

impl Step {
    /// What the step has changed when AWS or the API server has answered this to it.
    pub fn effect(&self, outcome: Outcome) -> Effect<'_> {
        match (outcome, self) {
            (Outcome::Endpoint(endpoint), _) => Effect::EndpointCreated(endpoint),
            (Outcome::Group(group), _) => Effect::GroupCreated(group),
            (Outcome::Service(service), _) => Effect::ServicePublished(service),
            (Outcome::Slice(slice), _) => Effect::SlicePublished(slice),
            (Outcome::DnsEndpoint(found), _) => Effect::DnsEndpointPublished(found),
            (Outcome::ConfigMap(found), _) => Effect::ConfigMapPublished(found),
            (
                Outcome::Done,
                Step::CreateEndpoint { .. }
                | Step::CreateGroup { .. }
                | Step::PublishService { .. }
                | Step::PublishSlice { .. }
                | Step::PublishDnsEndpoint { .. }
                | Step::PublishConfigMap { .. },
            ) => Effect::Unknown,
            (Outcome::Done, Step::ModifyEndpoint { id, change }) => changed_endpoint(id, |endpoint| {
                change.apply(endpoint);
                if change.takes_time() {
                    endpoint.state = State::Pending;
                }
            }),
            (Outcome::Done, Step::DeleteEndpoint(id)) => {
                changed_endpoint(id, |endpoint| endpoint.state = State::Deleting)
            }
            (
                Outcome::Done,
                Step::Authorize(id, direction, rules) | Step::UpdateRuleDescriptions(id, direction, rules),
            ) => changed_group(id, |group| group.set_rules(*direction, rules)),
            (Outcome::Done, Step::Revoke(id, direction, rules)) => {
                changed_group(id, |group| group.remove_rules(*direction, rules))
            }
            (Outcome::Done, Step::DeleteGroup(id)) => Effect::GroupDeleted(id),
            (Outcome::Done, Step::Tag(ResourceId::Endpoint(id), tags)) => {
                changed_endpoint(id, |endpoint| endpoint.tags.extend(tags.clone()))
            }
            (Outcome::Done, Step::Tag(ResourceId::Group(id), tags)) => {
                changed_group(id, |group| group.tags.extend(tags.clone()))
            }
            (Outcome::Done, Step::Untag(ResourceId::Endpoint(id), keys)) => {
                changed_endpoint(id, |endpoint| endpoint.tags.retain(|key, _| !keys.contains(key)))
            }
            (Outcome::Done, Step::Untag(ResourceId::Group(id), keys)) => {
                changed_group(id, |group| group.tags.retain(|key, _| !keys.contains(key)))
            }
            (Outcome::Done, Step::DeleteService(name)) => Effect::ServiceDeleted(name),
            (Outcome::Done, Step::DeleteSlice(name)) => Effect::SliceDeleted(name),
            (Outcome::Done, Step::DeleteDnsEndpoint(name)) => Effect::DnsEndpointDeleted(name),
            (Outcome::Done, Step::DeleteConfigMap(_)) => Effect::ConfigMapDeleted,
        }
    }
}

fn changed_endpoint<'s>(id: &'s EndpointId, change: impl FnOnce(&mut ObservedEndpoint) + 's) -> Effect<'s> {
    Effect::EndpointChanged(id, Box::new(change))
}

fn changed_group<'s>(id: &'s GroupId, change: impl FnOnce(&mut ObservedGroup) + 's) -> Effect<'s> {
    Effect::GroupChanged(id, Box::new(change))
}

impl Observed {
    /// Takes in what a step has changed.
    pub fn record(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Unknown => {}
            Effect::EndpointCreated(endpoint) => {
                self.endpoint = Lookup::Owned(endpoint);
                self.addresses = KnownAddresses::Unknown;
            }
            Effect::EndpointChanged(id, change) => {
                if let Some(endpoint) = self.own_endpoint(id) {
                    change(endpoint);
                }
                let endpoint = self.endpoint.owned();
                if endpoint.is_none_or(|endpoint| endpoint.state != State::Available) {
                    self.addresses = KnownAddresses::Unknown;
                }
                self.spare_endpoints
                    .retain(|endpoint| endpoint.tags.contains_key(tags::CLUSTER));
                disown(&mut self.endpoint, |endpoint| endpoint.tags.contains_key(tags::CLUSTER));
            }
            Effect::GroupCreated(group) => self.group = Lookup::Owned(group),
            Effect::GroupChanged(id, change) => {
                if let Lookup::Owned(group) = &mut self.group
                    && group.id == *id
                {
                    change(group);
                }
                disown(&mut self.group, |group| group.tags.contains_key(tags::CLUSTER));
            }
            Effect::GroupDeleted(id) => {
                if self.group.owned().is_some_and(|group| group.id == *id) {
                    self.group = Lookup::Deleted;
                }
            }
            Effect::ServicePublished(published) => {
                self.services.retain(|service| service.name != published.name);
                self.services.push(published);
            }
            Effect::ServiceDeleted(name) => self.services.retain(|service| service.name != name),
            Effect::SlicePublished(published) => {
                self.slices.retain(|slice| slice.name != published.name);
                self.slices.push(published);
            }
            Effect::SliceDeleted(name) => self.slices.retain(|slice| slice.name != name),
            Effect::DnsEndpointPublished(published) => {
                self.names.endpoints.retain(|found| found.name != published.name);
                self.names.endpoints.push(published);
            }
            Effect::DnsEndpointDeleted(name) => self.names.endpoints.retain(|found| found.name != name),
            Effect::ConfigMapPublished(published) => self.config_map = Some(published),
            Effect::ConfigMapDeleted => self.config_map = None,
        }
    }

    fn own_endpoint(&mut self, id: &EndpointId) -> Option<&mut ObservedEndpoint> {
        match &mut self.endpoint {
            Lookup::Owned(endpoint) if endpoint.id == *id => Some(endpoint),
            _ => self.spare_endpoints.iter_mut().find(|endpoint| endpoint.id == *id),
        }
    }
}

/// Without the owner's tags it is no longer the owner's.
fn disown<R: Clone>(lookup: &mut Lookup<R>, has_owner: impl FnOnce(&R) -> bool) {
    if let Lookup::Owned(resource) = lookup
        && !has_owner(resource)
    {
        *lookup = Lookup::Unowned(resource.clone());
    }
}
