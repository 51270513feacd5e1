//! Request throttling: a token bucket for each account, region and action, as documented in the EC2
//! Developer Guide.

use std::collections::BTreeMap;

use super::Config;
use super::clock::Seconds;
use super::error::ApiError;
use super::identity::Principal;
use super::world::{Request, Service};

/// How many calls may come at once, and how many more each second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Limit {
    burst: f64,
    refill: f64,
}

const fn limit(burst: f64, refill: f64) -> Limit {
    Limit { burst, refill }
}

/// EC2's documented limit of an action. `narrowed`: the call names a filter, a page size or ids.
fn documented(action: &str, narrowed: bool) -> Limit {
    match action {
        "CreateVpcEndpoint" | "ModifyVpcEndpoint" | "DeleteVpcEndpoints" => limit(4.0, 0.3),
        "CreateTags" | "DeleteTags" => limit(100.0, 10.0),
        "AcceptVpcEndpointConnections"
        | "RejectVpcEndpointConnections"
        | "CreateVpcEndpointServiceConfiguration"
        | "ModifyVpcEndpointServiceConfiguration"
        | "DeleteVpcEndpointServiceConfigurations" => limit(10.0, 1.0),
        _ if action.starts_with("Describe") && narrowed => limit(100.0, 20.0),
        _ if action.starts_with("Describe") => limit(50.0, 10.0),
        _ => limit(50.0, 5.0),
    }
}

/// Elastic Load Balancing's, which all describes of an account and region share (Elastic Load
/// Balancing API reference, "Request throttling"). What other actions have is not simulated: they
/// have as much.
const LOAD_BALANCING: Limit = limit(40.0, 10.0);

#[derive(Debug)]
struct Bucket {
    limit: Limit,
    tokens: f64,
    filled_at: Seconds,
}

impl Bucket {
    /// A full bucket.
    fn full(limit: Limit, now: Seconds) -> Self {
        Self {
            limit,
            tokens: limit.burst,
            filled_at: now,
        }
    }

    /// Takes a token, if there is one after others have had their share of what was refilled.
    fn take(&mut self, now: Seconds, others_share: f64) -> bool {
        let refill = self.limit.refill * (1.0 - others_share);
        let refilled = self.tokens + (now - self.filled_at) * refill;
        self.tokens = refilled.min(self.limit.burst);
        self.filled_at = now;
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}

/// The buckets of all accounts: by account, region, action, and whether a describe is narrowed.
#[derive(Debug, Default)]
pub(crate) struct Buckets(BTreeMap<(String, String, String, bool), Bucket>);

impl Buckets {
    /// Takes a token for a call, or refuses it in the words of its service.
    pub(crate) fn take(
        &mut self,
        request: &Request,
        caller: &Principal,
        now: Seconds,
        config: &Config,
    ) -> Result<(), ApiError> {
        if !config.throttle {
            return Ok(());
        }
        let narrowed = request.params.keys().any(|name| name != "DryRun");
        let action = request.action.as_str();
        let (bucket, narrowed, limit) = match request.service {
            Service::Elb if action.starts_with("Describe") => ("elasticloadbalancing:Describe*", true, LOAD_BALANCING),
            Service::Elb => (action, true, LOAD_BALANCING),
            _ => (action, narrowed, documented(action, narrowed)),
        };
        let (account, region) = (caller.account.clone(), request.region.clone());
        let key = (account, region, bucket.to_owned(), narrowed);
        let bucket = self.0.entry(key).or_insert_with(|| Bucket::full(limit, now));
        if bucket.take(now, config.others_share) {
            return Ok(());
        }
        if request.service == Service::Elb {
            return Err(ApiError::new("ThrottlingException", "Rate exceeded"));
        }
        let message = format!(
            "Request limit exceeded. Account {} has been throttled on ec2:{action} because it exceeded its request rate \
             limit.",
            caller.account
        );
        Err(ApiError::new("RequestLimitExceeded", message).with_status(503))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_only_the_refill() {
        let mut bucket = Bucket::full(documented("CreateVpcEndpoint", true), 0.0);
        let burst = (0..10).filter(|_| bucket.take(0.0, 0.0)).count();
        assert_eq!(burst, 4);
        assert!(!bucket.take(3.0, 0.0), "0.3 a second is one in 3.33 s");
        assert!(bucket.take(3.4, 0.0));
    }

    #[test]
    fn an_idle_bucket_fills_no_further_than_its_burst() {
        let mut bucket = Bucket::full(documented("CreateTags", false), 0.0);
        assert!(bucket.take(0.0, 0.0));
        let burst = (0..1000).filter(|_| bucket.take(1e6, 0.0)).count();
        assert_eq!(burst, 100);
    }

    #[test]
    fn a_describe_of_everything_has_the_smaller_bucket() {
        assert_eq!(documented("DescribeVpcEndpoints", true), limit(100.0, 20.0));
        assert_eq!(documented("DescribeVpcEndpoints", false), limit(50.0, 10.0));
        assert_eq!(documented("AuthorizeSecurityGroupIngress", true), limit(50.0, 5.0));
        assert_eq!(documented("AcceptVpcEndpointConnections", true), limit(10.0, 1.0));
        assert_eq!(
            documented("ModifyVpcEndpointServicePermissions", true),
            limit(50.0, 5.0)
        );
    }
}
