//! A cluster that had the Python operator: its objects are kept as they are until a person migrates
//! them over.

use serde_json::{Value, json};
use vpce_testbed::scenario;

use crate::cluster::{self, Cluster};
use crate::world::{Setup, World, condition};

const NAMESPACE: &str = "external";
const NAME: &str = "ep-generated-1";

/// The definition of the Python operator: any field goes.
fn schemaless() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "vpcendpoints.silvermullet.com"},
        "spec": {
            "group": "silvermullet.com",
            "scope": "Namespaced",
            "names": {"kind": "VPCEndpoint", "plural": "vpcendpoints", "singular": "vpcendpoint", "shortNames": ["vpce", "vpces"]},
            "versions": [{
                "name": "v1beta1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// The object as it is stored, without what the API server gives every object.
fn as_stored() -> String {
    let server_given = ["creationTimestamp:", "generation:", "resourceVersion:", "uid:"];
    let lines = include_str!("data/legacy-object-as-stored.yaml").lines();
    let kept = lines.filter(|line| !server_given.iter().any(|field| line.trim_start().starts_with(field)));
    kept.collect::<Vec<_>>().join("\n")
}

/// A cluster with the definition of the Python operator.
pub(crate) fn defined() -> Cluster {
    let cluster = Cluster::start().expect("the cluster starts");
    let kubectl = |arguments: &[&str]| {
        let output = cluster.plane.kubectl(arguments).expect("kubectl runs");
        output
            .success()
            .unwrap_or_else(|error| panic!("{arguments:?}: {error:#}"))
    };
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/vpcendpoints.silvermullet.com",
    ];
    cluster
        .plane
        .apply(&schemaless().to_string())
        .expect("kubectl runs")
        .success()
        .expect("the old definition");
    kubectl(&established);
    cluster
}

/// A cluster with the object in it, as it is while the Python operator works.
pub(crate) fn before() -> (Cluster, Value) {
    let cluster = defined();
    cluster.create_namespace(NAMESPACE, json!({}));
    cluster
        .plane
        .apply(&as_stored())
        .expect("kubectl runs")
        .success()
        .expect("the old object");
    let before = cluster.get(&path()).expect("it is there");
    (cluster, before)
}

/// The same, whose definition ours has then replaced.
fn cluster() -> (Cluster, Value) {
    let (cluster, before) = before();
    replace_definition(&cluster);
    (cluster, before)
}

/// Ours replaces the definition of the Python operator.
pub(crate) fn replace_definition(cluster: &Cluster) {
    for arguments in [
        &["apply", "--filename", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")] as &[&str],
        &["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"],
    ] {
        let output = cluster.plane.kubectl(arguments).expect("kubectl runs");
        output.success().expect("our definition");
    }
}

/// Where the object is.
pub(crate) fn path() -> String {
    format!("{}/{NAME}", cluster::endpoints(NAMESPACE))
}

#[test]
fn an_object_of_the_python_operator_keeps_everything_and_creates_nothing() {
    let (cluster, before) = cluster();
    assert!(
        before["status"]["create_fn"]["vpce_aws_resource_id"].is_string(),
        "{before}"
    );
    let replaced = cluster.get(&path()).expect("it is there");
    assert_eq!(replaced["status"], before["status"]);
    assert_eq!(replaced["spec"], before["spec"]);

    let setup = Setup::fast().value("crds.enabled", "false");
    let world = World::on(cluster, setup).expect("the world starts");
    scenario::seed(&world.aws).expect("seeded");
    let accounts = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo/awsaccounts.yaml");
    world.kubectl(&["apply", "--filename", accounts]);

    let object = world.eventually("the object is Stalled", || {
        let object = world.cluster.get(&path())?;
        condition(&object, "Stalled").filter(|stalled| stalled.status)?;
        Some(object)
    });
    let ready = condition(&object, "Ready").expect("a condition");
    assert!(!ready.status && ready.reason == "LegacyUnsettled", "{ready:?}");
    assert!(
        ready.message.contains("the Python operator created this object"),
        "{ready:?}"
    );
    assert_eq!(object["status"]["create_fn"], before["status"]["create_fn"]);
    for kept in ["finalizers", "annotations"] {
        assert_eq!(object["metadata"][kept], before["metadata"][kept]);
    }

    // Deleting it loses nothing either: the finalizer of the Python operator stays, and so does
    // what it made.
    world.cluster.delete(&path());
    world.eventually("the account is Ready, so that the operator could do something", || {
        let account = world.aws_account("platform-default")?;
        condition(&account, "Ready").filter(|ready| ready.status)
    });
    std::thread::sleep(std::time::Duration::from_secs(6)); // more than a resync
    let object = world.cluster.get(&path()).expect("it is still there");
    assert_eq!(object["metadata"]["finalizers"], before["metadata"]["finalizers"]);
    assert!(world.cluster.list(&cluster::services(NAMESPACE)).is_empty());
    let writes: Vec<_> = world.aws.calls().into_iter().filter(|call| call.mutating()).collect();
    assert!(writes.is_empty(), "{writes:?}");
}
