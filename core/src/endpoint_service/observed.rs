//! What AWS holds for a VPCEndpointService.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
    /// Its private DNS name, if it has one.
    pub private_dns: Option<Box<PrivateDns>>,
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
        private_dns_name: Option<&str>,
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
            private_dns: private_dns_name.map(PrivateDns::unverified).map(Box::new),
            tags: tags.clone(),
        }
    }
}

/// A private DNS name, and how its verification stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateDns {
    /// The name.
    pub name: String,
    /// How it stands.
    pub state: Verification,
    /// The type, the name relative to the domain, and the value of the record that verifies it;
    /// none where EC2 does not say so yet.
    pub record: Option<(String, String, String)>,
}

/// How the verification of a private DNS name stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// The record was not found yet.
    Pending,
    /// It was.
    Verified,
    /// It was looked for in vain.
    Failed,
    /// A state that EC2's reference did not list when this was written.
    Other(String),
}

impl Verification {
    /// Reads what EC2 says.
    pub fn parse(text: &str) -> Self {
        match text {
            "pendingVerification" => Self::Pending,
            "verified" => Self::Verified,
            "failed" => Self::Failed,
            _ => Self::Other(text.to_owned()),
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pendingVerification",
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Other(text) => text,
        })
    }
}

impl PrivateDns {
    /// One that was just set.
    pub fn unverified(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Verification::Pending,
            record: None,
        }
    }

    /// The full name of the record: EC2 names it relative to the domain, which of a wildcard is
    /// what it stands below.
    pub fn record_name(&self) -> Option<String> {
        let (_, name, _) = self.record.as_ref()?;
        let domain = self.name.strip_prefix("*.").unwrap_or(&self.name);
        Some(format!("{name}.{domain}"))
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
