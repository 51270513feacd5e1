//! Request throttling: a token bucket for each account, region and action, as documented in the EC2
//! Developer Guide.

use super::clock::Seconds;

/// How many calls may come at once, and how many more each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit {
    burst: f64,
    refill: f64,
}

const fn limit(burst: f64, refill: f64) -> Limit {
    Limit { burst, refill }
}

/// EC2's documented limit of an action. `narrowed`: the call names a filter, a page size or ids.
pub(crate) fn documented(action: &str, narrowed: bool) -> Limit {
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
pub(crate) const LOAD_BALANCING: Limit = limit(40.0, 10.0);

#[derive(Debug)]
pub(crate) struct Bucket {
    limit: Limit,
    tokens: f64,
    filled_at: Seconds,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(limit: Limit, now: Seconds) -> Self {
        Self {
            limit,
            tokens: limit.burst,
            filled_at: now,
        }
    }

    /// Takes a token, if there is one after others have had their share of what was refilled.
    pub(crate) fn take(&mut self, now: Seconds, others_share: f64) -> bool {
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
    }
}
