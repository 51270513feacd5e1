//! Partitions: AWS for the world, for China and for the US government, which share no identities.

/// The partition of a region.
pub(crate) fn of_region(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// The partition in an ARN.
pub(crate) fn of_arn(arn: &str) -> &str {
    arn.split(':').nth(1).unwrap_or_default()
}

/// The domain of AWS's own names in a region.
pub(crate) fn domain(region: &str) -> &'static str {
    match of_region(region) {
        "aws-cn" => "amazonaws.com.cn",
        _ => "amazonaws.com",
    }
}

/// The regions of a partition, without those that an account has to ask for.
pub(crate) fn regions(partition: &str) -> &'static [&'static str] {
    match partition {
        "aws" => &[
            "ap-northeast-1",
            "ap-northeast-2",
            "ap-northeast-3",
            "ap-south-1",
            "ap-southeast-1",
            "ap-southeast-2",
            "ca-central-1",
            "eu-central-1",
            "eu-north-1",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "sa-east-1",
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
        ],
        "aws-cn" => &["cn-north-1", "cn-northwest-1"],
        "aws-us-gov" => &["us-gov-east-1", "us-gov-west-1"],
        _ => &[],
    }
}
