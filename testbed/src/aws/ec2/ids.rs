//! Ids in requests: whether they look like one of their kind.

use std::collections::BTreeMap;

use crate::aws::error::ApiError;

/// Parameters, the beginning of the ids in them, and EC2's code for others. That the rest is
/// hexadecimal is not asked, so that tests may give their resources names.
const KINDS: &[(&str, &str, &str)] = &[
    ("GroupId", "sg-", "InvalidGroupId.Malformed"),
    ("PrefixListId", "pl-", "InvalidPrefixListId.Malformed"),
    ("RouteTableId", "rtb-", "InvalidRouteTableId.Malformed"),
    ("ServiceId", "vpce-svc-", "InvalidVpcEndpointServiceIdId.Malformed"),
    ("SecurityGroupId", "sg-", "InvalidGroupId.Malformed"),
    ("SubnetId", "subnet-", "InvalidSubnetID.Malformed"),
    ("VpcEndpointId", "vpce-", "InvalidVpcEndpointId.Malformed"),
    ("VpcId", "vpc-", "InvalidVpcID.Malformed"),
];

/// What an id begins with: `sg`, `vpce-svc`.
pub(super) fn prefix(id: &str) -> &str {
    let mut parts = id.split('-');
    match (parts.next(), parts.next()) {
        (Some("vpce"), Some("svc")) => "vpce-svc",
        (first, _) => first.unwrap_or_default(),
    }
}

/// Refuses ids of the wrong form, as EC2 does before it looks for any.
pub(super) fn check(params: &BTreeMap<String, String>) -> Result<(), ApiError> {
    for (name, id) in params {
        let kind = KINDS.iter().find(|(kind, ..)| *kind == bare(name));
        if let Some((_, start, code)) = kind.filter(|(_, start, _)| !id.is_empty() && !id.starts_with(start)) {
            return Err(ApiError::new(
                *code,
                format!("Invalid id: \"{id}\" (expecting \"{start}...\")"),
            ));
        }
    }
    Ok(())
}

/// `IpPermissions.1.Groups.2.GroupId` is a `GroupId`, and so are `GroupId.1` and `AddGroupId.1`.
fn bare(name: &str) -> &str {
    let mut words = name.rsplit('.').filter(|part| part.parse::<u32>().is_err());
    let word = words.next().unwrap_or_default();
    let rest = word.strip_prefix("Add").or_else(|| word.strip_prefix("Remove"));
    rest.unwrap_or(word)
}
