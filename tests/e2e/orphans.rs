//! What carries this cluster's tag and belongs to no object is reported, and deleted only when a
//! person says so.

use std::process::Output;

use serde_json::json;

use crate::subcommand::{type_into, words};
use crate::tenant::Tenant;
use crate::world::{World, text};

/// A tenant whose endpoint lost its object: the finalizer was removed by hand.
fn orphaned(name: &str) -> Tenant<'static> {
    let tenant = World::shared().tenant(name);
    tenant.apply("lost", tenant.spec(json!({})));
    tenant.apply("kept", tenant.spec(json!({})));
    tenant.ready("lost");
    tenant.ready("kept");
    tenant.take_away("lost");
    tenant.edit_account(json!({"suspended": null}));
    tenant
}

/// What the AWSAccount counts.
#[track_caller]
fn counted(tenant: &Tenant<'_>, count: i64) -> Vec<String> {
    tenant.world.eventually(&format!("{count} orphans are counted"), || {
        let status = tenant.world.aws_account(&tenant.account)?["status"]["orphans"].take();
        let ids = status["ids"].as_array()?.iter().map(text).collect();
        (status["count"] == count).then_some(ids)
    })
}

/// Whether the metric says so.
fn is_measured(tenant: &Tenant<'_>, kind: &str, retained: &str, value: u8) -> bool {
    let metrics = tenant.world.operator.metrics().expect("it runs");
    let wanted = [
        format!("account_id=\"{}\"", tenant.account_id),
        format!("kind=\"{kind}\""),
        format!("retained=\"{retained}\""),
        format!("}} {value}"),
    ];
    let mut lines = metrics.lines().filter(|line| line.starts_with("vpce_orphans{"));
    lines.any(|line| wanted.iter().all(|part| line.contains(part)))
}

/// Runs the subcommand as an administrator would, and types this.
pub(crate) fn orphans(tenant: &Tenant<'_>, arguments: &[&str], typed: &str) -> Output {
    let mut orphans = tenant.world.subcommand();
    orphans.args(["orphans", "--account", &tenant.account]).args(arguments);
    type_into(&mut orphans, typed)
}

#[test]
fn they_are_counted_shown_and_deleted_only_when_a_person_says_so() {
    let tenant = orphaned("orphans");
    let ids = counted(&tenant, 2);
    let kept = tenant.get("kept").expect("there")["status"].clone();
    let orphan = tenant
        .endpoints()
        .into_iter()
        .find(|found| kept["vpc_endpoint_id"] != found.id.as_str());
    let orphan = orphan.expect("it was left");
    assert!(
        ids.contains(&orphan.id) && ids.iter().any(|id| id.starts_with("sg-")),
        "{ids:?}"
    );
    // Scrapes within a second share what they read.
    tenant.world.eventually("they are measured", || {
        let measured = ["endpoint", "security_group"].map(|kind| is_measured(&tenant, kind, "false", 1));
        (measured == [true, true]).then_some(())
    });

    // Shown, and no more than that.
    let shown = orphans(&tenant, &[], "");
    assert!(shown.status.success(), "{}", words(&shown));
    for part in [
        orphan.id.as_str(),
        &format!("(of {}/lost)", tenant.namespace),
        &tenant.account_id,
    ] {
        assert!(words(&shown).contains(part), "{part}: {}", words(&shown));
    }
    assert!(!words(&shown).contains(kept["vpc_endpoint_id"].as_str().expect("an id")));
    let refused = orphans(&tenant, &["--delete"], "yes\n");
    assert!(
        !refused.status.success() && words(&refused).contains("nothing was deleted"),
        "{}",
        words(&refused)
    );
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (2, 2));

    let deleted = orphans(&tenant, &["--delete"], "delete\n");
    assert!(deleted.status.success(), "{}", words(&deleted));
    assert!(
        words(&deleted).contains(&format!("{}: deleted", orphan.id)),
        "{}",
        words(&deleted)
    );
    assert_eq!((tenant.endpoints().len(), tenant.groups().len()), (1, 1));
    assert!(kept["vpc_endpoint_id"] == tenant.endpoints()[0].id.as_str());
    counted(&tenant, 0);
    tenant.ready("kept");
}

#[test]
fn an_object_of_the_same_name_adopts_what_was_retained() {
    let tenant = orphaned("taken-back");
    counted(&tenant, 2);
    let before = tenant.endpoints();
    tenant.apply("lost", tenant.spec(json!({})));
    tenant.ready("lost");
    counted(&tenant, 0);
    let ids = |all: &[vpce_testbed::aws::EndpointView]| all.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&tenant.endpoints()), ids(&before), "nothing is created again");
    let none = orphans(&tenant, &["--delete", "--yes"], "");
    assert!(
        none.status.success() && words(&none).contains("nothing to delete"),
        "{}",
        words(&none)
    );
}

#[test]
fn what_was_retained_is_counted_apart() {
    let tenant = World::shared().unregistered_tenant("retained-count");
    tenant.register(json!({"allow_retain": true}));
    tenant.apply("api", tenant.spec(json!({"deletion_policy": "Retain"})));
    tenant.ready("api");
    tenant.delete("api");
    tenant.gone("api");
    counted(&tenant, 0);
    tenant.world.eventually("what was retained is counted", || {
        is_measured(&tenant, "endpoint", "true", 1).then_some(())
    });
    let none = orphans(&tenant, &["--delete", "--yes"], "");
    assert!(none.status.success(), "{}", words(&none));
    assert_eq!(tenant.endpoints().len(), 1);
}

#[test]
fn where_nothing_may_be_changed_nothing_is_deleted() {
    let tenant = orphaned("orphans-suspended");
    counted(&tenant, 2);
    tenant.edit_account(json!({"suspended": true}));
    let refused = orphans(&tenant, &["--delete", "--yes"], "");
    assert!(words(&refused).contains("is suspended"), "{}", words(&refused));
    assert_eq!(tenant.endpoints().len(), 2);
}
