use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::Policy;
use super::*;
use crate::api::{AWSAccountSpec, EndpointType};

fn role() -> RoleArn {
    "arn:aws:iam::111122223333:role/vpce-operator".parse().expect("a role")
}

fn trust() -> Trust {
    Trust {
        base: "arn:aws:iam::999999999999:role/base".parse().expect("an identity"),
        external_id: Some("an-id".to_owned()),
        session_tags: BTreeMap::new(),
        base_is_tagged: false,
        source_identity: false,
    }
}

fn statements(policy: &Policy) -> Vec<Value> {
    policy.to_json()["Statement"].as_array().expect("statements").clone()
}

fn of(scope: Scope) -> Vec<Value> {
    statements(&tenant_permissions(&role(), &"c".into(), &scope).expect("a policy"))
}

#[test]
fn nothing_is_made_or_changed_without_the_clusters_tag() {
    let tagged = |statement: &Value| {
        let equals = &statement["Condition"]["StringEquals"];
        equals["aws:RequestTag/silvermullet.com/cluster"] == "c"
            || equals["aws:ResourceTag/silvermullet.com/cluster"] == "c"
    };
    for statement in of(Scope::default()) {
        let sid = statement["Sid"].as_str().expect("a Sid");
        let named_only = [
            "Read",
            "CreateInVpc",
            "UseSubnetsAndGroups",
            "TagWhatIsCreated",
            "NoOtherTagKeys",
        ];
        let named_only = named_only.contains(&sid);
        assert_eq!(tagged(&statement), !named_only, "{statement}");
    }
}

#[test]
fn what_exists_already_is_tagged_as_the_clusters_only_where_that_is_asked_for() {
    let sids = |scope| -> Vec<String> {
        let added = of(scope)
            .into_iter()
            .filter(|statement| !of(Scope::default()).contains(statement));
        added
            .map(|statement| statement["Sid"].as_str().expect("a Sid").to_owned())
            .collect()
    };
    let adoption = || Scope {
        adoption: true,
        ..Scope::default()
    };
    let legacy = || Scope {
        legacy: true,
        ..Scope::default()
    };
    assert_eq!(sids(adoption()), ["AdoptEndpointsThatConsent"]);
    assert_eq!(sids(legacy()), ["ClaimWhatNoClusterOwns"]);
    for scope in [adoption(), legacy()] {
        for statement in of(scope)
            .iter()
            .filter(|statement| !of(Scope::default()).contains(statement))
        {
            assert_eq!(statement["Action"], "ec2:CreateTags");
            let condition = &statement["Condition"];
            assert_eq!(
                condition["StringEquals"]["aws:RequestTag/silvermullet.com/cluster"],
                "c"
            );
            // What another cluster owns has the tag, and consents to nothing.
            let consents = condition["StringLike"]["aws:ResourceTag/silvermullet.com/adopt"] == "c/*";
            let is_unowned = condition["Null"]["aws:ResourceTag/silvermullet.com/cluster"] == "true";
            assert!(consents != is_unowned, "{statement}");
        }
    }
}

#[test]
fn endpoint_services_are_a_block_of_their_own_that_is_there_only_where_they_are_allowed() {
    let spec = |allowed| {
        let spec = serde_json::json!({
            "role_arn": "arn:aws:iam::111122223333:role/x", "allow_endpoint_services": allowed,
        });
        serde_json::from_value::<AWSAccountSpec>(spec).expect("an account")
    };
    let (without, with) = (of(Scope::of(&spec(false))), of(Scope::of(&spec(true))));
    assert_eq!(without, of(Scope::default()));
    let added: Vec<&Value> = with.iter().filter(|statement| !without.contains(statement)).collect();
    assert_eq!(added.len(), 4);
    assert_eq!(with.len(), without.len() + added.len());
    for statement in added {
        let equals = &statement["Condition"]["StringEquals"];
        let is_tagged = equals["aws:RequestTag/silvermullet.com/cluster"] == "c"
            || equals["aws:ResourceTag/silvermullet.com/cluster"] == "c"
            || equals["ec2:CreateAction"] == "CreateVpcEndpointServiceConfiguration";
        let is_read = statement["Sid"] == "ReadEndpointServices";
        let of_load_balancers = statement.to_string().matches("elasticloadbalancing:Describe").count();
        assert_eq!(of_load_balancers, if is_read { 2 } else { 0 });
        assert_eq!(is_tagged, !is_read, "{statement}");
        let of_account = "arn:aws:ec2:*:111122223333:vpc-endpoint-service/*";
        assert_eq!(statement["Resource"], if is_read { "*" } else { of_account });
    }
}

#[test]
fn a_role_touches_its_own_account_only() {
    let scope = Scope {
        private_dns: true,
        ..Scope::default()
    };
    for statement in of(scope) {
        let resources = match &statement["Resource"] {
            Value::Array(resources) => resources.clone(),
            resource => vec![resource.clone()],
        };
        for resource in resources {
            let resource = resource.as_str().expect("an ARN");
            let is_open = statement["Sid"] == "Read" || statement["Effect"] == "Deny";
            let is_read = is_open && resource == "*";
            // Hosted zones have no account in their ARN; the VPC that is associated is the
            // account's own.
            let is_zone = resource == "arn:aws:route53:::hostedzone/*";
            assert!(
                is_read || is_zone || resource.starts_with("arn:aws:ec2:*:111122223333:"),
                "{resource}"
            );
        }
    }
}

#[test]
fn lists_that_allow_nothing_are_refused_but_for_groups_of_others() {
    let none = Some(Vec::new());
    for scope in [
        Scope {
            regions: none.clone(),
            ..Scope::default()
        },
        Scope {
            vpcs: none.clone(),
            ..Scope::default()
        },
        Scope {
            subnets: none.clone(),
            ..Scope::default()
        },
        Scope {
            services: none.clone(),
            ..Scope::default()
        },
    ] {
        let refused = tenant_permissions(&role(), &"c".into(), &scope);
        assert!(matches!(refused, Err(Error::NothingAllowed(_))), "{scope:?}");
    }
    let own_groups = of(Scope {
        groups: none,
        ..Scope::default()
    });
    let used = own_groups.iter().find(|one| one["Sid"] == "UseSubnetsAndGroups");
    assert_eq!(used.expect("there")["Resource"], "arn:aws:ec2:*:111122223333:subnet/*");
    assert!(own_groups.iter().any(|one| one["Sid"] == "UseOwnGroups"));
}

#[test]
fn a_dozen_regions_and_vpcs_fit() {
    let scope = Scope {
        regions: Some((1..=12).map(|n| format!("ap-southeast-{n}")).collect()),
        vpcs: Some((0..12).map(|n| format!("vpc-{n:017x}")).collect()),
        private_dns: true,
        ..Scope::default()
    };
    assert!(tenant_permissions(&role(), &"c".repeat(64).as_str().into(), &scope).is_ok());
}

#[test]
fn session_tags_are_let_in_where_there_are_some_and_with_their_values() {
    assert_eq!(statements(&tenant_trust(&role(), &trust()).expect("a policy")).len(), 1);
    let base_is_tagged = Trust {
        base_is_tagged: true,
        ..trust()
    };
    let tagging = statements(&tenant_trust(&role(), &base_is_tagged).expect("a policy")).remove(1);
    assert_eq!(tagging["Action"], "sts:TagSession");
    assert_eq!(tagging["Condition"], Value::Null);
    let own = Trust {
        session_tags: BTreeMap::from([("team".to_owned(), "payments".to_owned())]),
        ..trust()
    };
    let tagging = statements(&tenant_trust(&role(), &own).expect("a policy")).remove(1);
    assert_eq!(
        tagging["Condition"],
        json!({"StringEquals": {"aws:RequestTag/team": "payments"}})
    );
}

#[test]
fn a_source_identity_is_allowed_where_it_is_sent_and_no_others() {
    let sending = Trust {
        source_identity: true,
        ..trust()
    };
    let both = statements(&tenant_trust(&role(), &sending).expect("a policy"));
    // It can be turned on and off again without locking a user out.
    assert_eq!(
        both[..1],
        statements(&tenant_trust(&role(), &trust()).expect("a policy"))[..]
    );
    assert_eq!(both[1]["Action"], "sts:SetSourceIdentity");
    assert_eq!(
        both[1]["Condition"],
        json!({"StringLike": {"sts:SourceIdentity": "vpce-operator@*"}})
    );
}

#[test]
fn private_dns_takes_leave_of_route_53_for_the_vpcs_that_are_allowed_and_only_where_it_is() {
    let last = |scope: Scope| of(scope).pop().expect("statements");
    let guardrails = || Scope {
        regions: Some(vec!["eu-west-1".to_owned()]),
        private_dns: true,
        ..Scope::default()
    };
    assert!(
        !of(Scope::default())
            .iter()
            .any(|one| one.to_string().contains("route53"))
    );
    for (scope, condition) in [
        (
            Scope {
                private_dns: true,
                ..Scope::default()
            },
            Value::Null,
        ),
        (
            guardrails(),
            json!({"ForAllValues:StringLike": {"route53:VPCs": "VPCId=*,VPCRegion=eu-west-1"}}),
        ),
        (
            Scope {
                vpcs: Some(vec!["vpc-0c4a7d9e2b6f81035".to_owned()]),
                ..guardrails()
            },
            json!({"ForAllValues:StringLike": {"route53:VPCs": "VPCId=vpc-0c4a7d9e2b6f81035,VPCRegion=*"}}),
        ),
    ] {
        let statement = last(scope);
        assert_eq!(statement["Action"], "route53:AssociateVPCWithHostedZone");
        assert_eq!(statement["Condition"], condition);
    }
}

#[test]
fn each_type_that_a_guardrail_names_gets_what_it_needs_and_no_more() {
    let policy = |types: &[EndpointType], services: Option<&str>| {
        of(Scope {
            types: types.to_vec(),
            services: services.map(|service| vec![service.to_owned()]),
            route_tables: Some(vec!["rtb-0c4a7d9e2b6f81035".to_owned()]),
            ..Scope::default()
        })
    };
    let sids = |statements: &[Value], said: &str| {
        let with = statements.iter().filter(|one| one.to_string().contains(said));
        with.map(|one| one["Sid"].as_str().expect("a Sid").to_owned())
            .collect::<Vec<_>>()
    };
    let plain = [EndpointType::Interface, EndpointType::GatewayLoadBalancer];
    assert_eq!(policy(&plain, Some("*")), policy(&[], Some("*")));
    for said in ["route-table", "lattice", "Null"] {
        assert_eq!(sids(&policy(&plain, Some("*")), said), [""; 0], "{said}");
    }
    let gateway = policy(&[EndpointType::Gateway], Some("*"));
    assert_eq!(
        sids(&gateway, "route-table/rtb-0c4a7d9e2b6f81035"),
        ["UseSubnetsAndGroups"]
    );
    let resource = policy(&[EndpointType::Resource], Some("*"));
    assert_eq!(
        sids(&resource, "\"Null\":{\"ec2:VpceServiceName\":\"true\"}"),
        ["CreateVpcEndpointForNoService"]
    );
    assert_eq!(sids(&resource, "vpc-lattice:"), [""; 0]);
    let network = policy(&[EndpointType::ServiceNetwork], Some("*"));
    assert_eq!(sids(&network, "vpc-lattice:"), ["AssociateServiceNetwork"]);
    assert_eq!(sids(&network, "Null"), ["CreateVpcEndpointForNoService"]);
    // Where no service is named, no statement asks for one.
    assert_eq!(sids(&policy(&[EndpointType::Resource], None), "Null"), [""; 0]);
}

#[test]
fn a_role_that_iam_would_read_as_a_pattern_is_refused() {
    let role: RoleArn = "arn:aws:iam::111122223333:role/*".parse().expect("the type allows it");
    assert!(tenant_permissions(&role, &"c".into(), &Scope::default()).is_err());
    assert!(tenant_trust(&role, &trust()).is_err());
}

#[test]
fn what_a_former_cluster_owns_is_changed_and_nothing_made_in_its_name() {
    let clusters = Clusters {
        own: "new".to_owned(),
        former: vec!["old".to_owned()],
    };
    let policy = tenant_permissions(&role(), &clusters, &Scope::default()).expect("a policy");
    for statement in statements(&policy) {
        let equals = &statement["Condition"]["StringEquals"];
        let (requested, owned) = (
            &equals["aws:RequestTag/silvermullet.com/cluster"],
            &equals["aws:ResourceTag/silvermullet.com/cluster"],
        );
        assert!(requested.is_null() || requested == "new", "{statement}");
        assert!(
            owned.is_null() || *owned == serde_json::json!(["new", "old"]),
            "{statement}"
        );
    }
    let strange = Clusters {
        own: "new".to_owned(),
        former: vec!["*".to_owned()],
    };
    assert!(tenant_permissions(&role(), &strange, &Scope::default()).is_err());
}
