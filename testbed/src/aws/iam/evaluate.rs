//! What a policy says to a request: an explicit deny wins, then an allow, and silence is no.

use super::pattern::wildcard;
use super::policy::{Effect, Policy, Scope, Statement};
use super::request::Request;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// A statement denies it.
    Denied,
    /// No statement allows it.
    NotAllowed,
}

impl Policy {
    /// Evaluates an identity policy.
    pub(crate) fn judge(&self, request: Request<'_>) -> Verdict {
        let mut verdict = Verdict::NotAllowed;
        for statement in self.statements.iter().filter(|statement| statement.is_about(request)) {
            match statement.effect {
                Effect::Deny => return Verdict::Denied,
                Effect::Allow => verdict = Verdict::Allowed,
            }
        }
        verdict
    }
}

impl Statement {
    /// Whether its action, resource and conditions fit the request.
    pub(super) fn is_about(&self, request: Request<'_>) -> bool {
        let action = request.action.to_lowercase();
        self.actions.covers(|pattern| wildcard(pattern, &action))
            && self.resources.covers(|pattern| pattern.matches(request.resource))
            && self.conditions.iter().all(|condition| condition.holds(request.keys))
    }
}

impl<T> Scope<T> {
    fn covers(&self, fits: impl FnMut(&T) -> bool) -> bool {
        match self {
            Self::Only(items) => items.iter().any(fits),
            Self::AllBut(items) => !items.iter().any(fits),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::policy::Kind;
    use super::super::request::Keys;
    use super::*;

    const VPC: &str = "arn:aws:ec2:us-west-2:111111111111:vpc/vpc-1";

    fn judge(statements: &str, action: &str, resource: &str) -> Verdict {
        let json = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        let keys = Keys::default().with("aws:RequestedRegion", "us-west-2");
        Policy::parse(Kind::Identity, &json).unwrap().judge(Request {
            action,
            resource,
            keys: &keys,
        })
    }

    fn statement(effect: &str, rest: &str) -> String {
        format!(r#"{{"Effect":"{effect}",{rest}}}"#)
    }

    /// What allowing this says to an action on a resource.
    #[track_caller]
    fn check(cases: &[(&str, &str, &str, Verdict)]) {
        for (rest, action, resource, expected) in cases {
            let verdict = judge(&statement("Allow", rest), action, resource);
            assert_eq!(verdict, *expected, "{rest} {action}");
        }
    }

    #[test]
    fn actions_are_compared_without_case() {
        use Verdict::{Allowed, NotAllowed};
        check(&[
            (
                r#""Action":"ec2:CreateTags","Resource":"*""#,
                "ec2:CreateTags",
                VPC,
                Allowed,
            ),
            (
                r#""Action":"EC2:createtags","Resource":"*""#,
                "ec2:CreateTags",
                VPC,
                Allowed,
            ),
            (
                r#""Action":"ec2:Create*","Resource":"*""#,
                "ec2:CreateTags",
                VPC,
                Allowed,
            ),
            (r#""Action":"ec2:*Tag?","Resource":"*""#, "ec2:CreateTags", VPC, Allowed),
            (r#""Action":"*","Resource":"*""#, "ec2:DescribeVpcs", "*", Allowed),
            (
                r#""Action":"ec2:Create*","Resource":"*""#,
                "ec2:DeleteTags",
                VPC,
                NotAllowed,
            ),
            (
                r#""Action":"ec2:CreateTag","Resource":"*""#,
                "ec2:CreateTags",
                VPC,
                NotAllowed,
            ),
            (r#""Action":"sts:*","Resource":"*""#, "ec2:CreateTags", VPC, NotAllowed),
            (
                r#""NotAction":"ec2:Delete*","Resource":"*""#,
                "ec2:CreateTags",
                VPC,
                Allowed,
            ),
            (
                r#""NotAction":"ec2:Delete*","Resource":"*""#,
                "ec2:DeleteTags",
                VPC,
                NotAllowed,
            ),
        ]);
    }

    #[test]
    fn resources_are_compared_with_case() {
        use Verdict::{Allowed, NotAllowed};
        check(&[
            (
                r#""Action":"*","Resource":"arn:aws:ec2:*:*:vpc/*""#,
                "ec2:CreateTags",
                VPC,
                Allowed,
            ),
            (
                r#""Action":"*","Resource":"arn:aws:ec2:*:*:VPC/*""#,
                "ec2:CreateTags",
                VPC,
                NotAllowed,
            ),
            (
                r#""Action":"*","Resource":"arn:aws:ec2:*:*:*""#,
                "ec2:DescribeVpcs",
                "*",
                NotAllowed,
            ),
            (
                r#""Action":"*","NotResource":"arn:aws:ec2:*:*:vpc/*""#,
                "ec2:CreateTags",
                VPC,
                NotAllowed,
            ),
            (
                r#""Action":"*","NotResource":"arn:aws:ec2:*:*:subnet/*""#,
                "ec2:CreateTags",
                VPC,
                Allowed,
            ),
        ]);
    }

    #[test]
    fn a_deny_wins_wherever_it_stands() {
        let allow = statement("Allow", r#""Action":"*","Resource":"*""#);
        let deny = statement("Deny", r#""Action":"ec2:Delete*","Resource":"*""#);
        for both in [format!("{allow},{deny}"), format!("{deny},{allow}")] {
            assert_eq!(judge(&both, "ec2:DeleteTags", VPC), Verdict::Denied);
            assert_eq!(judge(&both, "ec2:CreateTags", VPC), Verdict::Allowed);
        }
        assert_eq!(judge(&deny, "ec2:CreateTags", VPC), Verdict::NotAllowed);
    }

    #[test]
    fn all_conditions_of_a_statement_have_to_hold() {
        let rest = |other: &str| {
            format!(
                r#""Action":"*","Resource":"*","Condition":{{"StringEquals":{{"aws:RequestedRegion":["eu-west-1","us-west-2"]}},
                   "StringLike":{{"aws:RequestedRegion":"{other}"}}}}"#
            )
        };
        assert_eq!(
            judge(&statement("Allow", &rest("us-*")), "ec2:X", "*"),
            Verdict::Allowed
        );
        assert_eq!(
            judge(&statement("Allow", &rest("eu-*")), "ec2:X", "*"),
            Verdict::NotAllowed
        );
        assert_eq!(judge(&statement("Deny", &rest("us-*")), "ec2:X", "*"), Verdict::Denied);
    }
}
