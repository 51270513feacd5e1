//! Edits are carried out in place: the endpoint keeps its id, and is Ready for the new generation
//! at the end.

use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointView, GroupView, RuleView};

use crate::tenant::Tenant;
use crate::world::{World, text};

/// Replaces the spec, waits until the object is Ready for it, and checks that the endpoint is still
/// the same.
fn edit(tenant: &Tenant<'_>, name: &str, spec: Value) -> Value {
    let before = only(tenant);
    let generation = tenant.apply(name, spec)["metadata"]["generation"].take();
    let object = tenant.ready(name);
    assert_eq!(object["status"]["observedGeneration"], generation);
    assert_eq!(object["status"]["vpc_endpoint_id"], before.id);
    assert_eq!(only(tenant).id, before.id);
    object
}

/// The tenant's one endpoint.
fn only(tenant: &Tenant<'_>) -> EndpointView {
    let mut endpoints = tenant.endpoints();
    assert_eq!(endpoints.len(), 1, "{endpoints:?}");
    endpoints.remove(0)
}

/// The tenant's one group that is the operator's.
fn own_group(tenant: &Tenant<'_>) -> GroupView {
    let mut groups = tenant.groups();
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups.remove(0)
}

/// A group of the tenant's own, with its rules and tags.
fn provided(tenant: &Tenant<'_>, id: &str) -> GroupView {
    let groups = tenant.world.aws.security_groups(&tenant.account_id, &tenant.region);
    groups
        .into_iter()
        .find(|group| group.id == id)
        .expect("nobody deletes it")
}

/// What changed in AWS since the calls that were counted before.
fn writes_since(tenant: &Tenant<'_>, before: usize) -> Vec<String> {
    tenant.writes().split_off(before)
}

fn sorted(ids: &[&String]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
    ids.sort();
    ids
}

fn tcp(port: i64, peer: &str, description: Option<&str>) -> RuleView {
    RuleView {
        description: description.map(str::to_owned),
        ..RuleView::new("tcp", Some((port, port)), peer)
    }
}

#[test]
fn subnets_are_added_and_removed_in_place() {
    let tenant = World::shared().tenant("edit-subnets");
    let [a, b, c] = [0, 1, 2].map(|at| &tenant.subnets[at]);
    tenant.apply("api", tenant.spec(json!({"subnet_ids": [a]})));
    tenant.ready("api");
    let before = tenant.writes().len();
    for subnets in [vec![a, b, c], vec![b, c], vec![a, b]] {
        edit(&tenant, "api", tenant.spec(json!({"subnet_ids": subnets})));
        assert_eq!(only(&tenant).subnet_ids, sorted(&subnets));
    }
    assert_eq!(writes_since(&tenant, before), ["ModifyVpcEndpoint"; 3]);
}

#[test]
fn a_subnet_is_swapped_for_another_of_its_zone() {
    let tenant = World::shared().tenant("edit-swap");
    let another = tenant.add_subnet("a");
    let stays = &tenant.subnets[1];
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let before = tenant.writes().len();
    edit(&tenant, "api", tenant.spec(json!({"subnet_ids": [another, stays]})));
    assert_eq!(only(&tenant).subnet_ids, sorted(&[&another, stays]));
    let writes = writes_since(&tenant, before);
    assert!(writes.iter().all(|action| action == "ModifyVpcEndpoint"), "{writes:?}");
    assert!(
        writes.len() <= 3,
        "one that AWS refuses, one that removes, one that adds: {writes:?}"
    );
}

#[test]
fn an_edit_of_a_pending_endpoint_is_carried_out_once_it_is_available() {
    let tenant = World::shared().tenant("edit-pending");
    tenant.apply("api", tenant.spec(json!({"subnet_ids": [tenant.subnets[0]]})));
    tenant.eventually("api", "it is being made", || {
        tenant
            .endpoints()
            .iter()
            .any(|endpoint| endpoint.state == "pending")
            .then_some(())
    });
    edit(&tenant, "api", tenant.spec(json!({"tags": {"team": "blue"}})));
    let endpoint = only(&tenant);
    assert_eq!(endpoint.subnet_ids, tenant.subnets[..2]);
    assert_eq!(endpoint.tags["team"], "blue");
    let creates = tenant.writes();
    let creates = creates.iter().filter(|action| *action == "CreateVpcEndpoint");
    assert_eq!(creates.count(), 1);
}

#[test]
fn provided_groups_are_swapped_in_one_call_and_stay_as_they_are() {
    let tenant = World::shared().tenant("edit-provided");
    let [second, third] = ["second", "third"].map(|name| tenant.add_group(name));
    let all = [&tenant.group, &second, &third];
    let unchanged = all.map(|id| provided(&tenant, id));
    let spec = |ids: &[&String]| tenant.spec(json!({"security_group_type": "provided", "security_group_ids": ids}));
    tenant.apply("api", spec(&[&tenant.group, &second]));
    tenant.ready("api");
    let before = tenant.writes().len();
    edit(&tenant, "api", spec(&[&second, &third]));
    assert_eq!(only(&tenant).group_ids, sorted(&[&second, &third]));
    edit(&tenant, "api", spec(&[&tenant.group]));
    assert_eq!(only(&tenant).group_ids, sorted(&[&tenant.group]));
    assert_eq!(writes_since(&tenant, before), ["ModifyVpcEndpoint"; 2]);
    assert_eq!(all.map(|id| provided(&tenant, id)), unchanged);
}

#[test]
fn between_generated_and_custom_the_rules_change_and_the_group_stays() {
    let tenant = World::shared().tenant("edit-custom");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let generated = own_group(&tenant);
    let before = tenant.writes().len();
    let rules = json!([{"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["10.1.2.3/16"]}]);
    let custom = tenant.spec(json!({
        "security_group_type": "custom", "security_group_ingress": rules, "security_group_egress": [],
    }));
    edit(&tenant, "api", custom);
    let group = own_group(&tenant);
    assert_eq!(group.id, generated.id);
    assert_eq!(group.ingress, [tcp(443, "10.1.0.0/16", None)]);
    assert_eq!(group.egress, []);
    edit(&tenant, "api", tenant.spec(json!({})));
    assert_eq!(own_group(&tenant), generated);
    let writes = writes_since(&tenant, before);
    let rules_only = |action: &String| action.starts_with("Authorize") || action.starts_with("Revoke");
    assert!(writes.iter().all(rules_only), "{writes:?}");
}

#[test]
fn to_provided_the_own_group_is_detached_and_then_deleted() {
    let tenant = World::shared().tenant("edit-to-provided");
    let untouched = provided(&tenant, &tenant.group);
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let before = tenant.writes().len();
    let spec = tenant.spec(json!({"security_group_type": "provided", "security_group_ids": [tenant.group]}));
    edit(&tenant, "api", spec);
    assert_eq!(only(&tenant).group_ids, sorted(&[&tenant.group]));
    tenant.eventually("api", "the generated group is deleted", || {
        tenant.groups().is_empty().then_some(())
    });
    let writes = writes_since(&tenant, before);
    assert_eq!(writes[0], "ModifyVpcEndpoint");
    assert!(
        writes[1..].iter().all(|action| action == "DeleteSecurityGroup"),
        "{writes:?}"
    );
    let object = tenant.eventually("api", "status forgets the group", || {
        let object = tenant.get("api")?;
        object["status"]["security_group_id"].is_null().then_some(object)
    });
    assert_eq!(object["status"]["vpc_endpoint_id"], only(&tenant).id);

    let before = tenant.writes().len();
    edit(&tenant, "api", tenant.spec(json!({})));
    let group = own_group(&tenant);
    assert_eq!(only(&tenant).group_ids, std::slice::from_ref(&group.id));
    assert_eq!(
        writes_since(&tenant, before),
        [
            "CreateSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "ModifyVpcEndpoint"
        ]
    );
    assert_eq!(provided(&tenant, &tenant.group), untouched);
    tenant.delete("api");
    tenant.gone("api");
    assert!(tenant.groups().is_empty());
    assert_eq!(provided(&tenant, &tenant.group), untouched);
}

#[test]
fn only_the_rules_that_differ_are_changed() {
    let tenant = World::shared().tenant("edit-rules");
    let custom = |ingress: Value| {
        tenant.spec(
            json!({"security_group_type": "custom", "security_group_ingress": ingress, "security_group_egress": []}),
        )
    };
    let rule = |port: i64, description: Option<&str>| {
        let mut rule = json!({"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8"]});
        if let Some(description) = description {
            rule["description"] = json!(description);
        }
        rule
    };
    tenant.apply("api", custom(json!([rule(443, Some("web")), rule(5432, None)])));
    tenant.ready("api");
    let group = own_group(&tenant).id;
    assert_eq!(
        own_group(&tenant).ingress,
        [tcp(443, "10.0.0.0/8", Some("web")), tcp(5432, "10.0.0.0/8", None)]
    );

    let before = tenant.writes().len();
    edit(
        &tenant,
        "api",
        custom(json!([rule(443, Some("web")), rule(8443, None)])),
    );
    assert_eq!(
        own_group(&tenant).ingress,
        [tcp(443, "10.0.0.0/8", Some("web")), tcp(8443, "10.0.0.0/8", None)]
    );
    assert_eq!(
        writes_since(&tenant, before),
        ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"]
    );

    let before = tenant.writes().len();
    edit(
        &tenant,
        "api",
        custom(json!([rule(443, Some("the web")), rule(8443, Some("admin"))])),
    );
    assert_eq!(
        own_group(&tenant).ingress,
        [
            tcp(443, "10.0.0.0/8", Some("the web")),
            tcp(8443, "10.0.0.0/8", Some("admin"))
        ]
    );
    edit(
        &tenant,
        "api",
        custom(json!([rule(443, None), rule(8443, Some("admin"))])),
    );
    assert_eq!(
        own_group(&tenant).ingress,
        [tcp(443, "10.0.0.0/8", None), tcp(8443, "10.0.0.0/8", Some("admin"))]
    );
    assert_eq!(
        writes_since(&tenant, before),
        ["UpdateSecurityGroupRuleDescriptionsIngress"; 2]
    );
    assert_eq!(own_group(&tenant).id, group);
    assert_eq!(only(&tenant).group_ids, [group]);
}

#[test]
fn a_rule_for_port_zero_alone_is_carried_out_and_warned_of() {
    let tenant = World::shared().tenant("edit-zero");
    let rule = json!({"protocol": "tcp", "from_port": 0, "to_port": 0, "cidr_blocks": ["10.0.0.0/8"]});
    tenant.apply(
        "api",
        tenant.spec(json!({"security_group_type": "custom", "security_group_ingress": [rule]})),
    );
    tenant.ready("api");
    assert_eq!(own_group(&tenant).ingress, [tcp(0, "10.0.0.0/8", None)]);
    let event = tenant.event("api", "SuspiciousRule");
    assert!(event.starts_with("Warning") && event.contains("tcp 0"), "{event}");
}

#[test]
fn a_group_without_ingress_is_created_with_a_warning() {
    let tenant = World::shared().tenant("edit-nobody");
    tenant.apply("api", tenant.spec(json!({"security_group_type": "custom"})));
    tenant.ready("api");
    assert_eq!(own_group(&tenant).ingress, []);
    let event = tenant.event("api", "SuspiciousRule");
    assert!(
        event.starts_with("Warning") && event.contains("allows no traffic"),
        "{event}"
    );
    let says = || tenant.condition("api", "Ready").expect("it is Ready").message;
    assert!(says().contains("allows no traffic"), "{}", says());
    let rule = json!([{"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["10.0.0.0/8"]}]);
    let spec = json!({"security_group_type": "custom", "security_group_ingress": rule});
    edit(&tenant, "api", tenant.spec(spec));
    assert!(!says().contains("allows no traffic"), "{}", says());
}

#[test]
fn only_tags_that_the_operator_set_are_taken_away() {
    let tenant = World::shared().tenant("edit-tags");
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    tenant.apply("api", tenant.spec(json!({"tags": {"team": "blue", "stage": "dev"}})));
    tenant.ready("api");
    let ids = [only(&tenant).id, own_group(&tenant).id];
    for id in &ids {
        aws.set_tag(account, region, id, "cost", "somebody else's")
            .expect("it is there");
    }
    let tags = || [only(&tenant).tags, own_group(&tenant).tags];

    edit(
        &tenant,
        "api",
        tenant.spec(json!({"tags": {"team": "red", "owner": "me"}})),
    );
    for tags in tags() {
        assert_eq!((&*tags["team"], &*tags["owner"]), ("red", "me"));
        assert!(!tags.contains_key("stage"), "{tags:?}");
        assert_eq!(tags["cost"], "somebody else's");
        assert_eq!(tags["Name"], format!("api-{}", tenant.namespace));
    }
    edit(&tenant, "api", tenant.spec(json!({"tags": {"Name": "nicer"}})));
    for tags in tags() {
        assert!(!tags.contains_key("team") && !tags.contains_key("owner"), "{tags:?}");
        assert_eq!((&*tags["cost"], &*tags["Name"]), ("somebody else's", "nicer"));
        assert_eq!(tags["silvermullet.com/name"], "api");
    }
    edit(&tenant, "api", tenant.spec(json!({})));
    for tags in tags() {
        assert_eq!(tags["Name"], format!("api-{}", tenant.namespace), "its default again");
        assert_eq!(tags["cost"], "somebody else's");
    }
}

#[test]
fn default_tags_of_the_account_reach_what_is_there() {
    let tenant = World::shared().tenant("edit-defaults");
    tenant.apply("api", tenant.spec(json!({"tags": {"team": "blue"}})));
    tenant.ready("api");
    tenant.edit_account(json!({"default_tags": {"team": "nobody", "cost": "42"}}));
    tenant.eventually("api", "the endpoint and its group have the account's tags", || {
        let all = [only(&tenant).tags, own_group(&tenant).tags];
        all.iter()
            .all(|tags| tags.get("cost").is_some_and(|cost| cost == "42"))
            .then_some(())
    });
    assert_eq!(only(&tenant).tags["team"], "blue", "its own win");
    tenant.edit_account(json!({"default_tags": null}));
    tenant.eventually("api", "they are taken away again", || {
        let all = [only(&tenant).tags, own_group(&tenant).tags];
        all.iter().all(|tags| !tags.contains_key("cost")).then_some(())
    });
    assert_eq!(only(&tenant).tags["team"], "blue");
}

#[test]
fn the_service_is_renamed_given_ports_and_taken_away() {
    let tenant = World::shared().tenant("edit-service");
    tenant.apply("api", tenant.spec(json!({})));
    let target = tenant.ready("api")["status"]["dns_name"].take();
    let before = tenant.writes().len();
    let leads = |name: &str| {
        let service = tenant.kubernetes_service(name).expect("a Service");
        assert_eq!(service["spec"]["externalName"], target);
        service
    };
    leads("api");

    let ports = json!([{"name": "https", "port": 443}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    edit(&tenant, "api", tenant.spec(json!({"service": {"ports": ports}})));
    let service = leads("api");
    let port = |at: usize| {
        let port = &service["spec"]["ports"][at];
        (text(&port["name"]), port["port"].as_i64(), text(&port["protocol"]))
    };
    assert_eq!(port(0), ("https".to_owned(), Some(443), "TCP".to_owned()));
    assert_eq!(port(1), ("dns".to_owned(), Some(53), "UDP".to_owned()));

    let object = edit(&tenant, "api", tenant.spec(json!({"service": {"name": "orders"}})));
    assert!(leads("orders")["spec"]["ports"].is_null());
    assert!(tenant.kubernetes_service("api").is_none(), "the old name leads nowhere");
    assert_eq!(object["status"]["service"]["name"], "orders");

    let object = edit(&tenant, "api", tenant.spec(json!({"service": {"type": "None"}})));
    assert!(tenant.kubernetes_service("orders").is_none());
    assert!(object["status"]["service"].is_null(), "{object}");
    let published = tenant.condition("api", "ServicePublished").expect("it says so");
    assert_eq!(published.reason, "NotRequested");

    edit(&tenant, "api", tenant.spec(json!({})));
    leads("api");
    assert_eq!(
        writes_since(&tenant, before),
        Vec::<String>::new(),
        "AWS has no part in it"
    );
}
