//! The ARNs of load balancers.

use std::fmt;
use std::str::FromStr;

use crate::api::LoadBalancerType;
use crate::ids::{AccountId, Partition, Region};

/// The ARN of a Network or Gateway Load Balancer:
/// `arn:<partition>:elasticloadbalancing:<region>:<account>:loadbalancer/<net or gwy>/<name>/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoadBalancerArn {
    arn: String,
    partition: Partition,
    region: Region,
    account: AccountId,
    type_: LoadBalancerType,
}

/// Why a text is no such ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not the ARN of a Network or Gateway Load Balancer")]
pub struct NotALoadBalancer {
    value: String,
}

impl FromStr for LoadBalancerArn {
    type Err = NotALoadBalancer;

    fn from_str(value: &str) -> Result<Self, NotALoadBalancer> {
        let invalid = || NotALoadBalancer {
            value: value.to_owned(),
        };
        let parts: Vec<&str> = value.split(':').collect();
        let ["arn", partition, "elasticloadbalancing", region, account, resource] = parts.as_slice() else {
            return Err(invalid());
        };
        let parts: Vec<&str> = resource.split('/').collect();
        let ["loadbalancer", type_, name, id] = parts.as_slice() else {
            return Err(invalid());
        };
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if ![*region, *name, *id].into_iter().all(is_word) {
            return Err(invalid());
        }
        let types = [LoadBalancerType::Network, LoadBalancerType::Gateway];
        let type_ = types.into_iter().find(|known| known.in_arn() == *type_);
        Ok(Self {
            arn: value.to_owned(),
            partition: partition.parse().map_err(|_| invalid())?,
            region: (*region).into(),
            account: account.parse().map_err(|_| invalid())?,
            type_: type_.ok_or_else(invalid)?,
        })
    }
}

impl fmt::Display for LoadBalancerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

impl LoadBalancerArn {
    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.arn
    }

    /// The partition that it is in.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The region that it is in.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The account that it belongs to.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// Its type.
    pub fn load_balancer_type(&self) -> LoadBalancerType {
        self.type_
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_tells_where_the_load_balancer_is_and_of_what_type() {
        let arn: LoadBalancerArn =
            "arn:aws-cn:elasticloadbalancing:cn-north-1:111122223333:loadbalancer/gwy/fw-1/50dc6c495c0c9188"
                .parse()
                .expect("valid");
        assert_eq!(arn.partition(), Partition::AwsCn);
        assert_eq!(arn.region().as_str(), "cn-north-1");
        assert_eq!(arn.account().as_str(), "111122223333");
        assert_eq!(arn.load_balancer_type(), LoadBalancerType::Gateway);
    }

    #[test]
    fn what_is_no_network_or_gateway_load_balancer_is_refused() {
        for bad in [
            "",
            "web",
            "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/web/50dc6c495c0c9188",
            "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/web",
            "arn:aws:elasticloadbalancing:eu-west-1:1111:loadbalancer/net/web/50dc6c495c0c9188",
            "arn:aws:elasticloadbalancing::111122223333:loadbalancer/net/web/50dc6c495c0c9188",
            "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/net/*/50dc6c495c0c9188",
            "arn:aws:elasticloadbalancing:eu-west-1:111122223333:listener/net/web/50dc6c495c0c9188/1",
            "arn:evil:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/net/web/50dc6c495c0c9188",
        ] {
            assert!(bad.parse::<LoadBalancerArn>().is_err(), "{bad}");
        }
    }
}
