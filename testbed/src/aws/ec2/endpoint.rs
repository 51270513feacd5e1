//! What a VPC endpoint is.

use std::collections::BTreeSet;

use super::options::{DnsOptions, IpAddressType};
use super::tags::Tags;
use crate::aws::clock::Seconds;

/// A VPC endpoint's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// Waits for the service's owner to accept it.
    PendingAcceptance,
    /// Being made, or being changed.
    Pending,
    /// Usable.
    Available,
    /// Being deleted.
    Deleting,
    /// Gone; still described for a while.
    Deleted,
    /// The service's owner said no.
    Rejected,
    /// Could not be made.
    Failed,
    /// Was not accepted in time.
    Expired,
    /// Some of its subnets work.
    Partial,
}

impl EndpointState {
    /// As it stands on the wire: lowerCamel, unlike in the API model.
    pub fn wire(self) -> &'static str {
        match self {
            Self::PendingAcceptance => "pendingAcceptance",
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Partial => "partial",
        }
    }
}

/// What an endpoint says of why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// An error code.
    pub code: String,
    /// An error message.
    pub message: String,
}

/// `VpcEndpointType`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointType {
    /// Interfaces in subnets, for a service of AWS or of a customer.
    Interface,
    /// Routes in route tables.
    Gateway,
    /// An interface in one subnet, for a service behind a Gateway Load Balancer.
    GatewayLoadBalancer,
    /// Interfaces in subnets, for a resource configuration of VPC Lattice.
    Resource,
    /// Interfaces in subnets, for a service network of VPC Lattice.
    ServiceNetwork,
}

impl EndpointType {
    /// As it stands on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Interface => "Interface",
            Self::Gateway => "Gateway",
            Self::GatewayLoadBalancer => "GatewayLoadBalancer",
            Self::Resource => "Resource",
            Self::ServiceNetwork => "ServiceNetwork",
        }
    }

    /// Whether it leads to something of VPC Lattice and not to a service.
    pub(crate) fn is_lattice(self) -> bool {
        matches!(self, Self::Resource | Self::ServiceNetwork)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) kind: EndpointType,
    pub(crate) vpc_id: String,
    /// Empty where it leads to something of VPC Lattice.
    pub(crate) service_name: String,
    /// The resource configuration or the service network that it leads to instead.
    pub(crate) lattice_arn: Option<String>,
    /// The region that its service is hosted in.
    pub(crate) service_region: String,
    pub(crate) state: EndpointState,
    /// When `Pending` or `Deleting` is over.
    pub(crate) due: Option<Seconds>,
    /// Whether `Pending` is a modification's, not the creation's.
    pub(crate) modifying: bool,
    /// Until when a deleted one is still described.
    pub(crate) described_until: Option<Seconds>,
    /// From when on it has DNS names, if it was available once.
    pub(crate) named_at: Option<Seconds>,
    /// Whether an AWS service made it for itself: its account cannot change it.
    pub(crate) requester_managed: bool,
    pub(crate) subnet_ids: BTreeSet<String>,
    pub(crate) group_ids: BTreeSet<String>,
    pub(crate) route_table_ids: BTreeSet<String>,
    pub(crate) private_dns: bool,
    pub(crate) ip_address_type: IpAddressType,
    pub(crate) dns_options: DnsOptions,
    pub(crate) policy: String,
    pub(crate) tags: Tags,
    pub(crate) created: Seconds,
    pub(crate) last_error: Option<LastError>,
    /// Why it fails when `Pending` is over, if it does.
    pub(crate) fails_with: Option<LastError>,
    /// The eight random characters in its DNS names.
    pub(crate) dns_label: String,
}

impl Endpoint {
    pub(crate) fn is_deleted(&self) -> bool {
        self.state == EndpointState::Deleted
    }

    /// The service's owner accepts the connection, which becomes available at `due`. Says whether
    /// its state allows it: it waits, or was rejected.
    pub(crate) fn accept(&mut self, due: Seconds) -> bool {
        let allowed = matches!(self.state, EndpointState::PendingAcceptance | EndpointState::Rejected);
        if allowed {
            self.state = EndpointState::Pending;
            self.due = Some(due);
            self.last_error = None;
        }
        allowed
    }

    /// The service's owner rejects the connection, which may have been in use. Says whether its
    /// state allows it.
    pub(crate) fn reject(&mut self) -> bool {
        let allowed = matches!(
            self.state,
            EndpointState::PendingAcceptance | EndpointState::Pending | EndpointState::Available
        );
        if allowed {
            self.state = EndpointState::Rejected;
            self.due = None;
            self.modifying = false;
            self.last_error = None;
        }
        allowed
    }
}
