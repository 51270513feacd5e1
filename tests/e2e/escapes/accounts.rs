//! Ways into another team's account: its name, its labels, ids of what it has.

use http::Method;
use serde_json::{Value, json};

use super::{Belongings, calls_to_ec2, neighbours, rest};
use crate::cluster::{self, ACCOUNTS, NAMESPACES};
use crate::privileges::somebody;
use crate::world::{World, endpoint, text};

#[test]
fn the_name_of_another_tenants_account_gives_no_access() {
    let (victim, attacker) = neighbours("named-account");
    let before = Belongings::of(&victim);
    let calls = calls_to_ec2(&attacker);
    attacker.apply("api", attacker.spec(json!({"account": victim.account})));
    let message = attacker.not_ready("api", "AccountNotMapped");
    assert!(
        message.contains(&attacker.account),
        "it names the one that may be used: {message}"
    );
    rest(&victim);
    let object = attacker.get("api").expect("it is there");
    assert_eq!(object["status"]["account"], Value::Null);
    assert_eq!(object["metadata"]["finalizers"], Value::Null);
    assert_eq!(Belongings::of(&attacker).in_aws(), (0, 0));
    assert_eq!(calls_to_ec2(&attacker), calls);
    // Once it is bound, there is no other account for it.
    attacker.apply("bound", attacker.spec(json!({})));
    attacker.ready("bound");
    let refusal = attacker.try_apply("bound", attacker.spec(json!({"account": victim.account})));
    let message = refusal.expect_err("it is bound").message;
    assert!(
        message.contains(&format!("account stays {}", attacker.account)),
        "{message}"
    );
    assert_eq!(Belongings::of(&attacker).in_aws(), (1, 1));
    assert_eq!(Belongings::of(&victim), before);
}

#[test]
fn an_app_team_cannot_label_its_namespace_into_a_selector() {
    let world = World::shared();
    let tenant = world.unregistered_tenant("self-labelled");
    let selector = json!({"matchLabels": {"vpce.example.com/account": tenant.account}});
    tenant.register(json!({"namespaces": [], "namespace_selector": selector}));
    tenant.apply("api", tenant.spec(json!({})));
    tenant.not_ready("api", "NoAccount");
    let namespace = tenant.namespace_path();
    let labels = json!({"vpce.example.com/account": tenant.account});
    let labelled = json!({"metadata": {"labels": labels}});
    let new = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "of-its-own", "labels": labels}});
    for role in ["edit", "admin"] {
        let team = somebody(&tenant, role);
        team.may_not(Method::PATCH, &namespace, &labelled, "cannot patch resource");
        team.may_not(Method::POST, NAMESPACES, &new, "cannot create resource");
        let account = json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": "of-its-own"},
            "spec": {"role_arn": tenant.role_arn, "namespaces": [tenant.namespace]},
        });
        team.may_not(Method::POST, ACCOUNTS, &account, "cannot create resource");
    }
    // Labels of the object itself select nothing.
    tenant.merge("api", labelled.clone());
    tenant.not_ready("api", "NoAccount");
    // Who may label it opens the account.
    world.cluster.merge(&namespace, &labelled).expect("labelled");
    tenant.ready("api");
}

#[test]
fn the_id_of_anothers_endpoint_adopts_and_reveals_nothing() {
    let (victim, attacker) = neighbours("adopting");
    let theirs = text(&victim.ready("api")["status"]["vpc_endpoint_id"]);
    let before = Belongings::of(&victim);
    let team = somebody(&attacker, "edit");
    let collection = cluster::endpoints(&attacker.namespace);
    for (name, wish) in [
        ("adopts", json!({"vpc_endpoint_id": theirs})),
        (
            "observes",
            json!({"vpc_endpoint_id": theirs, "management_policy": "Observe"}),
        ),
    ] {
        let object = endpoint(&attacker.namespace, name, &attacker.spec(wish));
        let created =
            attacker
                .world
                .cluster
                .send_as(&team.user, Method::POST, &collection, "application/json", &object);
        created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
        let message = attacker.not_ready(name, "NotAdoptable");
        assert!(message.contains("its tags name another VPCEndpoint"), "{message}");
        let status = attacker.get(name).expect("it is there")["status"].take();
        for field in [
            "vpc_endpoint_id",
            "dns_name",
            "dns_entries",
            "state",
            "network_interface_ids",
        ] {
            assert_eq!(status[field], Value::Null, "{field}: {status}");
        }
    }
    assert_eq!(Belongings::of(&attacker).in_aws(), (0, 0));
    for name in ["adopts", "observes"] {
        attacker.delete(name);
        attacker.gone(name);
    }
    assert_eq!(Belongings::of(&victim), before);
}
