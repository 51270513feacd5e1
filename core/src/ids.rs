//! Newtypes for the identifiers that are easy to swap.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a string is not the identifier it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct InvalidId {
    value: String,
    expected: &'static str,
}

/// The twelve digits that name an AWS account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

impl FromStr for AccountId {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        if value.len() == 12 && value.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(value.to_owned()))
        } else {
            Err(InvalidId {
                value: value.to_owned(),
                expected: "an AWS account id (12 digits)",
            })
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AccountId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ARN of an IAM role: `arn:<partition>:iam::<account>:role/<path/name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleArn {
    arn: String,
    partition: String,
    account: AccountId,
}

impl FromStr for RoleArn {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId {
            value: value.to_owned(),
            expected: "the ARN of an IAM role (arn:<partition>:iam::<12 digits>:role/<name>)",
        };
        let parts: Vec<&str> = value.splitn(6, ':').collect();
        let [
            "arn",
            partition @ ("aws" | "aws-cn" | "aws-us-gov" | "aws-iso" | "aws-iso-b" | "aws-iso-e" | "aws-iso-f"
            | "aws-eusc"),
            "iam",
            "",
            account,
            resource,
        ] = parts.as_slice()
        else {
            return Err(invalid());
        };
        let name = resource.strip_prefix("role/").ok_or_else(invalid)?;
        if name.is_empty() || name.ends_with('/') || name.chars().any(char::is_whitespace) {
            return Err(invalid());
        }
        Ok(Self {
            arn: value.to_owned(),
            partition: (*partition).to_owned(),
            account: account.parse().map_err(|_| invalid())?,
        })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

impl RoleArn {
    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.arn
    }

    /// `aws`, `aws-us-gov`, `aws-cn` and so on.
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The account that the role belongs to.
    pub fn account(&self) -> &AccountId {
        &self.account
    }
}

/// A resource id that EC2 handed out, which we never make up ourselves.
macro_rules! ec2_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl $name {
            /// The id as EC2 spells it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

ec2_id!(
    /// The id of a VPC endpoint: `vpce-...`.
    EndpointId
);
ec2_id!(
    /// The id of a security group: `sg-...`.
    GroupId
);
ec2_id!(
    /// The id of a subnet: `subnet-...`.
    SubnetId
);
ec2_id!(
    /// The id of a VPC: `vpc-...`.
    VpcId
);
ec2_id!(
    /// The name of an AWS region, such as `eu-central-1`.
    Region
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_arn_tells_its_partition_and_account() {
        let role: RoleArn = "arn:aws-us-gov:iam::111122223333:role/team/vpce"
            .parse()
            .expect("valid");
        assert_eq!(role.partition(), "aws-us-gov");
        assert_eq!(role.account().as_str(), "111122223333");
    }

    #[test]
    fn what_is_not_a_role_is_refused() {
        for bad in [
            "",
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::1111:role/x",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:sts::111122223333:role/x",
            "arn:evil:iam::111122223333:role/x",
            "arn:aws:iam::111122223333:role/x y",
        ] {
            assert!(bad.parse::<RoleArn>().is_err(), "{bad}");
        }
    }
}
