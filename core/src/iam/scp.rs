//! The service control policy that leaves the operator's tags to the operator's roles.

use super::policy::{Policy, Statement};
use super::{Error, RolePattern, within_scp};
use crate::tags;

/// The tag keys that the operator sets under its prefix.
const KEYS: [&str; 6] = [
    tags::CLUSTER,
    tags::KIND,
    tags::NAMESPACE,
    tags::NAME,
    tags::UID,
    tags::RETAINED,
];

/// Denies all but these roles in an AWS account to set the operator's tags, on what exists or is
/// being created, and to remove them. It can be attached to an organization, an organizational unit
/// or an account.
///
/// # Errors
/// When no role is named, or the policy would be longer than AWS takes.
pub fn scp(roles: &[RolePattern]) -> Result<Policy, Error> {
    if roles.is_empty() {
        return Err(Error::NoRoles);
    }
    let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
    let tagging = ["ec2:CreateTags", "ec2:DeleteTags"];
    // A request that makes something with tags is asked about ec2:CreateTags too.
    let deny =
        |sid, actions: &[&str]| Statement::deny(sid, actions, ["*"]).when("ArnNotLike", "aws:PrincipalArn", &names);
    let statements = vec![
        deny("LeaveOwnerTags", &tagging).when(
            "ForAnyValue:StringLike",
            "aws:TagKeys",
            [format!("{}*", tags::RESERVED_PREFIX)],
        ),
        // IAM ignores case in the keys of aws:ResourceTag, so that another spelling would open what
        // the operator's roles may change.
        deny("LeaveOwnerTagsInAnyCase", &tagging).when("ForAnyValue:StringEqualsIgnoreCase", "aws:TagKeys", KEYS),
        // DeleteTags without keys takes all tags.
        deny("LeaveAllTags", &tagging[1..])
            .when("Null", "aws:TagKeys", ["true"])
            .when("Null", format!("aws:ResourceTag/{}", tags::CLUSTER), ["false"]),
    ];
    within_scp(Policy::new(statements), || {
        format!("name roles by patterns, which are {} now", roles.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_what_aws_takes_or_is_refused() {
        let pattern = |number: usize| {
            format!("arn:aws:iam::{number:012}:role/vpce-operator")
                .parse()
                .expect("a role")
        };
        let roles = |count: usize| (0..count).map(pattern).collect::<Vec<RolePattern>>();
        assert!(scp(&roles(1)).expect("a policy").size() < 1000);
        assert_eq!(scp(&roles(0)), Err(Error::NoRoles));
        assert!(matches!(scp(&roles(100)), Err(Error::TooLong { limit: 5120, .. })));
    }
}
