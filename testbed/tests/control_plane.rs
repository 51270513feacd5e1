//! The control plane is a real one: what it stores, refuses and collects, and that two of them know
//! nothing of each other.

use std::time::{Duration, Instant};

use vpce_testbed::control_plane::ControlPlane;

const CONFIG_MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata:
  name: kept
  namespace: team
data:
  key: value
";

#[test]
fn two_control_planes_side_by_side_are_apart() {
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(ControlPlane::start);
        let other = scope.spawn(ControlPlane::start);
        (
            one.join().expect("no panic").expect("one"),
            other.join().expect("no panic").expect("other"),
        )
    });
    assert_ne!(one.url(), other.url());
    let folders = [one.folder().to_owned(), other.folder().to_owned()];

    one.kubectl(&["create", "namespace", "team"])
        .expect("ran")
        .success()
        .expect("created");
    one.apply(CONFIG_MAP).expect("ran").success().expect("applied");
    assert_eq!(
        one.json(&["get", "configmap", "kept", "-n", "team"]).expect("stored")["data"]["key"],
        "value"
    );
    let refused = other.apply(CONFIG_MAP).expect("ran");
    assert!(refused.stderr.contains("namespaces \"team\" not found"), "{refused:?}");

    let strict = one.apply(&CONFIG_MAP.replace("\ndata:", "\ndota:")).expect("ran");
    assert!(strict.stderr.contains("unknown field \"dota\""), "{strict:?}");

    // The controller manager is what empties a namespace.
    one.kubectl(&["delete", "namespace", "team", "--wait", "--timeout=60s"])
        .expect("ran")
        .success()
        .expect("deleted");

    drop((one, other));
    for folder in folders {
        assert!(!folder.exists(), "{}", folder.display());
    }
}

#[test]
fn a_service_account_may_do_what_its_roles_allow_and_nothing_more() {
    let plane = ControlPlane::start().expect("started");
    let kubectl = |arguments: &[&str]| plane.kubectl(arguments).expect("ran");
    kubectl(&["create", "serviceaccount", "reader"])
        .success()
        .expect("created");
    kubectl(&[
        "create",
        "clusterrole",
        "namespaces",
        "--verb=list",
        "--resource=namespaces",
    ])
    .success()
    .expect("created");
    kubectl(&[
        "create",
        "clusterrolebinding",
        "reader",
        "--clusterrole=namespaces",
        "--serviceaccount=default:reader",
    ])
    .success()
    .expect("created");
    let kubeconfig = plane.kubeconfig_of("default", "reader").expect("token");
    let kubeconfig = kubeconfig.to_str().expect("a path of text");

    let deadline = Instant::now() + Duration::from_secs(10); // RBAC is eventually consistent
    while !kubectl(&["--kubeconfig", kubeconfig, "get", "namespaces"])
        .status
        .success()
    {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            kubectl(&["--kubeconfig", kubeconfig, "get", "namespaces"])
        );
    }
    let denied = kubectl(&["--kubeconfig", kubeconfig, "get", "secrets"]);
    assert!(denied.stderr.contains("is forbidden"), "{denied:?}");
}
