//! The planner's messages.

use vpce_core::desired::Desired;
use vpce_core::observed::{ObservedEndpoint, State};

use crate::observations::*;

#[test]
fn ready_says_how_to_connect_and_under_which_name_a_certificate_fits() {
    let says = |spoil: &dyn Fn(&mut Desired, &mut ObservedEndpoint)| {
        let (desired, observed) = spoiled(|desired, observed| spoil(desired, endpoint(observed)));
        let found = planned(&desired, &observed);
        assert!(found.endpoint.ok, "{found:?}");
        found.endpoint.message
    };
    let docs = "(docs/faq.md)";
    assert_eq!(
        says(&|_, _| {}),
        format!("connect to db.blue.svc; for TLS use a name that the service's certificate has {docs}")
    );
    // The owner of a private name has proved that it is theirs.
    assert_eq!(
        says(&|desired, resource| {
            asked_mut(desired).private_dns = true;
            attached_mut(resource).private_dns = true;
            resource.dns_names.push("*.api.example.com".into());
        }),
        format!(
            "connect to *.api.example.com or db.blue.svc; for TLS use a name that the service's certificate has {docs}"
        )
    );
    let own = "com.amazonaws.eu-west-1.ecr.api";
    let regional = "vpce-1-x1y2.api.ecr.eu-west-1.vpce.amazonaws.com";
    let aws = |desired: &mut Desired, resource: &mut ObservedEndpoint| {
        desired.target = service(own);
        resource.target = Some(service(own));
        resource.dns_names = vec![regional.into()];
    };
    assert_eq!(
        says(&aws),
        format!("connect to db.blue.svc; for TLS use {regional} {docs}")
    );
    assert_eq!(
        says(&|desired, resource| {
            aws(desired, resource);
            desired.service = None;
        }),
        format!("connect to {regional}")
    );
    assert_eq!(
        says(&|desired, resource| {
            desired.service = None;
            resource.dns_names.clear();
        }),
        "endpoint vpce-1 is available"
    );
}

#[test]
fn the_account_id_to_accept_is_reported() {
    let (desired, observed) = spoiled(|_, observed| endpoint(observed).state = State::PendingAcceptance);
    let message = planned(&desired, &observed).endpoint.message;
    assert!(message.contains("vpce-1 of AWS account 222222222222"), "{message}");
}
