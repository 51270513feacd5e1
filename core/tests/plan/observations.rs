//! An endpoint in which everything is as specified, to be spoiled by each case in its own way.

use std::collections::{BTreeMap, BTreeSet};

use vpce_core::api::{EndpointType, IpAddressType};
use vpce_core::attachment::{Attachment, Interface, ObservedAttachment};
use vpce_core::desired::{Desired, DesiredService, Groups, OwnGroup};
use vpce_core::ids::{EndpointId, GroupId, RouteTableId};
use vpce_core::metadata::Metadata;
use vpce_core::names::ObservedNames;
use vpce_core::observed::{Lookup, Observed, ObservedEndpoint, ObservedGroup, ObservedService, State};
use vpce_core::options::{ObservedOptions, Options};
use vpce_core::plan::{Fallbacks, Plan, PlanContext, plan};
use vpce_core::rules::{self, Direction, RuleSet};
use vpce_core::slices::{AddressFamily, InterfaceAddress, KnownAddresses, ObservedSlice, SliceContent};
use vpce_core::tags::Owner;
use vpce_core::target::Target;

use crate::ec2::filled_in;

pub(crate) const VPC: &str = "vpc-1";
pub(crate) const SERVICE: &str = "com.amazonaws.vpce.eu-west-1.vpce-svc-1";
pub(crate) const ENDPOINT: &str = "vpce-1";
pub(crate) const OWN_GROUP: &str = "sg-own";

/// AWS has refused nothing in the usual way.
pub(crate) const USUAL: Fallbacks = Fallbacks {
    swap_subnets_apart: false,
    revoke_first: false,
    parts_apart: false,
};

const NO_TABLES: BTreeSet<RouteTableId> = BTreeSet::new();

/// Nothing remembered.
pub(crate) const NOTHING: PlanContext<'_> = PlanContext {
    tag_keys: &[],
    route_tables: &NO_TABLES,
    applied_fields: &[],
    paused: None,
    fallbacks: USUAL,
    names_metadata: &NO_METADATA,
};

const NO_METADATA: Metadata = Metadata {
    labels: BTreeMap::new(),
    annotations: BTreeMap::new(),
};

pub(crate) fn owner() -> Owner {
    Owner {
        cluster: "c".into(),
        kind: "VPCEndpoint".into(),
        namespace: "blue".into(),
        name: "db".into(),
        uid: "55ea9f5f-45a4".into(),
    }
}

/// Rules in short: `443` and a description.
pub(crate) fn tcp(ports: &[(i32, Option<&str>)]) -> RuleSet {
    let rule = |port| rules::Rule {
        protocol: "tcp".into(),
        ports: Some((port, port)),
        peer: rules::cidr("10.0.0.0/8").expect("a block"),
    };
    ports
        .iter()
        .map(|(port, text)| (rule(*port), text.map(str::to_owned)))
        .collect()
}

pub(crate) fn generated() -> Groups {
    with_open_egress(own(rules::private_networks(), rules::open()))
}

/// The group with EC2's default egress, where the spec has no egress.
pub(crate) fn with_open_egress(groups: Groups) -> Groups {
    match groups {
        Groups::Own(group) => Groups::Own(OwnGroup {
            open_egress: true,
            ..group
        }),
        provided => provided,
    }
}

pub(crate) fn own(ingress: RuleSet, egress: RuleSet) -> Groups {
    Groups::Own(OwnGroup {
        name: owner().group_name(),
        description: owner().group_description(),
        ingress,
        egress,
        open_egress: false,
    })
}

pub(crate) fn provided(ids: &[&str]) -> Groups {
    Groups::Provided(ids.iter().map(|id| GroupId::from(*id)).collect())
}

pub(crate) fn desired(groups: Groups) -> Desired {
    let mut tags = owner().tags();
    tags.insert("cost".into(), "1".into());
    Desired {
        account_id: "222222222222".parse().expect("an id"),
        region: "eu-west-1".into(),
        vpc: VPC.into(),
        network: None,
        target: service(SERVICE),
        attachment: Attachment::Interface(Interface {
            subnets: ["subnet-a1".into(), "subnet-b1".into()].into(),
            groups,
            private_dns: false,
        }),
        options: Options::default(),
        existing: None,
        adopted: None,
        tags,
        service: Some(DesiredService {
            name: "db".into(),
            headless: false,
            ports: Vec::new(),
            metadata: Metadata::default(),
        }),
        names: Vec::new(),
        config_map: false,
        warnings: Vec::new(),
    }
}

pub(crate) fn service(name: &str) -> Target {
    Target::Service {
        name: name.into(),
        region: None,
    }
}

/// How the desired endpoint is attached; of a type without groups and private DNS, as one that has
/// none of the operator's, and none on.
pub(crate) fn asked(desired: &Desired) -> Interface<Groups> {
    match &desired.attachment {
        Attachment::Interface(wanted) => wanted.clone(),
        other => Interface {
            subnets: other.subnets().into_iter().cloned().collect(),
            groups: provided(&[]),
            private_dns: false,
        },
    }
}

pub(crate) fn asked_mut(desired: &mut Desired) -> &mut Interface<Groups> {
    match &mut desired.attachment {
        Attachment::Interface(wanted) => wanted,
        other => panic!("attached otherwise: {other:?}"),
    }
}

/// How an endpoint is attached, likewise.
pub(crate) fn attached(resource: &ObservedEndpoint) -> Interface {
    match resource.attachment.known().expect("of a known type") {
        Attachment::Interface(interface) => interface.clone(),
        other => Interface {
            subnets: other.subnets().into_iter().cloned().collect(),
            groups: BTreeSet::new(),
            private_dns: false,
        },
    }
}

pub(crate) fn attached_mut(resource: &mut ObservedEndpoint) -> &mut Interface {
    match &mut resource.attachment {
        ObservedAttachment::Known(Attachment::Interface(interface)) => interface,
        other => panic!("attached otherwise: {other:?}"),
    }
}

/// The names that EC2 describes: those of a service network are read in another way.
pub(crate) fn dns_names(resource: &ObservedEndpoint) -> Vec<String> {
    match resource.endpoint_type() {
        Some(EndpointType::Interface | EndpointType::Resource) => vec![dns_name(&resource.id)],
        _ => Vec::new(),
    }
}

/// The type that is desired.
pub(crate) fn type_of(desired: &Desired) -> EndpointType {
    desired.attachment.endpoint_type(&desired.target)
}

pub(crate) fn dns_name(id: &EndpointId) -> String {
    format!("{id}-x1y2.vpce-svc-1.eu-west-1.vpce.amazonaws.com")
}

pub(crate) fn endpoint_fact(desired: &Desired) -> ObservedEndpoint {
    let id = EndpointId::from(ENDPOINT);
    let groups = match &asked(desired).groups {
        Groups::Own(_) => [OWN_GROUP.into()].into(),
        Groups::Provided(ids) => ids.clone(),
        Groups::Kept => ["sg-theirs".into()].into(),
    };
    let attachment = match &desired.attachment {
        Attachment::Interface(interface) => Attachment::Interface(Interface {
            subnets: interface.subnets.clone(),
            groups,
            private_dns: interface.private_dns,
        }),
        Attachment::Gateway(tables) => Attachment::Gateway(tables.clone()),
        Attachment::GatewayLoadBalancer(subnet) => Attachment::GatewayLoadBalancer(subnet.clone()),
    };
    let interfaces = attachment.subnets();
    let interfaces = interfaces.iter().map(|subnet| format!("eni-in-{subnet}")).collect();
    let mut resource = ObservedEndpoint {
        requester_managed: false,
        created: None,
        state: State::Available,
        vpc: desired.vpc.clone(),
        target: Some(desired.target.clone()),
        attachment: attachment.into(),
        options: filled_in(type_of(desired), ObservedOptions::created(&desired.options)),
        tags: desired.tags.clone(),
        dns_names: Vec::new(),
        interfaces,
        last_error: None,
        id,
    };
    resource.dns_names = dns_names(&resource);
    resource
}

pub(crate) fn group_fact(tags: &BTreeMap<String, String>, ingress: RuleSet, egress: RuleSet) -> ObservedGroup {
    ObservedGroup {
        id: OWN_GROUP.into(),
        name: owner().group_name(),
        description: owner().group_description(),
        vpc: VPC.into(),
        tags: tags.clone(),
        ingress,
        egress,
        ipv6_egress_unknown: false,
    }
}

pub(crate) fn service_fact(name: &str, ours: bool) -> ObservedService {
    ObservedService {
        name: name.into(),
        ours,
        unowned: false,
        external_name: Some(dns_name(&ENDPOINT.into())),
        headless: false,
        ports: Vec::new(),
        labelled: true,
        metadata: Metadata::default(),
        written_as: None,
    }
}

/// What is there once all of it is as desired.
pub(crate) fn settled(desired: &Desired) -> Observed {
    Observed {
        endpoint: Lookup::Owned(endpoint_fact(desired)),
        spare_endpoints: Vec::new(),
        group: match &asked(desired).groups {
            Groups::Own(own) => Lookup::Owned(group_fact(&desired.tags, own.ingress.clone(), own.egress.clone())),
            Groups::Provided(_) | Groups::Kept => Lookup::Absent,
        },
        services: desired
            .service
            .iter()
            .map(|service| service_fact(&service.name, true))
            .collect(),
        prefix_list_id: None,
        slices: Vec::new(),
        addresses: KnownAddresses::Unknown,
        names: ObservedNames::default(),
        config_map: None,
        config_map_unavailable: None,
    }
}

/// The addresses of an endpoint's network interfaces, as AWS gives them.
pub(crate) fn addresses_of(resource: &ObservedEndpoint) -> BTreeSet<InterfaceAddress> {
    let families: &[AddressFamily] = match resource.options.ip_address_type.unwrap_or_default() {
        IpAddressType::Ipv4 => &[AddressFamily::Ipv4],
        IpAddressType::Dualstack => &AddressFamily::ALL,
        IpAddressType::Ipv6 => &[AddressFamily::Ipv6],
    };
    let interfaces = resource.interfaces.iter();
    let of_interface = |id: &String| {
        families
            .iter()
            .map(|family| address_of(id, *family))
            .collect::<Vec<_>>()
    };
    interfaces.flat_map(of_interface).collect()
}

/// The address of the interface in `subnet-a1` is 10.0.97.49.
fn address_of(interface: &str, family: AddressFamily) -> InterfaceAddress {
    let bytes = interface.as_bytes();
    let [.., zone, number] = bytes else {
        panic!("an id");
    };
    let text = match family {
        AddressFamily::Ipv4 => format!("10.0.{zone}.{number}"),
        AddressFamily::Ipv6 => format!("fd00::{zone}:{number}"),
    };
    InterfaceAddress::parse(&text, None).expect("an address")
}

/// What the EndpointSlices of a headless Service are to hold for an endpoint.
pub(crate) fn slices_of(wanted: &DesiredService, resource: &ObservedEndpoint) -> Vec<SliceContent> {
    let addresses = addresses_of(resource);
    let content = |family| SliceContent {
        service: wanted.name.clone(),
        family,
        addresses: addresses
            .iter()
            .filter(|address| address.family == family)
            .cloned()
            .collect(),
        ports: wanted.ports.clone(),
    };
    let mut contents: Vec<SliceContent> = AddressFamily::ALL.map(content).into();
    contents.retain(|content| !content.addresses.is_empty());
    contents
}

/// The same with a headless Service, published.
pub(crate) fn settled_headless(desired: &mut Desired) -> Observed {
    let port = serde_json::json!({"name": "tls", "port": 443});
    let service = desired.service.as_mut().expect("a Service");
    service.headless = true;
    service.ports.push(serde_json::from_value(port).expect("a port"));
    let service = service.clone();
    let mut observed = settled(desired);
    observed.services[0] = ObservedService {
        external_name: None,
        headless: true,
        ports: service.ports.clone(),
        ..service_fact(&service.name, true)
    };
    let resource = endpoint(&mut observed).clone();
    observed.addresses = KnownAddresses::All(addresses_of(&resource));
    let contents = slices_of(&service, &resource);
    observed.slices = contents.into_iter().map(ObservedSlice::published).collect();
    observed
}

/// Nothing of it is there.
pub(crate) fn nothing() -> Observed {
    Observed {
        endpoint: Lookup::Absent,
        spare_endpoints: Vec::new(),
        group: Lookup::Absent,
        services: Vec::new(),
        prefix_list_id: None,
        slices: Vec::new(),
        addresses: KnownAddresses::Unknown,
        names: ObservedNames::default(),
        config_map: None,
        config_map_unavailable: None,
    }
}

pub(crate) fn endpoint(observed: &mut Observed) -> &mut ObservedEndpoint {
    match &mut observed.endpoint {
        Lookup::Owned(resource) | Lookup::Unowned(resource) => resource,
        other => panic!("no endpoint: {other:?}"),
    }
}

pub(crate) fn group(observed: &mut Observed) -> &mut ObservedGroup {
    match &mut observed.group {
        Lookup::Owned(resource) | Lookup::Unowned(resource) => resource,
        other => panic!("no group: {other:?}"),
    }
}

pub(crate) fn rules_of(group: &mut ObservedGroup, direction: Direction) -> &mut RuleSet {
    match direction {
        Direction::Ingress => &mut group.ingress,
        Direction::Egress => &mut group.egress,
    }
}

/// The steps in words.
pub(crate) fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

/// How a case comes about.
pub(crate) type Spoil = fn(&mut Desired, &mut Observed);

/// A name, how it comes about, and what is planned against it.
pub(crate) type Drift<'a> = (&'a str, Spoil, &'a [&'a str]);

pub(crate) fn planned(desired: &Desired, observed: &Observed) -> Plan {
    plan(&owner(), desired, observed, NOTHING)
}

/// Starts from all as specified, for a custom group with one described rule.
pub(crate) fn spoiled(spoil: impl FnOnce(&mut Desired, &mut Observed)) -> (Desired, Observed) {
    let mut desired = desired(own(tcp(&[(443, Some("web"))]), rules::open()));
    let mut observed = settled(&desired);
    spoil(&mut desired, &mut observed);
    (desired, observed)
}
