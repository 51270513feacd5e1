//! Resource and ServiceNetwork endpoints, and what they lead to.

use serde_json::{Value, json};
use vpce_testbed::aws::{
    Accessibility, EndpointView, ResourceConfigurationSpec, ResourceConfigurationType, RoleSpec, Simulator,
};

use crate::client::{Answer, Client};
use crate::{ACCOUNT, REGION, ROLE, simulator, unthrottled};

const OWNER: &str = "222222222222";
const SUBNET: (&str, &str) = ("SubnetId.1", "subnet-a");
const PRIVATE: (&str, &str) = ("PrivateDnsEnabled", "true");
const PREFERENCE: &str = "DnsOptions.PrivateDnsPreference";
const DOMAIN: &str = "DnsOptions.PrivateDnsSpecifiedDomain.1";

fn create(client: &Client, arn: &str, more: &[(&str, &str)]) -> Answer {
    let (kind, name) = if arn.contains(":servicenetwork/") {
        ("ServiceNetwork", "ServiceNetworkArn")
    } else {
        ("Resource", "ResourceConfigurationArn")
    };
    let base = [("VpcEndpointType", kind), ("VpcId", "vpc-1"), (name, arn)];
    client.ec2("CreateVpcEndpoint", &[&base, more].concat())
}

fn available(simulator: &Simulator, client: &Client, arn: &str, more: &[(&str, &str)]) -> String {
    let more = [&[SUBNET], more].concat();
    let id = create(client, arn, &more).succeeded().text("vpcEndpointId");
    simulator.advance(61.0);
    id
}

fn modify(client: &Client, id: &str, more: &[(&str, &str)]) -> Answer {
    client.ec2("ModifyVpcEndpoint", &[&[("VpcEndpointId", id)], more].concat())
}

fn associations(client: &Client, name: &str, value: &str) -> Answer {
    let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
    client.ec2("DescribeVpcEndpointAssociations", &filter).succeeded()
}

fn view(simulator: &Simulator, id: &str) -> EndpointView {
    let mut views = simulator.endpoints(ACCOUNT, REGION).into_iter();
    views.find(|view| view.id == id).unwrap()
}

fn named(domain_name: &str, domain_verified: bool) -> ResourceConfigurationSpec {
    ResourceConfigurationSpec {
        domain_name: Some(domain_name.to_owned()),
        domain_verified,
        ..ResourceConfigurationSpec::default()
    }
}

/// A group of the account's own with two children; their ARNs, the group's first.
fn group(simulator: &Simulator) -> [String; 3] {
    let add = |id: &str, kind, group| {
        let spec = ResourceConfigurationSpec {
            kind,
            group,
            ..ResourceConfigurationSpec::default()
        };
        simulator.add_resource_configuration(ACCOUNT, REGION, id, spec)
    };
    let group = add("rcfg-group", ResourceConfigurationType::Group, None);
    let child = |id: &str| add(id, ResourceConfigurationType::Child, Some(group.clone()));
    [group.clone(), child("rcfg-one"), child("rcfg-two")]
}

#[test]
fn a_resource_endpoint_has_the_names_of_its_resource() {
    let (simulator, client) = simulator(unthrottled());
    let spec = ResourceConfigurationSpec {
        kind: ResourceConfigurationType::Arn,
        ..ResourceConfigurationSpec::default()
    };
    let arn = simulator.add_resource_configuration(ACCOUNT, REGION, "rcfg-0123", spec);
    assert_eq!(
        arn,
        "arn:aws:vpc-lattice:us-west-2:111111111111:resourceconfiguration/rcfg-0123"
    );
    let made = create(&client, &arn, &[SUBNET]).succeeded();
    assert_eq!(
        (made.text("state").as_str(), made.text("resourceConfigurationArn")),
        ("pending", arn.clone())
    );
    assert!(
        !made.body.contains("<serviceName>") && !made.body.contains("<policyDocument>"),
        "{}",
        made.body
    );
    assert_eq!(made.text("groupName"), "default");
    simulator.advance(61.0);
    let view = view(&simulator, &made.text("vpcEndpointId"));
    assert_eq!(
        (view.state.as_str(), view.lattice_arn.as_ref(), view.dns_names.len()),
        ("available", Some(&arn), 1)
    );
    let name = &view.dns_names[0];
    assert!(
        name.starts_with(&view.id) && name.ends_with(".vpc-lattice-rsc.us-west-2.on.aws"),
        "{name}"
    );
    let found = associations(&client, "vpc-endpoint-id", &view.id);
    assert_eq!(
        (found.text("dnsName"), found.text("associatedResourceArn")),
        (name.clone(), arn)
    );
    assert_eq!(found.text("associatedResourceAccessibility"), "AVAILABLE");
}

#[test]
fn a_group_leads_to_all_of_its_children() {
    let (simulator, client) = simulator(unthrottled());
    let [group, first, second] = group(&simulator);
    create(&client, &first, &[SUBNET]).refused("InvalidParameter");
    let id = available(&simulator, &client, &group, &[]);
    assert_eq!(view(&simulator, &id).dns_names.len(), 2);
    let mut arns = associations(&client, "resource-configuration-group-arn", &group).texts("associatedResourceArn");
    arns.sort();
    assert_eq!(arns, [first, second]);
    assert_eq!(
        associations(&client, "associated-resource-id", "rcfg-two")
            .texts("id")
            .len(),
        1
    );
}

#[test]
fn a_resource_of_another_account_has_to_be_shared() {
    let (simulator, client) = simulator(unthrottled());
    let arn = simulator.add_resource_configuration(OWNER, REGION, "rcfg-1", ResourceConfigurationSpec::default());
    create(&client, &arn, &[SUBNET]).refused("InvalidParameter");
    simulator.unshare(&arn, ACCOUNT).unwrap_err();
    simulator.share(&arn, ACCOUNT).unwrap();
    let id = available(&simulator, &client, &arn, &[]);
    simulator.unshare(&arn, ACCOUNT).unwrap();
    let found = associations(&client, "vpc-endpoint-id", &id);
    assert_eq!(found.text("associatedResourceAccessibility"), "FAILED");
    assert!(!found.text("failureReason").is_empty());
    create(&client, &arn, &[SUBNET]).refused("InvalidParameter");
    let far =
        simulator.add_resource_configuration(ACCOUNT, "eu-west-1", "rcfg-2", ResourceConfigurationSpec::default());
    create(&client, &far, &[SUBNET]).refused("InvalidParameter");
    simulator.share("arn:of:nothing", ACCOUNT).unwrap_err();
}

#[test]
fn a_resource_gateways_vpc_has_no_endpoint_for_its_resources() {
    let (simulator, client) = simulator(unthrottled());
    let spec = ResourceConfigurationSpec {
        gateway_vpc_id: Some("vpc-1".to_owned()),
        ..ResourceConfigurationSpec::default()
    };
    let arn = simulator.add_resource_configuration(ACCOUNT, REGION, "rcfg-1", spec);
    create(&client, &arn, &[SUBNET]).refused("InvalidParameter");
}

#[test]
fn a_service_network_is_told_by_its_associations_only() {
    let (simulator, client) = simulator(unthrottled());
    let [group, first, _] = group(&simulator);
    let single = simulator.add_resource_configuration(ACCOUNT, REGION, "rcfg-1", named("db.example.com", false));
    let network = simulator.add_service_network(ACCOUNT, REGION, "sn-1");
    simulator.set_service_network_resources(&network, &[&single]).unwrap();
    let id = available(&simulator, &client, &network, &[PRIVATE]);
    let there = view(&simulator, &id);
    assert!(there.dns_names.is_empty());
    let described = client
        .ec2("DescribeVpcEndpoints", &[("VpcEndpointId.1", &id)])
        .succeeded();
    assert_eq!(described.text("serviceNetworkArn"), network);
    assert!(
        described.text("ipPrefixSet").ends_with("/28</item>"),
        "{}",
        described.body
    );

    let found = associations(&client, "service-network-arn", &network);
    assert_eq!(
        (found.texts("id").len(), found.text("serviceNetworkName").as_str()),
        (1, "sn-1")
    );
    assert!(
        found.text("privateDnsEntry").contains("db.example.com"),
        "{}",
        found.body
    );
    simulator
        .set_service_network_resources(&network, &[&single, &group])
        .unwrap();
    assert_eq!(associations(&client, "vpc-endpoint-id", &id).texts("id").len(), 3);
    let failed = Accessibility::Failed("ResourceNotFound".to_owned(), "The resource is gone".to_owned());
    simulator.set_accessibility(&first, failed).unwrap();
    simulator.set_accessibility(&single, Accessibility::Pending).unwrap();
    for (state, arn) in [("FAILED", &first), ("PENDING", &single)] {
        let found = associations(&client, "associated-resource-accessibility", state);
        assert_eq!(found.texts("associatedResourceArn"), std::slice::from_ref(arn));
    }
    let all = client
        .ec2("DescribeVpcEndpointAssociations", &[("MaxResults", "2")])
        .succeeded();
    let rest = [("NextToken", all.text("nextToken"))];
    let rest = [("NextToken", rest[0].1.as_str())];
    let rest = client.ec2("DescribeVpcEndpointAssociations", &rest).succeeded();
    assert_eq!((all.texts("id").len(), rest.texts("id").len()), (2, 1));
    let association = associations(&client, "association-id", &rest.text("id"));
    assert_eq!(association.text("id"), rest.text("id"));
    client
        .ec2("DescribeVpcEndpointAssociations", &[("MaxResults", "101")])
        .refused("InvalidParameterValue");
    client
        .ec2("DescribeVpcEndpointAssociations", &[("VpcEndpointId.1", "vpce-none")])
        .refused("InvalidVpcEndpointId.NotFound");
}

#[test]
fn a_service_network_takes_sixteen_free_addresses_of_each_subnet() {
    let (simulator, client) = simulator(unthrottled());
    let network = simulator.add_service_network(ACCOUNT, REGION, "sn-1");
    let small = [
        ("VpcId", "vpc-1"),
        ("CidrBlock", "10.0.200.0/27"),
        ("AvailabilityZone", "us-west-2b"),
    ];
    let small = client.ec2("CreateSubnet", &small).succeeded().text("subnetId");
    let code = |id: &str| {
        simulator.advance(61.0);
        let there = client
            .ec2("DescribeVpcEndpoints", &[("VpcEndpointId.1", id)])
            .succeeded();
        (there.text("state"), there.text("code"))
    };
    let failed = ("failed".to_owned(), "InsufficientFreeAddressesInSubnet".to_owned());
    let made = create(&client, &network, &[("SubnetId.1", &small)]).succeeded();
    assert_eq!(made.text("state"), "pending");
    assert_eq!(code(&made.text("vpcEndpointId")), failed);
    let id = available(&simulator, &client, &network, &[]);
    modify(&client, &id, &[("AddSubnetId.1", &small)]).succeeded();
    assert_eq!(code(&id), failed);
    let arn = simulator.add_resource_configuration(ACCOUNT, REGION, "rcfg-1", ResourceConfigurationSpec::default());
    create(&client, &arn, &[("SubnetId.1", &small)]).succeeded();
}

#[test]
fn they_have_nothing_of_a_service() {
    let (simulator, client) = simulator(unthrottled());
    let policy = r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;
    let resource =
        simulator.add_resource_configuration(ACCOUNT, REGION, "rcfg-1", ResourceConfigurationSpec::default());
    let network = simulator.add_service_network(ACCOUNT, REGION, "sn-1");
    for (arn, other) in [
        (&resource, ("ServiceNetworkArn", &network)),
        (&network, ("ResourceConfigurationArn", &resource)),
    ] {
        for parameter in [
            ("ServiceName", "com.amazonaws.us-west-2.sqs"),
            ("ServiceRegion", REGION),
            ("RouteTableId.1", "rtb-1"),
            ("PolicyDocument", policy),
            ("SubnetConfiguration.1.SubnetId", "subnet-a"),
            ("DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint", "false"),
            (other.0, other.1.as_str()),
        ] {
            create(&client, arn, &[SUBNET, parameter]).refused("InvalidParameter");
        }
        create(&client, arn, &[]).refused("InvalidParameter");
        let id = available(&simulator, &client, arn, &[]);
        modify(&client, &id, &[("RemoveSubnetId.1", "subnet-a")]).refused("InvalidParameter");
        modify(&client, &id, &[("AddSubnetId.1", "subnet-b")]).succeeded();
        simulator.advance(31.0);
        modify(&client, &id, &[("AddSecurityGroupId.1", "sg-1")]).succeeded();
        for parameter in [("PolicyDocument", policy), ("AddRouteTableId.1", "rtb-1")] {
            modify(&client, &id, &[parameter]).refused("InvalidParameter");
        }
    }
    for name in ["ServiceNetworkArn", "ResourceConfigurationArn"] {
        let kind = name.trim_end_matches("Arn").trim_end_matches("Configuration");
        let bare = [("VpcEndpointType", kind), ("VpcId", "vpc-1"), SUBNET];
        client.ec2("CreateVpcEndpoint", &bare).refused("MissingParameter");
        let sqs = "com.amazonaws.us-west-2.sqs";
        client
            .create_endpoint(sqs, &[(name, &resource)])
            .refused("InvalidParameter");
    }
}

#[test]
fn private_names_are_chosen_once() {
    let (simulator, client) = simulator(unthrottled());
    let network = simulator.add_service_network(ACCOUNT, REGION, "sn-1");
    let add = |id: &str, name: &str, verified| {
        simulator.add_resource_configuration(ACCOUNT, REGION, id, named(name, verified))
    };
    let resources = [
        add("rcfg-1", "a.example.com", true),
        add("rcfg-2", "b.example.org", false),
    ];
    let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
    simulator.set_service_network_resources(&network, &resources).unwrap();
    let specified = (DOMAIN, "*.example.org");
    for (options, expected) in [
        (vec![], 2),
        (vec![(PREFERENCE, "ALL_DOMAINS")], 2),
        (vec![(PREFERENCE, "VERIFIED_DOMAINS_ONLY")], 1),
        (
            vec![(PREFERENCE, "VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS"), specified],
            2,
        ),
        (vec![(PREFERENCE, "SPECIFIED_DOMAINS_ONLY"), specified], 1),
    ] {
        let id = available(&simulator, &client, &network, &[&[PRIVATE], &options[..]].concat());
        let found = associations(&client, "vpc-endpoint-id", &id);
        assert_eq!(found.texts("privateDnsEntry").len(), expected, "{options:?}");
        for change in [
            PRIVATE,
            ("PrivateDnsEnabled", "false"),
            (PREFERENCE, "ALL_DOMAINS"),
            specified,
        ] {
            modify(&client, &id, &[change]).refused("InvalidParameter");
        }
    }
    let plain = create(&client, &network, &[SUBNET]).succeeded();
    assert_eq!(plain.text("privateDnsPreference"), "ALL_DOMAINS");
    assert_eq!(plain.text("privateDnsSpecifiedDomainSet"), "<item>*</item>");
    assert_eq!(plain.text("privateDnsEnabled"), "false");
    for options in [
        vec![(PREFERENCE, "ALL_DOMAINS")],
        vec![PRIVATE, specified],
        vec![PRIVATE, (PREFERENCE, "ALL_DOMAINS"), specified],
        vec![PRIVATE, (PREFERENCE, "SPECIFIED_DOMAINS_ONLY")],
    ] {
        create(&client, &network, &[&[SUBNET], &options[..]].concat()).refused("InvalidParameter");
    }
    create(&client, &network, &[SUBNET, PRIVATE, (PREFERENCE, "SOME")]).refused("InvalidParameterValue");
    let names: Vec<String> = (1..=11)
        .map(|n| format!("DnsOptions.PrivateDnsSpecifiedDomain.{n}"))
        .collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "example.com")).collect();
    create(&client, &network, &many).refused("InvalidParameterValue");
    simulator.set_vpc_dns(ACCOUNT, REGION, "vpc-1", false, true).unwrap();
    create(&client, &network, &[SUBNET, PRIVATE]).refused("InvalidParameter");
}

#[test]
fn a_vpc_holds_so_many_of_each() {
    let (simulator, client) = simulator(unthrottled());
    simulator.configure(|config| {
        assert_eq!(
            (
                config.quotas.resource_endpoints,
                config.quotas.service_network_endpoints
            ),
            (200, 50)
        );
        config.quotas.resource_endpoints = 1;
        config.quotas.service_network_endpoints = 1;
    });
    let resource =
        simulator.add_resource_configuration(ACCOUNT, REGION, "rcfg-1", ResourceConfigurationSpec::default());
    let network = simulator.add_service_network(ACCOUNT, REGION, "sn-1");
    for arn in [&resource, &network] {
        create(&client, arn, &[SUBNET]).succeeded();
        create(&client, arn, &[SUBNET]).refused("VpcEndpointLimitExceeded");
    }
}

#[test]
fn their_requests_carry_no_service_name() {
    let (simulator, client) = simulator(unthrottled());
    let resource =
        simulator.add_resource_configuration(ACCOUNT, REGION, "rcfg-1", ResourceConfigurationSpec::default());
    let network = simulator.add_service_network(ACCOUNT, REGION, "sn-1");
    let restrict = |condition: Value, more: &[Value]| {
        let allow = |resources: Value, condition: Value| json!({"Effect": "Allow", "Action": "ec2:CreateVpcEndpoint", "Resource": resources, "Condition": condition});
        let place = json!(["arn:aws:ec2:*:*:vpc/*", "arn:aws:ec2:*:*:subnet/*"]);
        let endpoint = allow(json!("arn:aws:ec2:*:*:vpc-endpoint/*"), condition);
        let zone = json!({"Effect": "Allow", "Action": "route53:AssociateVPCWithHostedZone", "Resource": "*"});
        let statements = [&[endpoint, allow(place, json!({})), zone], more].concat();
        let spec = RoleSpec {
            policy: Some(json!({"Version": "2012-10-17", "Statement": statements}).to_string()),
            ..RoleSpec::default()
        };
        simulator.set_role(ROLE, spec).unwrap();
    };
    restrict(json!({"StringLike": {"ec2:VpceServiceName": "*"}}), &[]);
    create(&client, &resource, &[SUBNET]).refused("UnauthorizedOperation");
    let nameless = json!({"Null": {"ec2:VpceServiceName": "true"}});
    restrict(nameless.clone(), &[]);
    create(&client, &resource, &[SUBNET]).succeeded();
    client
        .create_endpoint("com.amazonaws.us-west-2.sqs", &[])
        .refused("UnauthorizedOperation");
    let refused = create(&client, &network, &[SUBNET]);
    refused.refused("UnauthorizedOperation");
    let action = "vpc-lattice:CreateServiceNetworkVpcEndpointAssociation";
    assert!(refused.text("Message").contains(action), "{}", refused.body);
    let associate = json!({"Effect": "Allow", "Action": action, "Resource": network});
    restrict(nameless, std::slice::from_ref(&associate));
    create(&client, &network, &[SUBNET]).succeeded();

    let preference = json!({"StringEquals": {"ec2:VpcePrivateDnsPreference": "SPECIFIED_DOMAINS_ONLY"},
        "ForAllValues:StringLike": {"ec2:VpcePrivateDnsSpecifiedDomains": "*.example.com"}});
    restrict(preference, &[associate]);
    let specified = |domain: &str| {
        let options = [
            SUBNET,
            PRIVATE,
            (PREFERENCE, "SPECIFIED_DOMAINS_ONLY"),
            (DOMAIN, domain),
        ];
        create(&client, &network, &options)
    };
    specified("db.example.org").refused("UnauthorizedOperation");
    specified("db.example.com").succeeded();
}
