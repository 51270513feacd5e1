//! A namespace that another team makes again after the first has gone.

use serde_json::{Value, json};

use super::open_role;
use crate::cluster::{self, NAMESPACES, Run};
use crate::tenant::Tenant;
use crate::world::{World, endpoint, text};

const LABEL: &str = "vpce.example.com/account";

/// A tenant whose namespace is mapped by a label.
fn selected(name: &str) -> Tenant<'static> {
    let tenant = World::shared().unregistered_tenant(name);
    open_role(&tenant);
    let selector = json!({"matchLabels": {LABEL: tenant.account}});
    tenant.register(json!({"namespaces": [], "namespace_selector": selector}));
    label(&tenant);
    tenant
}

fn label(tenant: &Tenant<'_>) {
    let labels = json!({"metadata": {"labels": {LABEL: tenant.account}}});
    let labelled = tenant.world.cluster.merge(&tenant.namespace_path(), &labels);
    labelled.unwrap_or_else(|refusal| panic!("{}", refusal.message));
}

#[test]
fn a_namespace_recreated_by_another_team_has_nothing_of_the_first() {
    let tenant = selected("recreated");
    tenant.edit_account(json!({"allow_retain": true}));
    tenant.apply("kept", tenant.spec(json!({"deletion_policy": "Retain"})));
    tenant.apply("api", tenant.spec(json!({})));
    let kept = tenant.ready("kept")["status"].take();
    tenant.ready("api");
    tenant.world.cluster.delete(&tenant.namespace_path());
    tenant.namespace_gone();
    let left = (tenant.endpoints(), tenant.groups());
    assert_eq!((left.0.len(), left.1.len()), (1, 1), "what was to be kept");
    assert_eq!(left.0[0].id, text(&kept["vpc_endpoint_id"]));

    tenant.world.cluster.create_namespace(&tenant.namespace, json!({}));
    let calls = tenant.calls().len();
    for name in ["kept", "api"] {
        tenant.apply(name, tenant.spec(json!({})));
        tenant.not_ready(name, "NoAccount");
    }
    let of_ec2 = tenant
        .calls()
        .split_off(calls)
        .into_iter()
        .filter(|call| call.mutating());
    assert_eq!(of_ec2.count(), 0);
    assert_eq!((tenant.endpoints(), tenant.groups()), left);
    // Let in, it gets its own; what was kept is the first team's no longer, and not the second's
    // either.
    label(&tenant);
    for name in ["kept", "api"] {
        let status = tenant.ready(name)["status"].take();
        assert_ne!(status["vpc_endpoint_id"], kept["vpc_endpoint_id"]);
        assert_ne!(status["security_group_id"], kept["security_group_id"]);
    }
    for name in ["kept", "api"] {
        tenant.delete(name);
        tenant.gone(name);
    }
    assert_eq!((tenant.endpoints(), tenant.groups()), left);
}

#[test]
fn while_a_namespace_is_being_deleted_nothing_is_created_in_it() {
    let tenant = selected("terminating");
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    tenant.world.aws.deny(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.world.cluster.delete(&tenant.namespace_path());
    tenant.eventually("api", "AWS refuses its deletion", || {
        let refused = tenant
            .calls()
            .into_iter()
            .any(|call| call.action == "DeleteVpcEndpoints" && !call.ok());
        refused.then_some(())
    });
    // Neither is the namespace made again, nor anything in it.
    let again = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant.namespace, "labels": {}}});
    let refusal = tenant
        .world
        .cluster
        .create(NAMESPACES, &again, Run::Real)
        .expect_err("it is there");
    assert_eq!(refusal.code, 409, "{}", refusal.message);
    let new = endpoint(&tenant.namespace, "new", &tenant.spec(json!({})));
    let collection = cluster::endpoints(&tenant.namespace);
    let refusal = tenant
        .world
        .cluster
        .create(&collection, &new, Run::Real)
        .expect_err("it is going");
    assert!(refusal.message.contains("being terminated"), "{}", refusal.message);
    // Nor does the label's loss keep what is bound from being deleted.
    let unlabelled = json!({"metadata": {"labels": {LABEL: Value::Null}}});
    tenant
        .world
        .cluster
        .merge(&tenant.namespace_path(), &unlabelled)
        .expect("unlabelled");
    tenant.world.aws.allow(&tenant.role_arn, "ec2:DeleteVpcEndpoints");
    tenant.namespace_gone();
    assert!(tenant.endpoints().is_empty() && tenant.groups().is_empty());

    tenant.world.cluster.create_namespace(&tenant.namespace, json!({}));
    tenant.apply("api", tenant.spec(json!({})));
    tenant.not_ready("api", "NoAccount");
    assert!(tenant.endpoints().is_empty());
}
