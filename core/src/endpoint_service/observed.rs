//! What AWS holds for a VPCEndpointService.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::api::{AddressType, LoadBalancerType};
use crate::ids::{EndpointId, EndpointServiceId};
use crate::observed::{Lookup, State};

/// An endpoint service as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedEndpointService {
    /// Its id.
    pub id: EndpointServiceId,
    /// The name by which endpoints connect to it.
    pub name: String,
    /// Its state.
    pub state: State,
    /// The type of its load balancers.
    pub load_balancer_type: LoadBalancerType,
    /// The ARNs of its load balancers.
    pub load_balancers: BTreeSet<String>,
    /// Whether connections wait until they are accepted.
    pub acceptance_required: bool,
    /// The families of addresses that endpoints may have.
    pub address_types: BTreeSet<AddressType>,
    /// The zones that endpoints can be in, by their ids.
    pub zone_ids: Vec<String>,
    /// What the DNS names of endpoints end with.
    pub dns_names: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl ObservedEndpointService {
    /// As CreateVpcEndpointServiceConfiguration makes one.
    pub fn created(
        id: EndpointServiceId,
        load_balancer_type: LoadBalancerType,
        load_balancers: &BTreeSet<String>,
        acceptance_required: bool,
        address_types: &BTreeSet<AddressType>,
        tags: &BTreeMap<String, String>,
    ) -> Self {
        Self {
            name: id.to_string(),
            id,
            state: State::Pending,
            load_balancer_type,
            load_balancers: load_balancers.clone(),
            acceptance_required,
            address_types: address_types.clone(),
            zone_ids: Vec::new(),
            dns_names: Vec::new(),
            tags: tags.clone(),
        }
    }
}

/// An endpoint that is connected, or wants to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The endpoint, in the account of its owner.
    pub endpoint: EndpointId,
    /// The AWS account of the endpoint, as EC2 says it: by its id.
    pub owner: String,
    /// The state of the endpoint.
    pub state: State,
}

impl Connection {
    /// Whether it carries traffic, or will unless it is rejected.
    pub fn is_live(&self) -> bool {
        match self.state {
            State::Available | State::Pending | State::Partial => true,
            // Nothing comes of these by themselves.
            State::PendingAcceptance
            | State::Deleting
            | State::Deleted
            | State::Rejected
            | State::Failed
            | State::Expired
            | State::Other(_) => false,
        }
    }

    /// Whether AWS refuses to delete the service for it, or will.
    pub fn blocks_deletion(&self) -> bool {
        self.is_live() || self.state == State::PendingAcceptance
    }
}

/// All that was found for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its endpoint service.
    pub service: Lookup<ObservedEndpointService>,
    /// The principals that are allowed; none while they have not been read.
    pub principals: Option<BTreeSet<String>>,
    /// The connections; none while they have not been read.
    pub connections: Option<Vec<Connection>>,
}

impl Observed {
    /// There is nothing.
    pub fn nothing() -> Self {
        Self {
            service: Lookup::Absent,
            principals: None,
            connections: None,
        }
    }
}
