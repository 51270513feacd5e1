//! `vpce-operator status`, run by a developer who may read the namespace and nothing else.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use vpce_testbed::tools::Tool;

use crate::cluster::{self, Run};
use crate::subcommand::{BINARY, type_into, words};
use crate::tenant::Tenant;
use crate::world::{World, text};

/// The kubeconfig of a developer with the ClusterRole `view` in the tenant's namespace.
pub(crate) fn developer(tenant: &Tenant<'_>) -> PathBuf {
    let (cluster, namespace) = (&tenant.world.cluster, &tenant.namespace);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": "developer"}});
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    cluster.create(&accounts, &account, Run::Real).expect("created");
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"namespace": namespace, "name": "developers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "developer"}],
    });
    let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings");
    cluster.create(&bindings, &binding, Run::Real).expect("created");
    cluster.plane.kubeconfig_of(namespace, "developer").expect("a token")
}

/// What it prints and says, and whether it succeeds.
pub(crate) fn status(tenant: &Tenant<'_>, kubeconfig: &PathBuf, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(BINARY);
    command
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .arg("status")
        .args(arguments);
    let output = type_into(&mut command, "");
    assert!(
        tenant
            .calls()
            .iter()
            .all(|call| call.action != "AssumeRole" || call.ok())
    );
    (output.status.success(), words(&output))
}

#[test]
fn a_developer_reads_the_whole_story_of_an_endpoint() {
    let tenant = World::shared().tenant("story");
    let kubeconfig = developer(&tenant);
    let rule = json!({"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["10.0.0.0/8"]});
    tenant.apply(
        "api",
        tenant.spec(json!({"security_group_type": "custom", "security_group_ingress": [rule]})),
    );
    let object = tenant.ready("api");
    tenant.event("api", "Available");
    let field = |name: &str| text(&object["status"][name]);
    let of = format!("{}/api", tenant.namespace);
    tenant.eventually("api", "the event is shown", || {
        let (success, said) = status(&tenant, &kubeconfig, &[&of]);
        assert!(success, "{said}");
        said.contains("Normal Available").then_some(())
    });
    let (_, said) = status(&tenant, &kubeconfig, &["api", "--namespace", &tenant.namespace]);
    for expected in [
        of.as_str(),
        "True: Available",
        &format!("{} ({}), {}", tenant.account, tenant.account_id, tenant.region),
        &tenant.vpc,
        &tenant.subnets[0],
        &tenant.subnets[1],
        &format!("{} (Interface, available)", field("vpc_endpoint_id")),
        &tenant.service,
        &field("dns_name"),
        &format!("{}, the operator's own", field("security_group_id")),
        "10.0.0.0/8",
        &format!("api.{}.svc: leads to {}", tenant.namespace, field("dns_name")),
        "EndpointAvailable=True Available, ",
        "s ago",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(said.lines().count() <= 40, "more than a screen: {said}");

    // The Service is read, not believed.
    tenant
        .world
        .cluster
        .delete(&format!("{}/api", cluster::services(&tenant.namespace)));
    let (success, said) = status(&tenant, &kubeconfig, &[&of]);
    assert!(
        success && said.contains(&format!("api.{}.svc: ", tenant.namespace)),
        "{said}"
    );
}

#[test]
fn what_is_not_ready_says_why_and_what_is_not_there_is_an_error() {
    let tenant = World::shared().tenant("story");
    let kubeconfig = developer(&tenant);
    tenant.apply("away", tenant.spec(json!({"account": "another"})));
    let message = tenant.not_ready("away", "AccountNotMapped");
    let (success, said) = status(&tenant, &kubeconfig, &[&format!("{}/away", tenant.namespace)]);
    assert!(success, "{said}");
    for expected in ["False: AccountNotMapped", &message, "none (Interface, not created yet)"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (success, said) = status(&tenant, &kubeconfig, &[&format!("{}/none", tenant.namespace)]);
    assert!(!success && said.contains("there is no VPCEndpoint"), "{said}");
    let away = format!("{}/away", tenant.namespace);
    let (success, said) = status(&tenant, &kubeconfig, &[&away, "--namespace", "other"]);
    assert!(!success && said.contains("--namespace says other"), "{said}");
    let (success, said) = status(&tenant, &kubeconfig, &["default/api"]);
    assert!(
        !success && said.contains("cannot read the VPCEndpoint default/api"),
        "{said}"
    );
}

#[test]
fn kubectl_finds_the_plugin() {
    let tenant = World::shared().tenant("plugin");
    let kubeconfig = developer(&tenant);
    tenant.apply("api", tenant.spec(json!({})));
    tenant.ready("api");
    let folder = tenant.world.cluster.plane.folder().join("plugins");
    std::fs::create_dir_all(&folder).expect("a folder");
    symlink(BINARY, folder.join("kubectl-vpce")).expect("a link");
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(Tool::Kubectl.path().expect("a tool"));
        command.env_clear().env("KUBECONFIG", &kubeconfig).env("PATH", &folder);
        let output = type_into(command.args(arguments), "");
        (output.status.success(), words(&output))
    };
    let (success, said) = kubectl(&["vpce", "status", "api", "--namespace", &tenant.namespace]);
    assert!(success && said.contains("True: Available"), "{said}");
    let (_, said) = kubectl(&["vpce", "status", "--help"]);
    assert!(said.contains("Usage: kubectl vpce status"), "{said}");
}
