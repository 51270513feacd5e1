//! The guide for several replicas.

use serde_json::{Value, json};

use super::Guide;
use crate::cluster::Run;
use crate::world::{Setup, World};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/vpce-system/deployments/vpce-operator";
const PODS: &str = "/api/v1/namespaces/vpce-system/pods";
const BUDGET: &str = "/apis/policy/v1/namespaces/vpce-system/poddisruptionbudgets/vpce-operator";

/// The pod template of the Deployment.
fn template(world: &World) -> Value {
    let mut deployment = world.cluster.get(DEPLOYMENT).expect("there");
    deployment["spec"]["template"].take()
}

#[test]
fn replicas_are_spread_and_hand_over() {
    let world = World::own(Setup::fast());
    let mut guide = Guide::open(&world, "high-availability");
    let second = world.operator.replica("second", &[]).expect("it starts");
    let leads = || {
        second
            .metrics()
            .is_ok_and(|metrics| metrics.contains("\nvpce_leader 1\n"))
    };
    let printed = guide.follow("Find the leader");
    assert!(printed.contains("vpce-operator-0_") && !leads(), "{printed}");

    guide.follow("Spread the replicas");
    let pods = template(&world);
    let constraint = &pods["spec"]["topologySpreadConstraints"][0];
    assert_eq!(constraint["whenUnsatisfiable"], "DoNotSchedule", "{pods}");
    assert_eq!(pods["spec"]["priorityClassName"], "system-cluster-critical");
    let budget = world.cluster.get(BUDGET).expect("the chart brings it");
    let selected = [
        &constraint["labelSelector"]["matchLabels"],
        &budget["spec"]["selector"]["matchLabels"],
    ];
    let key = "app.kubernetes.io/name";
    for labels in selected {
        assert_eq!(labels[key], pods["metadata"]["labels"][key], "{labels}");
    }

    // The pod of the process that leads, and a kubelet's part when it goes.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "vpce-operator-0", "namespace": "vpce-system"},
        "spec": {"containers": [{"name": "operator", "image": "vpce-operator"}]},
    });
    world.cluster.create(PODS, &pod, Run::Real).expect("a pod");
    guide.follow("Change the leader");
    assert!(world.cluster.get(&format!("{PODS}/vpce-operator-0")).is_none());
    world.operator.terminate().expect("it was running");
    world.eventually("the second leads", || leads().then_some(()));

    guide.follow("Change the lease duration");
    let variables = template(&world)["spec"]["containers"][0]["env"].take();
    let mut variables = variables.as_array().expect("there are some").iter();
    let seconds = variables.find(|variable| variable["name"] == "VPCE_LEASE_DURATION_SECONDS");
    assert_eq!(seconds.expect("set")["value"], "30");
    guide.end();
}
