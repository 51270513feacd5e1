//! What AWS and Kubernetes should hold for an object: its spec, completed by its account.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::addresses;
use crate::api::{
    CustomRule, DnsName, EndpointType, ManagementPolicy, PolicyDocument, SecurityGroupType, ServicePort, ServiceSpec,
    ServiceType, VPCEndpointSpec,
};
use crate::attachment::{Attachment, Interface, Kept};
use crate::conditions::{Finding, Reason};
use crate::ids::{AccountId, EndpointId, GroupId, Region, VpcId};
use crate::metadata::Metadata;
use crate::network::{Chosen, Placement};
use crate::options::{Options, PolicyChoice, PrivateDomains};
use crate::ownership::Consent;
use crate::policy::Policy;
use crate::resolve::Resolved;
use crate::rules::{self, InvalidRule, RuleSet};
use crate::tags::{self, Owner, hex};
use crate::target::Target;

/// EC2 allows so many tags on a resource.
pub(crate) const MAX_TAGS: usize = 50;

/// Everything that an object asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The AWS account, which messages to the service's owner name.
    pub account_id: AccountId,
    /// The region.
    pub region: Region,
    /// The VPC.
    pub vpc: VpcId,
    /// The network that VPC and subnets were chosen from, where the spec does not name them.
    pub network: Option<Chosen>,
    /// What it connects to.
    pub target: Target,
    /// How it is attached to the VPC.
    pub attachment: Attachment<Groups>,
    /// What is set beside.
    pub options: Options,
    /// The endpoint that exists already, where the spec names one.
    pub existing: Option<Existing>,
    /// Of one that was adopted: what is left as it is.
    pub adopted: Option<Kept>,
    /// All tags: the account's, the user's, the owner's.
    pub tags: BTreeMap<String, String>,
    /// The Kubernetes Service, if one is asked for.
    pub service: Option<DesiredService>,
    /// The DNS names that are published.
    pub names: Vec<DnsName>,
    /// Whether a ConfigMap says what the endpoint has.
    pub config_map: bool,
    /// What is carried out but rarely meant.
    pub warnings: Vec<String>,
}

/// An endpoint that exists already. In its place none is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Its id.
    pub id: EndpointId,
    /// What shows that the object may have it.
    pub consent: Consent,
    /// Whether it is only observed: nothing is changed in AWS.
    pub observes: bool,
}

/// Where an object's endpoint comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// The operator creates it.
    Created,
    /// It existed before. Of it only what the spec says is changed, and what the spec once said:
    /// these fields, from status.
    Adopted(&'a [String]),
}

impl Origin<'_> {
    /// Whether a field that the spec does not give is left as it is.
    fn keeps(self, field: &str) -> bool {
        match self {
            Self::Created => false,
            Self::Adopted(applied) => !applied.iter().any(|applied| applied == field),
        }
    }
}

/// A field of an adopted endpoint that, once it was given and is taken away, returns to its
/// default.
const PRIVATE_DNS_ENABLED: &str = "private_dns_enabled";
/// See [`PRIVATE_DNS_ENABLED`].
const SECURITY_GROUP_TYPE: &str = "security_group_type";

impl Desired {
    /// The optional fields that are given and, once they are taken away, return to their defaults.
    pub fn fields(&self) -> BTreeSet<&'static str> {
        if self.observes() {
            return BTreeSet::new();
        }
        let mut fields = self.options.fields();
        if let Some(kept) = self.adopted {
            let has_groups = self.attachment.groups().is_some_and(|groups| *groups != Groups::Kept);
            let has_private_dns = matches!(self.attachment, Attachment::Interface(_)) && !kept.private_dns;
            fields.extend(has_private_dns.then_some(PRIVATE_DNS_ENABLED));
            fields.extend(has_groups.then_some(SECURITY_GROUP_TYPE));
        }
        fields
    }

    /// Whether nothing is changed in AWS.
    pub fn observes(&self) -> bool {
        self.existing.as_ref().is_some_and(|existing| existing.observes)
    }
}

/// Where the security groups come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// Those that an adopted endpoint has.
    Kept,
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

/// The Service that leads to the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredService {
    /// Its name, in the object's namespace.
    pub name: String,
    /// Whether it leads to the addresses of the endpoint's network interfaces, not to its DNS name.
    pub headless: bool,
    /// Ports that it names.
    pub ports: Vec<ServicePort>,
    /// Its labels and annotations, beside the operator's own.
    pub metadata: Metadata,
}

/// Completes a spec. Errors are values that no call to AWS could make right; whether they are
/// allowed, [`authorize`](crate::authorize) says.
pub fn desired(
    spec: &VPCEndpointSpec,
    owner: &Owner,
    resolved: &Resolved,
    placement: &Placement,
    origin: Origin<'_>,
) -> Result<Desired, Finding> {
    if spec.management_policy == ManagementPolicy::Observe && spec.vpc_endpoint_id.is_none() {
        return Err(invalid(
            "management_policy Observe needs vpc_endpoint_id: the endpoint to observe",
        ));
    }
    if spec.vpc_id.is_none() && !spec.subnet_ids.is_empty() {
        return Err(invalid(
            "subnet_ids go with vpc_id: the AWSAccount's network says which subnets; leave them out, or set vpc_id in \
             place of network",
        ));
    }
    let spec = &*placement.complete(spec);
    let (spec, origin) = match spec.management_policy {
        ManagementPolicy::Manage => (Cow::Borrowed(spec), origin),
        ManagementPolicy::Observe => (Cow::Owned(without_wishes(spec)), Origin::Adopted(&[])),
    };
    let spec = &*spec;
    let VPCEndpointSpec {
        region: _,
        network: _,
        vpc_id,
        vpc_endpoint_type,
        subnet_ids: _,
        vpc_endpoint_service_id: _,
        service_region: _,
        resource_configuration_arn: _,
        service_network_arn: _,
        route_table_ids: _,
        subnet_configurations: _,
        security_group_type: _,
        security_group_ids: _,
        security_group_ingress: _,
        security_group_egress: _,
        private_dns_enabled: _,
        ip_address_type: _,
        dns_options: _,
        policy_document: _,
        account: _,
        tags,
        // An object that shares another's has nothing that is desired in AWS.
        vpc_endpoint_ref: _,
        // Its name was put into vpc_endpoint_service_id.
        vpc_endpoint_service_ref: _,
        share: _,
        service,
        dns_names,
        publish_config_map,
        deletion_policy: _,
        vpc_endpoint_id,
        management_policy,
    } = spec;
    let region = resolved.binding.region.as_str();
    let target = Target::of_spec(spec, resolved.role.partition(), region).map_err(invalid)?;
    let vpc_id = vpc_id
        .as_deref()
        .ok_or_else(|| invalid("vpc_id or network is missing"))?;
    let attachment = attachment(spec, owner, resolved, placement, origin)?;
    let warnings = match attachment.groups() {
        Some(Groups::Own(group)) => warnings(group),
        Some(Groups::Provided(_) | Groups::Kept) | None => Vec::new(),
    };
    let kept = Kept {
        subnets: spec.subnet_ids.is_empty(),
        private_dns: spec.private_dns_enabled.is_none() && origin.keeps(PRIVATE_DNS_ENABLED),
    };
    Ok(Desired {
        account_id: resolved.binding.account_id.clone(),
        region: resolved.binding.region.clone(),
        vpc: vpc_id.into(),
        network: placement.chosen.clone(),
        options: options(spec, &target, &attachment, resolved, origin)?,
        target,
        attachment,
        existing: vpc_endpoint_id.as_deref().map(|id| existing(id, *management_policy)),
        adopted: (origin != Origin::Created).then_some(kept),
        tags: all_tags(tags, owner, resolved, origin)?,
        service: desired_service(*vpc_endpoint_type, service.as_ref(), owner),
        names: dns_names.clone(),
        config_map: *publish_config_map,
        warnings,
    })
}

/// The endpoint that the spec names.
fn existing(id: &str, policy: ManagementPolicy) -> Existing {
    Existing {
        id: id.into(),
        consent: Consent::Tag,
        observes: policy == ManagementPolicy::Observe,
    }
}

/// Without what is not carried out of a spec that only observes: it says which endpoint it is.
fn without_wishes(spec: &VPCEndpointSpec) -> VPCEndpointSpec {
    let is_fixed = spec.vpc_endpoint_type == EndpointType::GatewayLoadBalancer;
    let subnet_ids = spec.subnet_ids.iter().filter(|_| is_fixed);
    VPCEndpointSpec {
        subnet_ids: subnet_ids.cloned().collect(),
        route_table_ids: None,
        subnet_configurations: Vec::new(),
        security_group_type: None,
        private_dns_enabled: None,
        ip_address_type: None,
        dns_options: None,
        policy_document: None,
        tags: BTreeMap::new(),
        ..spec.clone()
    }
}

/// How it is attached. An object may have been stored when the schema allowed what it does not
/// allow now.
fn attachment(
    spec: &VPCEndpointSpec,
    owner: &Owner,
    resolved: &Resolved,
    placement: &Placement,
    origin: Origin<'_>,
) -> Result<Attachment<Groups>, Finding> {
    let subnets = || spec.subnet_ids.iter().map(|id| id.as_str().into());
    let type_ = spec.vpc_endpoint_type;
    match (type_, &spec.subnet_ids[..]) {
        (EndpointType::Interface | EndpointType::Resource | EndpointType::ServiceNetwork, [])
            if origin == Origin::Created =>
        {
            Err(invalid(
                "subnet_ids must name at least one subnet of the VPC: without a network interface nothing can connect",
            ))
        }
        (EndpointType::Interface | EndpointType::Resource | EndpointType::ServiceNetwork, _) => {
            Ok(Attachment::Interface(Interface {
                subnets: subnets().collect(),
                groups: groups(spec, owner, resolved, placement, origin)?,
                private_dns: spec.private_dns_enabled.unwrap_or(false),
            }))
        }
        (EndpointType::Gateway, []) => {
            let tables = spec.route_table_ids.iter().flatten();
            Ok(Attachment::Gateway(tables.map(|id| id.as_str().into()).collect()))
        }
        (EndpointType::Gateway, _) => Err(invalid(
            "subnet_ids: endpoints of type Gateway are in route tables, not in subnets: set route_table_ids",
        )),
        (EndpointType::GatewayLoadBalancer, [subnet]) => Ok(Attachment::GatewayLoadBalancer(subnet.as_str().into())),
        (EndpointType::GatewayLoadBalancer, _) => Err(invalid(
            "subnet_ids must name exactly one subnet for an endpoint of type GatewayLoadBalancer",
        )),
    }
}

fn groups(
    spec: &VPCEndpointSpec,
    owner: &Owner,
    resolved: &Resolved,
    placement: &Placement,
    origin: Origin<'_>,
) -> Result<Groups, Finding> {
    let custom_rules = |field: &str, rules: &[CustomRule]| {
        let rules = rules::custom(rules, placement.vpc_cidr_blocks.as_deref());
        rules.map_err(|error| match error {
            InvalidRule::VpcUnknown => Finding::bad(
                Reason::NetworkNotReady,
                format!("{field}: {error}: ask your platform team whether the role may use ec2:DescribeVpcs"),
            ),
            InvalidRule::Cidr(_) | InvalidRule::Protocol(_) => invalid(format!("{field}: {error}")),
        })
    };
    if spec.security_group_type.is_none() && origin.keeps(SECURITY_GROUP_TYPE) {
        return Ok(Groups::Kept);
    }
    Ok(match spec.security_group_type.unwrap_or_default() {
        SecurityGroupType::Generated => {
            let ingress = match &resolved.account.generated_ingress {
                None => rules::private_networks(),
                Some(rules) => {
                    let field = format!("generated_ingress of AWSAccount {}", resolved.binding.account);
                    custom_rules(&field, rules)?
                }
            };
            own_group(owner, ingress, None)
        }
        SecurityGroupType::Provided if spec.security_group_ids.is_empty() => {
            return Err(invalid("security_group_type provided needs security_group_ids"));
        }
        SecurityGroupType::Provided => {
            Groups::Provided(spec.security_group_ids.iter().map(|id| id.as_str().into()).collect())
        }
        SecurityGroupType::Custom => {
            let ingress = spec.security_group_ingress.as_deref().unwrap_or_default();
            let ingress = custom_rules("security_group_ingress", ingress)?;
            let egress = spec.security_group_egress.as_deref();
            let egress = egress
                .map(|rules| custom_rules("security_group_egress", rules))
                .transpose()?;
            own_group(owner, ingress, egress)
        }
    })
}

fn options(
    spec: &VPCEndpointSpec,
    target: &Target,
    attachment: &Attachment<Groups>,
    resolved: &Resolved,
    origin: Origin<'_>,
) -> Result<Options, Finding> {
    let dns = spec.dns_options.clone().unwrap_or_default();
    let type_ = spec.vpc_endpoint_type;
    if spec.policy_document.is_some() && !type_.has_policy() {
        return Err(invalid(format!(
            "policy_document: only endpoints of type Interface and Gateway have a policy, not those of type {type_}"
        )));
    }
    let parsed = |PolicyDocument(document): &PolicyDocument, of: &str| {
        let policy = Policy::parse(document).map_err(|why| invalid(format!("policy_document{of} {why}")))?;
        Ok(PolicyChoice::Document(policy))
    };
    let of_account = || {
        let default = resolved.account.policy_document.as_ref();
        let default = default.filter(|_| origin == Origin::Created && takes_policy(type_, target))?;
        Some(parsed(default, &format!(" of AWSAccount {}", resolved.binding.account)))
    };
    let policy = spec.policy_document.as_ref().map(|document| parsed(document, ""));
    let policy = policy.or_else(of_account);
    let is_interface = type_ == EndpointType::Interface;
    // EC2 takes it for true where it is left out, for S3; and refuses it for other services.
    let inbound_resolver_only = (is_interface && spec.private_dns_enabled == Some(true))
        .then(|| {
            let given = dns.private_dns_only_for_inbound_resolver_endpoint;
            given.or_else(|| (target.is_s3() && origin == Origin::Created).then_some(false))
        })
        .flatten();
    Ok(Options {
        policy: policy.transpose()?,
        ip_address_type: spec.ip_address_type,
        dns_record_ip_type: dns.dns_record_ip_type,
        inbound_resolver_only,
        addresses: addresses::of_spec(&spec.subnet_configurations, &attachment.subnets(), spec.ip_address_type)
            .map_err(invalid)?,
        private_domains: dns.private_dns_preference.map(|preference| PrivateDomains {
            preference,
            specified: dns.private_dns_specified_domains.unwrap_or_default(),
        }),
    })
}

/// Whether AWS takes a policy for an endpoint of this type, to this target: services that AWS
/// accounts offer refuse any.
pub(crate) fn takes_policy(type_: EndpointType, target: &Target) -> bool {
    type_.has_policy() && target.is_of_aws()
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

/// The owner's tags, the account's defaults, the user's, and those that the account requires: the
/// later win.
pub(crate) fn all_tags(
    users: &BTreeMap<String, String>,
    owner: &Owner,
    resolved: &Resolved,
    origin: Origin<'_>,
) -> Result<BTreeMap<String, String>, Finding> {
    let mut all = owner.tags();
    if origin != Origin::Created {
        // It has the name that it was given.
        all.remove(tags::DISPLAY_NAME);
    }
    // IAM ignores case in the keys of tags, so that a look-alike of ours would count as ours there.
    let reserved = |key: &String| {
        let key = key.to_ascii_lowercase();
        key.starts_with(tags::RESERVED_PREFIX) || key.starts_with("aws:")
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

/// By default a Service where the endpoint has one DNS name.
/// The Service that an object asks for, where endpoints of this type can have one.
pub fn desired_service(type_: EndpointType, service: Option<&ServiceSpec>, owner: &Owner) -> Option<DesiredService> {
    let service = service.cloned().unwrap_or_default();
    let is_possible = match service.type_ {
        ServiceType::ExternalName => type_.has_dns_name(),
        ServiceType::Headless => type_.has_addresses(),
        ServiceType::None => false,
    };
    is_possible.then(|| DesiredService {
        name: service.name.unwrap_or_else(|| owner.name.clone()),
        headless: service.type_ == ServiceType::Headless,
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
    let service_region = desired.target.service_region().map(Region::as_str);
    let parts = parts.into_iter().chain(desired.attachment.token_parts());
    for part in parts.chain(service_region) {
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
        let found = desired(
            &spec(json!({})),
            &owner(),
            &resolved(),
            &Placement::default(),
            Origin::Created,
        )
        .expect("valid");
        assert_eq!(found.target.to_string(), "com.amazonaws.vpce.eu-west-1.vpce-svc-1");
    }

    #[test]
    fn a_users_tags_win_over_the_accounts_and_over_the_name() {
        let found = desired(
            &spec(json!({"tags": {"cost": "mine", "Name": "nice", "team": "red"}})),
            &owner(),
            &resolved(),
            &Placement::default(),
            Origin::Created,
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
            let found = desired(
                &spec(json!({"tags": {key: "x"}})),
                &owner(),
                &resolved(),
                &Placement::default(),
                Origin::Created,
            );
            assert_eq!(found.expect_err("reserved").reason, Reason::InvalidSpec);
        }
    }

    #[test]
    fn egress_is_open_unless_given() {
        let egress = |extra| match desired(
            &spec(extra),
            &owner(),
            &resolved(),
            &Placement::default(),
            Origin::Created,
        )
        .expect("valid")
        .attachment
        {
            Attachment::Interface(Interface {
                groups: Groups::Own(group),
                ..
            }) => (group.egress.len(), group.open_egress),
            other => panic!("a group of our own: {other:?}"),
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
        let found = desired(
            &spec(json!({"subnet_ids": []})),
            &owner(),
            &resolved(),
            &Placement::default(),
            Origin::Created,
        )
        .expect_err("no subnet");
        assert_eq!(found.reason, Reason::InvalidSpec);
        assert!(found.message.contains("subnet_ids"), "{}", found.message);
    }

    #[test]
    fn a_group_without_ingress_is_warned_of() {
        let warnings = |extra| {
            desired(
                &spec(extra),
                &owner(),
                &resolved(),
                &Placement::default(),
                Origin::Created,
            )
            .expect("valid")
            .warnings
        };
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
        let one = desired(
            &spec(json!({"subnet_ids": ["subnet-1"]})),
            &owner,
            &resolved,
            &Placement::default(),
            Origin::Created,
        )
        .expect("valid");
        let two = desired(
            &spec(json!({"subnet_ids": ["subnet-2"], "tags": {"a": "b"}})),
            &owner,
            &resolved,
            &Placement::default(),
            Origin::Created,
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
        let found = desired(
            &spec(json!({})),
            &owner,
            &resolved,
            &Placement::default(),
            Origin::Created,
        )
        .expect("valid");
        assert_eq!(
            client_token(&owner, &found, &resolved, 0),
            "80390d16cf291257a66eb440d096cd773cd48187684119f4ef2d63b5630c7855"
        );
    }
}
