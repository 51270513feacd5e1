//! VPCEndpoint: a private connection from a namespace's AWS account to a service.
#![allow(clippy::duplicated_attributes)] // Every printcolumn has a type_; the lint takes them for one attribute.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dns_name::DnsName;
use super::forms;
use super::rule::CustomRule;
use super::service::ServiceSpec;
use super::share::{EndpointRef, EndpointServiceRef, Share};
use super::status::VPCEndpointStatus;

/// Which service the endpoint connects to, where it is, who may connect, and under which name.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "silvermullet.com",
    version = "v1beta1",
    kind = "VPCEndpoint",
    plural = "vpcendpoints",
    shortname = "vpce",
    shortname = "vpces",
    namespaced,
    status = "VPCEndpointStatus",
    derive = "PartialEq",
    doc = "A VPC endpoint in the AWS account of its namespace, and the Service that points to it.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "The state of the endpoint in AWS"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Service", type_ = "string", json_path = ".status.service.name", description = "The Service to connect to"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.account.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Type", type_ = "string", priority = 1, json_path = ".status.vpc_endpoint_type"),
    printcolumn(name = "Endpoint", type_ = "string", priority = 1, json_path = ".status.vpc_endpoint_id"),
    printcolumn(name = "Region", type_ = "string", priority = 1, json_path = ".status.region"),
    // Ready stands first among the conditions: its message, where it is false.
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.status=="False")].message"#, description = "What stands in the way"),
    selectable = ".status.account.name",
    selectable = ".status.state",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$') || (has(self.spec.service) && (has(self.spec.service.name) || self.spec.service.type == 'None'))")
        .message("metadata.name cannot name a Service (it must be a DNS label: at most 63 lower-case letters, digits and '-', starting with a letter): set spec.service.name, or spec.service.type None")
)]
// A rule that cannot be evaluated refuses every later write of the object, of its status and its
// finalizers too: what was stored and is unchanged passes only where the rule is false. So the
// rules bear that a required field is missing, as it may be in an object that was stored under
// another schema; and none asks for subnet_ids of an interface endpoint, not even whether they are
// there, since they may be no list. A policy_document, which is an object or a string, no rule can
// see: `desired` says what is wrong with it.
#[x_kube(
    validation = Rule::new("!has(self.security_group_type) || self.security_group_type != 'provided' || size(self.security_group_ids) > 0").message("security_group_type provided needs security_group_ids").field_path(".security_group_ids"),
    validation = Rule::new("!has(self.security_group_type) || self.security_group_type != 'custom' || size(self.security_group_ids) == 0").message("security_group_ids go with security_group_type provided, not with custom").field_path(".security_group_ids"),
    validation = Rule::new("!has(self.security_group_type) || self.security_group_type == 'custom' || (!has(self.security_group_ingress) && !has(self.security_group_egress))").message("security_group_ingress and security_group_egress go with security_group_type custom only"),
    validation = Rule::new("!has(self.network) || !has(self.vpc_id)").message("network stands in place of vpc_id and subnet_ids: give one or the other").field_path(".network").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.vpc_endpoint_ref) || !(has(self.region) || has(self.network) || has(self.vpc_id) || has(self.vpc_endpoint_type) || has(self.subnet_ids) || has(self.vpc_endpoint_service_id) || has(self.vpc_endpoint_service_ref) || has(self.service_region) || has(self.resource_configuration_arn) || has(self.service_network_arn) || has(self.route_table_ids) || has(self.subnet_configurations) || has(self.security_group_type) || size(self.security_group_ids) > 0 || has(self.security_group_ingress) || has(self.security_group_egress) || has(self.private_dns_enabled) || has(self.ip_address_type) || has(self.dns_options) || has(self.account) || has(self.tags) || has(self.deletion_policy) || has(self.vpc_endpoint_id) || has(self.management_policy) || has(self.share))").message("an object with vpc_endpoint_ref shares the endpoint of another, and has none of its own: beside vpc_endpoint_ref, give service, dns_names and publish_config_map only").field_path(".vpc_endpoint_ref").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.vpc_endpoint_ref) == has(oldSelf.vpc_endpoint_ref)").message("an object either shares another's endpoint (vpc_endpoint_ref) or has one of its own, which cannot change: delete it, and apply it again").field_path(".vpc_endpoint_ref"),
    validation = Rule::new("!has(self.vpc_endpoint_service_ref) || (!has(self.vpc_endpoint_service_id) && !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Gateway', 'Resource', 'ServiceNetwork']))").message("vpc_endpoint_service_ref takes the place of vpc_endpoint_service_id, for endpoints of type Interface and GatewayLoadBalancer").field_path(".vpc_endpoint_service_ref").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.vpc_endpoint_service_id) || has(self.vpc_endpoint_service_ref) || has(self.vpc_endpoint_ref) || (has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Resource', 'ServiceNetwork'])").message("the service to connect to").field_path(".vpc_endpoint_service_id").reason(Reason::FieldValueRequired),
    validation = Rule::new("!has(self.vpc_endpoint_service_id) || !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Resource', 'ServiceNetwork'])").message("endpoints of type Resource and ServiceNetwork have resource_configuration_arn and service_network_arn instead").field_path(".vpc_endpoint_service_id").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.resource_configuration_arn) || !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type == 'Resource')").message("the resource configuration that an endpoint of type Resource connects to").field_path(".resource_configuration_arn").reason(Reason::FieldValueRequired),
    validation = Rule::new("!has(self.resource_configuration_arn) || (has(self.vpc_endpoint_type) && self.vpc_endpoint_type == 'Resource')").message("resource_configuration_arn goes with vpc_endpoint_type Resource only").field_path(".resource_configuration_arn").reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.service_network_arn) || !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type == 'ServiceNetwork')").message("the service network that an endpoint of type ServiceNetwork connects to").field_path(".service_network_arn").reason(Reason::FieldValueRequired),
    validation = Rule::new("!has(self.service_network_arn) || (has(self.vpc_endpoint_type) && self.vpc_endpoint_type == 'ServiceNetwork')").message("service_network_arn goes with vpc_endpoint_type ServiceNetwork only").field_path(".service_network_arn").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.subnet_configurations) || !has(self.vpc_endpoint_type) || self.vpc_endpoint_type == 'Interface'").message("subnet_configurations go with vpc_endpoint_type Interface only").field_path(".subnet_configurations").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.service_region) || !has(self.vpc_endpoint_type) || self.vpc_endpoint_type == 'Interface'").message("service_region goes with vpc_endpoint_type Interface only").field_path(".service_region").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.route_table_ids) || (has(self.vpc_endpoint_type) && self.vpc_endpoint_type == 'Gateway')").message("route_table_ids go with vpc_endpoint_type Gateway only; other types have subnet_ids").field_path(".route_table_ids").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!(has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Gateway', 'GatewayLoadBalancer']) || (!has(self.security_group_type) && size(self.security_group_ids) == 0)").message("endpoints of type Gateway and GatewayLoadBalancer have no security groups: leave out security_group_type and what goes with it").field_path(".security_group_type").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!(has(self.private_dns_enabled) && self.private_dns_enabled) || !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Gateway', 'GatewayLoadBalancer'])").message("endpoints of type Gateway and GatewayLoadBalancer have no private DNS").field_path(".private_dns_enabled").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!(has(self.vpc_endpoint_type) && self.vpc_endpoint_type == 'Gateway') || !has(self.subnet_ids)").message("endpoints of type Gateway are in route tables, not in subnets: set route_table_ids").field_path(".subnet_ids").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!(has(self.vpc_endpoint_type) && self.vpc_endpoint_type == 'GatewayLoadBalancer') || !has(self.subnet_ids) || size(self.subnet_ids) == 1").message("an endpoint of type GatewayLoadBalancer is in exactly one subnet: apply one object for each zone").field_path(".subnet_ids"),
    validation = Rule::new("!has(self.service) || self.service.type != 'Headless' || !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Gateway', 'GatewayLoadBalancer', 'ServiceNetwork'])").message("service.type Headless needs network interfaces whose addresses clients connect to, which endpoints of type Gateway, GatewayLoadBalancer and ServiceNetwork do not have: leave out service").field_path(".service.type").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.service) || self.service.type in ['None', 'Headless'] || !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Gateway', 'GatewayLoadBalancer', 'ServiceNetwork'])").message("endpoints of type Gateway, GatewayLoadBalancer and ServiceNetwork have no DNS name that a Service could point to: leave out service").field_path(".service").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.dns_names) || !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Gateway', 'GatewayLoadBalancer', 'ServiceNetwork'])").message("endpoints of type Gateway, GatewayLoadBalancer and ServiceNetwork have no DNS name that dns_names could lead to").field_path(".dns_names").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.dns_options) || !(has(self.vpc_endpoint_type) && self.vpc_endpoint_type == 'GatewayLoadBalancer')").message("endpoints of type GatewayLoadBalancer have no DNS names").field_path(".dns_options").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.dns_options) || !has(self.dns_options.private_dns_only_for_inbound_resolver_endpoint) || ((!has(self.vpc_endpoint_type) || self.vpc_endpoint_type == 'Interface') && has(self.private_dns_enabled) && self.private_dns_enabled)").message("private_dns_only_for_inbound_resolver_endpoint goes with vpc_endpoint_type Interface and private_dns_enabled: true").field_path(".dns_options.private_dns_only_for_inbound_resolver_endpoint").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.dns_options) || !has(self.dns_options.private_dns_preference) || ((has(self.vpc_endpoint_type) && self.vpc_endpoint_type in ['Resource', 'ServiceNetwork']) && has(self.private_dns_enabled) && self.private_dns_enabled)").message("private_dns_preference goes with vpc_endpoint_type Resource or ServiceNetwork and private_dns_enabled: true").field_path(".dns_options.private_dns_preference").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.dns_options) || !has(self.dns_options.dns_record_ip_type) || (has(self.ip_address_type) ? (self.ip_address_type == 'dualstack' || self.ip_address_type == self.dns_options.dns_record_ip_type) : self.dns_options.dns_record_ip_type == 'ipv4')").message("dns_record_ip_type must fit ip_address_type: dualstack takes ipv4, ipv6, dualstack and service-defined; ipv4 takes ipv4, and ipv6 takes ipv6").field_path(".dns_options.dns_record_ip_type"),
    validation = Rule::new("!has(self.management_policy) || self.management_policy != 'Observe' || has(self.vpc_endpoint_id)").message("management_policy Observe needs vpc_endpoint_id: the endpoint to observe").field_path(".vpc_endpoint_id").reason(Reason::FieldValueRequired)
)]
pub struct VPCEndpointSpec {
    /// The AWS region, such as `eu-west-1`. Without it, the AWSAccount's `default_region`. Until
    /// there is an endpoint (`status.vpc_endpoint_id`) it can be edited; after that it is
    /// immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::Region>")]
    pub region: Option<String>,

    /// The network of the AWSAccount that the endpoint is in, to connect from: its VPC, and of its
    /// subnets one in each availability zone that the service is in. `status.network` says which.
    /// In its place, `vpc_id` and `subnet_ids` can name them. Default: the AWSAccount's
    /// `default_network`. Once there is an endpoint (`status.vpc_endpoint_id`), another network
    /// must be in the same VPC, which AWS fixes at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::NetworkName>")]
    pub network: Option<String>,

    /// The VPC that the endpoint is in, to connect from: `vpc-...`; in place of `network`. Until
    /// there is an endpoint (`status.vpc_endpoint_id`) it can be edited; after that it is
    /// immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::VpcId>")]
    pub vpc_id: Option<String>,

    /// The type of the endpoint, as EC2 spells it. `Interface` (the default): network interfaces
    /// for a service (AWS PrivateLink); `Gateway`: routes for S3 or DynamoDB in `route_table_ids`,
    /// free of charge; `GatewayLoadBalancer`: a network interface in one subnet, which routes lead
    /// to; `Resource`: network interfaces for a resource configuration of VPC Lattice;
    /// `ServiceNetwork`: for a service network of VPC Lattice. Until there is an endpoint
    /// (`status.vpc_endpoint_id`) it can be edited; after that it is immutable.
    // No default in the schema: what is stored without it reads as it was written.
    #[serde(default, skip_serializing_if = "EndpointType::is_default")]
    pub vpc_endpoint_type: EndpointType,

    /// With `vpc_id`: subnets of the VPC, at least one and at most one in an availability zone: the
    /// endpoint gets a network interface in each, which is what clients reach. The type
    /// `GatewayLoadBalancer` has exactly one, which is immutable once there is an endpoint; the
    /// type `Gateway` has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<forms::SubnetId>", length(min = 1, max = 16))]
    pub subnet_ids: Vec<String>,

    /// The service to connect to: of AWS's own services the short name (`ecr.api`, `s3`), which is
    /// completed with the region; of endpoint services the id (`vpce-svc-...`); or the full name
    /// (`com.amazonaws.<region>.<service>`, `com.amazonaws.vpce.<region>.vpce-svc-...`). Until
    /// there is an endpoint (`status.vpc_endpoint_id`) it can be edited; after that it is
    /// immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::EndpointService>")]
    pub vpc_endpoint_service_id: Option<String>,

    /// In place of `vpc_endpoint_service_id`: a VPCEndpointService of this cluster, which has this
    /// namespace among its `consumers`, or is in it. The AWS account of the endpoint is allowed to
    /// connect, and the connection is accepted. Until there is an endpoint
    /// (`status.vpc_endpoint_id`) it can be edited; after that it is immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_endpoint_service_ref: Option<Box<EndpointServiceRef>>,

    /// The region of the service, where it is another than the endpoint's (cross-region
    /// PrivateLink). The service must be offered to the endpoint's region, both AWS accounts must
    /// have enabled the regions, and the AWSAccount must allow it (`allowed_service_regions`). AWS
    /// bills for the data transfer between the regions. Default: the endpoint's own region. Until
    /// there is an endpoint (`status.vpc_endpoint_id`) it can be edited; after that it is
    /// immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::Region>")]
    pub service_region: Option<String>,

    /// With the type `Resource`: the resource configuration of VPC Lattice to connect to, by its
    /// ARN. One of another AWS account must be shared with this one (AWS RAM). Until there is an
    /// endpoint (`status.vpc_endpoint_id`) it can be edited; after that it is immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::ResourceConfigurationArn>")]
    pub resource_configuration_arn: Option<String>,

    /// With the type `ServiceNetwork`: the service network of VPC Lattice to connect to, by its
    /// ARN. Until there is an endpoint (`status.vpc_endpoint_id`) it can be edited; after that it
    /// is immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::ServiceNetworkArn>")]
    pub service_network_arn: Option<String>,

    /// With the type `Gateway`: the route tables that get a route to the service. A table that is
    /// taken out of the list loses its route; routes that others added stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<forms::RouteTableId>>", length(max = 200))]
    pub route_table_ids: Option<Vec<String>>,

    /// The addresses of the endpoint's network interfaces, by subnet. Each subnet must be one of
    /// `subnet_ids`, and has one address of each family of `ip_address_type`, which is free and not
    /// one of the five that AWS reserves in each subnet. In the subnets that are not named AWS
    /// chooses. An edit replaces the network interface, which ends its connections; a subnet that
    /// is taken out of the list keeps its address. Only for the type `Interface`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = Rule::new("self.all(c, self.exists_one(d, d.subnet_id == c.subnet_id))").message("each subnet has one entry")
    )]
    pub subnet_configurations: Vec<SubnetConfiguration>,

    /// Who may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_group_type: Option<SecurityGroupType>,

    /// With `provided`: the security groups, `sg-...`. They are never changed and never deleted.
    /// With `generated` they are ignored.
    #[serde(default)]
    #[schemars(with = "Vec<forms::GroupId>", length(max = 16))]
    pub security_group_ids: Vec<String>,

    /// With `custom`: the rules for traffic to the endpoint. Absent or an empty list: no client may
    /// connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 60))]
    pub security_group_ingress: Option<Vec<CustomRule>>,

    /// With `custom`: the rules for traffic from the endpoint. Absent: all traffic is allowed, in a
    /// VPC with an IPv6 block by IPv6 too; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 60))]
    pub security_group_egress: Option<Vec<CustomRule>>,

    /// Whether the service's own DNS name resolves to the endpoint everywhere in the VPC. The
    /// AWSAccount must allow it (`allow_private_dns`), and both DNS attributes of the VPC must be
    /// on. It is turned on once the endpoint is available, so that the name resolves as before
    /// until then; that takes one more call. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_dns_enabled: Option<bool>,

    /// The address families of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address_type: Option<IpAddressType>,

    /// Which DNS records lead to the endpoint. Default: as AWS decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_options: Option<DnsOptions>,

    /// The endpoint policy, as an object or as a string of JSON: what may be done through the
    /// endpoint, of what the callers' own policies allow. Only the types `Interface` and
    /// `Gateway` have one, and services that AWS accounts offer take none. Default: that of the
    /// AWSAccount (`policy_document`), or the one that AWS gives, which allows everything; where it
    /// was given and is taken away, that one again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_document: Option<PolicyDocument>,

    /// The name of the AWSAccount to use; required only if several map this namespace. Default: the
    /// only one that does. Until there is an endpoint (`status.vpc_endpoint_id`) it can be edited;
    /// after that it is immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub account: Option<String>,

    /// Tags for the endpoint and for its generated or custom group. A tag `Name` here wins over the
    /// operator's, which is `<name>-<namespace>`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.lowerAscii().startsWith('aws:') && !k.lowerAscii().startsWith('silvermullet.com/'))")
            .message("tag keys have 1 to 128 characters and start neither with \"aws:\" nor with \"silvermullet.com/\", which are reserved"),
        validation = Rule::new("self.all(k, size(self[k]) <= 256)").message("tag values have at most 256 characters")
    )]
    pub tags: BTreeMap<String, String>,

    /// The VPCEndpoint whose endpoint this object shares, in place of one of its own: it publishes
    /// a Service for that endpoint in its own namespace, makes no calls to AWS and needs no
    /// AWSAccount. The other object must allow it (`share`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // Boxed, like `share`: most objects have none, and the operator keeps all.
    pub vpc_endpoint_ref: Option<Box<EndpointRef>>,

    /// Which other namespaces may share this object's endpoint, by a VPCEndpoint of their own with
    /// `vpc_endpoint_ref`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Box<Share>>,

    /// The Kubernetes Service that points to the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,

    /// DNS names that clients use for the endpoint, such as those in the service's certificate.
    /// They are published as a DNSEndpoint of the object's name, from which external-dns makes
    /// records. The AWSAccount must allow them (`allowed_dns_names`). Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(
        validation = Rule::new("self.all(d, !d.name.endsWith('.local') && !d.name.endsWith('.localhost') && !d.name.endsWith('.svc'))").message("names that end with .local, .localhost or .svc are resolved within a host or a cluster: external-dns publishes none")
    )]
    pub dns_names: Vec<DnsName>,

    /// Whether what the endpoint has is published as a ConfigMap of the object's name: its id, AWS
    /// account, region, service, DNS names and addresses. Controllers that register the
    /// endpoint with a provider can read it there. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publish_config_map: bool,

    /// Wins over the AWSAccount's `default_deletion_policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// An endpoint that exists already, to be adopted instead of creating one: `vpce-...`. It has
    /// to be of the type, in the VPC and for the service that the spec says, and to carry the tag
    /// `silvermullet.com/adopt` with the value `<cluster id>/<namespace>/<name>`, by which the
    /// administrators of the AWS account agree. What the spec does not say of it (subnets, security
    /// groups, private DNS and the like) is left as it is; from then on the endpoint is the
    /// object's own, and is deleted with it unless `deletion_policy` says otherwise. While this
    /// names an endpoint, no other is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::EndpointId>")]
    pub vpc_endpoint_id: Option<String>,

    /// What the operator does in AWS. `Manage` (the default): creates the endpoint, or adopts that
    /// of `vpc_endpoint_id`, keeps it as the spec says, and deletes it with the object. `Observe`:
    /// changes nothing in AWS, tags included; publishes what the endpoint of `vpc_endpoint_id` has,
    /// in the status and as a Service, and leaves it there when the object is deleted.
    #[serde(default, skip_serializing_if = "ManagementPolicy::is_default")]
    pub management_policy: ManagementPolicy,
}

/// The addresses of the network interface in a subnet.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.ipv4) || has(self.ipv6)").message("an entry has ipv4, ipv6 or both")
)]
pub struct SubnetConfiguration {
    /// The subnet.
    #[schemars(with = "forms::SubnetId")]
    pub subnet_id: String,

    /// The IPv4 address, of the subnet's IPv4 CIDR block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::Ipv4>")]
    pub ipv4: Option<String>,

    /// The IPv6 address, of the subnet's IPv6 CIDR block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<forms::Ipv6>")]
    pub ipv6: Option<String>,
}

/// What the operator does in AWS: `Manage` or `Observe`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManagementPolicy {
    /// Creates or adopts, corrects and deletes.
    #[default]
    Manage,
    /// Changes nothing.
    Observe,
}

impl ManagementPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The type of the endpoint, as EC2 spells it: `Interface`, `Gateway`, `GatewayLoadBalancer`,
/// `Resource` or `ServiceNetwork`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointType {
    /// Network interfaces for a service.
    #[default]
    Interface,
    /// Routes for S3 or DynamoDB.
    Gateway,
    /// A network interface in one subnet, which routes lead to.
    GatewayLoadBalancer,
    /// Network interfaces for a resource configuration of VPC Lattice.
    Resource,
    /// Network interfaces for a service network of VPC Lattice.
    ServiceNetwork,
}

impl EndpointType {
    /// All that there are.
    pub const ALL: [Self; 5] = [
        Self::Interface,
        Self::Gateway,
        Self::GatewayLoadBalancer,
        Self::Resource,
        Self::ServiceNetwork,
    ];

    /// Reads what EC2 says.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interface => "Interface",
            Self::Gateway => "Gateway",
            Self::GatewayLoadBalancer => "GatewayLoadBalancer",
            Self::Resource => "Resource",
            Self::ServiceNetwork => "ServiceNetwork",
        }
    }

    /// Whether EC2 describes a DNS name of its own, which a Service can point to.
    pub fn has_dns_name(self) -> bool {
        match self {
            Self::Interface | Self::Resource => true,
            Self::Gateway | Self::GatewayLoadBalancer | Self::ServiceNetwork => false,
        }
    }

    /// Whether clients connect to the addresses of its network interfaces. Those of a service
    /// network lead to its resources by addresses that EC2 does not describe.
    pub fn has_addresses(self) -> bool {
        match self {
            Self::Interface | Self::Resource => true,
            Self::Gateway | Self::GatewayLoadBalancer | Self::ServiceNetwork => false,
        }
    }

    /// Whether EC2 takes any of `dns_options` for it.
    pub fn has_dns_options(self) -> bool {
        self != Self::GatewayLoadBalancer
    }

    /// Whether EC2 takes a policy for it.
    pub fn has_policy(self) -> bool {
        match self {
            Self::Interface | Self::Gateway => true,
            Self::GatewayLoadBalancer | Self::Resource | Self::ServiceNetwork => false,
        }
    }

    /// Whether its network interfaces have security groups.
    pub fn has_groups(self) -> bool {
        match self {
            Self::Interface | Self::Resource | Self::ServiceNetwork => true,
            Self::Gateway | Self::GatewayLoadBalancer => false,
        }
    }
}

impl fmt::Display for EndpointType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address families of the endpoint: `ipv4`, `dualstack` or `ipv6`, which the subnets and the
/// service must have. An endpoint of type `Gateway` cannot change to or from `ipv6`. Default: as
/// AWS decides; where it was given and is taken away, `ipv4`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum IpAddressType {
    /// IPv4 alone.
    #[default]
    Ipv4,
    /// Both.
    Dualstack,
    /// IPv6 alone.
    Ipv6,
}

impl IpAddressType {
    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Reads what EC2 says.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Ipv4, Self::Dualstack, Self::Ipv6];
        all.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for IpAddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The families of the endpoint's DNS records, which must fit `ip_address_type`: `ipv4`,
/// `dualstack`, `ipv6`, or `service-defined`, as the service says. Default: as AWS decides; where
/// it was given and is taken away, what goes with `ip_address_type`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum DnsRecordIpType {
    /// A records.
    Ipv4,
    /// Both.
    Dualstack,
    /// AAAA records.
    Ipv6,
    /// As the service says.
    ServiceDefined,
}

impl DnsRecordIpType {
    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
            Self::Ipv6 => "ipv6",
            Self::ServiceDefined => "service-defined",
        }
    }

    /// Reads what EC2 says.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Ipv4, Self::Dualstack, Self::Ipv6, Self::ServiceDefined];
        all.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text))
    }

    /// The one that EC2 gives an endpoint with these addresses.
    pub fn default_of(type_: EndpointType, addresses: IpAddressType) -> Self {
        match (addresses, type_) {
            (IpAddressType::Ipv4, _) => Self::Ipv4,
            (IpAddressType::Ipv6, _) => Self::Ipv6,
            (IpAddressType::Dualstack, EndpointType::Gateway) => Self::ServiceDefined,
            (IpAddressType::Dualstack, _) => Self::Dualstack,
        }
    }

    /// Whether EC2 takes it with these addresses.
    pub fn goes_with(self, addresses: IpAddressType) -> bool {
        match addresses {
            IpAddressType::Ipv4 => self == Self::Ipv4,
            IpAddressType::Ipv6 => self == Self::Ipv6,
            IpAddressType::Dualstack => true,
        }
    }
}

impl fmt::Display for DnsRecordIpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which DNS records lead to the endpoint.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.private_dns_specified_domains) == (has(self.private_dns_preference) && self.private_dns_preference in ['VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS', 'SPECIFIED_DOMAINS_ONLY'])").message("private_dns_specified_domains goes with private_dns_preference VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS or SPECIFIED_DOMAINS_ONLY, which need it").field_path(".private_dns_specified_domains")
)]
pub struct DnsOptions {
    /// The families of the DNS records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_record_ip_type: Option<DnsRecordIpType>,

    /// With `private_dns_enabled`, for a service that has both gateway and interface endpoints
    /// (S3): whether the service's own name leads to the endpoint only for clients that ask
    /// an inbound Route 53 Resolver endpoint. Others take the gateway endpoint, which the VPC must
    /// have then. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_dns_only_for_inbound_resolver_endpoint: Option<bool>,

    /// Which private domains of a resource or a service network lead to the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_dns_preference: Option<PrivateDnsPreference>,

    /// The domains that `private_dns_preference` speaks of, such as `example.com` or
    /// `*.example.com`. Immutable once there is an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10), inner(length(min = 1, max = 255)))]
    pub private_dns_specified_domains: Option<Vec<String>>,
}

/// With the types `Resource` and `ServiceNetwork` and `private_dns_enabled`: which private
/// domains lead to the endpoint. `ALL_DOMAINS`: all; `VERIFIED_DOMAINS_ONLY`: those whose owner
/// is verified; `VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS`: those and
/// `private_dns_specified_domains`; `SPECIFIED_DOMAINS_ONLY`: only these. Immutable once there is
/// an endpoint. Default: as AWS decides.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PrivateDnsPreference {
    /// All.
    AllDomains,
    /// Those whose owner is verified.
    VerifiedDomainsOnly,
    /// Those, and the ones that are specified.
    VerifiedDomainsAndSpecifiedDomains,
    /// Only those that are specified.
    SpecifiedDomainsOnly,
}

impl PrivateDnsPreference {
    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllDomains => "ALL_DOMAINS",
            Self::VerifiedDomainsOnly => "VERIFIED_DOMAINS_ONLY",
            Self::VerifiedDomainsAndSpecifiedDomains => "VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS",
            Self::SpecifiedDomainsOnly => "SPECIFIED_DOMAINS_ONLY",
        }
    }
}

/// An endpoint policy: an object, or a string of JSON.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
pub struct PolicyDocument(pub serde_json::Value);

impl JsonSchema for PolicyDocument {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PolicyDocument".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
    }
}

/// Who may connect. `generated`: the endpoint's own security group that allows all traffic from
/// 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16; `provided`: the groups of `security_group_ids`;
/// `custom`: the endpoint's own security group with exactly the rules of `security_group_ingress`
/// and `security_group_egress`. Default: `generated`; endpoints of type `Gateway` and
/// `GatewayLoadBalancer` have no security groups.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SecurityGroupType {
    /// A group of the operator's: all protocols from 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16,
    /// egress open.
    #[default]
    Generated,
    /// The groups of `security_group_ids`, never changed and never deleted.
    Provided,
    /// A group of the operator's with exactly the rules given.
    Custom,
}

/// What happens in AWS when an object is deleted. `Delete`: its endpoint with a generated or custom
/// group, or its endpoint service, is deleted; `Retain`: it stays, and its owner tags are replaced
/// by `silvermullet.com/retained`. Default: the AWSAccount's `default_deletion_policy`, or
/// `Delete`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The endpoint and its generated or custom group are deleted.
    #[default]
    Delete,
    /// They stay; their owner tags are replaced by `silvermullet.com/retained`.
    Retain,
}
