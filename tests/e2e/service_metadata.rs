//! Labels and annotations of the Service: those that the operator's settings allow, and no others.

use serde_json::{Value, json};

use crate::cluster;
use crate::tenant::Tenant;
use crate::world::{Setup, World, text};

fn metadata(tenant: &Tenant<'_>, name: &str) -> Value {
    tenant.kubernetes_service(name).expect("published")["metadata"].take()
}

/// Waits until the Service has this label, or has it no more.
#[track_caller]
fn label_is(tenant: &Tenant<'_>, name: &str, key: &str, value: Option<&str>) -> Value {
    tenant.eventually(name, &format!("the label {key} is {value:?}"), || {
        let found = metadata(tenant, name);
        (found["labels"][key].as_str() == value).then_some(found)
    })
}

#[test]
fn none_is_allowed_by_default() {
    let tenant = World::shared().tenant("metadata-denied");
    let drivers = [
        json!({"annotations": {"external-dns.alpha.kubernetes.io/hostname": "bank.example.com"}}),
        json!({"annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"}}),
        json!({"labels": {"argocd.argoproj.io/instance": "platform"}}),
        json!({"labels": {"team": "a"}}),
    ];
    for (number, service) in drivers.into_iter().enumerate() {
        let name = format!("api-{number}");
        tenant.apply(&name, tenant.spec(json!({"service": service})));
        let message = tenant.not_ready(&name, "NotAllowed");
        assert!(
            message.contains("settings") && message.contains("platform team"),
            "{message}"
        );
    }
    assert_eq!(tenant.writes(), Vec::<String>::new());
    // What is the operator's own is refused when it is applied.
    for service in [
        json!({"labels": {"app.kubernetes.io/managed-by": "me"}}),
        json!({"annotations": {"silvermullet.com/applied-metadata": "{}"}}),
    ] {
        let refusal = tenant.try_apply("own", tenant.spec(json!({"service": service})));
        assert_eq!(refusal.expect_err("refused").code, 422);
    }
}

#[test]
fn allowed_keys_follow_the_spec_and_those_of_others_stay() {
    let setup = Setup::fast()
        .value("settings.serviceLabels[0]", "team")
        .value("settings.serviceLabels[1]", "app.kubernetes.io/*")
        .value("settings.serviceAnnotations[0]", "note");
    let world = World::own(setup);
    let tenant = world.tenant("metadata");
    let spec = |service: Value| tenant.spec(json!({"service": service}));
    tenant.apply(
        "api",
        spec(json!({"labels": {"team": "a", "app.kubernetes.io/name": "db"}, "annotations": {"note": "x"}})),
    );
    tenant.ready("api");
    let found = metadata(&tenant, "api");
    assert_eq!(
        found["labels"],
        json!({"app.kubernetes.io/managed-by": "vpce-operator", "app.kubernetes.io/name": "db", "team": "a"})
    );
    assert_eq!(text(&found["annotations"]["note"]), "x");
    // Another client's label stays; one of ours that was changed is corrected.
    let path = format!("{}/api", cluster::services(&tenant.namespace));
    let change = json!({"metadata": {"labels": {"theirs": "1", "team": "b"}}});
    world.cluster.merge(&path, &change).expect("labelled");
    let found = label_is(&tenant, "api", "team", Some("a"));
    assert_eq!(text(&found["labels"]["theirs"]), "1");
    // What the spec says no more is taken away, and nothing else.
    tenant.apply("api", spec(json!({"labels": {"team": "a"}})));
    let found = label_is(&tenant, "api", "app.kubernetes.io/name", None);
    assert_eq!(
        (text(&found["labels"]["theirs"]), text(&found["labels"]["team"])),
        ("1".into(), "a".into())
    );
    assert_eq!(found["annotations"]["note"], Value::Null);
    // Only what is allowed; the Service stays as it is meanwhile.
    tenant.apply("api", spec(json!({"labels": {"team": "a", "teams": "b"}})));
    tenant.not_ready("api", "NotAllowed");
    assert_eq!(text(&metadata(&tenant, "api")["labels"]["team"]), "a");
    // What Kubernetes itself refuses is said as it says it.
    tenant.apply("bad", spec(json!({"labels": {"team": "not a label value"}})));
    let message = tenant.not_ready("bad", "ServiceRefused");
    assert!(message.contains("not a label value"), "{message}");
}
