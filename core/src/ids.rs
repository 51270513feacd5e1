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

/// A part of AWS with accounts, ARNs and regions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Partition {
    /// The one of most regions.
    Aws,
    /// China.
    AwsCn,
    /// GovCloud.
    AwsUsGov,
    /// An isolated one, as all that follow but the last.
    AwsIso,
    /// See [`Partition::AwsIso`].
    AwsIsoB,
    /// See [`Partition::AwsIso`].
    AwsIsoE,
    /// See [`Partition::AwsIso`].
    AwsIsoF,
    /// The European Sovereign Cloud.
    AwsEusc,
}

impl Partition {
    /// All that there are.
    pub const ALL: [Self; 8] = [
        Self::Aws,
        Self::AwsCn,
        Self::AwsUsGov,
        Self::AwsIso,
        Self::AwsIsoB,
        Self::AwsIsoE,
        Self::AwsIsoF,
        Self::AwsEusc,
    ];

    /// As ARNs spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
            Self::AwsIso => "aws-iso",
            Self::AwsIsoB => "aws-iso-b",
            Self::AwsIsoE => "aws-iso-e",
            Self::AwsIsoF => "aws-iso-f",
            Self::AwsEusc => "aws-eusc",
        }
    }

    /// How the names of its regions start; none where they start like those of no other.
    fn region_prefix(self) -> Option<&'static str> {
        match self {
            Self::Aws => None,
            Self::AwsCn => Some("cn-"),
            Self::AwsUsGov => Some("us-gov-"),
            Self::AwsIso => Some("us-iso-"),
            Self::AwsIsoB => Some("us-isob-"),
            Self::AwsIsoE => Some("eu-isoe-"),
            Self::AwsIsoF => Some("us-isof-"),
            Self::AwsEusc => Some("eusc-"),
        }
    }

    /// The partition that a region of this name is in.
    pub fn of_region(region: &str) -> Self {
        let is_home = |partition: &Self| {
            partition
                .region_prefix()
                .is_some_and(|prefix| region.starts_with(prefix))
        };
        Self::ALL.into_iter().find(is_home).unwrap_or(Self::Aws)
    }

    /// How the names of services start, of which the region is the next part.
    pub fn service_prefix(self) -> &'static str {
        match self {
            Self::AwsCn => "cn.com.amazonaws",
            Self::Aws
            | Self::AwsUsGov
            | Self::AwsIso
            | Self::AwsIsoB
            | Self::AwsIsoE
            | Self::AwsIsoF
            | Self::AwsEusc => "com.amazonaws",
        }
    }
}

impl FromStr for Partition {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let known = Self::ALL.into_iter().find(|partition| partition.as_str() == value);
        known.ok_or_else(|| InvalidId {
            value: value.to_owned(),
            expected: "an AWS partition, such as aws or aws-cn",
        })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The ARN of an IAM role: `arn:<partition>:iam::<account>:role/<path/name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleArn {
    arn: String,
    partition: Partition,
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
        let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
            return Err(invalid());
        };
        let name = resource.strip_prefix("role/").ok_or_else(invalid)?;
        if name.is_empty() || name.ends_with('/') || name.chars().any(char::is_whitespace) {
            return Err(invalid());
        }
        Ok(Self {
            arn: value.to_owned(),
            partition: partition.parse().map_err(|_| invalid())?,
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

    /// The partition that the role is in.
    pub fn partition(&self) -> Partition {
        self.partition
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
    /// The id of an endpoint service: `vpce-svc-...`.
    EndpointServiceId
);
ec2_id!(
    /// The id of a security group: `sg-...`.
    GroupId
);
ec2_id!(
    /// The id of a route table: `rtb-...`.
    RouteTableId
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
        assert_eq!(role.partition(), Partition::AwsUsGov);
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
