//! How many calls of each action an account may make: what AWS documents, and what a person says
//! instead.

use std::str::FromStr;

/// The size of one token bucket and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Tokens the bucket holds when full: calls that may come at once.
    pub burst: f64,
    /// Tokens that are added every second.
    pub refill_per_second: f64,
}

impl Limit {
    const fn new(burst: f64, refill_per_second: f64) -> Self {
        Limit {
            burst,
            refill_per_second,
        }
    }
}

/// The buckets that EC2 gives these actions by name.
///
/// Source: "Request throttling for the Amazon EC2 API", bucket sizes and refill rates. Each action
/// has a bucket of its own in each account and region.
const BY_NAME: &[(&str, Limit)] = &[
    ("CreateVpcEndpoint", Limit::new(4.0, 0.3)),
    ("ModifyVpcEndpoint", Limit::new(4.0, 0.3)),
    ("DeleteVpcEndpoints", Limit::new(4.0, 0.3)),
    ("CreateVpcEndpointServiceConfiguration", Limit::new(10.0, 1.0)),
    ("ModifyVpcEndpointServiceConfiguration", Limit::new(10.0, 1.0)),
    ("DeleteVpcEndpointServiceConfigurations", Limit::new(10.0, 1.0)),
    ("AcceptVpcEndpointConnections", Limit::new(10.0, 1.0)),
    ("RejectVpcEndpointConnections", Limit::new(10.0, 1.0)),
    ("CreateTags", Limit::new(100.0, 10.0)),
    ("DeleteTags", Limit::new(100.0, 10.0)),
];

/// Reads that filter or name what they ask for; the operator makes no others.
const READ: Limit = Limit::new(100.0, 20.0);

/// Actions that change something and have no bucket by name.
const WRITE: Limit = Limit::new(50.0, 5.0);

/// The reads of Elastic Load Balancing, which count together: AWS has one bucket for all its
/// Describe actions, in each account and region, from which the AWS Load Balancer Controller takes,
/// too.
///
/// Source: "Throttling for the Elastic Load Balancing API".
pub const LOAD_BALANCING_READS: &str = "DescribeLoadBalancers";
const LOAD_BALANCING_READ: Limit = Limit::new(40.0, 10.0);

/// The limit that AWS documents for this action.
pub fn documented(action: &str) -> Limit {
    if action == LOAD_BALANCING_READS {
        return LOAD_BALANCING_READ;
    }
    if let Some((_, limit)) = BY_NAME.iter().find(|(name, _)| *name == action) {
        return *limit;
    }
    if ["Describe", "Get", "List", "Search"]
        .iter()
        .any(|verb| action.starts_with(verb))
    {
        READ
    } else {
        WRITE
    }
}

/// One `ACTION=BURST/REFILL`: the limit that AWS granted this account on request.
///
/// `ACTION` may end in `*` and then stands for all EC2 actions that begin so. Those of another
/// service are named in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    action: String,
    limit: Limit,
}

/// Why an `ACTION=BURST/REFILL` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a limit: {why}; write ACTION=BURST/REFILL, as in CreateVpcEndpoint=4/0.3")]
pub struct NotALimit {
    given: String,
    why: &'static str,
}

impl FromStr for Override {
    type Err = NotALimit;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let refuse = |why| NotALimit {
            given: given.to_owned(),
            why,
        };
        let (action, limit) = given.split_once('=').ok_or_else(|| refuse("there is no = in it"))?;
        let action = action.trim();
        let name = action.strip_suffix('*').unwrap_or(action);
        let well_formed =
            name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !well_formed && action != "*" {
            return Err(refuse("ACTION is not the name of an AWS action"));
        }
        let (burst, refill) = limit
            .split_once('/')
            .ok_or_else(|| refuse("there is no / between burst and refill"))?;
        let number = |text: &str| {
            let number: f64 = text.trim().parse().ok()?;
            number.is_finite().then_some(number)
        };
        let burst = number(burst)
            .filter(|burst| *burst >= 1.0)
            .ok_or_else(|| refuse("BURST is not a number of at least 1"))?;
        let refill = number(refill)
            .filter(|refill| *refill > 0.0)
            .ok_or_else(|| refuse("REFILL is not a number of tokens a second above 0"))?;
        Ok(Override {
            action: action.to_owned(),
            limit: Limit::new(burst, refill),
        })
    }
}

/// The limits in force: what AWS documents, but for the overrides.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    overrides: Vec<Override>,
}

impl Limits {
    /// The documented limits with these in their place. Of two that fit an action the longer name
    /// counts, then the later.
    pub fn new(overrides: impl IntoIterator<Item = Override>) -> Self {
        Limits {
            overrides: overrides.into_iter().collect(),
        }
    }

    /// The limit of this action.
    pub fn of(&self, action: &str) -> Limit {
        self.overrides
            .iter()
            .filter(|given| match given.action.strip_suffix('*') {
                Some(begin) => action.starts_with(begin) && action != LOAD_BALANCING_READS,
                None => action == given.action,
            })
            .max_by_key(|given| (!given.action.ends_with('*'), given.action.len()))
            .map_or_else(|| documented(action), |given| given.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_limits_are_those_of_the_guides() {
        for (action, burst, refill) in [
            ("CreateVpcEndpoint", 4.0, 0.3),
            ("ModifyVpcEndpoint", 4.0, 0.3),
            ("DeleteVpcEndpoints", 4.0, 0.3),
            ("AuthorizeSecurityGroupIngress", 50.0, 5.0),
            ("RevokeSecurityGroupEgress", 50.0, 5.0),
            ("CreateSecurityGroup", 50.0, 5.0),
            ("DeleteSecurityGroup", 50.0, 5.0),
            ("CreateTags", 100.0, 10.0),
            ("DeleteTags", 100.0, 10.0),
            ("DescribeVpcEndpoints", 100.0, 20.0),
            ("DescribeSecurityGroupRules", 100.0, 20.0),
            ("AcceptVpcEndpointConnections", 10.0, 1.0),
            (LOAD_BALANCING_READS, 40.0, 10.0),
        ] {
            assert_eq!(documented(action), Limit::new(burst, refill), "{action}");
        }
    }

    #[test]
    fn an_override_takes_the_place_of_the_documented_limit() {
        let limits = Limits::new(
            ["Describe*=500/100", "CreateVpcEndpoint=20/1.5", "*=7/7"].map(|text| text.parse().expect("well formed")),
        );
        assert_eq!(limits.of("CreateVpcEndpoint"), Limit::new(20.0, 1.5));
        assert_eq!(limits.of("DescribeVpcEndpoints"), Limit::new(500.0, 100.0));
        assert_eq!(limits.of("ModifyVpcEndpoint"), Limit::new(7.0, 7.0));
        assert_eq!(Limits::default().of("CreateVpcEndpoint"), Limit::new(4.0, 0.3));
    }

    #[test]
    fn what_begins_so_is_of_ec2_and_load_balancing_is_named_in_full() {
        let limits = |texts: &[&str]| Limits::new(texts.iter().map(|text| text.parse().expect("well formed")));
        let of_ec2 = limits(&["*=7/7", "Describe*=500/100"]);
        assert_eq!(of_ec2.of(LOAD_BALANCING_READS), Limit::new(40.0, 10.0));
        let of_both = limits(&["Describe*=500/100", "DescribeLoadBalancers=80/20"]);
        assert_eq!(of_both.of(LOAD_BALANCING_READS), Limit::new(80.0, 20.0));
    }

    #[test]
    fn of_two_that_fit_the_later_counts() {
        let limits = Limits::new(["CreateTags=1/1", "CreateTags=2/2"].map(|text| text.parse().expect("well formed")));
        assert_eq!(limits.of("CreateTags"), Limit::new(2.0, 2.0));
    }

    #[test]
    fn what_is_no_limit_says_why_and_how_to_write_one() {
        for (given, why) in [
            ("CreateVpcEndpoint", "no ="),
            ("CreateVpcEndpoint=4", "no /"),
            ("=4/0.3", "ACTION"),
            ("create=4/0.3", "ACTION"),
            ("Create Vpc=4/0.3", "ACTION"),
            ("CreateVpcEndpoint=0.5/0.3", "BURST"),
            ("CreateVpcEndpoint=NaN/0.3", "BURST"),
            ("CreateVpcEndpoint=4/0", "REFILL"),
            ("CreateVpcEndpoint=4/inf", "REFILL"),
            ("CreateVpcEndpoint=4/-1", "REFILL"),
        ] {
            let message = given.parse::<Override>().expect_err("not a limit").to_string();
            assert!(message.contains(why), "{given}: {message}");
            assert!(message.contains("ACTION=BURST/REFILL"), "{message}");
        }
    }
}
