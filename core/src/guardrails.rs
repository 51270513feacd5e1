//! What an AWSAccount allows: checked on what an endpoint asks for after defaulting, before any
//! call to AWS. It is a part of [`authorize`](crate::authorize).

use std::collections::BTreeSet;

use crate::allow_list::{advice, matches};
use crate::api::{AWSAccountSpec, DeletionPolicy};
use crate::attachment::{Attachment, Interface};
use crate::conditions::{Finding, Reason};
use crate::desired::{Desired, Groups, takes_policy};
use crate::ids::{GroupId, Region};
use crate::observed::ObservedGroup;
use crate::rules::{Peer, RuleSet};
use crate::tags::{Claim, Owner};
use crate::target::Target;

/// Checks what is desired against the guardrails of the account. An absent one allows all, an empty
/// one nothing.
pub(crate) fn check(account: &str, spec: &AWSAccountSpec, region: &Region, desired: &Desired) -> Result<(), Finding> {
    let refused = |asked: &str, guardrail: &str, allowed: &[String]| refused(account, asked, guardrail, allowed);
    // The entries, where none of them is the value.
    let missing = |guardrail: &'_ Option<Vec<String>>, value: &str| -> Option<Vec<String>> {
        guardrail
            .as_ref()
            .filter(|allowed| !allowed.iter().any(|entry| entry == value))
            .cloned()
    };
    if let Some(allowed) = missing(&spec.allowed_regions, region.as_str()) {
        return Err(refused(&format!("region {region}"), "allowed_regions", &allowed));
    }
    if let Some(allowed) = missing(&spec.allowed_vpc_ids, desired.vpc.as_str()) {
        return Err(refused(&format!("vpc_id {}", desired.vpc), "allowed_vpc_ids", &allowed));
    }
    let type_ = desired.attachment.endpoint_type(&desired.target);
    if let Some(types) = &spec.allowed_vpc_endpoint_types
        && !types.contains(&type_)
    {
        let types: Vec<String> = types.iter().map(ToString::to_string).collect();
        return Err(refused(
            &format!("vpc_endpoint_type {type_}"),
            "allowed_vpc_endpoint_types",
            &types,
        ));
    }
    for subnet in desired.attachment.subnets() {
        if let Some(allowed) = missing(&spec.allowed_subnet_ids, subnet.as_str()) {
            return Err(refused(
                &format!("subnet_ids: {subnet}"),
                "allowed_subnet_ids",
                &allowed,
            ));
        }
    }
    for table in desired.attachment.route_tables().into_iter().flatten() {
        if let Some(allowed) = missing(&spec.allowed_route_table_ids, table.as_str()) {
            return Err(refused(
                &format!("route_table_ids: {table}"),
                "allowed_route_table_ids",
                &allowed,
            ));
        }
    }
    for group in named_groups(desired) {
        if let Some(allowed) = missing(&spec.allowed_security_group_ids, group.as_str()) {
            return Err(refused(
                &format!("security group {group}"),
                "allowed_security_group_ids",
                &allowed,
            ));
        }
    }
    if let Attachment::Interface(Interface { private_dns: true, .. }) = &desired.attachment
        && !spec.allow_private_dns
    {
        return Err(refused("private_dns_enabled: true", "allow_private_dns", &[]));
    }
    check_target(account, spec, &desired.target)?;
    if spec.require_policy
        && desired.options.policy.is_none()
        && takes_policy(type_, &desired.target)
        && !desired.observes()
    {
        return Err(Finding::bad(
            Reason::NotAllowed,
            format!("AWSAccount {account} requires an endpoint policy (require_policy): set policy_document"),
        ));
    }
    Ok(())
}

pub(crate) fn refused(account: &str, asked: &str, guardrail: &str, allowed: &[String]) -> Finding {
    Finding::bad(
        Reason::NotAllowed,
        format!(
            "{asked} is not allowed by the guardrails of AWSAccount {account} ({guardrail}): {}",
            advice(allowed)
        ),
    )
}

/// Checks what an endpoint connects to.
fn check_target(account: &str, spec: &AWSAccountSpec, target: &Target) -> Result<(), Finding> {
    let (guardrail, patterns) = match target {
        Target::Service { .. } => ("allowed_services", spec.allowed_services.as_deref()),
        Target::ResourceConfiguration { .. } | Target::ServiceNetwork { .. } => {
            ("allowed_resource_arns", Some(&spec.allowed_resource_arns[..]))
        }
    };
    let name = target.to_string();
    if let Some(patterns) = patterns
        && !patterns.iter().any(|pattern| matches(pattern, &name))
    {
        let asked = format!("{}: {name}", target.field());
        return Err(refused(account, &asked, guardrail, patterns));
    }
    let allowed = &spec.allowed_service_regions;
    if let Some(elsewhere) = target.service_region()
        && !allowed.iter().any(|region| region == elsewhere.as_str())
    {
        let asked = format!("service_region {elsewhere}");
        return Err(refused(account, &asked, "allowed_service_regions", allowed));
    }
    Ok(())
}

/// Checks whether an endpoint may outlive its object, where it asks for that.
pub(crate) fn check_deletion_policy(
    account: &str,
    spec: &AWSAccountSpec,
    policy: DeletionPolicy,
) -> Result<(), Finding> {
    match policy {
        DeletionPolicy::Retain if !spec.allow_retain => Err(Finding::bad(
            Reason::NotAllowed,
            format!(
                "deletion_policy Retain is not allowed by the guardrails of AWSAccount {account} (allow_retain): set it to Delete, \
                 or ask your platform team to allow it; what is in AWS stays until then"
            ),
        )),
        DeletionPolicy::Retain | DeletionPolicy::Delete => Ok(()),
    }
}

/// Refuses groups that belong to another object, of whatever cluster.
pub fn check_groups(owner: &Owner, groups: &[ObservedGroup]) -> Result<(), Finding> {
    match groups.iter().find(|group| owner.claim(&group.tags) == Claim::Another) {
        None => Ok(()),
        Some(group) => Err(Finding::bad(
            Reason::NotAllowed,
            format!(
                "security group {} belongs to another VPCEndpoint, by its tags: provide a group of your own, and name \
                 no groups of other VPCEndpoints in rules",
                group.id
            ),
        )),
    }
}

/// The groups of others that an endpoint uses: as its own, or in rules.
pub fn named_groups(desired: &Desired) -> BTreeSet<&GroupId> {
    fn peers(rules: &RuleSet) -> impl Iterator<Item = &GroupId> {
        rules.keys().filter_map(|rule| match &rule.peer {
            Peer::Group(id) => Some(id),
            Peer::Cidr(_) | Peer::PrefixList(_) => None,
        })
    }
    match desired.attachment.groups() {
        Some(Groups::Provided(ids)) => ids.iter().collect(),
        Some(Groups::Own(own)) => peers(&own.ingress).chain(peers(&own.egress)).collect(),
        Some(Groups::Kept) | None => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{Origin, desired};
    use crate::network::Placement;
    use crate::resolve::{Binding, Resolved, Writes};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn checked(guardrails: Value, spec: Value) -> Result<(), String> {
        let mut account = json!({"role_arn": "arn:aws:iam::111111111111:role/x"});
        account
            .as_object_mut()
            .expect("an object")
            .extend(guardrails.as_object().expect("an object").clone());
        let account = serde_json::from_value(account).expect("an account");
        let mut endpoint = json!({"vpc_id": "vpc-1", "subnet_ids": ["subnet-1", "subnet-2"],
            "vpc_endpoint_service_id": "vpce-svc-1", "security_group_type": "generated"});
        endpoint
            .as_object_mut()
            .expect("an object")
            .extend(spec.as_object().expect("an object").clone());
        let endpoint = serde_json::from_value(endpoint).expect("an endpoint");
        let owner = Owner {
            cluster: "c".into(),
            kind: "VPCEndpoint".into(),
            namespace: "ns".into(),
            name: "db".into(),
            uid: "u".into(),
        };
        let resolved = Resolved {
            binding: Binding {
                account: "one".into(),
                account_id: "111111111111".parse().expect("an id"),
                region: "eu-west-1".into(),
            },
            role: "arn:aws:iam::111111111111:role/x".parse().expect("a role"),
            account,
            forced_tags: BTreeMap::new(),
            mapped: true,
            writes: Writes::Allowed,
        };
        let desired = desired(&endpoint, &owner, &resolved, &Placement::default(), Origin::Created)
            .expect("a spec that makes sense");
        let policy = DeletionPolicy::of(endpoint.deletion_policy, &resolved.account);
        let allowed = check("one", &resolved.account, &resolved.binding.region, &desired)
            .and_then(|()| check_deletion_policy("one", &resolved.account, policy));
        allowed.map_err(|finding| {
            assert_eq!(finding.reason, Reason::NotAllowed);
            finding.message
        })
    }

    #[test]
    fn absent_allows_all_and_empty_nothing() {
        assert_eq!(checked(json!({}), json!({})), Ok(()));
        for guardrail in [
            "allowed_regions",
            "allowed_vpc_ids",
            "allowed_subnet_ids",
            "allowed_services",
        ] {
            let message = checked(json!({guardrail: []}), json!({})).expect_err("nothing is allowed");
            assert!(message.contains(guardrail), "{message}");
        }
        assert_eq!(
            checked(json!({"allowed_security_group_ids": []}), json!({})),
            Ok(()),
            "its own group is no other's"
        );
    }

    #[test]
    fn a_refusal_names_what_is_allowed_and_no_more_than_a_person_reads() {
        let message =
            checked(json!({"allowed_regions": ["eu-central-1", "us-west-2"]}), json!({})).expect_err("not listed");
        assert!(
            message.contains("use one of eu-central-1, us-west-2, or ask your"),
            "{message}"
        );
        let message = checked(json!({"allowed_vpc_ids": ["vpc-2"]}), json!({})).expect_err("not listed");
        assert!(message.contains("use vpc-2, or ask your"), "{message}");
        let message = checked(json!({"allowed_vpc_ids": []}), json!({})).expect_err("none is");
        assert!(
            message.ends_with("(allowed_vpc_ids): ask your platform team"),
            "{message}"
        );
        let many: Vec<String> = (0..1000).map(|number| format!("subnet-{number:017x}")).collect();
        let message = checked(json!({"allowed_subnet_ids": many}), json!({})).expect_err("not listed");
        assert!(
            message.contains("subnet-00000000000000000, subnet-00000000000000001"),
            "{message}"
        );
        assert!(message.contains(" and 992 more, or ask"), "{message}");
        assert!(message.len() < 500, "{message}");
    }

    #[test]
    fn values_are_checked_after_defaulting() {
        let service = "com.amazonaws.vpce.eu-west-1.vpce-svc-1";
        assert_eq!(
            checked(
                json!({"allowed_services": [service], "allowed_regions": ["eu-west-1"]}),
                json!({})
            ),
            Ok(())
        );
        assert!(checked(json!({"allowed_services": ["vpce-svc-1"]}), json!({})).is_err());
    }

    #[test]
    fn every_subnet_and_every_group_counts() {
        assert!(checked(json!({"allowed_subnet_ids": ["subnet-1"]}), json!({})).is_err());
        assert_eq!(
            checked(json!({"allowed_subnet_ids": ["subnet-2", "subnet-1"]}), json!({})),
            Ok(())
        );
        let provided = json!({"security_group_type": "provided", "security_group_ids": ["sg-1", "sg-2"]});
        assert!(checked(json!({"allowed_security_group_ids": ["sg-1"]}), provided.clone()).is_err());
        assert_eq!(
            checked(json!({"allowed_security_group_ids": ["sg-1", "sg-2"]}), provided),
            Ok(())
        );
        for direction in ["security_group_ingress", "security_group_egress"] {
            let custom = json!({"security_group_type": "custom", direction: [{"protocol": "tcp", "security_group_ids": ["sg-9"]}]});
            assert!(
                checked(json!({"allowed_security_group_ids": ["sg-1"]}), custom).is_err(),
                "{direction}"
            );
        }
    }

    #[test]
    fn private_dns_has_to_be_allowed() {
        let on = || json!({"private_dns_enabled": true});
        let message = checked(json!({}), on()).expect_err("not allowed unless it is said");
        assert!(message.contains("allow_private_dns"), "{message}");
        assert_eq!(checked(json!({"allow_private_dns": true}), on()), Ok(()));
    }

    #[test]
    fn retaining_has_to_be_allowed() {
        for (guardrails, spec, allowed) in [
            (json!({}), json!({}), true),
            (json!({}), json!({"deletion_policy": "Delete"}), true),
            (json!({}), json!({"deletion_policy": "Retain"}), false),
            (
                json!({"allow_retain": true}),
                json!({"deletion_policy": "Retain"}),
                true,
            ),
            (json!({"default_deletion_policy": "Retain"}), json!({}), false),
            (
                json!({"default_deletion_policy": "Retain"}),
                json!({"deletion_policy": "Delete"}),
                true,
            ),
            (
                json!({"default_deletion_policy": "Retain", "allow_retain": true}),
                json!({}),
                true,
            ),
        ] {
            let result = checked(guardrails.clone(), spec.clone());
            assert_eq!(result.is_ok(), allowed, "{guardrails} {spec}");
            if let Err(message) = result {
                assert!(message.contains("allow_retain"), "{message}");
            }
        }
    }

    #[test]
    fn groups_of_other_owners_are_refused() {
        let owner = |name: &str, cluster: &str| Owner {
            cluster: cluster.into(),
            kind: "VPCEndpoint".into(),
            namespace: "ns".into(),
            name: name.into(),
            uid: "u".into(),
        };
        let group = |tags| ObservedGroup {
            id: "sg-1".into(),
            name: "g".into(),
            description: "g".into(),
            vpc: "vpc-1".into(),
            tags,
            ingress: RuleSet::new(),
            egress: RuleSet::new(),
            ipv6_egress_unknown: false,
        };
        let me = owner("db", "c");
        assert!(check_groups(&me, &[group(BTreeMap::new()), group(me.tags())]).is_ok());
        for other in [owner("api", "c"), owner("db", "elsewhere")] {
            let found = check_groups(&me, &[group(BTreeMap::new()), group(other.tags())]);
            assert_eq!(found.expect_err("another's").reason, Reason::NotAllowed);
        }
    }
}
