//! The operator against moto, an AWS that somebody else wrote: what only our own simulator
//! understands, nobody does.

use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use vpce_testbed::operator::{Aws, Operator};
use vpce_testbed::python::{self, Moto};

use crate::cluster::{self, ACCOUNTS, Cluster, Run};
use crate::subcommand::{subcommand, type_into, words};
use crate::world::{Setup, WITHIN, condition, endpoint};

const NAMESPACE: &str = "team";
const ROLE: &str = "arn:aws:iam::123456789123:role/vpce-operator";
const REGION: &str = "eu-west-1";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/python/moto_account.py");
const SERVICE: &str = "com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0";

/// Runs the script that prepares and shows moto's account.
fn account(moto: &Moto, command: &str) -> Value {
    let output = Command::new(python::interpreter().expect("Python"))
        .env_clear()
        .args([SCRIPT, command, moto.url(), ROLE, REGION])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[track_caller]
fn eventually<T>(what: &str, operator: &Operator, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited in vain: {what}; the operator's log:\n{}",
            operator.logs()
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// The endpoint of an object, by its tags.
fn made_for<'v>(things: &'v Value, name: &str) -> Vec<&'v Value> {
    let things = things.as_array().expect("a list").iter();
    things
        .filter(|thing| thing["tags"]["silvermullet.com/name"] == name)
        .collect()
}

/// All three group types: made, Ready, with their Service; a rule changed in place; and deleted
/// again.
///
/// moto is no judge of states (what is made is available, what is deleted is gone at once), of
/// ClientTokens and external ids (ignored), of who uses a group (it deletes any), of services (any
/// name will do), nor of rates. Its endpoints' DNS names are made up. It answers the filter by
/// which pending endpoints are read with a 500, so that it also proves the way around that.
#[test]
fn the_three_group_types_live_on_moto() {
    let moto = Moto::start().expect("moto starts");
    let cluster = Cluster::start().expect("the cluster starts");
    let seeded = account(&moto, "seed");
    // moto puts endpoints under the service's name, not under AWS's domain for them.
    let setup = Setup::fast().value("admissionPolicy.dnsSuffixes[0]", SERVICE);
    let aws = Aws {
        url: moto.url().to_owned(),
        region: REGION.to_owned(),
        access_key_id: "base".to_owned(),
        secret_access_key: "base".to_owned(),
    };
    let operator = Operator::install(&cluster.plane, &aws, setup.options()).expect("the operator starts");
    cluster.create_namespace(NAMESPACE, json!({}));
    let mapping = json!({
        "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount", "metadata": {"name": "moto"},
        "spec": {"role_arn": ROLE, "namespaces": [NAMESPACE], "default_region": REGION},
    });
    cluster.create(ACCOUNTS, &mapping, Run::Real).expect("it is valid");

    let rules =
        |port: u16| json!([{"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8"]}]);
    let spec = |kind: &str| {
        let mut spec = json!({
            "vpc_id": seeded["vpc"], "subnet_ids": seeded["subnets"], "vpc_endpoint_service_id": SERVICE,
            "security_group_type": kind,
        });
        match kind {
            "provided" => spec["security_group_ids"] = json!([seeded["group"]]),
            "custom" => {
                spec["security_group_ingress"] = rules(443);
                spec["security_group_egress"] = rules(443);
            }
            _ => {}
        }
        spec
    };
    let collection = cluster::endpoints(NAMESPACE);
    let path = |name: &str| format!("{collection}/{name}");
    let ready = |name: &str| {
        eventually(&format!("{name} is Ready"), &operator, || {
            let object = cluster.get(&path(name))?;
            condition(&object, "Ready").filter(|ready| ready.status)?;
            Some(object)
        })
    };
    let kinds = ["generated", "provided", "custom"];
    for kind in kinds {
        cluster
            .create(&collection, &endpoint(NAMESPACE, kind, &spec(kind)), Run::Real)
            .expect("it is valid");
    }
    for kind in kinds {
        let object = ready(kind);
        let service = cluster
            .get(&format!("{}/{kind}", cluster::services(NAMESPACE)))
            .expect("a Service");
        assert_eq!(service["spec"]["externalName"], object["status"]["dns_name"]);
        let shown = account(&moto, "show");
        let made = made_for(&shown["endpoints"], kind);
        assert_eq!(made.len(), 1, "{kind}");
        assert_eq!(made[0]["id"], object["status"]["vpc_endpoint_id"]);
        let group = match kind {
            "provided" => seeded["group"].clone(),
            _ => object["status"]["security_group_id"].clone(),
        };
        assert_eq!(made[0]["groups"], json!([group]), "{kind}");
        assert_eq!(
            made_for(&shown["groups"], kind).len(),
            usize::from(kind != "provided"),
            "{kind}"
        );
    }
    let shown = account(&moto, "show");
    let private = ["-1  10.0.0.0/8", "-1  172.16.0.0/12", "-1  192.168.0.0/16"];
    assert_eq!(made_for(&shown["groups"], "generated")[0]["ingress"], json!(private));
    assert_eq!(
        made_for(&shown["groups"], "custom")[0]["egress"],
        json!(["tcp 443 10.0.0.0/8"])
    );

    let mut changed = spec("custom");
    changed["security_group_ingress"] = rules(8443);
    changed["subnet_ids"] = json!([seeded["subnets"][0]]);
    cluster
        .set_spec(&path("custom"), &changed, Run::Real)
        .expect("it is valid");
    ready("custom");
    let shown = account(&moto, "show");
    let group = &made_for(&shown["groups"], "custom")[0];
    assert_eq!(group["ingress"], json!(["tcp 8443 10.0.0.0/8"]));
    assert_eq!(group["egress"], json!(["tcp 443 10.0.0.0/8"]));
    assert_eq!(
        made_for(&shown["endpoints"], "custom")[0]["subnets"],
        json!([seeded["subnets"][0]])
    );

    for kind in kinds {
        cluster.delete(&path(kind));
    }
    for kind in kinds {
        eventually(&format!("{kind} is gone"), &operator, || {
            cluster.get(&path(kind)).is_none().then_some(())
        });
    }
    let shown = account(&moto, "show");
    assert_eq!(shown["endpoints"], json!([]));
    assert!(
        kinds.iter().all(|kind| made_for(&shown["groups"], kind).is_empty()),
        "{shown}"
    );
    let groups = shown["groups"].as_array().expect("a list");
    assert!(
        groups.iter().any(|group| group["id"] == seeded["group"]),
        "a provided group is never deleted"
    );
    assert!(cluster.list(&cluster::services(NAMESPACE)).is_empty());

    // An orphan, since the operator does not see its object go.
    let orphan = endpoint(NAMESPACE, "orphan", &spec("generated"));
    cluster.create(&collection, &orphan, Run::Real).expect("it is valid");
    let orphan = ready("orphan")["status"].take();
    assert!(operator.terminate().expect("it was running").success());
    let no_finalizer = json!({"metadata": {"finalizers": null}});
    cluster.merge(&path("orphan"), &no_finalizer).expect("it is allowed");
    cluster.delete(&path("orphan"));
    let mut delete = subcommand(&cluster.plane, &aws);
    delete.args(["orphans", "--account", "moto", "--delete", "--yes"]);
    let deleted = type_into(&mut delete, "");
    let told = words(&deleted);
    assert!(deleted.status.success(), "{told}");
    for id in ["vpc_endpoint_id", "security_group_id"] {
        let id = orphan[id].as_str().expect("an id");
        assert!(told.contains(id), "{told}");
    }
    let shown = account(&moto, "show");
    assert_eq!(shown["endpoints"], json!([]), "{told}");
    assert!(made_for(&shown["groups"], "orphan").is_empty(), "{told}");
}
