//! Connections come and go while they are decided on, and while their service is deleted.

use serde_json::json;
use vpce_testbed::aws::{EndpointState, Fault, FaultKind, PausePoint};

use super::Consumer;
use crate::endpoint_services::{Offers, offering, root};
use crate::world::{Setup, WITHIN, World};

const ACCEPT: &str = "AcceptVpcEndpointConnections";
const REJECT: &str = "RejectVpcEndpointConnections";
const DELETE: &str = "DeleteVpcEndpointServiceConfigurations";

#[test]
fn an_endpoint_that_vanishes_while_it_is_accepted_or_rejected_holds_nothing_up() {
    let world = World::own(unhurried());
    let tenant = world.tenant("vanishes");
    let offers = Offers::of(&tenant);
    let consumer = Consumer::new(&world);
    let arn = offers.active();
    let spec = |accounts: &[&String]| offering(&[&arn], json!({"consumers": {"account_ids": accounts}}));
    offers.apply("web", &spec(&[consumer.id()]));
    let service = offers.service_name("web");
    let both = || [(); 2].map(|()| consumer.connect(&service, EndpointState::PendingAcceptance));
    let gate = world.aws.pause_on(ACCEPT, PausePoint::Before);
    let [vanishing, staying] = both();
    offers.resync("web");
    assert!(gate.wait_reached(WITHIN), "nothing is accepted");
    consumer.delete(&vanishing);
    gate.release();
    consumer.becomes(&staying, "available");
    // Nothing has to be read again by the clock for that.
    offers.eventually("web", "it counts who is there", || {
        let status = offers.ready("web")["status"]["connections"].take();
        (status["available"] == 1 && status["pending_acceptance"] == 0).then_some(())
    });

    let [vanishing, other] = both();
    offers.resync("web");
    consumer.becomes(&vanishing, "available");
    consumer.becomes(&other, "available");
    let gate = world.aws.pause_on(REJECT, PausePoint::Before);
    offers.apply("web", &spec(&[]));
    assert!(gate.wait_reached(WITHIN), "nothing is rejected");
    consumer.delete(&vanishing);
    gate.release();
    consumer.becomes(&staying, "rejected");
    consumer.becomes(&other, "rejected");
    offers.ready("web");
    offers.delete("web");
    offers.nothing_left("web", "with rejected connections");
}

#[test]
fn a_deletion_that_waits_ends_when_the_last_consumer_goes() {
    let world = World::shared();
    let tenant = world.tenant("waits");
    let offers = Offers::of(&tenant);
    let consumer = Consumer::new(world);
    let arn = offers.active();
    let consumers = json!({"account_ids": [consumer.id()]});
    offers.apply("web", &offering(&[&arn], json!({"consumers": consumers})));
    let service = offers.service_name("web");
    let ids = [(); 2].map(|()| consumer.connect(&service, EndpointState::PendingAcceptance));
    for id in &ids {
        consumer.becomes(id, "available");
    }
    offers.delete("web");
    offers.eventually("web", "it names both", || {
        let (_, reason, message) = offers.says("web")?;
        (reason == "InUse" && ids.iter().all(|id| message.contains(id))).then_some(())
    });
    consumer.delete(&ids[0]);
    offers.eventually("web", "it names the other", || {
        let (_, reason, message) = offers.says("web")?;
        (reason == "InUse" && !message.contains(&ids[0]) && message.contains(&ids[1])).then_some(())
    });
    assert!(
        !tenant.writes().contains(&DELETE.to_owned()),
        "what would be refused is not tried"
    );
    assert_eq!(consumer.state(&ids[1]), "available");
    consumer.delete(&ids[1]);
    offers.nothing_left("web", "once the last is gone");
    assert!(!tenant.writes().contains(&REJECT.to_owned()));
}

/// A world in which everything that nobody asks for is read once an hour.
fn unhurried() -> Setup {
    Setup::fast().value("settings.resyncIntervalSeconds", "3600")
}

#[test]
fn a_connection_that_was_not_seen_yet_is_rejected_before_the_service_is_deleted() {
    let world = World::own(unhurried());
    let tenant = world.tenant("unseen");
    let offers = Offers::of(&tenant);
    let consumer = Consumer::new(&world);
    let principals = json!([root(consumer.id())]);
    let changes = json!({"allowed_principals": principals, "acceptance_required": false, "on_delete": "Reject"});
    offers.apply("web", &offering(&[&offers.active()], changes));
    let service = offers.service_name("web");
    let id = consumer.connect(&service, EndpointState::Available);
    offers.delete("web");
    offers.nothing_left("web", "with a connection that was not seen");
    assert_eq!(consumer.state(&id), "rejected");
}

#[test]
fn a_consumer_that_is_taken_away_is_rejected_though_its_connection_was_not_seen_yet() {
    let world = World::own(unhurried());
    let tenant = world.tenant("unseen");
    let offers = Offers::of(&tenant);
    let consumer = Consumer::new(&world);
    let arn = offers.active();
    let spec = |accounts: &[&String]| {
        let consumers = json!({"account_ids": accounts});
        offering(&[&arn], json!({"consumers": consumers, "acceptance_required": false}))
    };
    offers.apply("web", &spec(&[consumer.id()]));
    let service = offers.service_name("web");
    // AWS accepts it unasked.
    let id = consumer.connect(&service, EndpointState::Available);
    offers.apply("web", &spec(&[]));
    consumer.becomes(&id, "rejected");
    offers.ready("web");
    assert_eq!(offers.only().principals, [""; 0]);
}

#[test]
fn a_connection_that_is_left_out_of_a_batch_is_accepted_later() {
    let tenant = World::shared().tenant("batch");
    let offers = Offers::of(&tenant);
    let consumer = Consumer::new(tenant.world);
    let consumers = json!({"account_ids": [consumer.id()]});
    offers.apply("web", &offering(&[&offers.active()], json!({"consumers": consumers})));
    let service = offers.service_name("web");
    tenant.world.aws.fault(Fault {
        account: Some(tenant.account_id.clone()),
        ..Fault::once(
            ACCEPT,
            FaultKind::Unsuccessful {
                code: "InternalError".to_owned(),
                message: "not now".to_owned(),
            },
        )
    });
    let ids = [(); 3].map(|()| consumer.connect(&service, EndpointState::PendingAcceptance));
    for id in &ids {
        consumer.becomes(id, "available");
    }
    offers.ready("web");
}

/// The only endpoint of a batch, so that AWS does nothing at all.
#[test]
fn an_endpoint_that_vanishes_alone_leaves_the_service_ready() {
    let world = World::own(unhurried());
    let tenant = world.tenant("alone");
    let offers = Offers::of(&tenant);
    let consumer = Consumer::new(&world);
    let consumers = json!({"account_ids": [consumer.id()]});
    offers.apply("web", &offering(&[&offers.active()], json!({"consumers": consumers})));
    let service = offers.service_name("web");
    let gate = world.aws.pause_on(ACCEPT, PausePoint::Before);
    let id = consumer.connect(&service, EndpointState::PendingAcceptance);
    offers.resync("web");
    assert!(gate.wait_reached(WITHIN), "nothing is accepted");
    consumer.delete(&id);
    gate.release();
    let called = |action: &str, after: f64| {
        let calls = tenant.calls();
        let mut calls = calls.iter().filter(|call| call.action == action && call.time > after);
        calls.next().map(|call| call.time)
    };
    let tried = offers.eventually("web", "it is tried", || called(ACCEPT, 0.0));
    offers.eventually("web", "the connections are read again", || {
        called("DescribeVpcEndpointConnections", tried)
    });
    offers.ready("web");
    let events = offers.events("web");
    assert!(!events.iter().any(|event| event.contains(ACCEPT)), "{events:?}");
}
