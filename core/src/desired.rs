//! What AWS and Kubernetes should hold for an object: its spec, completed by its account.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::api::{CustomRule, SecurityGroupType, ServicePort, ServiceSpec, ServiceType, VPCEndpointSpec};
use crate::attachment::{Attachment, Interface};
use crate::conditions::{Finding, Reason};
use crate::ids::{AccountId, GroupId, VpcId};
use crate::metadata::Metadata;
use crate::resolve::Resolved;
use crate::rules::{self, RuleSet};
use crate::tags::{Owner, hex};
use crate::target::Target;

/// EC2 allows so many tags on a resource.
pub(crate) const MAX_TAGS: usize = 50;

/// Everything that an object asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The AWS account, which messages to the service's owner name.
    pub account_id: AccountId,
    /// The VPC.
    pub vpc: VpcId,
    /// What it connects to.
    pub target: Target,
    /// How it is attached to the VPC.
    pub attachment: Attachment<Groups>,
    /// All tags: the account's, the user's, the owner's.
    pub tags: BTreeMap<String, String>,
    /// The Kubernetes Service, if one is asked for.
    pub service: Option<DesiredService>,
    /// What is carried out but rarely meant.
    pub warnings: Vec<String>,
}

/// Where the security groups come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// A group of our own.
    Own(OwnGroup),
    /// Groups of the user's, which are never changed.
    Provided(BTreeSet<GroupId>),
}

/// A group of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnGroup {
    /// Its name, which cannot change.
    pub name: String,
    /// Its description, which cannot change either.
    pub description: String,
    /// Who may connect.
    pub ingress: RuleSet,
    /// Where the endpoint's interfaces may connect to.
    pub egress: RuleSet,
    /// Whether egress is open as EC2 opens it: then `::/0`, which a new group has where its VPC has
    /// an IPv6 block, stays.
    pub open_egress: bool,
}

impl OwnGroup {
    /// Whether no client can connect.
    pub(crate) fn allows_no_ingress(&self) -> bool {
        self.ingress.is_empty()
    }
}

/// The ExternalName Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredService {
    /// Its name, in the object's namespace.
    pub name: String,
    /// Ports that it names.
    pub ports: Vec<ServicePort>,
    /// Its labels and annotations, beside the operator's own.
    pub metadata: Metadata,
}

/// Completes a spec. Errors are values that no call to AWS could make right; whether they are
/// allowed, [`authorize`](crate::authorize) says.
pub fn desired(spec: &VPCEndpointSpec, owner: &Owner, resolved: &Resolved) -> Result<Desired, Finding> {
    let VPCEndpointSpec {
        region: _,
        vpc_id,
        subnet_ids,
        vpc_endpoint_service_id,
        security_group_type,
        security_group_ids,
        security_group_ingress,
        security_group_egress,
        private_dns_enabled,
        account: _,
        tags,
        service,
        deletion_policy: _,
    } = spec;
    let groups = match security_group_type {
        SecurityGroupType::Generated => own_group(owner, rules::private_networks(), None),
        SecurityGroupType::Provided if security_group_ids.is_empty() => {
            return Err(invalid("security_group_type provided needs security_group_ids"));
        }
        SecurityGroupType::Provided => {
            Groups::Provided(security_group_ids.iter().map(|id| id.as_str().into()).collect())
        }
        SecurityGroupType::Custom => {
            let ingress = security_group_ingress.as_deref().unwrap_or_default();
            let ingress = custom_rules("security_group_ingress", ingress)?;
            let egress = security_group_egress.as_deref();
            let egress = egress
                .map(|rules| custom_rules("security_group_egress", rules))
                .transpose()?;
            own_group(owner, ingress, egress)
        }
    };
    // An object may have been stored when the schema allowed it.
    if subnet_ids.is_empty() {
        return Err(invalid(
            "subnet_ids must name at least one subnet of the VPC: without a network interface nothing can connect",
        ));
    }
    let warnings = match &groups {
        Groups::Own(group) => warnings(group),
        Groups::Provided(_) => Vec::new(),
    };
    let region = resolved.binding.region.as_str();
    Ok(Desired {
        account_id: resolved.binding.account_id.clone(),
        vpc: vpc_id.as_str().into(),
        target: Target::service(vpc_endpoint_service_id, resolved.role.partition(), region),
        attachment: Attachment::Interface(Interface {
            subnets: subnet_ids.iter().map(|id| id.as_str().into()).collect(),
            groups,
            private_dns: *private_dns_enabled,
        }),
        tags: all_tags(tags, owner, resolved)?,
        service: desired_service(service.clone().unwrap_or_default(), owner),
        warnings,
    })
}

fn invalid(message: impl Into<String>) -> Finding {
    Finding::bad(Reason::InvalidSpec, message)
}

fn own_group(owner: &Owner, ingress: RuleSet, egress: Option<RuleSet>) -> Groups {
    Groups::Own(OwnGroup {
        name: owner.group_name(),
        description: owner.group_description(),
        ingress,
        open_egress: egress.is_none(),
        egress: egress.unwrap_or_else(rules::open),
    })
}

fn custom_rules(field: &str, rules: &[CustomRule]) -> Result<RuleSet, Finding> {
    rules::custom(rules).map_err(|error| invalid(format!("{field}: {error}")))
}

/// The owner's tags, the account's defaults, the user's, and those that the account requires: the
/// later win.
fn all_tags(
    users: &BTreeMap<String, String>,
    owner: &Owner,
    resolved: &Resolved,
) -> Result<BTreeMap<String, String>, Finding> {
    let mut all = owner.tags();
    // IAM ignores case in the keys of tags, so that a look-alike of ours would count as ours there.
    let reserved = |key: &String| {
        let key = key.to_ascii_lowercase();
        key.starts_with(crate::tags::RESERVED_PREFIX) || key.starts_with("aws:")
    };
    let defaults = &resolved.account.default_tags;
    for (key, value) in defaults.iter().chain(users).chain(&resolved.forced_tags) {
        if reserved(key) {
            return Err(invalid(format!("tags: the key {key:?} is reserved")));
        }
        all.insert(key.clone(), value.clone());
    }
    if all.len() > MAX_TAGS {
        return Err(invalid(format!(
            "tags: {} with those of the account and the operator; AWS allows {MAX_TAGS}",
            all.len()
        )));
    }
    Ok(all)
}

fn desired_service(service: ServiceSpec, owner: &Owner) -> Option<DesiredService> {
    (service.type_ == ServiceType::ExternalName).then(|| DesiredService {
        name: service.name.unwrap_or_else(|| owner.name.clone()),
        ports: service.ports,
        metadata: Metadata {
            labels: service.labels,
            annotations: service.annotations,
        },
    })
}

/// Rules of a group that are rarely intended.
fn warnings(group: &OwnGroup) -> Vec<String> {
    let no_ingress = group.allows_no_ingress().then(|| {
        "security_group_type custom without security_group_ingress allows no traffic: no client can connect until it \
         has a rule"
            .to_owned()
    });
    let rules = group.ingress.keys().chain(group.egress.keys());
    let port_zero = rules.filter(|rule| rules::is_port_zero(rule)).map(|rule| {
        format!(
            "rule \"{rule}\" allows port 0 only, which is rarely intended: omit from_port and to_port for all ports"
        )
    });
    no_ingress.into_iter().chain(port_zero).collect()
}

/// The ClientToken of CreateVpcEndpoint: the same for as long as the same endpoint is meant,
/// whatever crashes when. Made from the UID, from what AWS fixes at creation, and from the
/// incarnation, which grows only after a confirmed deletion. EC2 allows 64 ASCII characters, which
/// is what SHA-256 has in hexadecimal.
pub fn client_token(owner: &Owner, desired: &Desired, resolved: &Resolved, incarnation: i64) -> String {
    let mut hash = Sha256::new();
    let parts = [
        owner.cluster.own.as_str(),
        &owner.uid,
        resolved.binding.account_id.as_str(),
        resolved.binding.region.as_str(),
        desired.vpc.as_str(),
        desired.target.token_part(),
        &incarnation.to_string(),
    ];
    for part in parts.into_iter().chain(desired.attachment.token_part()) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{Binding, Writes};
    use serde_json::json;

    fn owner() -> Owner {
        Owner {
            cluster: "c".into(),
            kind: "VPCEndpoint".into(),
            namespace: "ns".into(),
            name: "db".into(),
            uid: "55ea9f5f-45a4".into(),
        }
    }

    fn resolved() -> Resolved {
        Resolved {
            binding: Binding {
                account: "one".into(),
                account_id: "111111111111".parse().expect("an id"),
                region: "eu-west-1".into(),
            },
            role: "arn:aws:iam::111111111111:role/x".parse().expect("a role"),
            account: serde_json::from_value(json!({
                "role_arn": "arn:aws:iam::111111111111:role/x",
                "default_tags": {"cost": "default", "stage": "prod"},
            }))
            .expect("an account"),
            forced_tags: BTreeMap::from([("team".into(), "blue".into())]),
            mapped: true,
            writes: Writes::Allowed,
        }
    }

    fn spec(extra: serde_json::Value) -> VPCEndpointSpec {
        let mut spec = json!({"vpc_id": "vpc-1", "subnet_ids": ["subnet-1"], "vpc_endpoint_service_id": "vpce-svc-1", "security_group_type": "generated"});
        spec.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn a_bare_service_is_completed_with_the_region() {
        let found = desired(&spec(json!({})), &owner(), &resolved()).expect("valid");
        assert_eq!(found.target.to_string(), "com.amazonaws.vpce.eu-west-1.vpce-svc-1");
    }

    #[test]
    fn a_users_tags_win_over_the_accounts_and_over_the_name() {
        let found = desired(
            &spec(json!({"tags": {"cost": "mine", "Name": "nice", "team": "red"}})),
            &owner(),
            &resolved(),
        )
        .expect("valid");
        assert_eq!(found.tags["cost"], "mine");
        assert_eq!(found.tags["stage"], "prod");
        assert_eq!(found.tags["team"], "blue", "what the account requires wins over all");
        assert_eq!(found.tags["Name"], "nice");
        assert_eq!(found.tags["silvermullet.com/name"], "db");
    }

    #[test]
    fn users_cannot_forge_owner_tags() {
        for key in ["silvermullet.com/name", "aws:x"] {
            let found = desired(&spec(json!({"tags": {key: "x"}})), &owner(), &resolved());
            assert_eq!(found.expect_err("reserved").reason, Reason::InvalidSpec);
        }
    }

    #[test]
    fn egress_is_open_unless_given() {
        let egress = |extra| match desired(&spec(extra), &owner(), &resolved()).expect("valid").attachment {
            Attachment::Interface(Interface {
                groups: Groups::Own(group),
                ..
            }) => (group.egress.len(), group.open_egress),
            Attachment::Interface(_) => panic!("custom groups are our own"),
        };
        assert_eq!(egress(json!({"security_group_type": "generated"})), (1, true));
        assert_eq!(egress(json!({"security_group_type": "custom"})), (1, true));
        let given = |rules| egress(json!({"security_group_type": "custom", "security_group_egress": rules}));
        assert_eq!(given(json!([])), (0, false));
        // A spec with egress rules has no others.
        let everywhere = json!([{"protocol": "-1", "cidr_blocks": ["0.0.0.0/0"]}]);
        assert_eq!(given(everywhere), (1, false));
    }

    #[test]
    fn without_a_subnet_nothing_could_connect() {
        let found = desired(&spec(json!({"subnet_ids": []})), &owner(), &resolved()).expect_err("no subnet");
        assert_eq!(found.reason, Reason::InvalidSpec);
        assert!(found.message.contains("subnet_ids"), "{}", found.message);
    }

    #[test]
    fn a_group_without_ingress_is_warned_of() {
        let warnings = |extra| desired(&spec(extra), &owner(), &resolved()).expect("valid").warnings;
        for ingress in [json!(null), json!([])] {
            let found = warnings(json!({"security_group_type": "custom", "security_group_ingress": ingress}));
            assert!(found[0].contains("allows no traffic"), "{found:?}");
        }
        let rule = json!([{"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["10.0.0.0/8"]}]);
        let open = json!({"security_group_type": "custom", "security_group_ingress": rule});
        assert_eq!(warnings(open), Vec::<String>::new());
        assert_eq!(warnings(json!({})), Vec::<String>::new());
    }

    #[test]
    fn the_token_depends_on_what_aws_fixes_and_on_nothing_else() {
        let (owner, resolved) = (owner(), resolved());
        let one = desired(&spec(json!({"subnet_ids": ["subnet-1"]})), &owner, &resolved).expect("valid");
        let two = desired(
            &spec(json!({"subnet_ids": ["subnet-2"], "tags": {"a": "b"}})),
            &owner,
            &resolved,
        )
        .expect("valid");
        assert_eq!(
            client_token(&owner, &one, &resolved, 0),
            client_token(&owner, &two, &resolved, 0)
        );
        assert_ne!(
            client_token(&owner, &one, &resolved, 0),
            client_token(&owner, &one, &resolved, 1)
        );
        assert_eq!(client_token(&owner, &one, &resolved, 0).len(), 64);
    }

    /// EC2 knows a create by it: another release must not make the same endpoint under another.
    #[test]
    fn the_token_of_an_interface_endpoint_for_a_service_stays_what_it_is() {
        let (owner, resolved) = (owner(), resolved());
        let found = desired(&spec(json!({})), &owner, &resolved).expect("valid");
        assert_eq!(
            client_token(&owner, &found, &resolved, 0),
            "80390d16cf291257a66eb440d096cd773cd48187684119f4ef2d63b5630c7855"
        );
    }
}
