//! What a cache holds: endpoints, security groups and endpoint services, as EC2 describes them.

use std::collections::BTreeMap;
use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vpce_core::endpoint_service::ObservedEndpointService;
use vpce_core::ids::{EndpointId, EndpointServiceId, GroupId};
use vpce_core::observed::{ObservedEndpoint, ObservedGroup, State};
use vpce_core::orphans::{ResourceKind, Unclaimed};
use vpce_core::tags::Clusters;

/// What EC2 describes, with an id and tags.
pub(crate) trait Resource: Clone + Serialize + DeserializeOwned {
    /// Its id.
    type Id: Clone + Eq + Hash + Ord + AsStr;
    /// Its kind.
    const KIND: ResourceKind;
    /// What is kept of it where no object claims it; nothing of what is deleted.
    fn summary(&self, clusters: &Clusters) -> Option<Unclaimed>;
    fn id(&self) -> Self::Id;
    fn tags(&self) -> &BTreeMap<String, String>;
    /// Whether EC2 still describes it, as deleted.
    fn is_gone(&self) -> bool;
    /// Whether AWS is at work on it, so that it is worth reading again soon.
    fn is_transitional(&self) -> bool;
    /// Whether AWS has agreed to delete it, so that a read that does not return it may be believed
    /// sooner.
    fn is_leaving(&self) -> bool;
    /// Takes over what a read may say while our own write is not consistent: EC2 is eventually
    /// consistent, so a read may show what was there before it.
    fn merge_inconsistent(&mut self, read: Self);
}

/// An id as EC2 spells it.
pub(crate) trait AsStr {
    /// The id.
    fn as_str(&self) -> &str;
}

impl AsStr for EndpointId {
    fn as_str(&self) -> &str {
        EndpointId::as_str(self)
    }
}

impl AsStr for GroupId {
    fn as_str(&self) -> &str {
        GroupId::as_str(self)
    }
}

impl AsStr for EndpointServiceId {
    fn as_str(&self) -> &str {
        EndpointServiceId::as_str(self)
    }
}

impl Resource for ObservedEndpoint {
    type Id = EndpointId;
    const KIND: ResourceKind = ResourceKind::Endpoint;

    fn summary(&self, clusters: &Clusters) -> Option<Unclaimed> {
        Unclaimed::endpoint(clusters, self)
    }

    fn id(&self) -> EndpointId {
        self.id.clone()
    }

    fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    fn is_gone(&self) -> bool {
        self.state == State::Deleted
    }

    fn is_transitional(&self) -> bool {
        self.state.is_transitional()
    }

    fn is_leaving(&self) -> bool {
        self.state == State::Deleting
    }

    fn merge_inconsistent(&mut self, read: Self) {
        // While AWS adds or removes subnets, the endpoint is pending: a read without our change may
        // call it available.
        let subnets = |resource: &Self| resource.interface().map(|interface| interface.subnets.clone());
        let knows_our_change = self.state != State::Deleting && subnets(self) == subnets(&read);
        if knows_our_change || matches!(read.state, State::Deleting | State::Deleted) {
            self.state = read.state;
        }
        self.dns_names = read.dns_names;
        self.interfaces = read.interfaces;
        self.last_error = read.last_error;
    }
}

impl Resource for ObservedGroup {
    type Id = GroupId;
    const KIND: ResourceKind = ResourceKind::Group;

    fn summary(&self, clusters: &Clusters) -> Option<Unclaimed> {
        Some(Unclaimed::group(clusters, self))
    }

    fn id(&self) -> GroupId {
        self.id.clone()
    }

    fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn is_transitional(&self) -> bool {
        false
    }

    fn is_leaving(&self) -> bool {
        false
    }

    fn merge_inconsistent(&mut self, _: Self) {}
}

impl Resource for ObservedEndpointService {
    type Id = EndpointServiceId;
    const KIND: ResourceKind = ResourceKind::EndpointService;

    fn summary(&self, clusters: &Clusters) -> Option<Unclaimed> {
        Unclaimed::endpoint_service(clusters, self)
    }

    fn id(&self) -> EndpointServiceId {
        self.id.clone()
    }

    fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    fn is_gone(&self) -> bool {
        self.state == State::Deleted
    }

    fn is_transitional(&self) -> bool {
        self.state.is_transitional()
    }

    fn is_leaving(&self) -> bool {
        self.state == State::Deleting
    }

    fn merge_inconsistent(&mut self, read: Self) {
        if self.state != State::Deleting || read.state == State::Deleted {
            self.state = read.state;
        }
        self.zone_ids = read.zone_ids;
        self.dns_names = read.dns_names;
    }
}
