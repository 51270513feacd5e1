//! Groups, subnets, VPCs and services that a team was not given.

use serde_json::{Value, json};

use super::{Belongings, calls_to_ec2, neighbour, neighbours, open_role, rest, writes};
use crate::tenant::Tenant;
use crate::world::{World, id, text};

#[test]
fn a_group_of_another_owner_is_used_neither_as_provided_nor_in_a_rule() {
    let (victim, attacker) = neighbours("groups");
    let group = text(&victim.ready("api")["status"]["security_group_id"]);
    // One of another cluster's, of which this one knows nothing but its tags.
    let foreign = attacker.add_group("of-another-cluster");
    for (key, value) in [
        ("cluster", "another"),
        ("namespace", &attacker.namespace),
        ("name", "provided"),
    ] {
        let key = format!("silvermullet.com/{key}");
        let tagged = attacker
            .world
            .aws
            .set_tag(&attacker.account_id, &attacker.region, &foreign, &key, value);
        tagged.expect("it is there");
    }
    let before = Belongings::of(&victim);
    let rules =
        |group: &str| json!([{"protocol": "tcp", "from_port": 443, "to_port": 443, "security_group_ids": [group]}]);
    for (number, group) in [&group, &foreign].into_iter().enumerate() {
        for (kind, wish) in [
            (
                "provided",
                json!({"security_group_type": "provided", "security_group_ids": [attacker.group, group]}),
            ),
            (
                "ingress",
                json!({"security_group_type": "custom", "security_group_ingress": rules(group)}),
            ),
            (
                "egress",
                json!({"security_group_type": "custom", "security_group_egress": rules(group)}),
            ),
        ] {
            let name = format!("{kind}-{number}");
            attacker.apply(&name, attacker.spec(wish.clone()));
            let message = attacker.not_ready(&name, "NotAllowed");
            assert!(message.contains(group.as_str()), "{message}");
            assert!(!message.contains(&victim.namespace), "{message}");
            // One that is there already asks in vain too.
            let there = format!("there-{name}");
            attacker.apply(&there, attacker.spec(json!({})));
            attacker.ready(&there);
            attacker.apply(&there, attacker.spec(wish));
            attacker.not_ready(&there, "NotAllowed");
        }
    }
    // With `generated`, the ids are ignored.
    attacker.apply(
        "ignored",
        attacker.spec(json!({"security_group_ids": [group, foreign]})),
    );
    attacker.ready("ignored");
    rest(&attacker);
    for call in writes(&attacker) {
        let named = [&group, &foreign].map(|group| call.params.values().any(|value| value == group));
        assert_eq!(named, [false, false], "{call:?}");
    }
    let of_foreign = attacker.groups().into_iter().find(|found| found.id == foreign);
    assert_eq!(of_foreign.expect("it is there").ingress, []);
    assert_eq!(Belongings::of(&victim), before);
}

/// A team whose guardrails hold it to its own VPC, subnets and groups, in another's AWS account.
fn guarded<'w>(victim: &Tenant<'w>, guardrails: Value) -> Tenant<'w> {
    let mut attacker = neighbour(victim, "guarded");
    open_role(&attacker);
    attacker.vpc = id("vpc");
    let aws = &attacker.world.aws;
    aws.add_vpc(&attacker.account_id, &attacker.region, &attacker.vpc, "10.1.0.0/16")
        .expect("a VPC");
    attacker.subnets = ["a", "b", "c"].map(|zone| attacker.add_subnet(zone)).into();
    attacker.group = attacker.add_group("its-own");
    let own = json!({
        "allowed_vpc_ids": [attacker.vpc], "allowed_subnet_ids": attacker.subnets,
        "allowed_security_group_ids": [attacker.group],
    });
    attacker.register(crate::world::merged(own, guardrails));
    attacker
}

#[test]
fn a_network_outside_the_guardrails_is_not_reached_at_first_nor_by_an_edit() {
    let victim = World::shared().tenant("guarded-victim");
    let attacker = guarded(&victim, json!({}));
    let rules = json!([{"protocol": "-1", "security_group_ids": [victim.group]}]);
    let one_of_each = [&attacker.subnets[0], &victim.subnets[1]];
    let wishes = [
        (
            "vpc",
            json!({"vpc_id": victim.vpc, "subnet_ids": [victim.subnets[0]]}),
            "allowed_vpc_ids",
        ),
        ("subnet", json!({"subnet_ids": one_of_each}), "allowed_subnet_ids"),
        (
            "provided",
            json!({"security_group_type": "provided", "security_group_ids": [victim.group]}),
            "allowed_security_group_ids",
        ),
        (
            "rule",
            json!({"security_group_type": "custom", "security_group_ingress": rules}),
            "allowed_security_group_ids",
        ),
    ];
    for (name, wish, guardrail) in &wishes {
        attacker.apply(name, attacker.spec(wish.clone()));
        let message = attacker.not_ready(name, "NotAllowed");
        assert!(message.contains(guardrail), "{message}");
    }
    assert_eq!(calls_to_ec2(&attacker), 0);
    attacker.apply("edited", attacker.spec(json!({})));
    attacker.ready("edited");
    let (before, done) = (Belongings::of(&attacker), writes(&attacker).len());
    for (_, wish, guardrail) in &wishes[1..] {
        attacker.apply("edited", attacker.spec(wish.clone()));
        let message = attacker.not_ready("edited", "NotAllowed");
        assert!(message.contains(guardrail), "{message}");
    }
    assert_eq!(writes(&attacker).len(), done);
    let after = Belongings::of(&attacker);
    assert_eq!((after.endpoints, after.groups), (before.endpoints, before.groups));
}

#[test]
fn no_spelling_of_a_service_slips_past_the_patterns() {
    let world = World::shared();
    let tenant = world.unregistered_tenant("patterns");
    open_role(&tenant);
    let allowed = id("vpce-svc");
    tenant.register(json!({"allowed_services": [
        "com.amazonaws.us-west-2.s3", "com.amazonaws.*.sts", format!("com.amazonaws.vpce.us-west-2.{allowed}"),
    ]}));
    // Refused at apply, or before any call.
    let bare = tenant.service.rsplit('.').next().expect("an id");
    let spellings = [
        tenant.service.as_str(),
        bare,
        "com.amazonaws.us-west-2.ec2",
        "COM.AMAZONAWS.US-WEST-2.S3",
        "com.amazonaws.us-west-2.S3",
        "com.amazonaws.us-west-2.s3.",
        ".com.amazonaws.us-west-2.s3",
        "com.amazonaws.us-west-2..s3",
        "com.amazonaws.us-west-2.s3 ",
        " com.amazonaws.us-west-2.s3",
        "com.amazonaws.us-west-2.s3\n",
        "com.amazonaws.us-west-2.s3\u{200b}",
        "com.amazonaws.us-west-2.*",
        "com.amazonaws.us-west-2.s?",
        "*",
        "com.amazonaws.us-west-2.s3express",
        "com.amazonaws.us-west-2.s3-global.accesspoint",
        "xcom.amazonaws.us-west-2.s3",
        "com-amazonaws.us-west-2.sts",
        "com.amazonaws.us-west-2.sts-fips",
        "com.amazonaws.eu-central-1.s3",
        "s3-global",
        "ec2",
        "us-west-2.s3",
        "com.amazonaws.us-west-2.s3,com.amazonaws.us-west-2.ec2",
        "VPCE-SVC-0123456789abcdef0",
    ];
    let mut refused = 0;
    for (number, spelling) in spellings.iter().enumerate() {
        let name = format!("spelling-{number}");
        let wish = tenant.spec(json!({"vpc_endpoint_service_id": spelling}));
        match tenant.try_apply(&name, wish) {
            Err(refusal) => {
                assert!(
                    refusal.message.contains("vpc_endpoint_service_id"),
                    "{spelling}: {}",
                    refusal.message
                );
                refused += 1;
            }
            Ok(_) => {
                let message = tenant.not_ready(&name, "NotAllowed");
                assert!(message.contains("allowed_services"), "{spelling}: {message}");
            }
        }
    }
    assert!(refused > 0 && refused < spellings.len(), "{refused}");
    // What is allowed elsewhere is not allowed where the id alone is completed with another region.
    let elsewhere = tenant.spec(json!({"region": "eu-central-1", "vpc_endpoint_service_id": allowed}));
    tenant.apply("elsewhere", elsewhere);
    tenant.not_ready("elsewhere", "NotAllowed");
    assert_eq!(calls_to_ec2(&tenant), 0);
}

#[test]
fn private_dns_is_turned_on_only_where_the_account_allows_it() {
    let victim = World::shared().tenant("private-victim");
    let attacker = neighbour(&victim, "private-attacker");
    open_role(&attacker);
    attacker.register(json!({}));
    let private = json!({"private_dns_enabled": true, "vpc_endpoint_service_id": "com.amazonaws.us-west-2.sts"});
    attacker.apply("new", attacker.spec(private.clone()));
    let message = attacker.not_ready("new", "NotAllowed");
    assert!(
        message.contains("allow_private_dns") && message.contains(&attacker.account),
        "{message}"
    );
    assert_eq!(calls_to_ec2(&attacker), 0);
    // Nor later, by an edit.
    let public = json!({"vpc_endpoint_service_id": "com.amazonaws.us-west-2.sts"});
    attacker.apply("edited", attacker.spec(public.clone()));
    attacker.ready("edited");
    let done = writes(&attacker).len();
    attacker.apply("edited", attacker.spec(private.clone()));
    attacker.not_ready("edited", "NotAllowed");
    assert_eq!(writes(&attacker).len(), done);
    let on = |tenant: &Tenant<'_>| {
        let endpoints = tenant.endpoints();
        endpoints.iter().filter(|endpoint| endpoint.private_dns_enabled).count()
    };
    assert_eq!(on(&attacker), 0);
    // What no field says is said to AWS: left out, it might come on.
    let creates = writes(&attacker)
        .into_iter()
        .filter(|call| call.action == "CreateVpcEndpoint");
    for call in creates {
        assert_eq!(call.params["PrivateDnsEnabled"], "false");
    }
    // The platform team's word opens it.
    attacker.delete("new");
    attacker.gone("new");
    attacker.edit_account(json!({"allow_private_dns": true}));
    attacker.ready("edited");
    assert_eq!(on(&attacker), 1);
}
