//! The guide for a cluster that has the Python operator's CRD.

use serde_json::{Value, json};
use vpce_testbed::aws::{Config, Simulator};

use super::Guide;
use crate::cluster::Cluster;
use crate::legacy;
use crate::world::{Setup, World};

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/vpcendpoints.silvermullet.com";

/// A cluster where the Python operator works. Its CRD is from a time when the API took CRDs that
/// keep any field by a switch.
fn before() -> (Cluster, Value) {
    let (cluster, object) = legacy::before();
    let key = "/registry/apiextensions.k8s.io/customresourcedefinitions/vpcendpoints.silvermullet.com";
    let changed = cluster
        .plane
        .change_stored(key, |crd| crd["spec"]["preserveUnknownFields"] = true.into());
    changed.expect("etcd has it");
    let seen = crate::world::eventually(|| (cluster.get(CRD)?["spec"]["preserveUnknownFields"] == true).then_some(()));
    seen.expect("the API server has seen it");
    let deployment = [
        "create",
        "deployment",
        "vpce-operator",
        "--namespace",
        "default",
        "--image",
        "vpce-operator",
    ];
    let created = cluster.plane.kubectl(&deployment).expect("kubectl runs");
    created.success().expect("a Deployment");
    (cluster, object)
}

#[test]
fn a_cluster_that_has_the_python_operators_crd_is_taken_over_and_its_objects_stay() {
    let (cluster, object) = before();
    let aws = Simulator::start(Config::default()).expect("it starts");
    let mut guide = Guide::open(World::shared(), "install-over-the-python-operator");
    let mut follow = |heading: &str| guide.follow_before(&cluster, &aws, heading, "");
    let now = || cluster.get(&legacy::path()).expect("it is there");

    let crd_in = |printed: &str| {
        printed
            .lines()
            .nth(1)
            .expect("the CRD")
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let printed = follow("Check the CRD");
    assert_eq!(crd_in(&printed), ["<none>", "true", "<none>"]);
    assert!(printed.contains("ep-generated-1"), "{printed}");
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/vpce-operator");
    let install = [
        "install",
        "vpce-operator",
        chart,
        "--namespace",
        "vpce-system",
        "--create-namespace",
    ];
    let refused = cluster.plane.helm(&install).expect("helm runs");
    assert!(refused.stderr.contains("invalid ownership metadata"), "{refused:?}");

    follow("Back up");
    follow("Stop the Python operator");
    follow("Replace the CRD");
    assert_eq!(now()["spec"], object["spec"]);
    follow("Install");
    let printed = follow("Verify");
    assert_eq!(crd_in(&printed), ["Helm", "<none>", "object"]);
    assert!(
        printed.contains("ep-generated-1") && printed.contains("STATUS: deployed"),
        "{printed}"
    );
    follow("Remove the Python operator");
    guide.end();
    assert_eq!(now(), object, "it is as it was");
    let crd = cluster.get(CRD).expect("there");
    let versions = crd["spec"]["versions"].as_array().expect("versions");
    assert!(
        versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["vpc_id"].is_object(),
        "{crd}"
    );

    // The operator then works in it: on new objects, and not on those of the other before somebody
    // says so.
    let world = World::on(cluster, Setup::fast()).expect("the world starts");
    let tenant = world.tenant("new");
    tenant.apply("made", tenant.spec(json!({})));
    tenant.ready("made");
    let kept = world.cluster.get(&legacy::path()).expect("it is there");
    assert_eq!(kept["spec"], object["spec"]);
    assert_eq!(kept["status"]["create_fn"], object["status"]["create_fn"]);
    assert_eq!(kept["metadata"]["finalizers"], object["metadata"]["finalizers"]);
}
