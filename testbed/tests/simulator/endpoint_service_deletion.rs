//! Deleting endpoint services and their load balancers.

use vpce_testbed::aws::{Fault, FaultKind};

use crate::hosting::{DELETING, ENDPOINT_PENDING, hosting};
use crate::{ACCOUNT, REGION};

const DELETE: &str = "DeleteVpcEndpointServiceConfigurations";

#[test]
fn a_service_is_deleting_then_deleted_then_gone() {
    // PrivateLink Guide, "AWS PrivateLink concepts", "Service states".
    let hosting = hosting();
    let id = hosting.service(&[]);
    assert!(hosting.delete(&id).succeeded().texts("resourceId").is_empty());
    assert_eq!(hosting.describe(&id).text("serviceState"), "Deleting");
    hosting.connect(&id, &[]).refused("InvalidServiceName");
    hosting
        .modify(&id, &[("AcceptanceRequired", "false")])
        .refused("IncorrectState");
    hosting.simulator.advance(DELETING);
    assert_eq!(hosting.describe(&id).text("serviceState"), "Deleted");
    hosting.modify(&id, &[]).refused("InvalidVpcEndpointServiceId.NotFound");
    let again = hosting.delete(&id).succeeded();
    assert_eq!(again.text("code"), "InvalidVpcEndpointService.NotFound");
    hosting.simulator.advance(601.0);
    let params = [("ServiceId.1", id.as_str())];
    let gone = hosting
        .provider
        .ec2("DescribeVpcEndpointServiceConfigurations", &params);
    gone.refused("InvalidVpcEndpointServiceId.NotFound");
}

#[test]
fn pending_acceptance_and_available_connections_block_deletion() {
    // PrivateLink Guide, "Delete an endpoint service"; the words are EC2's (hypershift).
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoint = hosting.connected(&id);
    let kept = || {
        let answer = hosting.delete(&id).succeeded();
        assert_eq!(
            (answer.text("resourceId"), answer.text("code")),
            (id.clone(), "ExistingVpcEndpointConnections".into())
        );
        assert_eq!(
            answer.text("message"),
            "Service has existing active VPC Endpoint connections!"
        );
        assert_eq!(hosting.describe(&id).text("serviceState"), "Available");
    };
    kept();
    hosting.accept(&id, &[&endpoint]).succeeded();
    hosting.simulator.advance(ENDPOINT_PENDING);
    kept();
    let change = [("VpcEndpointId", endpoint.as_str()), ("AddSubnetId.1", "subnet-b")];
    hosting.consumer.ec2("ModifyVpcEndpoint", &change).succeeded();
    assert_eq!(hosting.state(&endpoint), "pending");
    kept();
    hosting.reject(&id, &[&endpoint]).succeeded();
    assert!(hosting.delete(&id).succeeded().texts("code").is_empty());
}

#[test]
fn rejected_connections_remain_after_deletion() {
    // aws-nuke#1258: the connection is described, and the service is not there.
    let hosting = hosting();
    let id = hosting.service(&[]);
    let endpoint = hosting.connected(&id);
    hosting.reject(&id, &[&endpoint]).succeeded();
    hosting.delete(&id).succeeded();
    hosting.simulator.advance(DELETING);
    assert_eq!(hosting.state(&endpoint), "rejected");
    assert_eq!(hosting.connections(&id), [(endpoint.clone(), "rejected".to_owned())]);
    for decided in [hosting.accept(&id, &[&endpoint]), hosting.reject(&id, &[&endpoint])] {
        decided.refused("InvalidVpcEndpointServiceId.NotFound");
    }
    let delete = [("VpcEndpointId.1", endpoint.as_str())];
    hosting.consumer.ec2("DeleteVpcEndpoints", &delete).succeeded();
    hosting.simulator.advance(DELETING + 601.0);
    assert!(hosting.connections(&id).is_empty());
}

#[test]
fn pending_endpoints_fail() {
    // PrivateLink Guide, "Delete an endpoint service", names the states that keep a service:
    // pending is none of them.
    let hosting = hosting();
    let id = hosting.service(&[("AcceptanceRequired", "false")]);
    let endpoint = hosting.connected(&id);
    assert!(hosting.delete(&id).succeeded().texts("code").is_empty());
    hosting.simulator.advance(ENDPOINT_PENDING);
    assert_eq!(hosting.state(&endpoint), "failed");
    let own = [("VpcEndpointId.1", endpoint.as_str())];
    let own = hosting.consumer.ec2("DescribeVpcEndpoints", &own).succeeded();
    assert_eq!(own.text("code"), "InvalidServiceName");
}

#[test]
fn one_failed_item_does_not_stop_the_batch() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let ids = [
        ("ServiceId.1", "vpce-svc-00000000000000000"),
        ("ServiceId.2", id.as_str()),
    ];
    let answer = hosting.provider.ec2(DELETE, &ids).succeeded();
    assert_eq!(answer.texts("resourceId"), ["vpce-svc-00000000000000000"]);
    assert_eq!(hosting.view().state, "Deleting");
    hosting.provider.ec2(DELETE, &[]).refused("MissingParameter");
}

#[test]
fn a_dry_run_deletes_nothing() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let params = [("ServiceId.1", id.as_str()), ("DryRun", "true")];
    hosting.provider.ec2(DELETE, &params).refused("DryRunOperation");
    assert_eq!(hosting.view().state, "Available");
}

#[test]
fn a_load_balancer_in_use_cannot_be_deleted() {
    // The words are those of Elastic Load Balancing (terraform-provider-aws#5701).
    let hosting = hosting();
    let id = hosting.service(&[]);
    let arn = &hosting.load_balancer;
    let delete = || hosting.provider.elb("DeleteLoadBalancer", &[("LoadBalancerArn", arn)]);
    let kept = delete();
    kept.refused("ResourceInUse");
    let expected =
        format!("Load balancer '{arn}' cannot be deleted because it is currently associated with another service");
    assert_eq!(kept.text("Message").replace("&apos;", "'"), expected);
    hosting.delete(&id).succeeded();
    delete().refused("ResourceInUse");
    assert_eq!(hosting.simulator.load_balancers(ACCOUNT, REGION).len(), 1);
    hosting.simulator.advance(DELETING);
    delete().succeeded();
    assert!(hosting.simulator.load_balancers(ACCOUNT, REGION).is_empty());
}

#[test]
fn faults_can_fail_single_items() {
    let hosting = hosting();
    let id = hosting.service(&[]);
    let (first, second) = (hosting.connected(&id), hosting.connected(&id));
    let unsuccessful = |action: &str, id: &str| Fault {
        id: Some(id.to_owned()),
        ..Fault::once(
            action,
            FaultKind::Unsuccessful {
                code: "InternalError".to_owned(),
                message: "no".to_owned(),
            },
        )
    };
    hosting
        .simulator
        .fault(unsuccessful("RejectVpcEndpointConnections", &first));
    let answer = hosting.reject(&id, &[&first, &second]).succeeded();
    assert_eq!(
        (answer.texts("resourceId"), answer.text("code")),
        (vec![first.clone()], "InternalError".into())
    );
    assert_eq!(
        (hosting.state(&first), hosting.state(&second)),
        ("pendingAcceptance".into(), "rejected".into())
    );
    hosting.reject(&id, &[&first]).succeeded();
    // Without an id, the first of the batch.
    hosting.simulator.fault(Fault {
        id: None,
        ..unsuccessful(DELETE, &id)
    });
    assert_eq!(hosting.delete(&id).succeeded().text("code"), "InternalError");
    assert_eq!(hosting.view().state, "Available");
    hosting.delete(&id).succeeded();
    assert_eq!(hosting.view().state, "Deleting");
}
