//! The custom resources: what a platform team and an app team write, and what they read back.

mod account;
mod bound;
mod bound_service;
mod crd;
mod dns_name;
mod endpoint;
mod endpoint_service;
mod endpoint_service_status;
mod forms;
mod lean;
mod network;
mod rule;
mod service;
mod share;
mod status;
mod watched;

pub use account::{AWSAccount, AWSAccountSpec, AWSAccountStatus, OrphansStatus};
pub use crd::{bound_kinds, crds};
pub use dns_name::DnsName;
pub use endpoint::{
    DeletionPolicy, DnsOptions, DnsRecordIpType, EndpointType, IpAddressType, ManagementPolicy, PolicyDocument,
    PrivateDnsPreference, SecurityGroupType, SubnetConfiguration, VPCEndpoint, VPCEndpointSpec,
};
pub use endpoint_service::{
    AddressType, ConnectionsOnDelete, Consumers, LoadBalancer, LoadBalancerType, ServiceReference, VPCEndpointService,
    VPCEndpointServiceSpec,
};
pub use endpoint_service_status::{ConnectionStatus, ConnectionsStatus, PrivateDnsStatus, VPCEndpointServiceStatus};
pub use lean::MOST_FINALIZERS;
pub use network::{AccountNetworkStatus, Network, NetworkStatus, NetworkSubnet};
pub use rule::CustomRule;
pub use service::{PublishedService, ServicePort, ServiceProtocol, ServiceSpec, ServiceType};
pub use share::{EndpointRef, EndpointServiceRef, OnDelete, Share};
pub use status::{AcceptedAddresses, AccountBinding, EndpointAddress, LegacyStatus, VPCEndpointStatus};
pub use watched::{Kind, Unparsed, Watched};

/// The API group of every kind, and the prefix of every key that is ours.
pub const GROUP: &str = "silvermullet.com";
/// Holds a VPCEndpoint until what it made in AWS is gone.
pub const ENDPOINT_FINALIZER: &str = "silvermullet.com/vpce";
/// Holds a VPCEndpointService until what it made in AWS is gone.
pub const ENDPOINT_SERVICE_FINALIZER: &str = "silvermullet.com/vpcesvc";
/// Holds an AWSAccount while objects are bound to it.
pub const ACCOUNT_FINALIZER: &str = "silvermullet.com/awsaccount";
/// The finalizer of the Python operator (kopf), which an object carries until it is brought over.
pub const KOPF_FINALIZER: &str = "kopf.zalando.org/KopfFinalizerMarker";
/// The start of the annotations that kopf keeps its state in.
pub const KOPF_ANNOTATION_PREFIX: &str = "kopf.zalando.org/";
/// Asks for a resync now; any new value will do.
pub const RECONCILE_AT: &str = "silvermullet.com/reconcile-at";
/// On an AWSAccount: the id of a paused creation that a person has checked and resumes.
pub const RESUME_CREATION: &str = "silvermullet.com/resume-creation";
/// On a Service: the keys of the labels and annotations that were set for the user, as JSON.
pub const APPLIED_METADATA: &str = "silvermullet.com/applied-metadata";
/// Who writes, in `managedFields`.
pub const FIELD_MANAGER: &str = "vpce-operator";
