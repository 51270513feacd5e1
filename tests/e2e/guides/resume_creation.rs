//! The guide for resuming creation.

use serde_json::json;

use super::{Guide, in_aws, make, team};
use crate::tenant::Tenant;
use crate::world::{World, condition};

/// Makes these endpoints, lets all vanish in AWS behind the operator's back, and waits until the
/// objects say that they are held. Returns the ids of what is gone.
fn vanished(tenant: &Tenant<'_>, names: &[&str]) -> Vec<String> {
    const CREATE: &str = "ec2:CreateVpcEndpoint";
    const READ: &str = "ec2:DescribeVpcEndpoints";
    let aws = &tenant.world.aws;
    let ids: Vec<String> = names.iter().map(|name| make(tenant, name)).collect();
    // One that the operator happens to read alone would be known to be gone, and made again, before
    // the others are missed; three are enough to be a mistake, so there are more.
    aws.deny(&tenant.role_arn, CREATE);
    aws.deny(&tenant.role_arn, READ);
    for id in &ids {
        let deleted = aws.delete_endpoint_behind(&tenant.account_id, &tenant.region, id);
        deleted.expect("it was there");
    }
    aws.allow(&tenant.role_arn, READ);
    for name in names {
        tenant.not_ready(name, "CreationPaused");
    }
    aws.allow(&tenant.role_arn, CREATE);
    ids
}

#[test]
fn a_paused_creation_is_seen_and_resumed() {
    let world = World::shared();
    let mut guide = Guide::open(world, "resume-creation");
    let tenant = team(world, "trading", "trading");
    tenant.register(json!({}));
    let names = ["quotes", "fills", "limits", "risk"];
    let old = vanished(&tenant, &names);
    let message = world.eventually("the AWSAccount tells of the hold", || {
        let held = condition(&world.aws_account("trading")?, "CreationPaused")?;
        let id = held.message.split("resume id ").nth(1)?.split(' ').next()?.to_owned();
        let all = names.iter().all(|name| {
            let ready = tenant.condition(name, "Ready");
            ready.is_some_and(|ready| ready.message.contains(&id))
        });
        (held.status && all).then_some(held.message)
    });
    tenant.apply("new", tenant.spec(json!({})));
    tenant.not_ready("new", "CreationPaused");

    let printed = guide.follow("Check the condition");
    assert!(printed.contains(&message), "{printed}");
    for name in names {
        assert!(printed.lines().any(|line| line.contains(name)), "{name}: {printed}");
    }
    assert!(in_aws(&tenant).is_empty());
    guide.follow("Resume it");
    let now = in_aws(&tenant);
    assert_eq!(now.len(), 5);
    assert!(old.iter().all(|id| !now.contains(id)));
    world.eventually("the AWSAccount tells of no hold", || {
        let held = condition(&world.aws_account("trading")?, "CreationPaused");
        held.is_none_or(|held| !held.status).then_some(())
    });
    guide.end();
}

#[test]
fn creation_resumes_by_itself_when_nothing_is_missing() {
    let tenant = World::shared().tenant("hold-ends");
    let names = ["one", "two", "three", "four"];
    vanished(&tenant, &names);
    for name in names {
        tenant.delete(name);
    }
    for name in names {
        tenant.gone(name);
    }
    let new = make(&tenant, "new");
    assert_eq!(in_aws(&tenant), [new]);
}
