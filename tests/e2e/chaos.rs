//! Crash anywhere: the operator is killed at random points of random stories, and each story ends
//! with exactly what it should.
//!
//! In a story a few objects are made, edited and deleted at once, and while that goes on the
//! operator is killed and started again: while a call to AWS waits to be carried out, between that
//! and its answer, a moment after the answer, which is when it writes to the API server, or at any
//! time. Everything is drawn from the story's seed, which a failure prints; only how processes
//! share the machine is not in it.
//!
//! `VPCE_CHAOS_KILLS` says how many kills each test does, `VPCE_CHAOS_SEED` the first story's seed;
//! the others count on from there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use vpce_testbed::aws::{Call, EndpointView, GroupView, Hold, PausePoint, RuleView};
use vpce_testbed::operator::Operator;

use crate::targets::{Targets, has_groups, has_name};
use crate::tenant::Tenant;
use crate::world::{Setup, WITHIN, World, condition, merged, text};

/// After an answer the operator's next writes to the API server follow within this time.
const A_MOMENT: Duration = Duration::from_millis(60);
/// From a start until an operator that has something to do has done most of it.
const A_WHILE: Duration = Duration::from_millis(900);
/// The call that was drawn may never come: what there was to do may be done before.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How late the simulated AWS shows what has changed, in the stories in which it does, in seconds:
/// who starts again does not see what was made last.
const LATE: f64 = 3.0;
/// The types of the objects of a story, in turn: AWS fixes it, so each keeps its own. Of a route
/// table only one gateway endpoint can be.
const OBJECTS: [&str; 6] = [
    "Interface",
    "Gateway",
    "Interface",
    "Resource",
    "GatewayLoadBalancer",
    "ServiceNetwork",
];
const MOST_KILLS_AT_ONCE: usize = 4;
/// Of the calls that might be held so many are let through at most.
const MOST_PASSED: usize = 9;
/// As much of the calls and of a log as helps.
const TOLD: usize = 60;
const READS: [&str; 3] = ["DescribeVpcEndpoints", "DescribeSecurityGroups", "AssumeRole"];
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// When an operator dies.
#[derive(Debug)]
enum Blow {
    /// While a call stands before or after AWS carries it out.
    At(Hold),
    /// So long after that call went on.
    SoonAfter(Hold, Duration),
    /// So long after it started, or after objects were changed.
    After(Duration),
}

/// Of what kind the kills were.
#[derive(Debug, Default)]
struct Tally {
    stories: usize,
    kills: usize,
    kinds: BTreeMap<String, usize>,
    objects: usize,
    slowest: Duration,
}

/// A world with objects of others in the same AWS account, and one or two operators that both
/// believe they lead.
struct Chaos<'w> {
    tenant: Tenant<'w>,
    targets: Targets,
    operators: Vec<&'w Operator>,
    others: (Vec<EndpointView>, Vec<GroupView>),
    tally: Tally,
}

/// The type that a spec names.
fn type_of(spec: &Value) -> &str {
    spec["vpc_endpoint_type"].as_str().unwrap_or("Interface")
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(text).collect()
}

/// One story while it runs; if it fails, it is printed.
struct Story<'a, 'w> {
    chaos: &'a mut Chaos<'w>,
    seed: u64,
    random: Rng,
    begun: Instant,
    down: BTreeSet<usize>,
    told: RefCell<String>,
    /// The UIDs of all objects that were ever there.
    lives: BTreeSet<String>,
}

pub(crate) fn setup() -> Setup {
    // On a busy machine the API server may answer a renewal too late for the default.
    Setup::fast()
        .value("settings.settleSeconds", "4")
        .value("settings.leaseDurationSeconds", "120")
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {value}")),
    )
}

/// How many kills a test does that usually does so many, and the first story's seed.
pub(crate) fn wanted_kills(kills: usize) -> (usize, u64) {
    let kills = number("VPCE_CHAOS_KILLS").map_or(kills, |kills| kills as usize);
    let first = number("VPCE_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    (kills, first)
}

/// Runs stories until there were enough kills.
fn survive(world: &World, operators: Vec<&Operator>, kills: usize) {
    let (kills, first) = wanted_kills(kills);
    println!("chaos: seed {first}");
    let begun = Instant::now();
    let mut chaos = Chaos::new(world, operators);
    for seed in first.. {
        if chaos.tally.kills >= kills {
            break;
        }
        Story::new(&mut chaos, seed).tell();
        let Tally { stories, kills, .. } = chaos.tally;
        println!(
            "chaos: story {seed} ends well; {stories} stories, {kills} kills in {:?}",
            begun.elapsed()
        );
    }
    println!("chaos: {:?} operators, {:#?}", chaos.operators.len(), chaos.tally);
    chaos.tenant.delete("standing");
    chaos.tenant.gone("standing");
}

#[test]
fn an_operator_that_is_killed_anywhere_creates_nothing_twice_and_leaves_nothing() {
    let world = World::own(setup());
    survive(&world, vec![&world.operator], 20);
}

#[test]
fn of_two_leaders_either_may_be_killed_anywhere() {
    let world = World::own(setup());
    let second = world.operator.replica("second", &[("VPCE_LEASE_NAMESPACE", "")]);
    let second = second.expect("without an election it works");
    survive(&world, vec![&world.operator, &second], 14);
}

impl<'w> Chaos<'w> {
    fn new(world: &'w World, operators: Vec<&'w Operator>) -> Self {
        let tenant = world.unregistered_tenant("chaos");
        let network = json!({"name": "main", "region": tenant.region, "vpc_id": tenant.vpc});
        tenant.register_for_all_types(json!({"allow_retain": true, "networks": [network]}));
        let targets = Targets::new(&tenant);
        // Of others there are: an endpoint and its group that another cluster owns, whose object
        // has a name that occurs here too; two that carry no tags at all; and those of an object
        // that no client changes.
        let names = ["api-0", "nobodys"];
        for name in names {
            tenant.apply(name, tenant.spec(json!({"deletion_policy": "Retain"})));
        }
        for name in names {
            tenant.ready(name);
            tenant.delete(name);
        }
        for name in names {
            tenant.gone(name);
        }
        let place = (tenant.account_id.as_str(), tenant.region.as_str());
        let left = tenant
            .endpoints()
            .into_iter()
            .map(|endpoint| (endpoint.id, endpoint.tags));
        let left = left.chain(tenant.groups().into_iter().map(|group| (group.id, group.tags)));
        for (id, tags) in left {
            let is_anothers = tags["silvermullet.com/retained"].contains("/api-0");
            for key in tags.keys().filter(|key| *key != "Name" || !is_anothers) {
                world
                    .aws
                    .delete_tag(place.0, place.1, &id, key)
                    .expect("it has this tag");
            }
            let owner = [
                ("cluster", "another"),
                ("namespace", &tenant.namespace),
                ("name", "api-0"),
                ("uid", "another"),
            ];
            for (key, value) in owner.iter().filter(|_| is_anothers) {
                let key = format!("silvermullet.com/{key}");
                world
                    .aws
                    .set_tag(place.0, place.1, &id, &key, value)
                    .expect("it is there");
            }
        }
        tenant.apply("standing", tenant.spec(json!({})));
        tenant.ready("standing");
        let mut chaos = Self {
            tenant,
            targets,
            operators,
            others: Default::default(),
            tally: Tally::default(),
        };
        chaos.others = chaos.all();
        assert_eq!((chaos.others.0.len(), chaos.others.1.len()), (3, 4));
        chaos
    }

    /// All that there is in the account, whosever it is.
    fn all(&self) -> (Vec<EndpointView>, Vec<GroupView>) {
        let (aws, tenant) = (&self.tenant.world.aws, &self.tenant);
        (
            tenant.endpoints(),
            aws.security_groups(&tenant.account_id, &tenant.region),
        )
    }

    /// What is not others'; or what happened to theirs.
    fn ours(&self) -> Result<(Vec<EndpointView>, Vec<GroupView>), String> {
        let (mut endpoints, mut groups) = self.all();
        for other in &self.others.0 {
            let place = endpoints.iter().position(|endpoint| endpoint == other);
            endpoints.remove(place.ok_or_else(|| format!("another's endpoint is gone or changed: {other:?}"))?);
        }
        for other in &self.others.1 {
            let place = groups.iter().position(|group| group == other);
            groups.remove(place.ok_or_else(|| format!("another's group is gone or changed: {other:?}"))?);
        }
        Ok((endpoints, groups))
    }
}

impl<'a, 'w> Story<'a, 'w> {
    fn new(chaos: &'a mut Chaos<'w>, seed: u64) -> Self {
        Self {
            chaos,
            seed,
            random: Rng::with_seed(seed),
            begun: Instant::now(),
            down: BTreeSet::new(),
            told: RefCell::default(),
            lives: BTreeSet::new(),
        }
    }

    fn note(&self, what: &str) {
        let _ = writeln!(
            self.told.borrow_mut(),
            "{:8.3} {what}",
            self.begun.elapsed().as_secs_f64()
        );
    }

    fn tell(mut self) {
        let aws = &self.chaos.tenant.world.aws;
        aws.clear_calls();
        let (late, seed) = match self.random.u8(..4) {
            0 | 1 => (0.0, None),
            2 => (LATE, None),
            _ => (LATE, Some(self.seed)),
        };
        aws.configure(|config| {
            config.consistency_seconds = late;
            config.consistency_seed = seed;
        });
        self.note(&format!("AWS shows changes after {late} s, at random by {seed:?}"));
        let names: Vec<String> = (0..self.random.usize(2..=OBJECTS.len()))
            .map(|n| format!("api-{n}"))
            .collect();
        self.chaos.tally.objects += names.len();
        let mut specs: BTreeMap<String, Value> = BTreeMap::new();
        for phase in ["made", "edited"] {
            for (name, type_) in names.iter().zip(OBJECTS) {
                // Some are edited before they are there, some not at all.
                if phase == "made" || self.random.u8(..4) > 0 {
                    specs.insert(name.clone(), self.draw_spec(type_));
                }
            }
            self.die(&format!("objects are {phase}"), |story| {
                for (name, spec) in &specs {
                    let object = story.chaos.tenant.apply(name, spec.clone());
                    story.lives.insert(text(&object["metadata"]["uid"]));
                }
            });
            if self.random.bool() {
                self.start();
                self.converge(&specs);
            }
        }
        self.die("objects are deleted", |story| {
            for name in specs.keys() {
                story.chaos.tenant.delete(name);
            }
        });
        self.start();
        self.vanish(&names);
        self.chaos.tally.stories += 1;
    }

    /// Changes objects, and kills operators while they follow. At the end some may not
    /// be running.
    fn die(&mut self, what: &str, change: impl FnOnce(&mut Self)) {
        let mut change = Some(change);
        for before in 0..self.random.usize(1..=MOST_KILLS_AT_ONCE) {
            let blow = self.draw_blow(before);
            let victims = self.draw_victims();
            let gate = match &blow {
                Blow::At(hold) | Blow::SoonAfter(hold, _) => Some(self.chaos.tenant.world.aws.pause(hold.clone())),
                Blow::After(_) => None,
            };
            if let Some(change) = change.take() {
                change(self);
                self.note(what);
            }
            self.start();
            let reached = gate.as_ref().is_some_and(|gate| gate.wait_reached(PATIENCE));
            let caught = gate.as_ref().and_then(|gate| gate.caught());
            let kind = match &blow {
                _ if gate.is_some() && !reached => "once a call did not come".to_owned(),
                Blow::At(hold) => format!("{:?} a call", hold.point),
                Blow::SoonAfter(..) => "soon after a call".to_owned(),
                Blow::After(_) => "at any time".to_owned(),
            };
            let (mut gate, abandoned) = (gate, self.random.bool());
            match &blow {
                Blow::SoonAfter(_, moment) if reached => {
                    drop(gate.take());
                    std::thread::sleep(*moment);
                }
                Blow::After(time) => std::thread::sleep(*time),
                _ => {}
            }
            self.kill(&victims);
            match gate {
                // Where the caller is not the one who was killed, its call is lost or was only
                // slow.
                Some(gate) if abandoned => gate.abandon(),
                gate => drop(gate),
            }
            self.note(&format!("killed {victims:?} {kind} {}", caught.unwrap_or_default()));
            *self.chaos.tally.kinds.entry(kind).or_default() += victims.len();
        }
    }

    /// A blow after so many before it.
    fn draw_blow(&mut self, before: usize) -> Blow {
        let random = &mut self.random;
        let point = if random.bool() {
            PausePoint::Before
        } else {
            PausePoint::After
        };
        let read = random.choice(READS).filter(|_| random.u8(..6) == 0);
        // What was done before the last kill is not done again: there are ever fewer calls to hold.
        let most = MOST_PASSED / (1 + before);
        let after = random.usize(..=most).min(random.usize(..=most));
        let hold = Hold {
            action: read.map(str::to_owned),
            account: None,
            after,
            point,
        };
        match random.u8(..10) {
            0..5 => Blow::At(hold),
            5..8 => Blow::SoonAfter(hold, A_MOMENT.mul_f64(random.f64())),
            _ => Blow::After(A_WHILE.mul_f64(random.f64())),
        }
    }

    /// One of the operators, or all.
    fn draw_victims(&mut self) -> BTreeSet<usize> {
        let all = self.chaos.operators.len();
        let victim = self.random.usize(..=all);
        if victim < all {
            BTreeSet::from([victim])
        } else {
            (0..all).collect()
        }
    }

    fn draw_spec(&mut self, type_: &str) -> Value {
        let random = &mut self.random;
        let Chaos { tenant, targets, .. } = &*self.chaos;
        let mut tags = serde_json::Map::new();
        for key in ["team", "cost", "stage"] {
            if random.bool() {
                tags.insert(key.to_owned(), json!(["a", "b"][random.usize(..2)]));
            }
        }
        let tables = random.usize(0..=2);
        // Its place is the network's, then.
        let is_in_network = random.usize(..3) == 0;
        let placed = |spec: Value| match is_in_network {
            true => merged(spec, json!({"vpc_id": null, "subnet_ids": null})),
            false => spec,
        };
        match type_ {
            "Gateway" => {
                let tables = &targets.tables[..tables];
                return placed(targets.spec(tenant, type_, json!({"tags": tags, "route_table_ids": tables})));
            }
            "GatewayLoadBalancer" => return targets.spec(tenant, type_, json!({"tags": tags})),
            _ => {}
        }
        let mut fields = json!({"tags": tags, "subnet_ids": tenant.subnets[..random.usize(1..=3)]});
        fields["security_group_type"] = json!(["generated", "custom", "custom", "provided"][random.usize(..4)]);
        if fields["security_group_type"] == "custom" {
            let rules = |random: &mut Rng| -> Vec<Value> {
                let ports = (443..446).filter(|_| random.bool());
                ports.map(|port| json!({"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8"]})).collect()
            };
            fields["security_group_ingress"] = json!(rules(random));
            fields["security_group_egress"] = json!(rules(random));
        }
        if fields["security_group_type"] == "provided" {
            fields["security_group_ids"] = json!([tenant.group]);
        }
        placed(targets.spec(tenant, type_, fields))
    }

    fn kill(&mut self, victims: &BTreeSet<usize>) {
        for victim in victims {
            self.chaos.operators[*victim].kill().expect("it was running");
        }
        self.chaos.tally.kills += victims.len();
        self.down.extend(victims);
    }

    /// Starts those who were killed.
    fn start(&mut self) {
        let down = std::mem::take(&mut self.down);
        let operators = &self.chaos.operators;
        std::thread::scope(|threads| {
            for operator in down.iter().map(|number| operators[*number]) {
                threads.spawn(|| operator.start().expect("it starts again"));
            }
        });
        self.note(&format!("{down:?} started"));
    }

    /// Looks until it holds, and fails with the last reason why it does not.
    fn wait(&mut self, what: &str, look: impl Fn(&Self) -> Result<(), String>) {
        let begun = Instant::now();
        while let Err(why) = look(self) {
            assert!(begun.elapsed() < WITHIN, "waited {WITHIN:?} in vain: {what}: {why}");
            std::thread::sleep(Duration::from_millis(100));
        }
        self.note(what);
        self.chaos.tally.slowest = self.chaos.tally.slowest.max(begun.elapsed());
    }

    /// Waits until all are Ready, when exactly what the specs say must be there.
    fn converge(&mut self, specs: &BTreeMap<String, Value>) {
        self.wait("all are Ready", |story| {
            specs.keys().try_for_each(|name| {
                let object = story.chaos.tenant.get(name).expect("nobody deleted it");
                let ready = condition(&object, "Ready").filter(|ready| ready.status);
                ready
                    .map(drop)
                    .ok_or_else(|| format!("{name}: {}", object["status"]["conditions"]))
            })
        });
        if self.chaos.operators.len() == 1 {
            self.check(specs)
                .unwrap_or_else(|wrong| panic!("all are Ready, but {wrong}"));
        } else {
            // What one has seen last may be older than what the other did: they may undo each
            // other's work once.
            self.wait("all is as it should be", |story| story.check(specs));
        }
    }

    /// Waits until all are gone, when nothing may be left.
    fn vanish(&mut self, names: &[String]) {
        self.wait("all objects are gone", |story| {
            let there = names.iter().find(|name| story.chaos.tenant.get(name).is_some());
            there.map_or(Ok(()), |name| Err(format!("{name} is there")))
        });
        let left = self.check(&BTreeMap::new());
        left.unwrap_or_else(|wrong| panic!("all objects are gone, but {wrong}"));
        for name in names {
            assert_eq!(self.chaos.tenant.kubernetes_service(name), None, "a Service is left");
        }
    }

    /// Whether AWS and the cluster hold exactly what these objects say.
    fn check(&self, specs: &BTreeMap<String, Value>) -> Result<(), String> {
        self.assert_calls();
        let tenant = &self.chaos.tenant;
        let (mut endpoints, mut groups) = self.chaos.ours()?;
        for (name, spec) in specs {
            let object = tenant.get(name).ok_or_else(|| format!("{name} is gone"))?;
            let tags = self.tags(&object, spec);
            let of_this = |has: &BTreeMap<String, String>| has["silvermullet.com/name"] == *name;
            let mut mine: Vec<EndpointView> = endpoints.extract_if(.., |endpoint| of_this(&endpoint.tags)).collect();
            let mut mine_too: Vec<GroupView> = groups.extract_if(.., |group| of_this(&group.tags)).collect();
            let type_ = type_of(spec);
            let has_own = has_groups(type_) && spec["security_group_type"] != "provided";
            if (mine.len(), mine_too.len()) != (1, usize::from(has_own)) {
                return Err(format!("{name} has {mine:#?} and {mine_too:#?}"));
            }
            let endpoint = mine.remove(0);
            let group = mine_too.pop();
            let group_id = group.as_ref().map_or(&tenant.group, |group| &group.id);
            let group_ids: Vec<String> = has_groups(type_).then(|| group_id.clone()).into_iter().collect();
            let service = tenant.kubernetes_service(name);
            let has_service = has_name(type_);
            let leads_to = service.as_ref().map(|service| text(&service["spec"]["externalName"]));
            let status = &object["status"];
            let subnets = match spec["vpc_id"].is_null() && has_groups(type_) {
                true => tenant.subnets.iter().cloned().collect(),
                false => strings(&spec["subnet_ids"]),
            };
            let is_right = endpoint.state == "available"
                && endpoint.vpc_endpoint_type == type_
                && endpoint.tags == tags
                && endpoint.group_ids == group_ids
                && endpoint.subnet_ids.iter().cloned().collect::<BTreeSet<_>>() == subnets
                && endpoint.route_table_ids.iter().cloned().collect::<BTreeSet<_>>()
                    == strings(&spec["route_table_ids"])
                && status["vpc_endpoint_id"] == *endpoint.id
                && leads_to.is_some() == has_service
                && leads_to.as_ref().is_none_or(|name| endpoint.dns_names.contains(name))
                && group.as_ref().is_none_or(|group| {
                    group.tags == tags
                        && status["security_group_id"] == *group.id
                        && (flat(&group.ingress), flat(&group.egress)) == rules(spec)
                });
            if !is_right {
                return Err(format!(
                    "{name} with {spec:#} and {tags:#?} has {endpoint:#?}, {group:#?}, {status:#}, Service {leads_to:?}"
                ));
            }
        }
        match (endpoints.is_empty(), groups.is_empty()) {
            (true, true) => Ok(()),
            _ => Err(format!("there are {endpoints:#?} and {groups:#?} besides")),
        }
    }

    /// The tags that an object's endpoint and group have.
    fn tags(&self, object: &Value, spec: &Value) -> BTreeMap<String, String> {
        let tenant = &self.chaos.tenant;
        let name = text(&object["metadata"]["name"]);
        let mut tags = BTreeMap::from([
            (
                "silvermullet.com/cluster".to_owned(),
                tenant.world.cluster_id().to_owned(),
            ),
            ("silvermullet.com/namespace".to_owned(), tenant.namespace.clone()),
            ("silvermullet.com/uid".to_owned(), text(&object["metadata"]["uid"])),
            ("Name".to_owned(), format!("{name}-{}", tenant.namespace)),
            ("silvermullet.com/name".to_owned(), name),
        ]);
        let users = spec["tags"].as_object().expect("tags");
        tags.extend(users.iter().map(|(key, value)| (key.clone(), text(value))));
        tags
    }

    /// Fails where a call has changed what is another's, or made a second one; what was made and is
    /// gone again counts, too.
    fn assert_calls(&self) {
        let (endpoints, groups) = &self.chaos.others;
        let groups = groups.iter().map(|group| &group.id);
        let mut others: BTreeSet<&String> = endpoints.iter().map(|endpoint| &endpoint.id).chain(groups).collect();
        others.remove(&self.chaos.tenant.group); // which endpoints may use
        let mut made: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        let calls = self.calls();
        for call in calls.iter().filter(|call| call.mutating() && call.ok()) {
            let named: BTreeSet<&String> = call.params.values().collect();
            assert!(others.is_disjoint(&named), "a call changes what is another's: {call:?}");
            let kind = match call.action.as_str() {
                "CreateVpcEndpoint" => "vpce-",
                "CreateSecurityGroup" => "sg-",
                _ => continue,
            };
            let uid = self.lives.iter().find(|uid| named.contains(uid));
            let uid = uid.unwrap_or_else(|| panic!("made for nobody: {call:?}"));
            let ids = call.produced.iter().filter(|id| id.starts_with(kind));
            made.entry((uid, kind)).or_default().extend(ids.map(String::as_str));
        }
        let twice = made.iter().find(|(_, ids)| ids.len() > 1);
        assert_eq!(twice, None, "made more than once");
    }

    fn calls(&self) -> Vec<Call> {
        self.chaos.tenant.calls()
    }
}

impl Drop for Story<'_, '_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let end = |lines: Vec<String>| lines[lines.len().saturating_sub(TOLD)..].join("\n");
        let call = |call: &Call| format!("{:8.3} {} {} {:?}", call.time, call.action, call.result, call.produced);
        println!(
            "\nchaos: the story of VPCE_CHAOS_SEED={}:\n{}",
            self.seed,
            self.told.borrow()
        );
        println!("\nthe last calls:\n{}", end(self.calls().iter().map(call).collect()));
        for operator in &self.chaos.operators {
            println!(
                "\nan operator's log:\n{}",
                end(operator.logs().lines().map(str::to_owned).collect())
            );
        }
    }
}

/// The rules that a spec asks for, in and out.
fn rules(spec: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    if spec["security_group_type"] == "generated" {
        let open = |peers: &[&str]| peers.iter().map(|peer| format!("-1 None {peer}")).collect();
        return (open(&PRIVATE), open(&["0.0.0.0/0"]));
    }
    let of = |field: &str| {
        let rules = spec[field].as_array().into_iter().flatten();
        rules
            .map(|rule| format!("tcp {:?} 10.0.0.0/8", rule["from_port"].as_i64()))
            .collect()
    };
    (of("security_group_ingress"), of("security_group_egress"))
}

/// What a group has, in the same words.
fn flat(rules: &[RuleView]) -> BTreeSet<String> {
    rules
        .iter()
        .map(|rule| format!("{} {:?} {}", rule.protocol, rule.from_port, rule.peer))
        .collect()
}
