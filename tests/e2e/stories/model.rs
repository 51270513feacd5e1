//! The model: what users, platform teams, AWS and fate may do in a story, and what the manifests
//! say after each act.

use std::collections::BTreeMap;
use std::fmt;

use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::{select, subsequence};
use proptest_state_machine::ReferenceStateMachine;
pub(super) use vpce_core::api::EndpointType as Kind;

/// The names that VPCEndpoints have in a story. Two are too few to be held together when they
/// vanish.
pub(super) const NAMES: [&str; 2] = ["api", "db"];
/// The keys of the tags that users set, change and take away.
pub(super) const KEYS: [&str; 3] = ["cost", "stage", "team"];
/// The name of a Service that both would like.
pub(super) const SHARED: &str = "shared";

/// What a VPCEndpoint asks for, with what a tenant has by number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) region: Region,
    /// In which of two VPCs.
    pub(super) network: usize,
    /// To which of two services, or of what else its type connects to.
    pub(super) target: usize,
    /// Of a gateway, route tables.
    pub(super) subnets: Vec<usize>,
    pub(super) groups: Groups,
    pub(super) tags: BTreeMap<&'static str, u8>,
    pub(super) service: Service,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Groups {
    Generated,
    /// Ports, and whether egress is open.
    Custom(Vec<u16>, bool),
    Provided(Vec<usize>),
}

/// The region that it names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Region {
    None,
    /// Where the VPCs are.
    Home,
    /// Where nothing is.
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Service {
    OfItsOwnName,
    Shared,
    Without,
}

/// A change of a VPCEndpoint that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edit {
    Subnets(Vec<usize>),
    Groups(Groups),
    Tags(BTreeMap<&'static str, u8>),
    Service(Service),
    /// What AWS fixes at creation: refused once there is an endpoint, unless it is what that has.
    Region(Region),
    Network(usize),
    Target(usize),
}

/// What the AWSAccount says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account {
    pub(super) mapped: bool,
    pub(super) suspended: bool,
    /// Whether the third subnet and the second VPC are forbidden.
    pub(super) railed: bool,
    pub(super) default_region: DefaultRegion,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DefaultRegion {
    /// Where the VPC is.
    Home,
    /// Where nothing is.
    Elsewhere,
    Unset,
}

/// A change of the AWSAccount.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Mapped(bool),
    Suspended(bool),
    Railed(bool),
    DefaultRegion(DefaultRegion),
}

/// An out-of-band change in AWS of an endpoint or its group.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Drift {
    DeleteEndpoint,
    DeleteGroup,
    AddRule,
    RemoveRule,
    AttachGroup,
    DetachGroup,
    /// Takes a tag away, of the endpoint's (or the group's).
    TakeTag(Whose, &'static str),
    ChangeTag(Whose, &'static str),
    AddTag(Whose),
    /// Takes one of the tags away that say whose it is.
    Disown(Whose, &'static str),
    /// Puts all of those back that were taken away.
    OwnAgain,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Whose {
    Endpoint,
    Group,
}

/// What goes wrong with the next call of an action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mishap {
    /// It is carried out, and the answer is lost.
    Lost,
    /// Its answer breaks off.
    Cut,
    Throttled,
    Failed,
    Expired,
    Late,
    /// A describe finds nothing.
    Empty,
    /// DeleteVpcEndpoints leaves one alone.
    Unsuccessful,
}

/// One act of a story.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// kubectl apply, of a new one, of one that is there, of one that is being deleted.
    Apply(&'static str, Shape),
    Edit(&'static str, Edit),
    /// kubectl delete --wait=false.
    Delete(&'static str),
    Account(Change),
    Behind(&'static str, Drift),
    /// The operator is killed, and started again so many milliseconds later.
    Crash(u16),
    Mishap(&'static str, Mishap),
    /// From now on, or until further notice, calls of the account go wrong at random.
    Weather(bool),
    /// Milliseconds.
    Wait(u16),
    /// The weather clears, and everything comes to rest.
    Settle,
}

/// What the manifests say, and which faults there are.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) wanted: BTreeMap<&'static str, Shape>,
    pub(super) account: Account,
    pub(super) weather: bool,
    /// Whether a describe was made to find nothing: AWS is believed when it says so twice.
    emptied: bool,
}

impl Model {
    /// Whether the VPCEndpoint's manifest is allowed by the account's guardrails.
    pub(super) fn is_allowed(&self, shape: &Shape) -> bool {
        let subnets = shape.used_subnets();
        let is_beyond = shape.network == 1 || subnets.contains(&2);
        !(self.account.railed && !subnets.is_empty() && is_beyond)
    }

    /// The same story once the platform team has taken back all that it forbade.
    pub(super) fn in_peace(mut self) -> Self {
        self.account = Account::open();
        self.weather = false;
        self
    }
}

impl Account {
    fn open() -> Self {
        Self {
            mapped: true,
            suspended: false,
            railed: false,
            default_region: DefaultRegion::Home,
        }
    }
}

/// A tenant's story.
pub(super) struct Stories;

impl ReferenceStateMachine for Stories {
    type State = Model;
    type Transition = Act;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model {
            wanted: BTreeMap::new(),
            account: Account::open(),
            weather: false,
            emptied: false,
        })
        .boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Act> {
        let waits = prop_oneof![3 => Just(100_u16), 2 => Just(700), 1 => Just(2500)].prop_map(Act::Wait);
        let absent: Vec<&'static str> = NAMES
            .into_iter()
            .filter(|name| !model.wanted.contains_key(name))
            .collect();
        let there: Vec<&'static str> = model.wanted.keys().copied().collect();
        let fates = prop_oneof![
            3 => waits,
            3 => Just(Act::Settle),
            5 => mishaps(),
            2 => any::<bool>().prop_map(Act::Weather),
            2 => (0..1500_u16).prop_map(Act::Crash),
            4 => changes(&model.account).prop_map(Act::Account),
        ];
        let mut acts = vec![(12, fates.boxed())];
        if !absent.is_empty() {
            let weight = if there.is_empty() { 20 } else { 5 };
            acts.push((
                weight,
                (select(absent), shapes())
                    .prop_map(|(name, shape)| Act::Apply(name, shape))
                    .boxed(),
            ));
        }
        if !there.is_empty() {
            let edit = (select(there.clone()), edits()).prop_map(|(name, edit)| Act::Edit(name, edit));
            let behind = (select(there.clone()), drifts()).prop_map(|(name, drift)| Act::Behind(name, drift));
            let delete = select(there).prop_map(Act::Delete);
            acts.extend([(6, edit.boxed()), (6, behind.boxed()), (4, delete.boxed())]);
        }
        proptest::strategy::Union::new_weighted(acts).boxed()
    }

    fn apply(mut model: Model, act: &Act) -> Model {
        match act {
            Act::Apply(name, shape) => {
                model.wanted.insert(name, shape.clone());
            }
            Act::Edit(name, edit) => {
                if let Some(shape) = model.wanted.get_mut(name) {
                    shape.edit(edit);
                }
            }
            Act::Delete(name) => {
                model.wanted.remove(name);
            }
            Act::Account(change) => match change {
                Change::Mapped(mapped) => model.account.mapped = *mapped,
                Change::Suspended(suspended) => model.account.suspended = *suspended,
                Change::Railed(railed) => model.account.railed = *railed,
                Change::DefaultRegion(region) => model.account.default_region = *region,
            },
            Act::Mishap(_, mishap) => model.emptied |= *mishap == Mishap::Empty,
            Act::Weather(bad) => model.weather = *bad,
            Act::Settle => model.weather = false,
            Act::Behind(..) | Act::Crash(_) | Act::Wait(_) => {}
        }
        model
    }

    fn preconditions(model: &Model, act: &Act) -> bool {
        match act {
            Act::Apply(name, _) => !model.wanted.contains_key(name),
            Act::Edit(name, edit) => model.wanted.get(name).is_some_and(|shape| {
                let mut edited = shape.clone();
                edited.edit(edit);
                edited != *shape
            }),
            Act::Delete(name) | Act::Behind(name, _) => model.wanted.contains_key(name),
            Act::Mishap(action, mishap) => mishap.can_meet(action) && !(model.emptied && *mishap == Mishap::Empty),
            Act::Weather(bad) => *bad != model.weather,
            Act::Account(_) | Act::Crash(_) | Act::Wait(_) | Act::Settle => true,
        }
    }
}

impl Shape {
    /// The subnets that its type takes.
    pub(super) fn used_subnets(&self) -> &[usize] {
        match self.kind {
            Kind::Gateway => &[],
            Kind::GatewayLoadBalancer => &self.subnets[..1],
            Kind::Interface | Kind::Resource | Kind::ServiceNetwork => &self.subnets,
        }
    }

    fn edit(&mut self, edit: &Edit) {
        match edit.clone() {
            Edit::Subnets(subnets) => self.subnets = subnets,
            Edit::Groups(groups) => self.groups = groups,
            Edit::Tags(tags) => self.tags = tags,
            Edit::Service(service) => self.service = service,
            Edit::Region(region) => self.region = region,
            Edit::Network(network) => self.network = network,
            Edit::Target(target) => self.target = target,
        }
    }
}

impl Mishap {
    fn can_meet(self, action: &str) -> bool {
        match self {
            Self::Empty => action.starts_with("Describe"),
            Self::Unsuccessful => action == "DeleteVpcEndpoints",
            Self::Lost | Self::Cut | Self::Throttled | Self::Failed | Self::Expired | Self::Late => true,
        }
    }
}

fn subnets() -> impl Strategy<Value = Vec<usize>> {
    subsequence(vec![0, 1, 2], 1..=3)
}

fn groups() -> impl Strategy<Value = Groups> {
    prop_oneof![
        3 => Just(Groups::Generated),
        3 => (subsequence(vec![53, 443, 8443], 0..=3), any::<bool>())
            .prop_map(|(ports, open)| Groups::Custom(ports, open)),
        2 => subsequence(vec![0, 1], 1..=2).prop_map(Groups::Provided),
    ]
}

fn tags() -> impl Strategy<Value = BTreeMap<&'static str, u8>> {
    proptest::collection::btree_map(select(&KEYS[..]), 0..3_u8, 0..=3)
}

fn services() -> impl Strategy<Value = Service> {
    prop_oneof![
        3 => Just(Service::OfItsOwnName),
        2 => Just(Service::Shared),
        1 => Just(Service::Without),
    ]
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        5 => Just(Kind::Interface),
        2 => Just(Kind::Gateway),
        1 => Just(Kind::GatewayLoadBalancer),
        1 => Just(Kind::Resource),
        1 => Just(Kind::ServiceNetwork),
    ]
}

fn shapes() -> impl Strategy<Value = Shape> {
    (
        kinds(),
        regions(),
        one_of_two(),
        one_of_two(),
        subnets(),
        groups(),
        tags(),
        services(),
    )
        .prop_map(
            |(kind, region, network, target, subnets, groups, tags, service)| Shape {
                kind,
                region,
                network,
                target,
                subnets,
                groups,
                tags,
                service,
            },
        )
}

fn regions() -> impl Strategy<Value = Region> {
    prop_oneof![
        5 => Just(Region::Home),
        3 => Just(Region::None),
        1 => Just(Region::Elsewhere),
    ]
}

fn one_of_two() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => Just(1)]
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => subnets().prop_map(Edit::Subnets),
        4 => groups().prop_map(Edit::Groups),
        2 => tags().prop_map(Edit::Tags),
        2 => services().prop_map(Edit::Service),
        2 => regions().prop_map(Edit::Region),
        2 => one_of_two().prop_map(Edit::Network),
        2 => one_of_two().prop_map(Edit::Target),
    ]
}

/// What was taken away is given back more often than not, so that stories go on.
fn changes(account: &Account) -> impl Strategy<Value = Change> + use<> {
    let regions = [DefaultRegion::Home, DefaultRegion::Elsewhere, DefaultRegion::Unset];
    let region = if account.default_region == DefaultRegion::Home {
        select(regions[1..].to_vec()).boxed()
    } else {
        Just(DefaultRegion::Home).boxed()
    };
    let back = |bad: bool| if bad { 6 } else { 2 };
    prop_oneof![
        back(!account.mapped) => Just(Change::Mapped(!account.mapped)),
        back(account.suspended) => Just(Change::Suspended(!account.suspended)),
        back(account.railed) => Just(Change::Railed(!account.railed)),
        1 => region.prop_map(Change::DefaultRegion),
    ]
}

fn drifts() -> impl Strategy<Value = Drift> {
    let whose = || select(vec![Whose::Endpoint, Whose::Group]);
    let owner = select(vec![
        "silvermullet.com/cluster",
        "silvermullet.com/namespace",
        "silvermullet.com/name",
    ]);
    let other = select(vec!["silvermullet.com/uid", "Name", KEYS[0], KEYS[1], KEYS[2]]);
    prop_oneof![
        3 => Just(Drift::DeleteEndpoint),
        2 => Just(Drift::DeleteGroup),
        1 => Just(Drift::AddRule),
        1 => Just(Drift::RemoveRule),
        1 => Just(Drift::AttachGroup),
        1 => Just(Drift::DetachGroup),
        1 => (whose(), other).prop_map(|(whose, key)| Drift::TakeTag(whose, key)),
        1 => (whose(), select(&KEYS[..])).prop_map(|(whose, key)| Drift::ChangeTag(whose, key)),
        1 => whose().prop_map(Drift::AddTag),
        3 => (whose(), owner).prop_map(|(whose, key)| Drift::Disown(whose, key)),
        3 => Just(Drift::OwnAgain),
    ]
}

fn mishaps() -> impl Strategy<Value = Act> {
    let changing = select(vec![
        "CreateVpcEndpoint",
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "RevokeSecurityGroupIngress",
        "RevokeSecurityGroupEgress",
        "ModifyVpcEndpoint",
        "DeleteVpcEndpoints",
        "DeleteSecurityGroup",
        "CreateTags",
        "DeleteTags",
    ]);
    let reading = select(vec!["DescribeVpcEndpoints", "DescribeSecurityGroups"]);
    use Mishap::{Cut, Empty, Expired, Failed, Late, Lost, Throttled, Unsuccessful};
    let how = prop_oneof![4 => Just(Lost), 1 => Just(Cut), 1 => Just(Throttled), 1 => Just(Failed), 1 => Just(Expired), 1 => Just(Late)];
    prop_oneof![
        8 => (changing, how).prop_map(|(action, mishap)| Act::Mishap(action, mishap)),
        2 => (reading, select(vec![Failed, Late, Throttled, Empty])).prop_map(|(action, mishap)| Act::Mishap(action, mishap)),
        1 => Just(Act::Mishap("DeleteVpcEndpoints", Unsuccessful)),
    ]
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(name, shape) => write!(f, "apply {name}: {shape:?}"),
            Self::Edit(name, edit) => write!(f, "edit {name}: {edit:?}"),
            Self::Delete(name) => write!(f, "delete {name}"),
            Self::Account(change) => write!(f, "the AWSAccount now says {change:?}"),
            Self::Behind(name, drift) => write!(f, "in AWS, for {name}: {drift:?}"),
            Self::Crash(down) => write!(f, "the operator is killed, and started {down} ms later"),
            Self::Mishap(action, mishap) => write!(f, "the next {action} is to be {mishap:?}"),
            Self::Weather(true) => f.write_str("from now on, calls go wrong at random"),
            Self::Weather(false) => f.write_str("the weather clears"),
            Self::Wait(time) => write!(f, "{time} ms go by"),
            Self::Settle => f.write_str("the weather clears, and everything comes to rest"),
        }
    }
}
