//! A forged status: it says where to look, and the tags in AWS, the mapping and the
//! guardrails say what may be done.

use serde_json::json;

use super::{Belongings, Forger, calls_to_ec2, look, neighbours, rest, writes};
use crate::cluster::{self, Run};
use crate::tenant::Tenant;
use crate::world::{World, condition, id, text};

/// Checks that an object's status and events show nothing that another has, and how nothing of it
/// could be had.
#[track_caller]
fn gives_nothing_away(attacker: &Tenant<'_>, name: &str, victim: &Tenant<'_>) {
    let object = attacker.get(name).expect("it is there");
    let said = format!("{} {}", object["status"], attacker.events(name).join("\n"));
    let theirs = victim.endpoints();
    let theirs = theirs
        .iter()
        .find(|endpoint| endpoint.tags["silvermullet.com/namespace"] == victim.namespace)
        .expect("they have an endpoint");
    for secret in theirs.dns_names.iter().chain(&theirs.network_interface_ids) {
        assert!(!said.contains(secret.as_str()), "{secret} is told: {said}");
    }
    assert!(!said.contains(&victim.namespace), "the owner is told: {said}");
    for advice in ["create-tags", "set the tags"] {
        assert!(!said.contains(advice), "it says how to take it over: {said}");
    }
}

#[test]
fn forged_ids_give_no_access_to_another_owners_resources() {
    let (victim, attacker) = neighbours("forged-ids");
    let theirs = victim.ready("api")["status"].take();
    attacker.apply("api", attacker.spec(json!({})));
    let own = attacker.ready("api")["status"].take();
    let before = Belongings::of(&victim);
    let forger = Forger::of(&attacker);
    let (endpoint, group) = (&theirs["vpc_endpoint_id"], &theirs["security_group_id"]);
    let both = json!({"vpc_endpoint_id": endpoint, "security_group_id": group});
    let ids = ["vpc_endpoint_id", "security_group_id"];
    // What it has of its own is found by its tags, whatever the status names.
    for (step, forged) in [
        json!({"vpc_endpoint_id": endpoint}),
        json!({"security_group_id": group}),
        both.clone(),
    ]
    .iter()
    .enumerate()
    {
        forger.forge("api", forged);
        let edit = json!({"subnet_ids": [attacker.subnets[step]], "tags": {"step": step.to_string()}});
        attacker.apply("api", attacker.spec(edit));
        let status = attacker.ready("api")["status"].take();
        for id in ids {
            assert_eq!(status[id], own[id], "the status is mended");
        }
        gives_nothing_away(&attacker, "api", &victim);
    }

    // Where it has nothing of its own, nothing is made in its place either.
    attacker.world.aws.deny(&attacker.role_arn, "ec2:CreateSecurityGroup");
    attacker.apply("none", attacker.spec(json!({})));
    attacker.not_ready("none", "Denied");
    for forged in [json!({"vpc_endpoint_id": endpoint}), both.clone()] {
        forger.forge("none", &forged);
        attacker.world.aws.allow(&attacker.role_arn, "ec2:CreateSecurityGroup");
        look(&attacker, "none");
        attacker.not_ready("none", "OwnershipLost");
        gives_nothing_away(&attacker, "none", &victim);
        let edit =
            json!({"security_group_type": "custom", "security_group_ingress": [], "subnet_ids": [attacker.subnets[2]]});
        attacker.apply("none", attacker.spec(edit));
        attacker.not_ready("none", "OwnershipLost");
        attacker.apply("none", attacker.spec(json!({})));
    }
    attacker.delete("none");
    attacker.eventually("none", "it is not deleted", || {
        let message = attacker.condition("none", "Ready")?.message;
        message.contains("not deleted").then_some(())
    });
    gives_nothing_away(&attacker, "none", &victim);
    rest(&attacker);
    for call in writes(&attacker) {
        let touched = call
            .params
            .values()
            .find(|value| [endpoint, group].contains(&&json!(value)));
        assert_eq!(touched, None, "{call:?}");
    }
    assert_eq!(Belongings::of(&victim), before);
    forger.forge("none", &json!({"vpc_endpoint_id": null, "security_group_id": null}));
    look(&attacker, "none");
    attacker.gone("none");

    // Deleted with their ids in its status, it takes its own along and leaves theirs.
    forger.forge("api", &both);
    attacker.delete("api");
    attacker.gone("api");
    assert_eq!(Belongings::of(&attacker).in_aws(), (0, 0));
    assert_eq!(Belongings::of(&victim), before);
}

#[test]
fn abandoning_what_a_forged_status_names_marks_nothing_of_another_owner() {
    let (victim, attacker) = neighbours("forged-retain");
    let theirs = victim.ready("api")["status"].take();
    attacker.edit_account(json!({"allow_retain": true}));
    attacker.apply("api", attacker.spec(json!({"deletion_policy": "Retain"})));
    attacker.ready("api");
    let before = Belongings::of(&victim);
    let ids = json!({"vpc_endpoint_id": theirs["vpc_endpoint_id"], "security_group_id": theirs["security_group_id"]});
    Forger::of(&attacker).forge("api", &ids);
    attacker.delete("api");
    attacker.gone("api");
    assert_eq!(Belongings::of(&victim), before);
}

#[test]
fn a_forged_account_gives_no_access_to_an_account_that_does_not_map_the_namespace() {
    let world = World::shared();
    let mut victim = world.unregistered_tenant("forged-account-victim");
    // Which says nothing of whose it is.
    victim.account = id("account");
    let attacker = world.unregistered_tenant("forged-account");
    for tenant in [&victim, &attacker] {
        super::open_role(tenant);
        tenant.register(json!({}));
        tenant.apply("api", tenant.spec(json!({})));
        tenant.ready("api");
    }
    let theirs = victim.ready("api")["status"].take();
    let own = attacker.ready("api")["status"].take();
    let before = Belongings::of(&victim);
    let done = writes(&victim).len();
    let forger = Forger::of(&attacker);
    let account = json!({"name": victim.account, "account_id": victim.account_id});
    let ids = json!({
        "account": account,
        "vpc_endpoint_id": theirs["vpc_endpoint_id"], "security_group_id": theirs["security_group_id"],
    });
    let mend = json!({
        "account": own["account"],
        "vpc_endpoint_id": own["vpc_endpoint_id"], "security_group_id": own["security_group_id"],
    });
    // One that never was bound is as little let in as one that is.
    attacker.apply(
        "new",
        attacker.spec(json!({"vpc_id": victim.vpc, "subnet_ids": victim.subnets[..2]})),
    );
    forger.forge("new", &json!({"account": account, "region": victim.region}));
    forger.forge("api", &ids);
    look(&attacker, "api");
    attacker.not_ready("api", "MappingRevoked");
    look(&attacker, "new");
    attacker.not_ready("new", "MappingRevoked");
    gives_nothing_away(&attacker, "api", &victim);
    attacker.apply("api", attacker.spec(json!({"tags": {"edited": "yes"}})));
    attacker.not_ready("api", "MappingRevoked");
    rest(&victim);
    attacker.delete("api");
    attacker.not_ready("api", "OwnershipLost");
    gives_nothing_away(&attacker, "api", &victim);
    // The account's name alone, with one's own account id, is another account than that name leads
    // to.
    forger.forge(
        "api",
        &json!({"account": {"name": victim.account, "account_id": attacker.account_id}}),
    );
    look(&attacker, "api");
    attacker.not_ready("api", "AccountReplaced");
    rest(&victim);
    assert_eq!(writes(&victim).len(), done, "nothing was written under their role");
    assert_eq!(Belongings::of(&victim), before);

    forger.forge("api", &mend);
    look(&attacker, "api");
    attacker.gone("api");
    attacker.delete("new");
    forger.forge("new", &json!({"account": null, "region": null}));
    look(&attacker, "new");
    attacker.gone("new");
    assert_eq!(Belongings::of(&attacker).in_aws(), (0, 0));
    assert_eq!(Belongings::of(&victim), before);
}

#[test]
fn forged_ids_that_do_not_exist_block_nothing_in_another_account() {
    let world = World::shared();
    let (victim, attacker) = (world.tenant("forged-hold-victim"), world.tenant("forged-hold"));
    victim.apply("api", victim.spec(json!({})));
    victim.ready("api");
    let forger = Forger::of(&attacker);
    let names: Vec<String> = (0..5).map(|number| format!("ghost-{number}")).collect();
    // Without a subnet that is there nothing comes of them, whose account they name.
    for name in &names {
        attacker.apply(name, attacker.spec(json!({"subnet_ids": [id("subnet")]})));
        forger.forge(
            name,
            &json!({
                "account": {"name": victim.account, "account_id": victim.account_id},
                "region": victim.region, "vpc_endpoint_id": id("vpce"),
            }),
        );
    }
    for name in &names {
        look(&attacker, name);
        attacker.not_ready(name, "MappingRevoked");
    }
    rest(&victim);
    victim.apply("new", victim.spec(json!({})));
    victim.ready("new");
    let account = world.aws_account(&victim.account).expect("it is there");
    assert_eq!(crate::world::condition(&account, "CreationPaused"), None);
}

#[test]
fn a_forged_region_creates_nothing_there_and_loses_nothing_here() {
    let tenant = World::shared().tenant("forged-region");
    super::open_role(&tenant);
    let forger = Forger::of(&tenant);
    tenant.apply("named", tenant.spec(json!({})));
    tenant.apply("default", tenant.spec(json!({"region": null})));
    let ids = ["named", "default"].map(|name| tenant.ready(name)["status"]["vpc_endpoint_id"].take());
    for name in ["named", "default"] {
        forger.forge(name, &json!({"region": "eu-central-1"}));
        look(&tenant, name);
    }
    tenant.not_ready("named", "BindingConflict");
    // Neither VPC nor subnets are there.
    tenant.not_ready("default", "NotFound");
    let there = tenant.world.aws.endpoints(&tenant.account_id, "eu-central-1");
    assert!(there.is_empty(), "{there:?}");
    for (name, id) in ["named", "default"].into_iter().zip(ids) {
        forger.forge(name, &json!({"region": tenant.region}));
        look(&tenant, name);
        assert_eq!(tenant.ready(name)["status"]["vpc_endpoint_id"], id);
        tenant.delete(name);
        tenant.gone(name);
    }
    assert_eq!(Belongings::of(&tenant).in_aws(), (0, 0));
    let groups = tenant.world.aws.security_groups(&tenant.account_id, "eu-central-1");
    assert!(groups.is_empty(), "{groups:?}");
}

#[test]
fn a_forged_incarnation_creates_nothing_twice() {
    let tenant = World::shared().tenant("forged-count");
    let forger = Forger::of(&tenant);
    for (name, incarnation) in [("most", i64::MAX), ("least", i64::MIN), ("before", -1)] {
        tenant.apply(name, tenant.spec(json!({})));
        let id = text(&tenant.ready(name)["status"]["vpc_endpoint_id"]);
        forger.forge(name, &json!({"incarnation": incarnation}));
        look(&tenant, name);
        rest(&tenant);
        assert_eq!(Belongings::of(&tenant).in_aws(), (1, 1));
        // The count goes on from there when AWS loses the endpoint.
        let behind = tenant
            .world
            .aws
            .delete_endpoint_behind(&tenant.account_id, &tenant.region, &id);
        behind.expect("it is there");
        look(&tenant, name);
        tenant.eventually(name, "another endpoint is made", || {
            let object = tenant.get(name)?;
            let made = object["status"]["vpc_endpoint_id"].as_str()?;
            condition(&object, "Ready").filter(|ready| ready.status && made != id)
        });
        assert_eq!(Belongings::of(&tenant).in_aws(), (1, 1));
        tenant.delete(name);
        tenant.gone(name);
        assert_eq!(Belongings::of(&tenant).in_aws(), (0, 0));
    }
}

#[test]
fn tag_keys_in_a_status_take_no_owner_tag_away() {
    let tenant = World::shared().tenant("forged-keys");
    super::open_role(&tenant);
    tenant.apply("api", tenant.spec(json!({"tags": {"mine": "yes"}})));
    tenant.ready("api");
    let keys = [
        "silvermullet.com/cluster",
        "silvermullet.com/namespace",
        "silvermullet.com/name",
        "silvermullet.com/uid",
        "Name",
        "mine",
    ];
    Forger::of(&tenant).forge("api", &json!({"tag_keys": keys}));
    tenant.apply("api", tenant.spec(json!({})));
    tenant.eventually("api", "its own tag is taken away", || {
        (!tenant.endpoints()[0].tags.contains_key("mine")).then_some(())
    });
    tenant.ready("api");
    let (endpoint, group) = (tenant.endpoints().remove(0), tenant.groups().remove(0));
    for key in &keys[..5] {
        assert!(
            endpoint.tags.contains_key(*key) && group.tags.contains_key(*key),
            "{key}"
        );
    }
    let taken = writes(&tenant).into_iter().filter(|call| call.action == "DeleteTags");
    for call in taken {
        let others: Vec<&String> = call
            .params
            .iter()
            .filter(|(name, key)| name.ends_with(".Key") && *key != "mine")
            .map(|(_, key)| key)
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

#[test]
fn a_forged_service_name_takes_over_and_deletes_nothing() {
    let tenant = World::shared().tenant("forged-service");
    let services = cluster::services(&tenant.namespace);
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "theirs", "labels": {"app.kubernetes.io/managed-by": "vpce-operator"}},
        "spec": {"ports": [{"port": 443}]},
    });
    let created = tenant.world.cluster.create(&services, &theirs, Run::Real);
    created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    for name in ["other", "api"] {
        tenant.apply(name, tenant.spec(json!({})));
        tenant.ready(name);
    }
    let before = ["theirs", "other"].map(|name| tenant.kubernetes_service(name));
    let forger = Forger::of(&tenant);
    for name in ["theirs", "other"] {
        let service = json!({"name": name, "host": format!("{name}.{}.svc", tenant.namespace)});
        forger.forge("api", &json!({"service": service}));
        tenant.apply("api", tenant.spec(json!({"tags": {"step": name}})));
        tenant.ready("api");
        forger.forge("api", &json!({"service": service}));
        tenant.apply(
            "api",
            tenant.spec(json!({"service": {"type": "None"}, "tags": {"step": name}})),
        );
        tenant.ready("api");
        forger.forge("api", &json!({"service": service}));
    }
    tenant.delete("api");
    tenant.gone("api");
    assert_eq!(["theirs", "other"].map(|name| tenant.kubernetes_service(name)), before);
}

#[test]
fn a_forged_condition_gives_no_access_to_another_owners_group() {
    let (victim, attacker) = neighbours("forged-ready");
    let group = victim.ready("api")["status"]["security_group_id"].take();
    let before = Belongings::of(&victim);
    let forger = Forger::of(&attacker);
    let rule = json!([{"protocol": "tcp", "from_port": 443, "to_port": 443, "security_group_ids": [group]}]);
    for (name, wish) in [
        (
            "provided",
            json!({"security_group_type": "provided", "security_group_ids": [group]}),
        ),
        (
            "rule",
            json!({"security_group_type": "custom", "security_group_ingress": rule}),
        ),
    ] {
        attacker.apply(name, attacker.spec(json!({})));
        let mut conditions = attacker.ready(name)["status"]["conditions"].take();
        let generation = attacker.get(name).expect("it is there")["metadata"]["generation"].as_i64();
        for condition in conditions.as_array_mut().expect("a list") {
            condition["observedGeneration"] = json!(generation.expect("a number") + 1);
        }
        // Ready for the next generation, which then asks for their group.
        forger.forge(name, &json!({"conditions": conditions}));
        attacker.apply(name, attacker.spec(wish));
        let message = attacker.not_ready(name, "NotAllowed");
        assert!(message.contains(&text(&group)), "{message}");
        rest(&attacker);
        let named: Vec<_> = writes(&attacker)
            .into_iter()
            .filter(|call| call.params.values().any(|value| *value == text(&group)))
            .collect();
        assert!(named.is_empty(), "{named:?}");
    }
    assert_eq!(Belongings::of(&victim), before);
}

#[test]
fn what_the_python_operator_never_left_behind_claims_nothing() {
    let (victim, attacker) = neighbours("forged-legacy");
    let theirs = victim.ready("api")["status"].take();
    let before = Belongings::of(&victim);
    let forger = Forger::of(&attacker);
    attacker
        .world
        .cluster
        .delete(&format!("{}/{}", cluster::ACCOUNTS, attacker.account));
    attacker.world.eventually("nobody maps the namespace", || {
        attacker.world.aws_account(&attacker.account).is_none().then_some(())
    });
    attacker.apply("api", attacker.spec(json!({})));
    attacker.not_ready("api", "NoAccount");
    let legacy =
        json!({"vpc_endpoint_id": theirs["vpc_endpoint_id"], "security_group_id": theirs["security_group_id"]});
    forger.forge("api", &json!({"create_fn": legacy}));
    attacker.register(json!({}));
    attacker.not_ready("api", "LegacyUnsettled");
    gives_nothing_away(&attacker, "api", &victim);
    attacker.delete("api");
    attacker.gone("api");
    assert_eq!(calls_to_ec2(&attacker), 0);
    assert_eq!(Belongings::of(&victim), before);
}
