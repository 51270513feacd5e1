//! Random specs, and random states of AWS and Kubernetes to start from: ours and drifted, half
//! made, lost, of other owners.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use vpce_core::addresses::{Addresses, SubnetAddresses};
use vpce_core::api::{DnsName, DnsRecordIpType, EndpointType, IpAddressType, ServicePort};
use vpce_core::attachment::{Attachment, ObservedAttachment};
use vpce_core::config_map::ObservedConfigMap;
use vpce_core::desired::{Desired, DesiredService, Groups};
use vpce_core::ids::{GroupId, RouteTableId, SubnetId};
use vpce_core::metadata::Metadata;
use vpce_core::names::ObservedDnsEndpoint;
use vpce_core::observed::{ObservedEndpoint, ObservedGroup, ObservedService, State};
use vpce_core::options::{self, ObservedOptions, Options, PolicyChoice};
use vpce_core::plan::PlanContext;
use vpce_core::policy::Policy;
use vpce_core::rules::{self, RuleSet};
use vpce_core::slices::{AddressFamily, InterfaceAddress, ObservedSlice};
use vpce_core::tags::{self, Owner};
use vpce_core::target::Target;

use crate::ec2::{World, filled_in};
use crate::observations::*;

/// What is wanted, what there is, and what befalls the operator on the way.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) desired: Desired,
    pub(crate) world: World,
    /// The keys of the tags that we set for the user.
    pub(crate) tag_keys: Vec<String>,
    /// What was applied, with what is desired.
    pub(crate) applied: Applied,
    pub(crate) paused: bool,
    /// After how many steps of each plan the operator is killed.
    pub(crate) kills: Vec<usize>,
}

/// What status says that was applied.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    pub(crate) tables: BTreeSet<RouteTableId>,
    pub(crate) fields: Vec<String>,
}

impl Applied {
    /// What is desired is written before it is applied; what a type does not have never is.
    fn extend(&mut self, desired: &Desired) {
        let type_ = type_of(desired);
        let has = |field: &str| match field {
            options::POLICY_DOCUMENT => type_.has_policy(),
            options::DNS_RECORD_IP_TYPE => type_.has_dns_options(),
            _ => true,
        };
        self.fields.retain(|field| has(field));
        let tables = desired.attachment.route_tables();
        self.tables.extend(tables.into_iter().flatten().cloned());
        let fields = desired.options.fields();
        self.fields.extend(fields.into_iter().map(str::to_owned));
    }
}

impl Scenario {
    /// What planning knows from the status.
    pub(crate) fn context(&self) -> PlanContext<'_> {
        PlanContext {
            tag_keys: &self.tag_keys,
            route_tables: &self.applied.tables,
            applied_fields: &self.applied.fields,
            ..NOTHING
        }
    }
}

const USER_KEYS: [&str; 5] = ["k1", "k2", "k3", "old", "theirs"];
const PROVIDED: [&str; 2] = ["sg-p1", "sg-p2"];

fn rule_set() -> impl Strategy<Value = RuleSet> {
    let pool: Vec<_> = tcp(&[(22, None), (443, None), (5432, None)])
        .into_keys()
        .chain(rules::open().into_keys())
        .chain([rules::open_ipv6()])
        .chain(rules::private_networks().into_keys())
        .collect();
    let text = option::of(select(vec!["x".to_owned(), "y".to_owned()]));
    btree_map(select(pool), text, 0..5)
}

fn user_tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    let value = select(vec!["1".to_owned(), "2".to_owned()]);
    btree_map(select(USER_KEYS.map(str::to_owned).to_vec()), value, 0..4)
}

fn subnets() -> impl Strategy<Value = Vec<SubnetId>> {
    (
        option::of(select(vec!["subnet-a1", "subnet-a2"])),
        option::of(Just("subnet-b1")),
        option::of(Just("subnet-c1")),
    )
        .prop_map(|(a, b, c)| {
            let some = [a, b, c].into_iter().flatten().map(SubnetId::from);
            let mut some: Vec<_> = some.collect();
            if some.is_empty() {
                some.push("subnet-b1".into());
            }
            some
        })
}

fn ports() -> impl Strategy<Value = Vec<ServicePort>> + Clone {
    let port = |port| ServicePort {
        name: None,
        port,
        protocol: Default::default(),
    };
    subsequence(vec![port(443), port(5432)], 0..=1)
}

fn metadata() -> impl Strategy<Value = Metadata> + Clone {
    let value = select(vec!["1".to_owned(), "2".to_owned()]);
    let map = btree_map(select(vec!["a".to_owned(), "b".to_owned()]), value, 0..2);
    (map.clone(), map).prop_map(|(labels, annotations)| Metadata { labels, annotations })
}

fn groups() -> impl Strategy<Value = Groups> {
    let ids: Vec<GroupId> = PROVIDED.into_iter().chain([OWN_GROUP]).map(GroupId::from).collect();
    prop_oneof![
        Just(generated()),
        (rule_set(), rule_set()).prop_map(|(ingress, egress)| own(ingress, egress)),
        subsequence(ids, 1..=2).prop_map(|ids| Groups::Provided(ids.into_iter().collect())),
    ]
}

fn tables() -> impl Strategy<Value = BTreeSet<RouteTableId>> {
    let ids = ["rtb-1", "rtb-2", "rtb-3", "rtb-4"].map(RouteTableId::from);
    subsequence(ids.to_vec(), 0..=4).prop_map(|ids| ids.into_iter().collect())
}

fn policy() -> impl Strategy<Value = PolicyChoice> {
    let policy = |action: &str| {
        let statement = serde_json::json!({"Effect": "Allow", "Principal": "*", "Action": action, "Resource": "*"});
        let document = serde_json::json!({"Statement": [statement]});
        PolicyChoice::Document(Policy::parse(&document).expect("a policy"))
    };
    select(vec![policy("s3:GetObject"), policy("s3:*"), policy("*")])
}

fn address_types() -> impl Strategy<Value = (Option<IpAddressType>, Option<DnsRecordIpType>)> {
    use DnsRecordIpType as Records;
    use IpAddressType as Addresses;
    select(vec![
        (None, None),
        (None, Some(Records::Ipv4)),
        (Some(Addresses::Ipv4), None),
        (Some(Addresses::Ipv4), Some(Records::Ipv4)),
        (Some(Addresses::Ipv6), Some(Records::Ipv6)),
        (Some(Addresses::Dualstack), None),
        (Some(Addresses::Dualstack), Some(Records::Ipv4)),
        (Some(Addresses::Dualstack), Some(Records::ServiceDefined)),
    ])
}

fn options() -> impl Strategy<Value = Options> {
    let types = (address_types(), option::of(any::<bool>()));
    (option::of(policy()), types, addresses()).prop_map(
        |(policy, ((ip_address_type, dns_record_ip_type), inbound_resolver_only), addresses)| Options {
            policy,
            ip_address_type,
            dns_record_ip_type,
            inbound_resolver_only,
            private_domains: None,
            addresses,
        },
    )
}

/// Addresses of network interfaces in some of the subnets that there are.
fn addresses() -> impl Strategy<Value = SubnetAddresses> {
    let subnets = select(vec!["subnet-a1", "subnet-a2", "subnet-b1"]).prop_map(SubnetId::from);
    let address = select(vec![8, 9]).prop_map(|last| Addresses {
        ipv4: Some([10, 0, 0, last].into()),
        ipv6: None,
    });
    btree_map(subnets, address, 0..3)
}

fn endpoint_type() -> impl Strategy<Value = EndpointType> {
    prop_oneof![
        4 => Just(EndpointType::Interface),
        2 => Just(EndpointType::Gateway),
        1 => select(EndpointType::ALL.to_vec()),
    ]
}

/// The same of a type, with what that type has.
fn of_type(mut desired: Desired, type_: EndpointType, tables: BTreeSet<RouteTableId>, options: Options) -> Desired {
    let arn = "arn:aws:vpc-lattice:eu-west-1:222222222222:x/1".to_owned();
    match type_ {
        EndpointType::Interface => {}
        EndpointType::Resource => desired.target = Target::ResourceConfiguration { arn },
        EndpointType::ServiceNetwork => desired.target = Target::ServiceNetwork { arn },
        EndpointType::Gateway => desired.attachment = Attachment::Gateway(tables),
        EndpointType::GatewayLoadBalancer => {
            let subnet = asked(&desired).subnets.pop_first().expect("a subnet");
            desired.attachment = Attachment::GatewayLoadBalancer(subnet);
        }
    }
    if !matches!(type_, EndpointType::Interface | EndpointType::Resource) {
        desired.service = None;
        desired.names = Vec::new();
    }
    desired.options = options;
    if !type_.has_policy() {
        desired.options.policy = None;
    }
    if !type_.has_dns_options() {
        desired.options.dns_record_ip_type = None;
    }
    if type_ != EndpointType::Interface || !asked(&desired).private_dns {
        desired.options.inbound_resolver_only = None;
    }
    let subnets = match type_ {
        EndpointType::Interface => asked(&desired).subnets,
        _ => BTreeSet::new(),
    };
    desired.options.addresses.retain(|subnet, _| subnets.contains(subnet));
    desired
}

fn wish() -> impl Strategy<Value = Desired> {
    let service = option::of(
        (
            select(vec!["db".to_owned(), "other".to_owned()]),
            any::<bool>(),
            ports(),
            metadata(),
        )
            .prop_map(|(name, headless, ports, metadata)| DesiredService {
                name,
                headless,
                ports,
                metadata,
            }),
    );
    let private_dns = any::<bool>();
    let named = (any::<bool>(), any::<bool>());
    let of = (endpoint_type(), tables(), options());
    (groups(), subnets(), user_tags(), private_dns, (service, named), of).prop_map(
        |(groups, subnets, user_tags, private_dns, (service, (named, config_map)), (type_, tables, options))| {
            let mut wish = desired(groups);
            asked_mut(&mut wish).private_dns = private_dns;
            wish.tags.extend(user_tags);
            asked_mut(&mut wish).subnets = subnets.into_iter().collect();
            wish.service = service;
            let name = DnsName {
                name: "db.example.com".to_owned(),
                ..DnsName::default()
            };
            wish.names = named.then_some(name).into_iter().collect();
            wish.config_map = config_map;
            of_type(wish, type_, tables, options)
        },
    )
}

/// How far a resource has drifted.
#[derive(Debug, Clone)]
struct Tagged {
    /// An owner tag that it has lost.
    lost: Option<&'static str>,
    /// Other tags that it has lost.
    missing: Vec<String>,
    /// Tags that it has beside, or with another value.
    others: BTreeMap<String, String>,
    /// Whether status knows its id.
    known: bool,
}

fn tagged() -> impl Strategy<Value = Tagged> {
    let lost = prop_oneof![
        12 => Just(None),
        1 => select(vec![tags::CLUSTER, tags::NAMESPACE, tags::NAME]).prop_map(Some),
    ];
    let keys = [tags::UID, tags::DISPLAY_NAME, "cost", "k1", "k2", "k3"].map(str::to_owned);
    (lost, subsequence(keys.to_vec(), 0..=3), user_tags(), any::<bool>()).prop_map(|(lost, missing, others, known)| {
        Tagged {
            lost,
            missing,
            others,
            known,
        }
    })
}

impl Tagged {
    fn apply(&self, desired: &Desired) -> BTreeMap<String, String> {
        let mut found = desired.tags.clone();
        found.extend(self.others.clone());
        found.retain(|key, _| !self.missing.contains(key) && Some(key.as_str()) != self.lost);
        found
    }
}

fn state() -> impl Strategy<Value = State> {
    let states = [
        "pendingAcceptance",
        "deleting",
        "rejected",
        "failed",
        "expired",
        "partial",
        "melting",
    ];
    prop_oneof![
        12 => Just(State::Available),
        4 => Just(State::Pending),
        4 => select(states.to_vec()).prop_map(State::parse),
    ]
}

#[derive(Debug, Clone)]
struct Made {
    tagged: Tagged,
    state: State,
    subnets: Vec<SubnetId>,
    groups: Vec<GroupId>,
    private_dns: bool,
    tables: BTreeSet<RouteTableId>,
    options: ObservedOptions,
    another_service: bool,
    another_subnet: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let ids: Vec<GroupId> = [OWN_GROUP, "sg-else"]
        .into_iter()
        .chain(PROVIDED)
        .map(GroupId::from)
        .collect();
    (
        tagged(),
        state(),
        subnets(),
        subsequence(ids, 0..=4),
        any::<bool>(),
        (tables(), options()),
        (prop::bool::weighted(0.05), prop::bool::weighted(0.1)),
    )
        .prop_map(
            |(tagged, state, subnets, groups, private_dns, (tables, options), (another_service, another_subnet))| {
                Made {
                    tagged,
                    state,
                    subnets,
                    groups,
                    private_dns,
                    tables,
                    options: ObservedOptions::created(&options),
                    another_service,
                    another_subnet,
                }
            },
        )
}

impl Made {
    fn resource(&self, desired: &Desired, world: &World) -> ObservedEndpoint {
        let mut resource = endpoint_fact(desired);
        resource.tags = self.tagged.apply(desired);
        resource.state = self.state.clone();
        // EC2 has refused what does not go with what another gave it.
        let has_addresses = desired.options.ip_address_type.is_some();
        let options = has_addresses.then(|| self.options.clone());
        resource.options = filled_in(type_of(desired), options.unwrap_or_default());
        match &mut resource.attachment {
            ObservedAttachment::Known(Attachment::Interface(interface)) => {
                if !fixes_private_dns(desired) {
                    interface.private_dns = self.private_dns;
                }
                interface.subnets = self.subnets.iter().cloned().collect();
                let groups = self.groups.iter().filter(|id| world.groups.contains_key(*id));
                interface.groups = groups.cloned().collect();
            }
            ObservedAttachment::Known(Attachment::Gateway(tables)) => *tables = self.tables.clone(),
            ObservedAttachment::Known(Attachment::GatewayLoadBalancer(subnet)) if self.another_subnet => {
                *subnet = "subnet-z1".into();
            }
            ObservedAttachment::Known(Attachment::GatewayLoadBalancer(_)) | ObservedAttachment::Other(_) => {}
        }
        let subnets = attached(&resource).subnets;
        let has_subnet = |subnet: &SubnetId| type_of(desired) == EndpointType::Interface && subnets.contains(subnet);
        resource.options.addresses.retain(|subnet, _| has_subnet(subnet));
        if self.another_service {
            resource.target = Some(service("com.amazonaws.eu-west-1.s3"));
            resource.dns_names = dns_names(&resource);
        }
        resource
    }
}

fn services() -> impl Strategy<Value = Vec<ObservedService>> {
    let leads = option::of(select(vec![dns_name(&ENDPOINT.into()), "elsewhere".to_owned()]));
    let leads = (leads, any::<bool>());
    let service = (prop::bool::weighted(0.8), leads, ports(), any::<bool>(), metadata());
    let named = |name: &'static str| {
        option::of(service.clone()).prop_map(move |found| {
            found.map(
                |(ours, (external_name, headless), ports, labelled, metadata)| ObservedService {
                    name: name.into(),
                    ours,
                    unowned: false,
                    headless: headless && external_name.is_none(),
                    external_name,
                    ports,
                    labelled,
                    metadata,
                    written_as: None,
                },
            )
        })
    };
    (named("db"), named("other"), named("third")).prop_map(|(a, b, c)| [a, b, c].into_iter().flatten().collect())
}

fn slices() -> impl Strategy<Value = Vec<ObservedSlice>> {
    let pool = ["10.0.97.49", "10.0.98.49", "fd00::97:49", "192.0.2.1"];
    let pool: Vec<InterfaceAddress> = pool
        .iter()
        .filter_map(|text| InterfaceAddress::parse(text, None))
        .collect();
    let slice = (
        prop::bool::weighted(0.8),
        any::<bool>(),
        option::of(select(vec!["db".to_owned(), "other".to_owned(), "third".to_owned()])),
        option::of(select(AddressFamily::ALL.to_vec())),
        option::of(subsequence(pool, 0..=4)),
        ports(),
    );
    let named = |name: &'static str| {
        option::of(slice.clone()).prop_map(move |found| {
            found.map(|(ours, labelled, service, family, addresses, ports)| ObservedSlice {
                name: name.into(),
                ours,
                labelled,
                service,
                family,
                addresses: addresses.map(|addresses| addresses.into_iter().collect()),
                ports,
                written_as: None,
            })
        })
    };
    let all = (named("db-ipv4"), named("db-ipv6"), named("other-ipv4"), named("third"));
    all.prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect())
}

/// DNSEndpoint and ConfigMap.
type Published = (Option<ObservedDnsEndpoint>, Option<ObservedConfigMap>);

/// What there is of DNSEndpoint and ConfigMap: whether it is the object's, and as it was written.
fn published() -> impl Strategy<Value = Published> {
    let found = || option::of((prop::bool::weighted(0.8), any::<bool>()));
    (found(), found()).prop_map(|(dns_endpoint, config_map)| {
        let dns_endpoint = dns_endpoint.map(|(ours, whole)| ObservedDnsEndpoint {
            name: owner().name,
            ours,
            labelled: whole,
            records: whole.then(BTreeSet::new),
            metadata: Metadata::default(),
            written_as: None,
        });
        let config_map = config_map.map(|(ours, whole)| ObservedConfigMap {
            name: owner().name,
            ours,
            labelled: whole,
            data: whole.then(BTreeMap::new),
            written_as: None,
        });
        (dns_endpoint, config_map)
    })
}

fn foreign_endpoint(id: &str, owner: Option<&Owner>) -> ObservedEndpoint {
    let mut resource = endpoint_fact(&desired(provided(&["sg-p1"])));
    resource.id = id.into();
    // EC2 names an endpoint after its id.
    resource.dns_names = vec![dns_name(&resource.id)];
    resource.tags = owner.map(Owner::tags).unwrap_or_default();
    resource
}

fn foreign_group(id: &str) -> ObservedGroup {
    let mut resource = group_fact(&BTreeMap::new(), tcp(&[(1, None)]), rules::open());
    resource.id = id.into();
    resource.name = id.into();
    resource
}

fn applied() -> impl Strategy<Value = Applied> {
    let fields = [
        options::POLICY_DOCUMENT,
        options::IP_ADDRESS_TYPE,
        options::DNS_RECORD_IP_TYPE,
    ]
    .map(str::to_owned);
    (tables(), subsequence(fields.to_vec(), 0..=3)).prop_map(|(tables, fields)| Applied { tables, fields })
}

/// Whether AWS fixes private DNS of such an endpoint at creation.
fn fixes_private_dns(desired: &Desired) -> bool {
    !matches!(desired.target, Target::Service { .. })
}

/// Anything that may be found.
pub(crate) fn scenario() -> impl Strategy<Value = Scenario> {
    let group = option::weighted(0.8, (tagged(), rule_set(), rule_set()));
    let copied = prop::bool::weighted(0.1);
    let status = (any::<bool>(), any::<bool>());
    (
        wish(),
        group,
        option::weighted(0.8, made()),
        (services(), slices(), published()),
        copied,
        status,
        subsequence(["k1", "k2", "k3", "old"].map(str::to_owned).to_vec(), 0..=4),
        prop::bool::weighted(0.1),
        vec(0..4_usize, 0..4),
        applied(),
    )
        .prop_map(
            |(desired, group, made, services, copied, gone, tag_keys, paused, kills, applied)| {
                arrange(
                    desired, group, made, services, copied, gone, tag_keys, paused, kills, applied,
                )
            },
        )
}

#[allow(clippy::too_many_arguments)] // One for each thing that is drawn.
fn arrange(
    mut desired: Desired,
    group: Option<(Tagged, RuleSet, RuleSet)>,
    made: Option<Made>,
    (services, slices, published): (Vec<ObservedService>, Vec<ObservedSlice>, Published),
    copied: bool,
    gone: (bool, bool),
    tag_keys: Vec<String>,
    paused: bool,
    kills: Vec<usize>,
    mut applied: Applied,
) -> Scenario {
    let mut world = World::default();
    (world.dns_endpoint, world.config_map) = published;
    let neighbour = Owner {
        name: "neighbour".into(),
        ..owner()
    };
    for resource in [
        foreign_endpoint("vpce-neighbour", Some(&neighbour)),
        foreign_endpoint("vpce-untagged", None),
    ] {
        world.endpoints.insert(resource.id.clone(), resource);
    }
    for id in PROVIDED.into_iter().chain(["sg-else"]) {
        world.groups.insert(id.into(), foreign_group(id));
    }
    if let Some((tagged, ingress, egress)) = &group {
        let resource = group_fact(&tagged.apply(&desired), ingress.clone(), egress.clone());
        // A lost group that status does not know has the name of the one to be made:
        // CreateSecurityGroup refuses.
        if tagged.known || tagged.lost.is_some() {
            world.known_group = Some(resource.id.clone());
        }
        world.groups.insert(resource.id.clone(), resource);
    } else {
        world.known_group = gone.0.then(|| "sg-gone".into());
        // Only what is there can be provided.
        if let Attachment::Interface(interface) = &mut desired.attachment
            && let Groups::Provided(ids) = &mut interface.groups
        {
            ids.remove(&OWN_GROUP.into());
            ids.insert("sg-p1".into());
        }
    }
    if let Some(made) = made {
        let resource = made.resource(&desired, &world);
        // Lost and unknown, it would be another owner's, and those do not use our group.
        world.known_endpoint = (made.tagged.known || made.tagged.lost.is_some()).then(|| resource.id.clone());
        if copied && made.tagged.known && made.tagged.lost.is_none() {
            let mut spare = foreign_endpoint("vpce-spare", Some(&owner()));
            spare.target = Some(desired.target.clone());
            if resource.interface().is_none() {
                spare.attachment = endpoint_fact(&desired).attachment;
            } else if let ObservedAttachment::Known(Attachment::Interface(interface)) = &mut spare.attachment
                && fixes_private_dns(&desired)
            {
                // It was made for the object, too.
                interface.private_dns = asked(&desired).private_dns;
            }
            spare.dns_names = dns_names(&spare);
            spare.tags.insert("theirs".into(), "1".into());
            world.endpoints.insert(spare.id.clone(), spare);
        }
        world.endpoints.insert(resource.id.clone(), resource);
    } else {
        world.known_endpoint = gone.1.then(|| "vpce-gone".into());
    }
    for service in services {
        world.services.insert(service.name.clone(), service);
    }
    for slice in slices {
        world.slices.insert(slice.name.clone(), slice);
    }
    applied.extend(&desired);
    Scenario {
        desired,
        world,
        tag_keys,
        applied,
        paused,
        kills,
    }
}
