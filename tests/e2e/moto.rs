//! The operator against moto, an AWS simulator of other authors, so that a misunderstanding of the
//! API is not shared by the operator and our own simulator.

use std::process::Command;

use serde_json::{Value, json};
use vpce_testbed::operator::{Aws, Operator};
use vpce_testbed::python::{self, Moto};

use crate::cluster::{self, ACCOUNTS, Cluster, Run};
use crate::subcommand::{subcommand, type_into, words};
use crate::world::{Setup, condition, endpoint, eventually};

const NAMESPACE: &str = "team";
const ROLE: &str = "arn:aws:iam::123456789123:role/vpce-operator";
const REGION: &str = "eu-west-1";
const KINDS: [&str; 3] = ["generated", "provided", "custom"];
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/python/moto_account.py");
const SERVICE: &str = "com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0";

/// moto with a seeded account, and a cluster whose operator calls it.
struct Bed {
    // Dropped in this order: the operator ends while what it talks to is still there.
    operator: Operator,
    cluster: Cluster,
    moto: Moto,
    aws: Aws,
    /// The network that the account is seeded with.
    seeded: Value,
}

impl Bed {
    fn start() -> Self {
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
        Self {
            operator,
            cluster,
            moto,
            aws,
            seeded,
        }
    }

    /// The spec of an endpoint whose group is of this type.
    fn spec(&self, kind: &str) -> Value {
        let mut spec = json!({
            "vpc_id": self.seeded["vpc"], "subnet_ids": self.seeded["subnets"], "vpc_endpoint_service_id": SERVICE,
            "security_group_type": kind,
        });
        match kind {
            "provided" => spec["security_group_ids"] = json!([self.seeded["group"]]),
            "custom" => {
                spec["security_group_ingress"] = rules(443);
                spec["security_group_egress"] = rules(443);
            }
            _ => {}
        }
        spec
    }

    fn create(&self, name: &str, spec: &Value) {
        let created = self.cluster.create(
            &cluster::endpoints(NAMESPACE),
            &endpoint(NAMESPACE, name, spec),
            Run::Real,
        );
        created.expect("it is valid");
    }

    #[track_caller]
    fn ready(&self, name: &str) -> Value {
        self.eventually(&format!("{name} is Ready"), || {
            let object = self.cluster.get(&path(name))?;
            condition(&object, "Ready").filter(|ready| ready.status)?;
            Some(object)
        })
    }

    #[track_caller]
    fn eventually<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        eventually(look).unwrap_or_else(|| panic!("waited in vain: {what}; the log:\n{}", self.operator.logs()))
    }

    /// The endpoints and groups in moto.
    fn show(&self) -> Value {
        account(&self.moto, "show")
    }
}

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

/// The endpoint of an object, by its tags.
fn made_for<'v>(things: &'v Value, name: &str) -> Vec<&'v Value> {
    let things = things.as_array().expect("a list").iter();
    things
        .filter(|thing| thing["tags"]["silvermullet.com/name"] == name)
        .collect()
}

fn path(name: &str) -> String {
    format!("{}/{name}", cluster::endpoints(NAMESPACE))
}

fn rules(port: u16) -> Value {
    json!([{"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8"]}])
}

/// Creates an endpoint of each type; they become Ready, with their Services.
fn create_all(bed: &Bed) {
    for kind in KINDS {
        bed.create(kind, &bed.spec(kind));
    }
    for kind in KINDS {
        let object = bed.ready(kind);
        let service = bed
            .cluster
            .get(&format!("{}/{kind}", cluster::services(NAMESPACE)))
            .expect("a Service");
        assert_eq!(service["spec"]["externalName"], object["status"]["dns_name"]);
        let shown = bed.show();
        let made = made_for(&shown["endpoints"], kind);
        assert_eq!(made.len(), 1, "{kind}");
        assert_eq!(made[0]["id"], object["status"]["vpc_endpoint_id"]);
        let group = match kind {
            "provided" => bed.seeded["group"].clone(),
            _ => object["status"]["security_group_id"].clone(),
        };
        assert_eq!(made[0]["groups"], json!([group]), "{kind}");
        assert_eq!(
            made_for(&shown["groups"], kind).len(),
            usize::from(kind != "provided"),
            "{kind}"
        );
    }
    let shown = bed.show();
    let private = ["-1  10.0.0.0/8", "-1  172.16.0.0/12", "-1  192.168.0.0/16"];
    assert_eq!(made_for(&shown["groups"], "generated")[0]["ingress"], json!(private));
    assert_eq!(
        made_for(&shown["groups"], "custom")[0]["egress"],
        json!(["tcp 443 10.0.0.0/8"])
    );
}

/// Changes a rule and the subnets, which are changed in place.
fn change_in_place(bed: &Bed) {
    let mut changed = bed.spec("custom");
    changed["security_group_ingress"] = rules(8443);
    changed["subnet_ids"] = json!([bed.seeded["subnets"][0]]);
    bed.cluster
        .set_spec(&path("custom"), &changed, Run::Real)
        .expect("it is valid");
    bed.ready("custom");
    let shown = bed.show();
    let group = &made_for(&shown["groups"], "custom")[0];
    assert_eq!(group["ingress"], json!(["tcp 8443 10.0.0.0/8"]));
    assert_eq!(group["egress"], json!(["tcp 443 10.0.0.0/8"]));
    assert_eq!(
        made_for(&shown["endpoints"], "custom")[0]["subnets"],
        json!([bed.seeded["subnets"][0]])
    );
}

/// Deletes all; what the operator has not created stays.
fn delete_all(bed: &Bed) {
    for kind in KINDS {
        bed.cluster.delete(&path(kind));
    }
    for kind in KINDS {
        bed.eventually(&format!("{kind} is gone"), || {
            bed.cluster.get(&path(kind)).is_none().then_some(())
        });
    }
    let shown = bed.show();
    assert_eq!(shown["endpoints"], json!([]));
    assert!(
        KINDS.iter().all(|kind| made_for(&shown["groups"], kind).is_empty()),
        "{shown}"
    );
    let groups = shown["groups"].as_array().expect("a list");
    assert!(
        groups.iter().any(|group| group["id"] == bed.seeded["group"]),
        "a provided group is never deleted"
    );
    assert!(bed.cluster.list(&cluster::services(NAMESPACE)).is_empty());
}

/// Leaves an orphan, since the operator does not see its object go, and deletes it by the
/// subcommand.
fn delete_an_orphan(bed: &Bed) {
    bed.create("orphan", &bed.spec("generated"));
    let orphan = bed.ready("orphan")["status"].take();
    assert!(bed.operator.terminate().expect("it was running").success());
    let no_finalizer = json!({"metadata": {"finalizers": null}});
    bed.cluster
        .merge(&path("orphan"), &no_finalizer)
        .expect("it is allowed");
    bed.cluster.delete(&path("orphan"));
    let mut delete = subcommand(&bed.cluster.plane, &bed.aws);
    delete.args(["orphans", "--account", "moto", "--delete", "--yes"]);
    let deleted = type_into(&mut delete, "");
    let printed = words(&deleted);
    assert!(deleted.status.success(), "{printed}");
    for id in ["vpc_endpoint_id", "security_group_id"] {
        let id = orphan[id].as_str().expect("an id");
        assert!(printed.contains(id), "{printed}");
    }
    let shown = bed.show();
    assert_eq!(shown["endpoints"], json!([]), "{printed}");
    assert!(made_for(&shown["groups"], "orphan").is_empty(), "{printed}");
}

/// All three group types: created, Ready, with their Service; a rule changed in place; and deleted
/// again.
///
/// moto does not simulate states (what is created is available, what is deleted is gone at once),
/// ClientTokens and external ids (ignored), who uses a group (it deletes any), services (any name
/// will do), nor rate limits. Its endpoints' DNS names are made up. It answers the filter by which
/// pending endpoints are read with a 500, so that the test also covers the fallback for that.
#[test]
fn the_three_group_types_work_on_moto() {
    let bed = Bed::start();
    create_all(&bed);
    change_in_place(&bed);
    delete_all(&bed);
    delete_an_orphan(&bed);
}
