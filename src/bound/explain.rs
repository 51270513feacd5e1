//! What an AWS error means for an object, in words for those who have to act on it.

use std::time::Duration;

use vpce_core::conditions::{Finding, Reason, reason_of};
use vpce_core::error::Class;
use vpce_core::ids::{AccountId, Region};

use crate::aws::error::CallError;

/// What stands before the action in the message of a denial.
const DENIED_ACTION: &str = "not authorized to perform: ";

/// Whether a group cannot be deleted yet because something uses it.
pub(crate) fn is_in_use(error: &CallError) -> bool {
    error.action == "DeleteSecurityGroup" && error.code == "DependencyViolation"
}

/// What an error means for the object, and what a person can do.
pub(crate) fn explain(error: &CallError, role: &str, account_id: &AccountId, region: &Region) -> Finding {
    let is_needed = error.action == "DeleteVpcEndpoints" && error.class == Class::Invalid;
    let reason = if is_in_use(error) || is_needed {
        Reason::InUse
    } else {
        reason_of(error.class)
    };
    // In a region that is not there, or not enabled, EC2 calls good credentials invalid.
    if error.class == Class::Denied && error.code == "AuthFailure" {
        return Finding::bad(
            reason,
            format!(
                "the region {region} does not exist, or is not enabled for AWS account {account_id}: check its spelling in \
                 spec.region; if it is right, ask your platform team to enable it ({error})"
            ),
        );
    }
    let advice = match error.class {
        Class::Denied if error.code == "OptInRequired" => {
            format!("ask your platform team to enable the region for AWS account {account_id}")
        }
        Class::Denied => format!(
            "ask your platform team to allow {} to role {role} of AWS account {account_id}: docs/iam.md",
            denied_action(error)
        ),
        Class::NotFound if is_about_the_service(error) => format!(
            "check spec.vpc_endpoint_service_id and the region {region}, and for a service of another region \
             spec.service_region; or its provider has not allowed AWS account {account_id} yet: ask them to"
        ),
        Class::NotFound => {
            format!("check the ids of the spec: they must exist in {region} of AWS account {account_id}")
        }
        Class::Invalid if is_needed => "delete first what AWS names; the deletion is retried".to_owned(),
        Class::Invalid if is_about_lattice(error) => format!(
            "check the ARN; or its owner has not shared it with AWS account {account_id} yet (AWS RAM): ask them to"
        ),
        Class::Invalid => "correct the spec".to_owned(),
        Class::Quota => {
            format!("delete what is not needed, or request a quota increase for account {account_id} in {region}")
        }
        Class::Conflict | Class::Throttled => "tried again".to_owned(),
        Class::Unknown => "it is retried; if it lasts, find the code in the error codes of the EC2 API".to_owned(),
        Class::Transient if error.is_from_between() => format!(
            "it is retried; if it lasts, your platform team checks the network path from the operator to EC2 in \
             {region}: \
             HTTPS_PROXY, firewalls, and the VPC endpoint of EC2 if there is one"
        ),
        Class::Transient => {
            format!("it is retried; if it lasts, check that the region {region} exists, and the AWS Health Dashboard")
        }
    };
    Finding::bad(reason, format!("{error} ({advice})"))
}

/// A time in words that stay the same for a while, since each change of them is a write.
pub(crate) fn about(time: Duration) -> String {
    const MINUTES: [u64; 11] = [1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 120];
    let minutes = time.as_secs().div_ceil(60);
    match MINUTES.into_iter().find(|most| minutes <= *most) {
        Some(1) => "about a minute".to_owned(),
        Some(minutes) => format!("about {minutes} minutes"),
        None => "more than two hours".to_owned(),
    }
}

/// To those who may not use a service EC2 says that it does not exist.
fn is_about_the_service(error: &CallError) -> bool {
    matches!(
        error.code.as_str(),
        "InvalidServiceName" | "InvalidVpcEndpointServiceId.NotFound" | "InvalidVpcEndpointService.NotFound"
    )
}

/// What is not shared with an account looks to it as what does not exist.
fn is_about_lattice(error: &CallError) -> bool {
    error.message.contains(":vpc-lattice:") && error.message.contains("does not exist")
}

/// The action that AWS denied, which is not always the one that was called: a create that sets tags
/// needs `ec2:CreateTags` too.
fn denied_action(error: &CallError) -> String {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == ':' || c == '-';
    let said = error.message.split_once(DENIED_ACTION).map(|(_, rest)| {
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        &rest[..end]
    });
    match said.filter(|said| said.contains(':')) {
        Some(said) => said.to_owned(),
        None => format!("ec2:{}", error.action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(code: &str, message: &str) -> Finding {
        let error = CallError::of_item("CreateVpcEndpoint", code, message);
        explain(
            &error,
            "arn:aws:iam::222222222222:role/vpce",
            &"222222222222".parse().expect("an id"),
            &"eu-wset-1".into(),
        )
    }

    #[test]
    fn a_denial_names_the_action_that_aws_denied_and_no_other() {
        let found = explained(
            "UnauthorizedOperation",
            "You are not authorized to perform this operation. User: arn:aws:sts::222222222222:assumed-role/vpce/x is not \
             authorized to perform: ec2:CreateTags on resource: arn:aws:ec2:eu-west-1:222222222222:vpc-endpoint/* because no \
             identity-based policy allows the ec2:CreateTags action",
        );
        assert_eq!(found.reason, Reason::Denied);
        let advice = found.message.rsplit_once(" (").expect("advice").1;
        assert!(
            advice.contains("allow ec2:CreateTags to role arn:aws:iam::222222222222:role/vpce"),
            "{advice}"
        );
        assert!(!advice.contains("CreateVpcEndpoint"), "{advice}");
        // Where AWS does not say, it is the call's.
        let found = explained(
            "UnauthorizedOperation",
            "You are not authorized to perform this operation",
        );
        assert!(
            found.message.contains("allow ec2:CreateVpcEndpoint to"),
            "{}",
            found.message
        );
    }

    #[test]
    fn a_service_that_aws_does_not_know_may_not_have_let_the_account_in() {
        let found = explained("InvalidServiceName", "The Vpc Endpoint Service 'x' does not exist");
        assert_eq!(found.reason, Reason::NotFound);
        assert!(
            found.message.contains("has not allowed AWS account 222222222222 yet"),
            "{}",
            found.message
        );
        let found = explained("InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist");
        assert!(!found.message.contains("provider"), "{}", found.message);
    }

    #[test]
    fn a_wait_is_told_in_few_words() {
        let told: Vec<String> = [0, 60, 61, 250, 4000, 90_000]
            .map(|time| about(Duration::from_secs(time)))
            .into();
        assert_eq!(
            told,
            [
                "about a minute",
                "about a minute",
                "about 2 minutes",
                "about 5 minutes",
                "about 120 minutes",
                "more than two hours"
            ]
        );
    }

    #[test]
    fn a_mistyped_region_is_the_first_thing_that_is_said() {
        let found = explained(
            "AuthFailure",
            "AWS was not able to validate the provided access credentials",
        );
        assert!(
            found.message.starts_with("the region eu-wset-1 does not exist"),
            "{}",
            found.message
        );
    }
}
