//! What the values in policies may look like: whatever else were given would be an error in AWS, or
//! mean more than it says.

use std::collections::BTreeMap;

use super::Error;
use crate::ids::Partition;

pub(super) fn region(region: &str, partition: Partition) -> Result<(), Error> {
    let mut parts = region.split('-');
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let first = parts
        .next()
        .is_some_and(|part| letters(part) && (2..=4).contains(&part.len()));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let last = parts.next_back().is_some_and(digits);
    let between: Vec<&str> = parts.collect();
    if !(first && last && !between.is_empty() && between.into_iter().all(letters)) {
        return Err(Error::Invalid {
            what: "region",
            value: region.to_owned(),
            expected: "the name of an AWS region, such as eu-west-1",
        });
    }
    if Partition::of_region(region) == partition {
        return Ok(());
    }
    Err(Error::ForeignRegion {
        region: region.to_owned(),
        partition,
    })
}

/// `vpc-0123456789abcdef0`, with 8 to 17 hexadecimal digits.
pub(super) fn ec2_id(what: &'static str, prefix: &str, expected: &'static str, id: &str) -> Result<(), Error> {
    let digits = id.strip_prefix(prefix).unwrap_or_default();
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    require(
        (8..=17).contains(&digits.len()) && digits.bytes().all(hex),
        what,
        id,
        expected,
    )
}

/// A pattern over the full names of endpoint services.
pub(super) fn service(pattern: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._*?-".contains(c);
    require(
        (1..=255).contains(&pattern.len()) && pattern.chars().all(fits),
        "service",
        pattern,
        "a pattern over the full names of endpoint services (letters, digits and `.`, `_`, `-`, `*`, `?`)",
    )
}

/// A pattern over the keys of tags.
pub(super) fn tag_key(pattern: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@*?".contains(c);
    require(
        (1..=128).contains(&pattern.chars().count()) && pattern.chars().all(fits),
        "tag key",
        pattern,
        "a pattern over the keys of tags (1 to 128 letters, digits, spaces and characters of _.:/=+-@, `*` and `?`)",
    )
}

pub(super) fn cluster(id: &str) -> Result<(), Error> {
    require(
        crate::tags::is_cluster_id(id),
        "cluster id",
        id,
        "1 to 64 letters, digits, '-', '_' and '.'",
    )
}

/// STS's own rule for external ids.
pub(super) fn external_id(id: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    require(
        (2..=1224).contains(&id.len()) && id.chars().all(fits),
        "external id",
        id,
        "2 to 1224 letters, digits and characters of _+=,.@:/-",
    )
}

/// STS's own rules for session tags.
pub(super) fn session_tags(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    let fits = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    for (key, value) in tags {
        require(
            (1..=128).contains(&key.chars().count()) && key.chars().all(fits) && !key.starts_with("aws:"),
            "key of a session tag",
            key,
            "1 to 128 letters, digits, spaces and characters of _.:/=+-@, not starting with aws:",
        )?;
        require(
            value.chars().count() <= 256 && value.chars().all(fits),
            "value of a session tag",
            value,
            "at most 256 letters, digits, spaces and characters of _.:/=+-@",
        )?;
    }
    Ok(())
}

/// `host/path` of an OIDC issuer.
pub(super) fn oidc_provider(provider: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let host = provider.split('/').next().unwrap_or_default();
    require(
        host.contains('.')
            && provider.len() <= 255
            && provider.chars().all(fits)
            && provider.split('/').all(|part| !part.is_empty()),
        "OIDC provider",
        provider,
        "the URL of the cluster's OIDC issuer, such as https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF",
    )
}

/// The ARN of an EKS cluster; answers its partition.
pub(super) fn eks_cluster(arn: &str) -> Result<Partition, Error> {
    let invalid = || Error::Invalid {
        what: "EKS cluster",
        value: arn.to_owned(),
        expected: "the ARN of an EKS cluster (arn:<partition>:eks:<region>:<12 digits>:cluster/<name>)",
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "eks", place, account, resource] = parts.as_slice() else {
        return Err(invalid());
    };
    let name = resource.strip_prefix("cluster/").unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let account_fits = account.parse::<crate::ids::AccountId>().is_ok();
    let partition = partition.parse().map_err(|_| invalid())?;
    if !account_fits || name.is_empty() || !name.chars().all(fits) {
        return Err(invalid());
    }
    region(place, partition)?;
    Ok(partition)
}

/// The name of a namespace (a label) or a ServiceAccount (labels with dots between).
pub(super) fn kubernetes_name(what: &'static str, max: usize, name: &str) -> Result<(), Error> {
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let dots = max > 63;
    require(
        name.len() <= max && name.split('.').all(label) && (dots || !name.contains('.')),
        what,
        name,
        "a name in Kubernetes (lower case letters, digits and '-')",
    )
}

fn require(fits: bool, what: &'static str, value: &str, expected: &'static str) -> Result<(), Error> {
    if fits {
        return Ok(());
    }
    Err(Error::Invalid {
        what,
        value: value.to_owned(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_belong_to_their_partition() {
        for (name, partition) in [
            ("eu-west-1", Partition::Aws),
            ("ap-southeast-2", Partition::Aws),
            ("cn-northwest-1", Partition::AwsCn),
            ("us-gov-west-1", Partition::AwsUsGov),
            ("us-iso-east-1", Partition::AwsIso),
            ("us-isob-east-1", Partition::AwsIsoB),
            ("eusc-de-east-1", Partition::AwsEusc),
        ] {
            assert_eq!(region(name, partition), Ok(()), "{name}");
            let other = match partition {
                Partition::Aws => Partition::AwsCn,
                _ => Partition::Aws,
            };
            assert!(
                matches!(region(name, other), Err(Error::ForeignRegion { .. })),
                "{name}"
            );
        }
        for bad in [
            "",
            "*",
            "eu",
            "eu-1",
            "eu-west",
            "EU-west-1",
            "eu-west-1a",
            "eu--1",
            "europe-west-1",
            "eu-*-1",
        ] {
            assert!(
                matches!(region(bad, Partition::Aws), Err(Error::Invalid { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn nothing_that_iam_would_read_as_a_variable_or_a_wildcard_passes() {
        for bad in ["${aws:username}", "*", "a?"] {
            assert!(external_id(bad).is_err(), "{bad}");
            assert!(cluster(bad).is_err(), "{bad}");
            assert!(session_tags(&BTreeMap::from([("k".to_owned(), bad.to_owned())])).is_err());
            assert!(session_tags(&BTreeMap::from([(bad.to_owned(), "v".to_owned())])).is_err());
            assert!(oidc_provider(bad).is_err(), "{bad}");
            assert!(kubernetes_name("namespace", 63, bad).is_err(), "{bad}");
            assert!(ec2_id("VPC", "vpc-", "a VPC", bad).is_err(), "{bad}");
        }
    }
}
