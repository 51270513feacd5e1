//! IP address types, DNS record types, and addresses that a request chooses.

use vpce_testbed::aws::{EndpointView, ServiceSpec, Simulator};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, SERVICE, simulator, unthrottled};

/// A service that accepts IPv6 too, and a VPC whose subnet `subnet-d` has both families, as
/// `subnet-e` does; `subnet-6` is IPv6-only.
fn both_families() -> (Simulator, Client) {
    let (simulator, client) = simulator(unthrottled());
    let spec = ServiceSpec {
        ip_address_types: vec!["ipv4".to_owned(), "ipv6".to_owned()],
        ..ServiceSpec::default()
    };
    simulator.add_service(REGION, SERVICE, spec);
    simulator
        .add_vpc_with_ipv6(ACCOUNT, REGION, "vpc-6", "10.6.0.0/16", "2600:1f14:6::/56")
        .unwrap();
    let zone = |letter: &str| format!("{REGION}{letter}");
    let place = (ACCOUNT, REGION);
    simulator
        .add_dualstack_subnet(place.0, place.1, "subnet-d", "vpc-6", &zone("a"))
        .unwrap();
    simulator
        .add_dualstack_subnet(place.0, place.1, "subnet-e", "vpc-6", &zone("b"))
        .unwrap();
    simulator
        .add_ipv6_subnet(place.0, place.1, "subnet-6", "vpc-6", &zone("c"))
        .unwrap();
    simulator
        .add_subnet(place.0, place.1, "subnet-4", "vpc-6", &zone("c"))
        .unwrap();
    (simulator, client)
}

fn create(client: &Client, more: &[(&str, &str)]) -> Answer {
    let base = [
        ("VpcEndpointType", "Interface"),
        ("VpcId", "vpc-6"),
        ("ServiceName", SERVICE),
    ];
    client.ec2("CreateVpcEndpoint", &[&base, more].concat())
}

fn available(simulator: &Simulator, client: &Client, more: &[(&str, &str)]) -> String {
    let id = create(client, more).succeeded().text("vpcEndpointId");
    simulator.advance(61.0);
    id
}

fn modify(client: &Client, id: &str, more: &[(&str, &str)]) -> Answer {
    client.ec2("ModifyVpcEndpoint", &[&[("VpcEndpointId", id)], more].concat())
}

fn view(simulator: &Simulator, id: &str) -> EndpointView {
    let mut views = simulator.endpoints(ACCOUNT, REGION).into_iter();
    views.find(|view| view.id == id).unwrap()
}

fn addresses(simulator: &Simulator, id: &str, subnet_id: &str) -> Vec<String> {
    view(simulator, id).addresses[subnet_id]
        .iter()
        .map(ToString::to_string)
        .collect()
}

const DUALSTACK: (&str, &str) = ("IpAddressType", "dualstack");
const SUBNET: (&str, &str) = ("SubnetId.1", "subnet-d");

#[test]
fn subnets_and_service_have_to_support_the_type() {
    let (simulator, client) = both_families();
    for (ip, subnet, fits) in [
        ("ipv4", "subnet-4", true),
        ("ipv4", "subnet-d", true),
        ("ipv4", "subnet-6", false),
        ("dualstack", "subnet-4", false),
        ("dualstack", "subnet-d", true),
        ("dualstack", "subnet-6", false),
        ("ipv6", "subnet-4", false),
        ("ipv6", "subnet-d", false),
        ("ipv6", "subnet-6", true),
    ] {
        let answer = create(&client, &[("IpAddressType", ip), ("SubnetId.1", subnet)]);
        if fits {
            let answer = answer.succeeded();
            assert_eq!(answer.text("ipAddressType"), ip);
            let count = addresses(&simulator, &answer.text("vpcEndpointId"), subnet).len();
            assert_eq!(count, if ip == "dualstack" { 2 } else { 1 });
        } else {
            answer.refused("InvalidParameter");
        }
    }
    let id = available(&simulator, &client, &[DUALSTACK, SUBNET]);
    modify(&client, &id, &[("AddSubnetId.1", "subnet-4")]).refused("InvalidParameter");
    modify(&client, &id, &[("AddSubnetId.1", "subnet-e")]).succeeded();
    simulator.add_service(REGION, SERVICE, ServiceSpec::default());
    create(&client, &[DUALSTACK, SUBNET]).refused("InvalidParameter");
}

#[test]
fn the_type_is_changed_in_place() {
    let (simulator, client) = both_families();
    let id = available(&simulator, &client, &[SUBNET]);
    let interface = view(&simulator, &id).network_interface_ids;
    modify(&client, &id, &[DUALSTACK]).succeeded();
    assert_eq!(view(&simulator, &id).state, "pending");
    simulator.advance(31.0);
    let there = view(&simulator, &id);
    assert_eq!(
        (there.ip_address_type.as_str(), there.dns_record_ip_type.as_str()),
        ("dualstack", "ipv4")
    );
    assert_eq!(
        (
            there.network_interface_ids,
            addresses(&simulator, &id, "subnet-d").len()
        ),
        (interface, 2)
    );
    modify(&client, &id, &[("IpAddressType", "ipv6")]).refused("InvalidParameter");
    modify(&client, &id, &[("IpAddressType", "ipv4")]).succeeded();
    assert_eq!(addresses(&simulator, &id, "subnet-d").len(), 1);
}

#[test]
fn the_record_type_goes_with_the_address_type() {
    let (simulator, client) = both_families();
    let record = |kind: &'static str| ("DnsOptions.DnsRecordIpType", kind);
    for (ip, subnet, kinds) in [
        ("ipv4", "subnet-d", &["ipv4"][..]),
        (
            "dualstack",
            "subnet-d",
            &["ipv4", "ipv6", "dualstack", "service-defined"],
        ),
        ("ipv6", "subnet-6", &["ipv6"]),
    ] {
        let base = [("IpAddressType", ip), ("SubnetId.1", subnet)];
        let by_default = create(&client, &base).succeeded().text("dnsRecordIpType");
        assert_eq!(by_default, ip);
        for kind in ["ipv4", "ipv6", "dualstack", "service-defined"] {
            let answer = create(&client, &[&base[..], &[record(kind)]].concat());
            if kinds.contains(&kind) {
                assert_eq!(answer.succeeded().text("dnsRecordIpType"), kind);
            } else {
                answer.refused("InvalidParameter");
            }
        }
    }
    let id = available(&simulator, &client, &[SUBNET]);
    modify(&client, &id, &[record("dualstack")]).refused("InvalidParameter");
    modify(&client, &id, &[record("nonsense")]).refused("InvalidParameterValue");
    modify(&client, &id, &[DUALSTACK, record("dualstack")]).succeeded();
    assert_eq!(view(&simulator, &id).dns_record_ip_type, "dualstack");
}

#[test]
fn addresses_are_chosen_within_the_subnet() {
    let (simulator, client) = both_families();
    let configured = |ipv4: &str| {
        let configuration = [
            ("SubnetConfiguration.1.SubnetId", "subnet-d"),
            ("SubnetConfiguration.1.Ipv4", ipv4),
        ];
        create(&client, &[&[SUBNET], &configuration[..]].concat())
    };
    let id = configured("10.6.0.77").succeeded().text("vpcEndpointId");
    assert_eq!(addresses(&simulator, &id, "subnet-d"), ["10.6.0.77"]);
    configured("10.6.0.77").refused("InvalidIPAddress.InUse");
    for outside in ["10.6.1.7", "10.6.0.0", "10.6.0.3", "10.6.0.255", "nowhere"] {
        configured(outside).refused("InvalidParameterValue");
    }
    let wanted = [
        ("Filter.1.Name", "private-ip-address"),
        ("Filter.1.Value.1", "10.6.0.77"),
    ];
    let interfaces = client.ec2("DescribeNetworkInterfaces", &wanted).succeeded();
    assert_eq!(
        interfaces.texts("networkInterfaceId"),
        view(&simulator, &id).network_interface_ids
    );

    let six = "2600:1f14:6::77";
    let both = [
        SUBNET,
        DUALSTACK,
        ("SubnetConfiguration.1.SubnetId", "subnet-d"),
        ("SubnetConfiguration.1.Ipv4", "10.6.0.78"),
        ("SubnetConfiguration.1.Ipv6", six),
    ];
    create(&client, &both[..4]).refused("InvalidParameter");
    let id = create(&client, &both).succeeded().text("vpcEndpointId");
    assert_eq!(addresses(&simulator, &id, "subnet-d"), ["10.6.0.78", six]);
    let wanted = [
        ("Filter.1.Name", "ipv6-addresses.ipv6-address"),
        ("Filter.1.Value.1", six),
    ];
    let interfaces = client.ec2("DescribeNetworkInterfaces", &wanted).succeeded();
    assert_eq!(interfaces.text("ipv6Address"), six);
    let without_subnet = [("SubnetId.1", "subnet-e"), both[2], both[3]];
    create(&client, &without_subnet).refused("InvalidParameter");
}

#[test]
fn choosing_addresses_again_replaces_the_interface() {
    let (simulator, client) = both_families();
    let id = available(&simulator, &client, &[SUBNET]);
    let before = view(&simulator, &id).network_interface_ids;
    let configuration = |ipv4: &'static str| {
        [
            ("SubnetConfiguration.1.SubnetId", "subnet-d"),
            ("SubnetConfiguration.1.Ipv4", ipv4),
        ]
    };
    modify(&client, &id, &configuration("10.6.0.2")).refused("InvalidParameterValue");
    for _ in 0..2 {
        let before = view(&simulator, &id).network_interface_ids;
        modify(&client, &id, &configuration("10.6.0.50")).succeeded();
        assert_eq!(view(&simulator, &id).state, "pending");
        modify(&client, &id, &configuration("10.6.0.51")).refused("OperationInProgress");
        simulator.advance(31.0);
        assert_eq!(addresses(&simulator, &id, "subnet-d"), ["10.6.0.50"]);
        assert_ne!(view(&simulator, &id).network_interface_ids, before);
    }
    assert_ne!(view(&simulator, &id).network_interface_ids, before);
    let elsewhere = [
        ("AddSubnetId.1", "subnet-e"),
        ("SubnetConfiguration.1.SubnetId", "subnet-e"),
        ("SubnetConfiguration.1.Ipv4", "10.6.1.50"),
    ];
    modify(&client, &id, &elsewhere[1..]).refused("InvalidParameter");
    modify(&client, &id, &elsewhere).succeeded();
    assert_eq!(addresses(&simulator, &id, "subnet-e"), ["10.6.1.50"]);
}
