//! The pages beside the guides whose commands are run.

use std::fs;

use serde_json::json;
use vpce_testbed::aws::RoleSpec;

use super::{Guide, in_aws, make, shown, team};
use crate::world::{Setup, World};

const SERVICE_ACCOUNT: &str = "/api/v1/namespaces/vpce-system/serviceaccounts/vpce-operator";

/// From nothing to the first connection, with the identity that the cluster hands out in one of two
/// ways. The roles have what the page prints for them, and nothing else.
fn first_connection(identity: &str, other: &str) {
    let mut setup = Setup::fast();
    setup.aws.base_is_session = true;
    let world = World::own(setup);
    let mut guide = Guide::at(&world, "getting-started-eks");
    for section in ["The base role with", "Values with", "The role of the account with"] {
        guide.skip(&format!("{section} {other}"));
    }
    let folder = guide.folder.clone();
    let printed = |file: &str| fs::read_to_string(folder.join(file)).expect("printed");

    guide.follow(&format!("The base role with {identity}"));
    let base = world.aws.set_base_policy(Some(printed("base-permissions.json")));
    base.expect("a policy");
    assert!(printed("base-trust.json").contains("AssumeRole"));
    guide.follow(&format!("Values with {identity}"));
    let said = guide.follow("Install the chart");
    assert!(
        said.contains("vpcendpoints.silvermullet.com") && said.contains("vpce-operator-0_"),
        "{said}"
    );
    let annotations = world.cluster.get(SERVICE_ACCOUNT).expect("there")["metadata"]["annotations"].take();
    let names_the_role = annotations.to_string().contains("role/vpce-operator-base");
    assert_eq!(names_the_role, identity == "IRSA", "{annotations}");

    guide.follow("Write the AWSAccount");
    guide.follow(&format!("The role of the account with {identity}"));
    let tenant = shown(&guide);
    let role = RoleSpec {
        policy: Some(printed("permissions.json")),
        trust_policy: Some(printed("trust.json")),
        ..RoleSpec::default()
    };
    world.aws.add_role(&tenant.role_arn, role).expect("a role");
    let said = guide.follow("Apply the AWSAccount");
    assert!(
        said.contains(&tenant.account_id) && said.contains("condition met") && said.contains("True"),
        "{said}"
    );

    let said = guide.follow("Create an endpoint");
    assert!(said.contains("available") && said.contains("True"), "{said}");
    assert_eq!((in_aws(&tenant).len(), tenant.groups().len()), (1, 1));
    let said = guide.follow("Connect");
    assert!(
        said.contains("ExternalName") && said.contains("connect to card-processor.payments.svc"),
        "{said}"
    );
    guide.follow("Clean up");
    assert_eq!((in_aws(&tenant).len(), tenant.groups().len()), (0, 0));
    assert!(world.aws_account("payments").is_none());
    guide.end();
}

#[test]
fn the_first_connection_is_made_with_irsa() {
    first_connection("IRSA", "Pod Identity");
}

#[test]
fn the_first_connection_is_made_with_pod_identity() {
    first_connection("Pod Identity", "IRSA");
}

#[test]
fn an_operator_is_upgraded_and_rolled_back_and_an_object_is_read_as_the_pages_say() {
    let world = World::own(Setup::fast());
    let tenant = team(&world, "payments", "payments");
    tenant.register(json!({}));
    let id = make(&tenant, "card-processor");

    let mut page = Guide::at(&world, "operating");
    let said = page.follow("Upgrade");
    assert!(said.contains("deployed") && said.contains("superseded"), "{said}");
    assert!(
        said.contains("card-processor") && said.contains("vpce-operator-0_"),
        "{said}"
    );
    page.follow("Roll back");
    page.follow("Read-only mode");
    let suspended = world.aws_account("payments").expect("there")["spec"]["suspended"].take();
    assert_ne!(suspended, json!(true));
    page.end();
    assert_eq!(tenant.ready("card-processor")["status"]["vpc_endpoint_id"], id);
    assert_eq!(in_aws(&tenant), [id]);

    let mut page = Guide::at(&world, "troubleshooting");
    tenant.apply("lost", tenant.spec(json!({"vpc_id": "vpc-00000000000000000"})));
    tenant.not_ready("lost", "NotFound");
    let said = page.follow("Read the object");
    assert!(
        said.contains("Ready=True Available: connect to card-processor.payments.svc"),
        "{said}"
    );
    let listed = said
        .lines()
        .find(|line| line.split_whitespace().collect::<Vec<_>>() == ["payments", "lost", "False", "NotFound"]);
    assert!(listed.is_some(), "{said}");
    assert!(
        !said.contains("payments    card-processor   True"),
        "only what is not Ready: {said}"
    );
    page.follow("Reconcile now");
    let asked =
        tenant.get("card-processor").expect("there")["metadata"]["annotations"]["silvermullet.com/reconcile-at"].take();
    assert!(asked.is_string(), "{asked}");
    page.end();

    let mut page = Guide::at(&world, "gitops");
    let said = page.follow("kubectl");
    assert!(said.contains("security_group_ingress"), "{said}");
    // An Argo CD that has settings of its own.
    world.kubectl(&["create", "namespace", "argocd"]);
    let settings = [
        "create",
        "configmap",
        "argocd-cm",
        "--from-literal=url=https://argocd.example.com",
    ];
    world.kubectl(&[&settings[..], &["--namespace", "argocd"]].concat());
    page.follow("Argo CD");
    let settings = world.kubectl(&[
        "get",
        "configmap",
        "argocd-cm",
        "--namespace",
        "argocd",
        "--output",
        "yaml",
    ]);
    for part in [
        "url: https://argocd.example.com",
        "silvermullet.com_VPCEndpoint",
        "silvermullet.com_AWSAccount",
    ] {
        assert!(settings.contains(part), "{part}: {settings}");
    }
    page.end();
}
