//! What a status remembers.

use serde_json::json;
use vpce_core::api::VPCEndpointServiceStatus;
use vpce_core::endpoint_service::status::{self, Acknowledged};
use vpce_core::endpoint_service::{Connection, Observed, ObservedEndpointService};
use vpce_core::observed::{Lookup, State};

use crate::scenario::{ACCOUNTS, arn, completed, resolved};

fn observed(desired: &vpce_core::endpoint_service::Desired, connections: Vec<Connection>) -> Observed {
    let mut service = ObservedEndpointService::created(
        "vpce-svc-1".into(),
        desired.load_balancer_type,
        &desired.load_balancers,
        desired.acceptance_required,
        &desired.address_types,
        desired.private_dns_name.as_deref(),
        &desired.tags,
    );
    service.state = State::Available;
    Observed {
        service: Lookup::Owned(service),
        principals: Some(desired.principals.clone()),
        connections: Some(connections),
    }
}

fn connection(number: usize, owner: &str, state: State) -> Connection {
    Connection {
        endpoint: format!("vpce-{number:02}").as_str().into(),
        owner: owner.to_owned(),
        state,
    }
}

#[test]
fn what_could_be_created_is_named_before_it_is_and_an_edit_does_not_agree_with_it() {
    let first = completed(json!({"tags": {"cost": "1"}, "consumers": {"account_ids": [ACCOUNTS[0]]}})).expect("valid");
    let other = json!({"load_balancer": {"network_load_balancer_arns": [arn("net", "other")]}});
    let edited = completed(other).expect("valid");
    let binding = resolved(json!({})).binding;
    let mut status = VPCEndpointServiceStatus::default();
    assert!(!status::agrees(&status, &binding, &first), "it is not bound");
    status::bind(&mut status, &binding, &first, Some(3));
    let acknowledged = Acknowledged::of(&status);
    assert_eq!(acknowledged.service, None);
    assert_eq!(acknowledged.load_balancers.expect("named").1, first.load_balancers);
    assert_eq!(status.tag_keys, ["cost", "team"]);
    assert_eq!(status.consumer_account_ids, [ACCOUNTS[0]]);
    assert_eq!((status.incarnation, status.bound_generation), (Some(0), Some(3)));
    assert!(status::agrees(&status, &binding, &first));
    assert!(!status::agrees(&status, &binding, &edited));
    let elsewhere = vpce_core::resolve::Binding {
        region: "eu-west-2".into(),
        ..binding.clone()
    };
    assert!(!status::agrees(&status, &elsewhere, &first));
    // Once it is there, load balancers are changed in place.
    status::take_over(&mut status, &observed(&first, Vec::new()), Some(&first), false);
    assert!(status::agrees(&status, &binding, &edited));
    assert!(!status::agrees(&status, &elsewhere, &edited));
}

#[test]
fn accounts_and_keys_are_forgotten_once_nothing_of_theirs_is_left() {
    let first = completed(json!({"tags": {"cost": "1"}, "consumers": {"account_ids": [ACCOUNTS[0]]}})).expect("valid");
    let second = completed(json!({})).expect("valid");
    let mut status = VPCEndpointServiceStatus::default();
    status::bind(&mut status, &resolved(json!({})).binding, &first, None);
    assert!(!status::announce(&mut status, &first, None), "it is written already");
    let connected = vec![connection(1, ACCOUNTS[0], State::Available)];
    let tagged = observed(&first, connected);
    status::take_over(&mut status, &tagged, Some(&second), true);
    assert_eq!(status.consumer_account_ids, [ACCOUNTS[0]]);
    assert_eq!(status.tag_keys, ["cost", "team"]);
    let rejected = vec![connection(1, ACCOUNTS[0], State::Rejected)];
    let untagged = observed(&second, rejected);
    status::take_over(&mut status, &untagged, Some(&second), false);
    assert_eq!(status.tag_keys, ["cost", "team"], "it may be shown without for a while");
    assert!(status.consumer_account_ids.is_empty());
    status::take_over(&mut status, &untagged, Some(&second), true);
    assert_eq!(status.tag_keys, ["team"]);
}

#[test]
fn connections_are_counted_by_state_and_the_first_are_those_that_wait() {
    let desired = completed(json!({})).expect("valid");
    let states = [State::Available, State::Pending, State::Rejected, State::Failed];
    let mut connections: Vec<Connection> = (0..30)
        .map(|number| connection(number, ACCOUNTS[0], states[number % 4].clone()))
        .collect();
    connections.push(connection(99, ACCOUNTS[1], State::PendingAcceptance));
    let mut status = VPCEndpointServiceStatus::default();
    status::take_over(&mut status, &observed(&desired, connections), Some(&desired), false);
    let told = status.connections.expect("they are known");
    let counts = (
        told.available,
        told.pending_acceptance,
        told.pending,
        told.rejected,
        told.other,
    );
    assert_eq!(counts, (8, 1, 8, 7, 7));
    assert_eq!(told.first.len(), 20);
    assert_eq!(told.first[0].vpc_endpoint_id, "vpce-99");
    assert_eq!(told.first[0].state, "pendingAcceptance");
    assert_eq!(told.first[1].vpc_endpoint_id, "vpce-00");
    assert_eq!(status.state.as_deref(), Some("Available"));
}

#[test]
fn of_what_is_not_proven_or_not_its_own_a_status_has_nothing_and_of_what_is_gone_no_more() {
    let desired = completed(json!({})).expect("valid");
    let binding = resolved(json!({})).binding;
    let mut status = VPCEndpointServiceStatus::default();
    status::bind(&mut status, &binding, &desired, None);
    let bound = status.clone();
    let Lookup::Owned(service) = observed(&desired, Vec::new()).service else {
        panic!("it is there");
    };
    let mut unowned = Observed::nothing();
    unowned.service = Lookup::Unowned(service);
    status::take_over(&mut status, &unowned, Some(&desired), false);
    assert_eq!(status, bound);
    status::take_over(&mut status, &observed(&desired, Vec::new()), Some(&desired), false);
    assert_eq!(status.service_id.as_deref(), Some("vpce-svc-1"));
    status::next_incarnation(&mut status, &desired);
    assert_eq!((&status.service_id, status.incarnation), (&None, Some(1)));
    assert!(status::agrees(&status, &binding, &desired));
    status::unbind(&mut status);
    assert_eq!((status::binding(&status), status.incarnation), (None, Some(2)));
    assert_eq!(Acknowledged::of(&status), Acknowledged::default());
}
