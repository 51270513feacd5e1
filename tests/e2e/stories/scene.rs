//! A story as it runs: a tenant of its own, and the acts, carried out.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{OnceLock, RwLock, RwLockReadGuard, TryLockError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proptest_state_machine::StateMachineTest;
use serde_json::{Value, json};
use vpce_testbed::aws::{
    Call, Config, Direction, EndpointType, EndpointView, Fault, FaultKind, GroupView, ResourceConfigurationSpec,
    RuleView, ServiceSpec, Weather,
};

use super::model::{
    Act, Change, DefaultRegion, Drift, Groups, Kind, Mishap, Model, NAMES, Region, SHARED, Service, Shape, Stories,
    Whose,
};
use crate::cluster;
use crate::targets::{has_groups, has_name};
use crate::tenant::Tenant;
use crate::world::{Setup, World, id, text};

/// Where no tenant has anything.
pub(super) const ELSEWHERE: &str = "eu-west-1";
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest that a call is late.
const LATE: Duration = Duration::from_millis(500);

/// The world of all stories.
pub(super) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let setup = Setup::fast().value("settings.resyncIntervalSeconds", "3");
        World::own(Setup {
            aws: Config {
                consistency_seconds: 0.5,
                consistency_seed: Some(1),
                ..setup.aws.clone()
            },
            ..setup
        })
    })
}

/// Held while the operator is down, or shall not be killed. Of the standard library: it is
/// poisoned, and stops all stories, where the operator did not start again.
fn life() -> &'static RwLock<()> {
    static LIFE: RwLock<()> = RwLock::new(());
    &LIFE
}

/// Waits until the operator runs; it is not killed before this is dropped.
pub(super) fn no_crash() -> RwLockReadGuard<'static, ()> {
    life().read().expect("the operator started again")
}

/// Kills the operator, and has it start again so much later, unless it is down already or shall not
/// be killed.
fn crash(pause: Duration) {
    let (killed, wait) = mpsc::channel();
    thread::spawn(move || {
        let held = match life().try_write() {
            Ok(held) => held,
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(_)) => panic!("the operator did not start again"),
        };
        world().operator.kill().expect("it was running");
        let _ = killed.send(());
        thread::sleep(pause);
        world().operator.start().expect("it starts again");
        drop(held);
    });
    let _ = wait.recv(); // an error: nobody had to be killed
}

/// The weather of each account.
fn set_weather(account: &str, weather: Option<Weather>) {
    static SKY: Mutex<BTreeMap<String, Weather>> = Mutex::new(BTreeMap::new());
    let mut sky = SKY.lock();
    match weather {
        Some(weather) => sky.insert(account.to_owned(), weather),
        None => sky.remove(account),
    };
    world().aws.set_weather(sky.values().cloned());
}

/// Takes the calls of an account that were not taken yet.
fn take_calls(account: &str) -> Vec<Call> {
    static CALLS: Mutex<BTreeMap<String, Vec<Call>>> = Mutex::new(BTreeMap::new());
    let mut calls = CALLS.lock();
    for call in world().aws.take_calls() {
        calls.entry(call.account.clone()).or_default().push(call);
    }
    calls.remove(account).unwrap_or_default()
}

/// Since when nothing may be written to AWS.
#[derive(Clone, Copy)]
pub(super) struct Frozen {
    /// When the operator had seen the AWSAccount's new spec; none while it has not.
    pub(super) seen: Option<Instant>,
    /// How many calls had been made when what was under way was over; none before.
    pub(super) calls: Option<usize>,
}

/// A running story.
pub(super) struct Story {
    pub(super) tenant: Tenant<'static>,
    /// The tenant's VPC and another, which it may be edited to.
    networks: [Network; 2],
    /// Two of what endpoints of each type connect to.
    targets: Targets,
    /// What the manifests that were accepted say: they differ from the model's where an edit was
    /// refused.
    accepted: RefCell<BTreeMap<&'static str, Shape>>,
    /// What is in the account and does not belong to the story.
    pub(super) strangers: (Vec<EndpointView>, Vec<GroupView>),
    pub(super) frozen: Cell<Option<Frozen>>,
    /// The objects of which something was changed in AWS since they were last seen to be as they
    /// should.
    pub(super) touched: RefCell<BTreeSet<&'static str>>,
    /// The owner tags that were taken away, by resource.
    pub(super) disowned: RefCell<BTreeMap<String, BTreeMap<String, String>>>,
    pub(super) calls: RefCell<Vec<Call>>,
    acts: RefCell<Vec<String>>,
    began: Instant,
}

/// What endpoints connect to, by their types.
struct Targets {
    services: [String; 2],
    gateways: [String; 2],
    inspections: [String; 2],
    resources: [String; 2],
    networks: [String; 2],
}

impl Targets {
    fn new(tenant: &Tenant<'_>) -> Self {
        const OWNER: &str = "900000000004";
        let (aws, region) = (&world().aws, &tenant.region);
        let of = |type_: EndpointType| ServiceSpec {
            types: vec![type_],
            ..ServiceSpec::default()
        };
        let gateways = ["s3", "story"].map(|name| format!("com.amazonaws.{region}.{name}"));
        aws.add_service(region, &gateways[1], of(EndpointType::Gateway));
        let resources = [0, 1].map(|_| {
            let spec = ResourceConfigurationSpec::default();
            aws.add_resource_configuration(OWNER, region, &id("rcfg"), spec)
        });
        let networks = [0, 1].map(|_| aws.add_service_network(OWNER, region, &id("sn")));
        for arn in resources.iter().chain(&networks) {
            aws.share(arn, &tenant.account_id).expect("it is there");
        }
        Self {
            services: [tenant.service.clone(), tenant.add_service(ServiceSpec::default())],
            gateways,
            inspections: [0, 1].map(|_| tenant.add_service(of(EndpointType::GatewayLoadBalancer))),
            resources,
            networks,
        }
    }

    fn of(&self, kind: Kind) -> &[String; 2] {
        match kind {
            Kind::Interface => &self.services,
            Kind::Gateway => &self.gateways,
            Kind::GatewayLoadBalancer => &self.inspections,
            Kind::Resource => &self.resources,
            Kind::ServiceNetwork => &self.networks,
        }
    }
}

/// A VPC that a VPCEndpoint may be in.
struct Network {
    vpc: String,
    /// Three for each name of an object: only one gateway endpoint may use one.
    tables: BTreeMap<&'static str, [String; 3]>,
    /// In three zones.
    subnets: Vec<String>,
    /// Two groups that may be provided.
    groups: [String; 2],
}

impl Network {
    /// The one that the tenant has, with one group more.
    fn first(tenant: &Tenant<'_>) -> Self {
        Self {
            tables: tables(tenant, &tenant.vpc),
            vpc: tenant.vpc.clone(),
            subnets: tenant.subnets.clone(),
            groups: [tenant.group.clone(), tenant.add_group("more-clients")],
        }
    }

    fn another(tenant: &Tenant<'_>) -> Self {
        let (aws, account, region) = (&world().aws, &tenant.account_id, &tenant.region);
        let vpc = id("vpc");
        aws.add_vpc(account, region, &vpc, "10.1.0.0/16").expect("a VPC");
        let subnets = ["a", "b", "c"].map(|zone| {
            let subnet = id("subnet");
            aws.add_subnet(account, region, &subnet, &vpc, &format!("{region}{zone}"))
                .expect("a subnet");
            subnet
        });
        let groups = ["clients", "more-clients"].map(|name| {
            let group = id("sg");
            aws.add_security_group(account, region, &group, &vpc, name)
                .expect("a security group");
            group
        });
        Self {
            tables: tables(tenant, &vpc),
            vpc,
            subnets: subnets.into(),
            groups,
        }
    }
}

/// Route tables of a VPC, for each name of an object.
fn tables(tenant: &Tenant<'_>, vpc: &str) -> BTreeMap<&'static str, [String; 3]> {
    let new = || {
        let table = id("rtb");
        world()
            .aws
            .add_route_table(&tenant.account_id, &tenant.region, &table, vpc)
            .expect("a route table");
        table
    };
    NAMES.map(|name| (name, [0; 3].map(|_| new()))).into()
}

/// What there is at one moment; the objects are read first.
pub(super) struct Scene {
    pub(super) objects: BTreeMap<String, Value>,
    pub(super) endpoints: Vec<EndpointView>,
    pub(super) groups: Vec<GroupView>,
}

impl Story {
    fn begin() -> Self {
        let tenant = world().unregistered_tenant("story");
        tenant.register_for_all_types(json!({}));
        let networks = [Network::first(&tenant), Network::another(&tenant)];
        let targets = Targets::new(&tenant);
        let (aws, account, region) = (&world().aws, &tenant.account_id, &tenant.region);
        // One of another cluster for an object of the same name, and one without an owner.
        for cluster in [Some("another"), None] {
            let group = tenant.add_group("strangers");
            let endpoint = aws
                .add_endpoint_behind(account, region, &tenant.subnets[0], &tenant.service, &group)
                .expect("an endpoint");
            let tags = cluster.map(|cluster| {
                [
                    ("silvermullet.com/cluster", cluster),
                    ("silvermullet.com/namespace", &tenant.namespace),
                    ("silvermullet.com/name", "api"),
                ]
            });
            for id in [&endpoint, &group] {
                for (key, value) in tags.into_iter().flatten() {
                    aws.set_tag(account, region, id, key, value).expect("it is there");
                }
            }
        }
        let strangers = (tenant.endpoints(), world().aws.security_groups(account, region));
        Self {
            tenant,
            networks,
            targets,
            accepted: RefCell::default(),
            strangers,
            frozen: Cell::new(None),
            touched: RefCell::default(),
            disowned: RefCell::default(),
            calls: RefCell::default(),
            acts: RefCell::default(),
            began: Instant::now(),
        }
    }

    pub(super) fn scene(&self) -> Scene {
        let objects = world().cluster.list(&cluster::endpoints(&self.tenant.namespace));
        let named = |object: Value| (text(&object["metadata"]["name"]), object);
        Scene {
            objects: objects.into_iter().map(named).collect(),
            endpoints: self.tenant.endpoints(),
            groups: world()
                .aws
                .security_groups(&self.tenant.account_id, &self.tenant.region),
        }
    }

    /// Whether tags name this object of the tenant's as the owner.
    pub(super) fn owns(&self, name: &str, tags: &BTreeMap<String, String>) -> bool {
        let has = |key: &str, value: &str| {
            tags.get(&format!("silvermullet.com/{key}"))
                .is_some_and(|tag| tag == value)
        };
        has("cluster", world().cluster_id()) && has("namespace", &self.tenant.namespace) && has("name", name)
    }

    pub(super) fn take_calls(&self) {
        self.calls.borrow_mut().extend(take_calls(&self.tenant.account_id));
    }

    /// The ids of the groups that a VPCEndpoint's spec names.
    pub(super) fn provided(&self, shape: &Shape, which: &[usize]) -> Vec<String> {
        let groups = &self.networks[shape.network].groups;
        let mut ids: Vec<String> = which.iter().map(|number| groups[*number].clone()).collect();
        ids.sort();
        ids
    }

    /// VPC, target and subnets of a VPCEndpoint.
    pub(super) fn place(&self, shape: &Shape) -> (&str, &str, Vec<&String>) {
        let network = &self.networks[shape.network];
        let subnets = shape.used_subnets().iter();
        let mut subnets: Vec<&String> = subnets.map(|number| &network.subnets[*number]).collect();
        subnets.sort();
        (&network.vpc, &self.targets.of(shape.kind)[shape.target], subnets)
    }

    /// The route tables of a gateway.
    pub(super) fn tables(&self, name: &str, shape: &Shape) -> Vec<&String> {
        let tables = &self.networks[shape.network].tables[name];
        let used = shape.subnets.iter().filter(|_| shape.kind == Kind::Gateway);
        let mut used: Vec<&String> = used.map(|number| &tables[*number]).collect();
        used.sort();
        used
    }

    /// What the manifest says that was accepted last.
    pub(super) fn accepted(&self, name: &str, shape: &Shape) -> Shape {
        self.accepted.borrow().get(name).unwrap_or(shape).clone()
    }

    /// The name of the Service that a VPCEndpoint asks for.
    pub(super) fn service(name: &str, shape: &Shape) -> Option<String> {
        match shape.service {
            _ if !has_name(shape.kind.as_str()) => None,
            Service::OfItsOwnName => Some(name.to_owned()),
            Service::Shared => Some(SHARED.to_owned()),
            Service::Without => None,
        }
    }

    fn spec(&self, name: &str, shape: &Shape) -> Value {
        let (vpc, target, subnets) = self.place(shape);
        let field = match shape.kind {
            Kind::Interface | Kind::Gateway | Kind::GatewayLoadBalancer => "vpc_endpoint_service_id",
            Kind::Resource => "resource_configuration_arn",
            Kind::ServiceNetwork => "service_network_arn",
        };
        let (attached_by, ids) = match shape.kind {
            Kind::Gateway => ("route_table_ids", self.tables(name, shape)),
            _ => ("subnet_ids", subnets),
        };
        let mut spec = json!({
            "vpc_id": vpc,
            "vpc_endpoint_type": shape.kind.as_str(),
            field: target,
            attached_by: ids,
            "tags": shape.tags.iter().map(|(key, value)| (*key, value.to_string())).collect::<BTreeMap<_, _>>(),
            "service": match Self::service(name, shape) {
                Some(name) => json!({"name": name}),
                None => json!({"type": "None"}),
            },
        });
        match shape.region {
            Region::None => {}
            Region::Home => spec["region"] = json!(self.tenant.region),
            Region::Elsewhere => spec["region"] = json!(ELSEWHERE),
        }
        match &shape.groups {
            _ if !has_groups(shape.kind.as_str()) => {}
            Groups::Generated => spec["security_group_type"] = json!("generated"),
            Groups::Provided(which) => {
                spec["security_group_type"] = json!("provided");
                spec["security_group_ids"] = json!(self.provided(shape, which));
            }
            Groups::Custom(ports, open) => {
                let rule = |port| json!({"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8"]});
                spec["security_group_type"] = json!("custom");
                spec["security_group_ingress"] = ports.iter().map(rule).collect();
                if !open {
                    spec["security_group_egress"] = json!([]);
                }
            }
        }
        spec
    }

    fn apply(&self, name: &'static str, shape: &Shape) {
        let mut wanted = shape.clone();
        // What is refused as it stands is accepted with what the endpoint has; unless that vanishes
        // at the same moment, by another client.
        for _ in 0..5 {
            match self.tenant.try_apply(name, self.spec(name, &wanted)) {
                Ok(_) => {
                    self.accepted.borrow_mut().insert(name, wanted);
                    return;
                }
                // It has gone since, or goes, and cannot change any more.
                Err(refusal) if refusal.code == 404 => return,
                Err(refusal) => match self.tenant.get(name) {
                    Some(object) if !is_leaving(&object) => {
                        let is_fixed = [" stays ", " cannot change "];
                        if !is_fixed.iter().any(|words| refusal.message.contains(words)) {
                            self.fail(&format!("{name} is refused: {}", refusal.message));
                        }
                        wanted = self.as_bound(shape, &object["status"]);
                    }
                    _ => return,
                },
            }
        }
        self.fail(&format!("{name} is refused whatever it says"));
    }

    /// The same with what AWS has fixed.
    fn as_bound(&self, shape: &Shape, status: &Value) -> Shape {
        let mut bound = shape.clone();
        if status["vpc_endpoint_id"].is_string() {
            let network = self
                .networks
                .iter()
                .position(|network| status["network"]["vpc_id"] == network.vpc.as_str());
            let targets = self.targets.of(shape.kind).iter();
            let mut targets = targets.enumerate();
            let target = targets.find(|(_, target)| status["vpc_endpoint_service_id"] == target.as_str());
            let target = target.map(|(number, _)| number);
            bound.network = network.unwrap_or(shape.network);
            bound.target = target.unwrap_or(shape.target);
            if shape.kind == Kind::GatewayLoadBalancer {
                let mut subnets = self.networks[bound.network].subnets.iter();
                let there = &status["network"]["subnet_ids"][0];
                if let Some(there) = subnets.position(|subnet| there == subnet) {
                    bound.subnets = vec![there];
                }
            }
            if shape.region == Region::Elsewhere {
                bound.region = Region::Home;
            }
        }
        bound
    }

    /// Creates what the manifests name and is not there, as a client that applies them again and
    /// again does.
    pub(super) fn reapply(&self, model: &Model, scene: &Scene) {
        for (name, shape) in &model.wanted {
            if !scene.objects.contains_key(*name) {
                self.apply(name, shape);
            }
        }
    }

    /// Looks at everything, again and again for a while.
    pub(super) fn watch(&self, model: &Model, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let scene = self.scene();
            self.check(model, &scene);
            self.reapply(model, &scene);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
    }

    fn carry_out(&self, act: &Act, model: &Model) {
        let at = self.began.elapsed().as_secs_f64();
        let number = self.acts.borrow().len() + 1;
        self.acts.borrow_mut().push(format!("{number:3}. at {at:5.1} s: {act}"));
        match act {
            Act::Apply(name, _) | Act::Edit(name, _) => self.apply(name, &model.wanted[name]),
            Act::Delete(name) => self.delete(name),
            Act::Account(change) => self.change_account(change, model),
            Act::Behind(name, drift) => self.drift(name, drift),
            Act::Crash(pause) => crash(Duration::from_millis(u64::from(*pause))),
            Act::Mishap(action, mishap) => self.arrange(action, *mishap),
            Act::Weather(_) => self.set_weather(model),
            Act::Wait(time) => self.watch(model, Duration::from_millis(u64::from(*time))),
            Act::Settle => {
                self.set_weather(model);
                self.settle(model);
            }
        }
    }

    fn delete(&self, name: &str) {
        let path = format!("{}/{name}", cluster::endpoints(&self.tenant.namespace));
        while let Some(object) = self.tenant.get(name) {
            let version = text(&object["metadata"]["resourceVersion"]);
            match world().cluster.try_delete_version(&path, &version) {
                Ok(_) => return,
                // Another client was faster, the operator for example.
                Err(refusal) if [404, 409].contains(&refusal.code) => {}
                Err(refusal) => self.fail(&format!("{name} cannot be deleted: {}", refusal.message)),
            }
        }
    }

    fn change_account(&self, change: &Change, model: &Model) {
        self.tenant.edit_account(match change {
            Change::Mapped(true) => json!({"namespaces": [self.tenant.namespace]}),
            Change::Mapped(false) => json!({"namespaces": null}),
            Change::Suspended(suspended) => json!({"suspended": suspended}),
            Change::Railed(true) => json!({"allowed_subnet_ids": self.tenant.subnets[..2]}),
            Change::Railed(false) => json!({"allowed_subnet_ids": null}),
            Change::DefaultRegion(DefaultRegion::Home) => json!({"default_region": self.tenant.region}),
            Change::DefaultRegion(DefaultRegion::Elsewhere) => json!({"default_region": ELSEWHERE}),
            Change::DefaultRegion(DefaultRegion::Unset) => json!({"default_region": null}),
        });
        let frozen = model.account.suspended || !model.account.mapped;
        self.frozen.set(frozen.then_some(Frozen {
            seen: None,
            calls: None,
        }));
    }

    fn arrange(&self, action: &str, mishap: Mishap) {
        let kind = match mishap {
            Mishap::Lost => FaultKind::LoseAnswer,
            Mishap::Cut => FaultKind::CutAnswer,
            Mishap::Throttled => FaultKind::refuse(503, "RequestLimitExceeded", "Request limit exceeded."),
            Mishap::Failed => FaultKind::refuse(500, "InternalError", "An internal error has occurred"),
            Mishap::Expired => FaultKind::ExpireCredentials,
            Mishap::Late => FaultKind::Delay(LATE),
            Mishap::Empty => FaultKind::Empty,
            Mishap::Unsuccessful => FaultKind::Unsuccessful {
                code: "InternalError".to_owned(),
                message: "An internal error has occurred".to_owned(),
            },
        };
        world().aws.fault(Fault {
            account: Some(self.tenant.account_id.clone()),
            ..Fault::once(action, kind)
        });
    }

    fn set_weather(&self, model: &Model) {
        let storm = Weather {
            account: Some(self.tenant.account_id.clone()),
            refuse: 0.2,
            lose_answer: 0.1,
            cut_answer: 0.05,
            expire_credentials: 0.02,
            unsuccessful: 0.1,
            slow: 0.2,
            slow_by: LATE,
            ..Weather::default()
        };
        set_weather(&self.tenant.account_id, model.weather.then_some(storm));
    }

    /// The endpoint that is an object's, by its status or else by its tags.
    fn endpoint_of(&self, name: &str, scene: &Scene) -> Option<EndpointView> {
        let named = text(&scene.objects.get(name)?["status"]["vpc_endpoint_id"]);
        let mut there = scene.endpoints.iter().filter(|found| found.state != "deleting");
        let found = there.clone().find(|found| found.id == named);
        found
            .or_else(|| there.find(|found| self.owns(name, &found.tags)))
            .cloned()
    }

    fn group_of(&self, name: &str, scene: &Scene) -> Option<GroupView> {
        let named = text(&scene.objects.get(name)?["status"]["security_group_id"]);
        let found = scene.groups.iter().find(|found| found.id == named);
        found
            .or_else(|| scene.groups.iter().find(|found| self.owns(name, &found.tags)))
            .cloned()
    }

    /// Does to an object's resources what there is to do; nothing where there is nothing to do it
    /// to.
    fn drift(&self, name: &'static str, drift: &Drift) {
        let scene = self.scene();
        let (endpoint, group) = (self.endpoint_of(name, &scene), self.group_of(name, &scene));
        let (aws, account, region) = (&world().aws, &self.tenant.account_id, &self.tenant.region);
        self.touched.borrow_mut().insert(name);
        let tags_of = |whose: &Whose| match whose {
            Whose::Endpoint => endpoint.as_ref().map(|found| (found.id.clone(), found.tags.clone())),
            Whose::Group => group.as_ref().map(|found| (found.id.clone(), found.tags.clone())),
        };
        // Each may come too late: the operator is at work meanwhile.
        let _ = match (drift, &endpoint, &group) {
            (Drift::DeleteEndpoint, Some(endpoint), _) => aws.delete_endpoint_behind(account, region, &endpoint.id),
            (Drift::DeleteGroup, _, Some(group)) => aws.delete_group_behind(account, region, &group.id),
            (Drift::AddRule, _, Some(group)) => {
                let rule = RuleView::new("tcp", Some((22, 22)), "0.0.0.0/0");
                aws.add_rule(account, region, &group.id, Direction::Ingress, &rule)
            }
            (Drift::RemoveRule, _, Some(group)) => {
                let ingress = group.ingress.first().map(|rule| (Direction::Ingress, rule));
                let rule = ingress.or(group.egress.first().map(|rule| (Direction::Egress, rule)));
                rule.map_or(Ok(()), |(direction, rule)| {
                    aws.remove_rule(account, region, &group.id, direction, rule)
                })
            }
            (Drift::AttachGroup, Some(endpoint), _) if !endpoint.vpc_endpoint_type.starts_with("Gateway") => {
                let network = self.networks.iter().find(|network| network.vpc == endpoint.vpc_id);
                network.map_or(Ok(()), |network| {
                    aws.attach_group(account, region, &endpoint.id, &network.groups[1])
                })
            }
            (Drift::DetachGroup, Some(endpoint), _) => endpoint
                .group_ids
                .first()
                .map_or(Ok(()), |group| aws.detach_group(account, region, &endpoint.id, group)),
            (Drift::TakeTag(whose, key), ..) => {
                tags_of(whose).map_or(Ok(()), |(id, _)| aws.delete_tag(account, region, &id, key))
            }
            (Drift::ChangeTag(whose, key), ..) => {
                let there = tags_of(whose).filter(|(_, tags)| tags.contains_key(*key));
                there.map_or(Ok(()), |(id, _)| aws.set_tag(account, region, &id, key, "changed"))
            }
            (Drift::AddTag(whose), ..) => tags_of(whose).map_or(Ok(()), |(id, _)| {
                aws.set_tag(account, region, &id, "finance", "approved")
            }),
            (Drift::Disown(whose, key), ..) => {
                if let Some((id, tags)) = tags_of(whose).filter(|(id, _)| is_named(&scene, name, id)) {
                    self.disown(&id, key, &tags);
                }
                Ok(())
            }
            (Drift::OwnAgain, ..) => {
                self.own_again(name, &scene);
                Ok(())
            }
            _ => Ok(()),
        };
    }

    fn disown(&self, id: &str, key: &str, tags: &BTreeMap<String, String>) {
        let taken = world()
            .aws
            .delete_tag(&self.tenant.account_id, &self.tenant.region, id, key);
        if let (Ok(()), Some(value)) = (taken, tags.get(key)) {
            let mut disowned = self.disowned.borrow_mut();
            disowned
                .entry(id.to_owned())
                .or_default()
                .insert(key.to_owned(), value.clone());
        }
    }

    /// Puts the owner tags back of what the object's status names.
    pub(super) fn own_again(&self, name: &str, scene: &Scene) {
        self.disowned.borrow_mut().retain(|id, tags| {
            let named = is_named(scene, name, id);
            for (key, value) in tags.iter().filter(|_| named) {
                // It may have been deleted since.
                let _ = world()
                    .aws
                    .set_tag(&self.tenant.account_id, &self.tenant.region, id, key, value);
            }
            !named
        });
    }

    /// Ends the test: a promise was broken.
    pub(super) fn fail(&self, what: &str) -> ! {
        let scene = self.scene();
        self.take_calls();
        let objects: Vec<String> = scene.objects.values().map(brief).collect();
        let calls = self.calls.borrow();
        let calls: Vec<String> = calls[calls.len().saturating_sub(60)..]
            .iter()
            .map(|call| {
                let fault = call.fault.unwrap_or_default();
                let ids: Vec<&String> = call
                    .params
                    .values()
                    .filter(|value| value.contains("-0000") || value.starts_with("vpce-"))
                    .collect();
                format!(
                    "{:8.2} {} {} {fault} {:?} {ids:?}",
                    call.time, call.action, call.result, call.produced
                )
            })
            .collect();
        let logs = world().operator.logs();
        let mut lines: Vec<&str> = logs
            .lines()
            .filter(|line| line.contains(&self.tenant.namespace))
            .collect();
        lines.drain(..lines.len().saturating_sub(60));
        panic!(
            "{what}\nafter {:.1} s of\n{}\n\nobjects of {}:\n{}\n\nin AWS:\n{:#?}\n{:#?}\n\ncalls:\n{}\n\nlog:\n{}",
            self.began.elapsed().as_secs_f64(),
            self.acts.borrow().join("\n"),
            self.tenant.namespace,
            objects.join("\n"),
            scene.endpoints,
            scene.groups,
            calls.join("\n"),
            lines.join("\n"),
        );
    }
}

/// Without what is long and does not matter here.
fn brief(object: &Value) -> String {
    let mut object = object.clone();
    object["metadata"]["managedFields"].take();
    object["status"]["dns_entries"].take();
    object.to_string()
}

/// Whether it is being deleted.
pub(super) fn is_leaving(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether an object's status names this resource.
fn is_named(scene: &Scene, name: &str, id: &str) -> bool {
    let status = scene.objects.get(name).map(|object| &object["status"]);
    status.is_some_and(|status| status["vpc_endpoint_id"] == id || status["security_group_id"] == id)
}

impl StateMachineTest for Story {
    type SystemUnderTest = Self;
    type Reference = Stories;

    fn init_test(_: &Model) -> Self {
        Self::begin()
    }

    fn apply(story: Self, model: &Model, act: Act) -> Self {
        story.carry_out(&act, model);
        story
    }

    fn check_invariants(story: &Self, model: &Model) {
        story.watch(model, Duration::ZERO);
    }

    fn teardown(story: Self, model: Model) {
        story.end(model);
    }
}

impl Story {
    /// Everything that was forbidden is allowed again and nothing goes wrong any more: all comes to
    /// rest, and is deleted.
    fn end(&self, model: Model) {
        let mut model = model.in_peace();
        self.set_weather(&model);
        drop(no_crash());
        for change in [
            Change::Mapped(true),
            Change::Suspended(false),
            Change::Railed(false),
            Change::DefaultRegion(DefaultRegion::Home),
        ] {
            self.change_account(&change, &model);
        }
        self.settle(&model);
        let scene = self.scene();
        for name in NAMES {
            self.own_again(name, &scene);
            self.touched.borrow_mut().insert(name);
        }
        self.settle(&model);
        for name in std::mem::take(&mut model.wanted).keys() {
            self.carry_out(&Act::Delete(name), &model);
        }
        self.settle(&model);
        self.nothing_is_left();
    }
}
