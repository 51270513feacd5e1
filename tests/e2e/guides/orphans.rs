//! The guides for orphans, and for the finalizers whose removal makes them.

use std::thread;

use serde_json::json;

use super::{Guide, build_network, in_aws, make, run, team};
use crate::tenant::Tenant;
use crate::world::World;

/// Takes the object away and leaves what it has in AWS.
fn orphan(tenant: &Tenant<'_>, name: &str) {
    tenant.take_away(name);
    tenant.edit_account(json!({"suspended": null}));
}

/// Waits until the AWSAccount counts so many orphans.
#[track_caller]
fn counted(tenant: &Tenant<'_>, count: i64) {
    tenant.world.eventually(&format!("{count} orphans are counted"), || {
        let account = tenant.world.aws_account(&tenant.account)?;
        (account["status"]["orphans"]["count"] == count).then_some(())
    });
}

#[test]
fn orphans_are_found_adopted_and_deleted() {
    let world = World::shared();
    let mut guide = Guide::open(world, "find-orphans");
    let mut tenant = team(world, "billing", "billing");
    "eu-west-1".clone_into(&mut tenant.region);
    build_network(&mut tenant, &guide.manifest("endpoint.yaml"));
    tenant.register(json!({}));
    let (kept, ledger) = (make(&tenant, "kept"), make(&tenant, "ledger"));
    orphan(&tenant, "ledger");
    counted(&tenant, 2);

    let printed = guide.follow("Detect orphans");
    assert!(printed.contains(&ledger) && !printed.contains(&kept), "{printed}");
    let printed = guide.follow("List orphans");
    assert!(printed.contains(&format!("{ledger} (of billing/ledger)")), "{printed}");
    // In the pod, whose ServiceAccount has to do. There is no kubelet that could execute it.
    let blocks = guide.sections.iter().flat_map(|section| &section.blocks);
    let console = blocks.filter(|block| block.language == "console");
    let mut in_pod = console.filter_map(|block| block.text.split_once(" -- /"));
    let (_, command) = in_pod.next().expect("the page shows it");
    let config = world.cluster.plane.kubeconfig_of("vpce-system", "vpce-operator");
    let config = config.expect("there is one");
    let command = format!("export KUBECONFIG={}\n{command}", config.display());
    let (success, there, problem) = run(world, &guide.folder, &command, "");
    assert!(success && there == printed, "{there}{problem}");

    guide.follow("Adopt them again");
    assert_eq!(tenant.ready("ledger")["status"]["vpc_endpoint_id"], ledger.as_str());
    counted(&tenant, 0);
    orphan(&tenant, "ledger");
    let printed = guide.follow_in(world, "Delete them", "delete\n");
    assert!(printed.contains(&format!("{ledger}: deleted")), "{printed}");
    assert_eq!(in_aws(&tenant), [kept]);
    assert_eq!(tenant.groups().len(), 1);
    counted(&tenant, 0);
    guide.end();
}

#[test]
fn a_stuck_deletion_is_fixed_or_abandoned_and_what_is_left_is_reported() {
    const DELETE: &str = "ec2:DeleteVpcEndpoints";
    let world = World::shared();
    let mut guide = Guide::open(world, "remove-a-finalizer");
    let tenant = team(world, "records", "records");
    tenant.register(json!({}));
    let stuck = || {
        let id = make(&tenant, "archive");
        world.aws.deny(&tenant.role_arn, DELETE);
        tenant.delete("archive");
        tenant.not_ready("archive", "Denied");
        id
    };

    stuck();
    let printed = guide.follow("Find what it waits for");
    assert!(printed.starts_with("Denied: ") && printed.contains(DELETE), "{printed}");
    thread::scope(|scope| {
        scope.spawn(|| {
            tenant.eventually("archive", "a look is asked for", || {
                let object = tenant.get("archive")?;
                let asked = &object["metadata"]["annotations"]["silvermullet.com/reconcile-at"];
                asked.is_string().then_some(())
            });
            world.aws.allow(&tenant.role_arn, DELETE);
        });
        guide.follow("Fix the role");
    });
    assert!(in_aws(&tenant).is_empty() && tenant.groups().is_empty());

    let retained = stuck();
    guide.follow("Retain the AWS resources");
    assert_eq!(in_aws(&tenant), [retained.as_str()]);
    world.aws.allow(&tenant.role_arn, DELETE);

    let left = stuck();
    let printed = guide.follow("Remove the finalizer");
    assert!(
        printed.contains(&left) && printed.contains(&tenant.account_id),
        "{printed}"
    );
    tenant.gone("archive");
    counted(&tenant, 2);
    let printed = guide.follow("Clean up");
    assert!(printed.contains(&left) && !printed.contains(&retained), "{printed}");
    assert_eq!(in_aws(&tenant).len(), 2);
    guide.end();
}
