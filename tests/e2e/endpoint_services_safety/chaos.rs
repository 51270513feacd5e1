//! Crash anywhere: the operator is killed at random while endpoint services with consumers are
//! created, changed and deleted.
//!
//! `VPCE_CHAOS_KILLS` and `VPCE_CHAOS_SEED` are those of the other such tests:
//! `tests/e2e/chaos.rs`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use vpce_testbed::aws::{EndpointServiceView, EndpointState, Hold, PausePoint};

use super::Consumer;
use crate::chaos::{setup, wanted_kills};
use crate::endpoint_services::{Offers, offering, root};
use crate::tenant::Tenant;
use crate::world::{WITHIN, World, condition, text};

/// After an answer the operator's next writes to the API server follow within this time.
const A_MOMENT: Duration = Duration::from_millis(60);
/// From a start until an operator that has something to do has done most of it.
const A_WHILE: Duration = Duration::from_millis(900);
/// The call that was drawn may never come: what there was to do may be done before.
const PATIENCE: Duration = Duration::from_millis(2500);
const OBJECTS: usize = 3;
/// Of each object; it offers some of them.
const LOAD_BALANCERS: usize = 3;
const CONSUMERS: usize = 3;
const MOST_KILLS_AT_ONCE: usize = 3;
const MOST_PASSED: usize = 7;

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(text).collect()
}

/// The stage of all stories: a provider's account with load balancers, and accounts that connect.
struct Stage<'t, 'w> {
    offers: Offers<'t, 'w>,
    arns: Vec<Vec<String>>,
    /// Any of them may be a consumer.
    consumers: Vec<Consumer<'w>>,
    /// May connect, and is never a consumer: nobody accepts its endpoints.
    stranger: Consumer<'w>,
    /// Another's endpoint service in the same account.
    others: EndpointServiceView,
}

/// One story while it runs; if it fails, it is printed.
struct Story<'s, 't, 'w> {
    stage: &'s Stage<'t, 'w>,
    seed: u64,
    random: Rng,
    begun: Instant,
    down: bool,
    kills: usize,
    told: RefCell<String>,
    specs: BTreeMap<String, Value>,
    /// The accounts that were ever consumers of an object.
    ever_consumers: BTreeMap<String, BTreeSet<String>>,
    /// The endpoints of each object, by account.
    endpoints: BTreeMap<String, Vec<(String, String)>>,
}

#[test]
fn an_operator_that_is_killed_anywhere_creates_nothing_twice_and_lets_no_stranger_in() {
    let world = World::own(setup());
    let tenant = world.tenant("chaos");
    let stage = Stage::new(&world, &tenant);
    let (wanted, first) = wanted_kills(25);
    println!("chaos: seed {first}");
    let mut kills = 0;
    for seed in first.. {
        if kills >= wanted {
            break;
        }
        world.aws.clear_calls();
        let mut story = Story::new(&stage, seed);
        story.tell();
        kills += story.kills;
        println!("chaos: story {seed} ends well; {kills} kills");
    }
}

impl<'t, 'w> Stage<'t, 'w> {
    fn new(world: &'w World, tenant: &'t Tenant<'w>) -> Self {
        let offers = Offers::of(tenant);
        let arns = (0..OBJECTS).map(|_| (0..LOAD_BALANCERS).map(|_| offers.active()).collect());
        let arns = arns.collect();
        let theirs = offers.active();
        let others = offers.strangers(&theirs);
        // Another cluster's object has a name that occurs here, too.
        for (key, value) in [
            ("cluster", "another"),
            ("namespace", &tenant.namespace),
            ("name", "web-0"),
            ("uid", "0"),
        ] {
            let key = format!("silvermullet.com/{key}");
            let set = world
                .aws
                .set_tag(&tenant.account_id, &tenant.region, &others.id, &key, value);
            set.expect("it is there");
        }
        Self {
            others: offers.by_id(&others.id).expect("it is there"),
            consumers: (0..CONSUMERS).map(|_| Consumer::new(world)).collect(),
            stranger: Consumer::new(world),
            arns,
            offers,
        }
    }
}

impl<'s, 't, 'w> Story<'s, 't, 'w> {
    fn new(stage: &'s Stage<'t, 'w>, seed: u64) -> Self {
        Self {
            stage,
            seed,
            random: Rng::with_seed(seed),
            begun: Instant::now(),
            down: false,
            kills: 0,
            told: RefCell::default(),
            specs: BTreeMap::new(),
            ever_consumers: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        }
    }

    fn note(&self, what: &str) {
        let _ = writeln!(
            self.told.borrow_mut(),
            "{:8.3} {what}",
            self.begun.elapsed().as_secs_f64()
        );
    }

    fn tell(&mut self) {
        self.die("objects are created", Self::apply);
        if self.random.bool() {
            self.converge();
            self.die("objects are changed at once", Self::apply);
        }
        self.converge();
        self.die("consumers connect", Self::connect);
        if self.random.bool() {
            self.converge();
        }
        self.die("objects are changed", Self::apply);
        self.converge();
        self.die("objects are deleted", |story| {
            for name in story.specs.keys() {
                story.stage.offers.delete(name);
            }
        });
        self.vanish();
    }

    /// Draws what some objects ask for, and applies it.
    fn apply(&mut self) {
        for number in 0..OBJECTS {
            let name = format!("web-{number}");
            if self.specs.contains_key(&name) && self.random.u8(..4) == 0 {
                continue;
            }
            let spec = self.draw_spec(number);
            let consumers = spec["consumers"]["account_ids"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text);
            self.ever_consumers.entry(name.clone()).or_default().extend(consumers);
            self.stage.offers.apply(&name, &spec);
            self.specs.insert(name, spec);
        }
    }

    fn draw_spec(&mut self, number: usize) -> Value {
        let random = &mut self.random;
        let mut some = |all: Vec<String>, least: usize| -> Vec<String> {
            let mut all = all;
            random.shuffle(&mut all);
            all.truncate(random.usize(least..=all.len()));
            all
        };
        let mut arns = some(self.stage.arns[number].clone(), 1);
        let accounts = self.stage.consumers.iter().map(|consumer| consumer.id().clone());
        let accounts = some(accounts.collect(), 0);
        let tags: BTreeMap<String, String> = some(vec!["team".into(), "cost".into()], 0)
            .into_iter()
            .map(|key| (key, "a".to_owned()))
            .collect();
        // AWS removes none while endpoints are connected.
        let name = format!("web-{number}");
        let before = self.specs.get(&name).filter(|_| self.endpoints.contains_key(&name));
        let before = before.map(|spec| strings(&spec["load_balancer"]["network_load_balancer_arns"]));
        arns.extend(before.into_iter().flatten());
        let arns: BTreeSet<String> = arns.into_iter().collect();
        let changes = json!({
            "consumers": {"account_ids": accounts}, "tags": tags, "on_delete": "Reject",
            "allowed_principals": [root(self.stage.stranger.id())],
        });
        offering(&arns.iter().collect::<Vec<_>>(), changes)
    }

    /// Every account wants to connect to every object.
    fn connect(&mut self) {
        for name in self.specs.keys() {
            let status = self.stage.offers.get(name).expect("it is there")["status"].take();
            let service = text(&status["service_name"]);
            let all = self.stage.consumers.iter().chain([&self.stage.stranger]);
            let connected = all.map(|consumer| {
                let id = consumer.connect(&service, EndpointState::PendingAcceptance);
                (consumer.id().clone(), id)
            });
            self.endpoints.insert(name.clone(), connected.collect());
        }
    }

    /// Changes something, and kills the operator while it follows.
    fn die(&mut self, what: &str, change: impl FnOnce(&mut Self)) {
        let mut change = Some(change);
        for before in 0..self.random.usize(1..=MOST_KILLS_AT_ONCE) {
            let gate = self.draw_gate(before);
            if let Some(change) = change.take() {
                change(self);
                self.note(what);
            }
            self.start();
            let moment = self.random.f64();
            let (abandoned, is_soon_after) = (self.random.bool(), self.random.u8(..3) == 0);
            let reached = gate.as_ref().is_some_and(|gate| gate.wait_reached(PATIENCE));
            let caught = gate.as_ref().and_then(|gate| gate.caught()).unwrap_or_default();
            let mut gate = gate;
            if gate.is_none() {
                std::thread::sleep(A_WHILE.mul_f64(moment));
            } else if reached && is_soon_after {
                drop(gate.take());
                std::thread::sleep(A_MOMENT.mul_f64(moment));
            }
            self.stage.offers.tenant.world.operator.kill().expect("it was running");
            (self.down, self.kills) = (true, self.kills + 1);
            match gate {
                Some(gate) if abandoned => gate.abandon(),
                gate => drop(gate),
            }
            self.note(&format!(
                "killed at {caught:?}, abandoned {abandoned}, soon after {is_soon_after}"
            ));
        }
    }

    /// Mostly at a call that changes something, sometimes at any time.
    fn draw_gate(&mut self, before: usize) -> Option<vpce_testbed::aws::Gate> {
        let random = &mut self.random;
        let most = MOST_PASSED / (1 + before);
        let hold = Hold {
            action: None,
            account: Some(self.stage.offers.tenant.account_id.clone()),
            after: random.usize(..=most).min(random.usize(..=most)),
            point: if random.bool() {
                PausePoint::Before
            } else {
                PausePoint::After
            },
        };
        (random.u8(..5) > 0).then(|| self.stage.offers.tenant.world.aws.pause(hold))
    }

    fn start(&mut self) {
        if std::mem::take(&mut self.down) {
            let operator = &self.stage.offers.tenant.world.operator;
            operator.start().expect("it starts again");
        }
    }

    fn wait(&self, what: &str, look: impl Fn(&Self) -> Result<(), String>) {
        let begun = Instant::now();
        while let Err(why) = look(self) {
            assert!(begun.elapsed() < WITHIN, "waited {WITHIN:?} in vain: {what}: {why}");
            std::thread::sleep(Duration::from_millis(100));
        }
        self.note(what);
    }

    /// Waits until everything is as the specs say.
    fn converge(&mut self) {
        self.start();
        self.wait("all is as the specs say", |story| {
            for (name, spec) in &story.specs {
                let object = story.stage.offers.get(name).ok_or_else(|| format!("{name} is gone"))?;
                let ready = condition(&object, "Ready").filter(|ready| ready.status);
                ready.ok_or_else(|| format!("{name}: {}", object["status"]["conditions"]))?;
                story.check(name, spec, &object)?;
            }
            let count = story.stage.offers.all().len();
            (count == OBJECTS + 1)
                .then_some(())
                .ok_or_else(|| format!("{count} endpoint services"))
        });
        self.check_calls();
    }

    /// Whether AWS has exactly what this object says.
    fn check(&self, name: &str, spec: &Value, object: &Value) -> Result<(), String> {
        let id = text(&object["status"]["service_id"]);
        let service = self.stage.offers.by_id(&id).ok_or_else(|| format!("{name}: no {id}"))?;
        let consumers = strings(&spec["consumers"]["account_ids"]);
        let mut principals: BTreeSet<String> = consumers.iter().map(|id| root(id)).collect();
        principals.extend(strings(&spec["allowed_principals"]));
        let users = |key: &&String| !key.starts_with("silvermullet.com/") && *key != "Name";
        let tags: BTreeSet<&String> = service.tags.keys().filter(users).collect();
        let wanted: BTreeSet<&String> = spec["tags"]
            .as_object()
            .into_iter()
            .flat_map(|tags| tags.keys())
            .collect();
        let is_right = service.principals.iter().cloned().collect::<BTreeSet<_>>() == principals
            && service.load_balancer_arns.iter().cloned().collect::<BTreeSet<_>>()
                == strings(&spec["load_balancer"]["network_load_balancer_arns"])
            && tags == wanted
            && service.tags["silvermullet.com/uid"] == text(&object["metadata"]["uid"]);
        if !is_right {
            return Err(format!("{name} with {spec:#} has {service:#?}"));
        }
        let ever = &self.ever_consumers[name];
        for (account, endpoint) in self.endpoints.get(name).into_iter().flatten() {
            let state = self.state(account, endpoint);
            let is_right = match (consumers.contains(account), ever.contains(account)) {
                (true, _) => state == "available",
                // Its connection may have been accepted before.
                (false, true) => state == "rejected" || state == "pendingAcceptance",
                (false, false) => state == "pendingAcceptance",
            };
            if !is_right {
                return Err(format!("{name}: {endpoint} of {account} is {state}"));
            }
        }
        Ok(())
    }

    fn state(&self, account: &str, endpoint: &str) -> String {
        let mut all = self.stage.consumers.iter().chain([&self.stage.stranger]);
        let consumer = all.find(|consumer| consumer.id() == account);
        consumer.expect("one of them").state(endpoint)
    }

    /// Fails where a call has accepted what no consumer account vouches for, has created a second
    /// endpoint service beside the first, or has changed another's.
    fn check_calls(&self) {
        let offers = &self.stage.offers;
        assert_eq!(
            offers.by_id(&self.stage.others.id).as_ref(),
            Some(&self.stage.others),
            "another's is changed"
        );
        let owner: BTreeMap<&String, (&String, &String)> = self
            .endpoints
            .iter()
            .flat_map(|(name, all)| all.iter().map(move |(account, id)| (id, (name, account))))
            .collect();
        let mut live: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for call in offers.tenant.calls().iter().filter(|call| call.mutating() && call.ok()) {
            let values = || call.params.values();
            match call.action.as_str() {
                "AcceptVpcEndpointConnections" => {
                    for (name, account) in values().filter_map(|value| owner.get(value)) {
                        let vouched = self.ever_consumers[*name].contains(*account);
                        assert!(vouched, "an endpoint of {account} is accepted for {name}: {call:?}");
                    }
                }
                "CreateVpcEndpointServiceConfiguration" => {
                    let name = values()
                        .find(|value| self.specs.contains_key(*value))
                        .expect("its name")
                        .clone();
                    let of_this = live.entry(name).or_default();
                    of_this.extend(call.produced.iter().cloned());
                    assert!(of_this.len() <= 1, "two at once: {of_this:?}");
                }
                "DeleteVpcEndpointServiceConfigurations" => {
                    for of_this in live.values_mut() {
                        of_this.retain(|id| !values().any(|value| value == id));
                    }
                }
                _ => {}
            }
        }
    }

    /// Waits until all are gone, when nothing may be left.
    fn vanish(&mut self) {
        self.start();
        self.wait("all objects are gone", |story| {
            let mut names = story.specs.keys();
            let there = names.find(|name| story.stage.offers.get(name).is_some());
            there.map_or(Ok(()), |name| Err(format!("{name} is there")))
        });
        assert_eq!(
            self.stage.offers.all(),
            std::slice::from_ref(&self.stage.others),
            "something is left"
        );
        self.check_calls();
        for (account, endpoint) in self.endpoints.values().flatten() {
            assert_eq!(self.state(account, endpoint), "rejected", "{endpoint} of {account}");
            let mut all = self.stage.consumers.iter().chain([&self.stage.stranger]);
            all.find(|consumer| consumer.id() == account)
                .expect("one of them")
                .delete(endpoint);
        }
    }
}

impl Drop for Story<'_, '_, '_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        println!(
            "\nchaos: the story of VPCE_CHAOS_SEED={}:\n{}",
            self.seed,
            self.told.borrow()
        );
        for call in self.stage.offers.tenant.calls().iter().filter(|call| call.mutating()) {
            println!(
                "{:8.3} {} {} {:?} {:?}",
                call.time, call.action, call.result, call.params, call.produced
            );
        }
        println!("{}", self.stage.offers.tenant.world.operator.logs());
    }
}
