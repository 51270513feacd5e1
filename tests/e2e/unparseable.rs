//! Objects that were stored before a schema change and do not parse: each costs itself a condition,
//! harms no other, and can be deleted.

use serde_json::{Value, json};

use crate::cluster::{self, Run};
use crate::tenant::Tenant;
use crate::world::{Setup, World, endpoint, text};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Carries out a change of stored objects that our schema would refuse, as another version of it
/// might have let pass; the operator sees it afterwards. `probe` is the path of a collection of the
/// kind, and an object that our schema refuses.
pub(crate) fn without_schema(
    world: &World,
    plural: &str,
    (collection, probe): (&str, &Value),
    change: impl Fn() -> Result<(), String>,
) {
    let definition = format!("{DEFINITIONS}/{plural}.silvermullet.com");
    let versions = |versions: &Value| {
        let change = json!({"spec": {"versions": versions}});
        world.cluster.merge(&definition, &change).expect("a definition");
    };
    assert!(world.operator.terminate().expect("it was running").success());
    let ours = world.cluster.get(&definition).expect("a definition")["spec"]["versions"].take();
    let mut open = ours.clone();
    // What can be selected by has to be in the schema.
    open[0]["selectableFields"].take();
    open[0]["schema"] = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    versions(&open);
    // The API server takes a moment to serve a definition again.
    world.eventually("the change is accepted", || change().ok());
    versions(&ours);
    world.eventually("the schema is back", || {
        let created = world.cluster.create(collection, probe, Run::Dry);
        created.err().map(drop)
    });
    world.operator.start().expect("the operator starts");
}

/// Stores objects that do not parse and one that parses and is not valid, some created so and some
/// edited to it, and returns the names of those that do not parse.
fn store_invalid(tenant: &Tenant<'_>) -> Vec<&'static str> {
    let world = tenant.world;
    let created = [
        ("type", tenant.spec(json!({"subnet_ids": 7}))),
        ("nothing", json!({"security_group_ingress": [{}]})),
        ("enum", tenant.spec(json!({"security_group_type": "open"}))),
        ("subnetless", tenant.spec(json!({"subnet_ids": null}))),
    ];
    let edited = [
        ("bound", tenant.spec(json!({"subnet_ids": {"a": 1}}))),
        (
            "doomed",
            tenant.spec(
                json!({"security_group_type": "custom", "security_group_ingress": [{"cidr_blocks": ["10.0.0.0/8"]}]}),
            ),
        ),
    ];
    let probe = endpoint("default", "probe", &json!({}));
    let probe = (cluster::endpoints("default"), probe);
    without_schema(world, "vpcendpoints", (&probe.0, &probe.1), || {
        let collection = cluster::endpoints(&tenant.namespace);
        for (name, spec) in &created {
            let object = endpoint(&tenant.namespace, name, spec);
            match world.cluster.create(&collection, &object, Run::Real) {
                Err(refusal) if refusal.code != 409 => return Err(refusal.message),
                _ => {}
            }
        }
        for (name, spec) in &edited {
            set_spec(tenant, name, spec)?;
        }
        Ok(())
    });
    let names = created.iter().chain(&edited).map(|(name, _)| *name);
    names.filter(|name| *name != "subnetless").collect()
}

fn set_spec(tenant: &Tenant<'_>, name: &str, spec: &Value) -> Result<(), String> {
    let path = format!("{}/{name}", cluster::endpoints(&tenant.namespace));
    let changed = tenant.world.cluster.set_spec(&path, spec, Run::Real);
    changed.map(drop).map_err(|refusal| refusal.message)
}

/// A spec that parses and names no subnet is refused by the operator; it can be written, corrected
/// and deleted.
fn is_corrected_and_deleted(tenant: &Tenant<'_>, name: &str) {
    let message = tenant.not_ready(name, "InvalidSpec");
    assert!(
        message.contains("subnet_ids must name at least one subnet"),
        "{message}"
    );
    tenant.merge(name, json!({"metadata": {"annotations": {"still": "writable"}}}));
    tenant.apply(name, tenant.spec(json!({})));
    tenant.ready(name);
    tenant.delete(name);
    tenant.gone(name);
}

#[test]
fn an_object_that_does_not_parse_harms_no_other_and_can_be_deleted() {
    let world = World::own(Setup::fast());
    let tenant = world.tenant("old");
    for name in ["good", "bound", "doomed"] {
        tenant.apply(name, tenant.spec(json!({})));
    }
    for name in ["good", "bound", "doomed"] {
        tenant.ready(name);
    }

    let unparseable = store_invalid(&tenant);
    for name in &unparseable {
        let message = tenant.not_ready(name, "InvalidSpec");
        assert!(
            message.contains("does not parse") && message.contains("delete the object"),
            "{name}: {message}"
        );
        let stalled = tenant.condition(name, "Stalled").expect("only an edit can help");
        assert!(stalled.status, "{name}");
    }
    is_corrected_and_deleted(&tenant, "subnetless");

    world.eventually("the metric counts them", || {
        let metrics = world.operator.metrics().ok()?;
        metrics
            .contains("vpce_unparseable_objects{kind=\"VPCEndpoint\"} 5")
            .then_some(())
    });
    let bound = tenant.get("bound").expect("it is there");
    let id = text(&bound["status"]["vpc_endpoint_id"]);
    assert!(id.starts_with("vpce-"), "what was found stays: {bound}");
    assert_eq!(
        tenant.endpoints().len(),
        3,
        "nothing is taken away from what does not parse"
    );

    // The valid objects go on: one is edited, another is created.
    tenant.apply("good", tenant.spec(json!({"tags": {"edited": "yes"}})));
    tenant.apply("new", tenant.spec(json!({})));
    tenant.ready("new");
    tenant.ready("good");
    assert!(
        tenant
            .endpoints()
            .iter()
            .any(|endpoint| endpoint.tags.contains_key("edited"))
    );

    // Corrected, it keeps its endpoint.
    set_spec(&tenant, "bound", &tenant.spec(json!({}))).expect("a correction is accepted");
    assert_eq!(tenant.ready("bound")["status"]["vpc_endpoint_id"], id);
    assert_eq!(tenant.condition("bound", "Stalled"), None);

    for name in &unparseable {
        tenant.delete(name);
    }
    for name in &unparseable {
        tenant.gone(name);
    }
    assert_eq!(
        (tenant.endpoints().len(), tenant.groups().len()),
        (2, 2),
        "good and new have theirs"
    );
}
