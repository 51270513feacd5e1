//! What a region knows of load balancers, read from a simulated Elastic Load Balancing: how many
//! calls it takes, whatever is missing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use futures::future::join_all;
use vpce_core::ids::Partition;
use vpce_core::rate::Limits;
use vpce_testbed::aws::{Config, Fault, FaultKind, LoadBalancerSpec, LoadBalancerState as State, Simulator};

use super::*;
use crate::aws::ec2::simulated::{self, REGION};
use crate::aws::elb::simulated::elb;
use crate::aws::region::{AccountRegionKey, Settings};

const ACCOUNT: &str = "111111111111";
const POLL: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_mins(5);
const TAGS: &str = "DescribeTags";

struct Offering {
    simulator: Simulator,
    elb: Elb,
    region: AccountRegion,
}

fn with_offering(test: impl AsyncFnOnce(Offering)) {
    let simulator = Simulator::start(Config {
        throttle: false,
        load_balancer_seconds: 0.0,
        ..Config::default()
    });
    let simulator = simulator.unwrap();
    simulator.add_vpc(ACCOUNT, REGION, "vpc-1", "10.0.0.0/16").unwrap();
    let zone = format!("{REGION}a");
    simulator
        .add_subnet(ACCOUNT, REGION, "subnet-a", "vpc-1", &zone)
        .unwrap();
    let key = AccountRegionKey {
        partition: Partition::Aws,
        account_id: ACCOUNT.parse().unwrap(),
        region: REGION.into(),
    };
    let settings = Settings {
        clusters: "c".into(),
        poll: POLL,
        settle: Duration::ZERO,
        resync: LONG,
        refreshes_per_minute: NonZeroU32::new(20).unwrap(),
        limits: Arc::new(Limits::new(["DescribeLoadBalancers=1000/1000".parse().unwrap()])),
        requeue: Arc::new(|_| ()),
        enqueue: Arc::new(|_| ()),
        known: Arc::new(|_| Vec::new()),
        headless: Arc::new(|_| Vec::new()),
        claims: Arc::new(|_| unreachable!("no endpoints are read")),
        waited: Arc::new(|_, _| ()),
    };
    let offering = Offering {
        elb: elb(&simulator, ACCOUNT),
        region: AccountRegion::new(key, settings, Instant::now()),
        simulator: simulator.clone(),
    };
    simulated::run(simulator, test(offering));
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

impl Offering {
    fn add(&self, name: &str) -> String {
        let spec = LoadBalancerSpec {
            subnet_ids: vec!["subnet-a".to_owned()],
            tags: [("service.k8s.aws/stack".to_owned(), format!("shop/{name}"))].into(),
            ..LoadBalancerSpec::default()
        };
        self.simulator.add_load_balancer(ACCOUNT, REGION, name, spec).unwrap()
    }

    async fn try_refresh(&self, object: &str, names: &[&str], max_age: Duration) -> Result<(), RefreshError> {
        let names = set(names);
        let refresh = self.region.refresh_load_balancers(&self.elb, object, &names, max_age);
        refresh.await
    }

    /// Waits as a reconcile does that is requeued.
    async fn refresh(&self, object: &str, names: &[&str], max_age: Duration) {
        loop {
            match self.try_refresh(object, names, max_age).await {
                Ok(()) => return,
                Err(RefreshError::Busy(time)) => tokio::time::sleep(time).await,
                Err(RefreshError::Failed(error)) => panic!("{error}"),
            }
        }
    }

    /// Several objects at once, each with the load balancer of its name.
    async fn refresh_all(&self, names: &[&str], max_age: Duration) {
        join_all(
            names
                .iter()
                .map(|name| self.refresh(name, std::slice::from_ref(name), max_age)),
        )
        .await;
    }

    /// The states of these, where they were found.
    fn states(&self, names: &[&str]) -> Vec<String> {
        let found = self.region.load_balancers(&set(names));
        found.iter().map(|one| one.state.to_string()).collect()
    }

    /// How often each action was called since this was last asked.
    fn calls(&self) -> (usize, usize) {
        let mut calls = BTreeMap::new();
        for call in self.simulator.take_calls() {
            *calls.entry(call.action).or_default() += 1;
        }
        let mut of = |action: &str| calls.remove(action).unwrap_or(0);
        let counted = (of(LOAD_BALANCING_READS), of(TAGS));
        assert!(calls.is_empty(), "{calls:?}");
        counted
    }
}

#[test]
fn a_resync_costs_one_describe_and_one_of_tags_for_each_twenty() {
    with_offering(async |offering| {
        let names: Vec<String> = (0..25).map(|number| format!("lb-{number:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in &names {
            offering.add(name);
        }
        offering.refresh_all(&names, LONG).await;
        // The first comes alone; those that wait for it are read together.
        assert_eq!(offering.calls(), (3, 3));
        assert_eq!(offering.states(&names), ["active"; 25]);
        let found = offering.region.load_balancers(&set(&names[..1]));
        assert_eq!(found[0].tags["service.k8s.aws/stack"], "shop/lb-00");
        let resync = Duration::from_millis(1500);
        for _ in 0..2 {
            tokio::time::sleep(resync).await;
            for name in &names {
                offering.refresh(name, &[name], resync).await;
            }
            assert_eq!(offering.calls(), (2, 2));
            offering.refresh_all(&names, LONG).await;
            assert_eq!(offering.calls(), (0, 0));
        }
    });
}

#[test]
fn one_that_is_missing_does_not_hide_the_others_and_is_then_read_by_itself() {
    with_offering(async |offering| {
        let names = ["a", "b", "c", "gone", "e", "f", "g", "h"];
        for name in names.iter().filter(|name| **name != "gone") {
            offering.add(name);
        }
        for name in names {
            offering
                .region
                .balancers(|all| all.ask(name, &set(&[name]), Instant::now()));
        }
        offering.refresh("a", &["a"], LONG).await;
        // Of 8, 4, 2 and 1: both halves, where the whole fails.
        assert_eq!(offering.calls(), (7, 3));
        assert_eq!(offering.states(&names), ["active"; 7]);
        tokio::time::sleep(POLL).await;
        offering.refresh_all(&names, LONG).await;
        assert_eq!(offering.calls(), (1, 0), "only the missing one, for its own object");
        // Nor does it spoil the resync of the others.
        offering.refresh("a", &["a"], Duration::ZERO).await;
        assert_eq!(offering.calls(), (1, 1));
        offering.add("gone");
        tokio::time::sleep(POLL).await;
        offering.refresh("gone", &["gone"], LONG).await;
        assert_eq!(offering.calls(), (1, 1));
        assert_eq!(offering.states(&["gone"]), ["active"]);
    });
}

#[test]
fn what_is_deleted_later_is_missing_at_the_next_resync() {
    with_offering(async |offering| {
        let arns = ["a", "b"].map(|name| offering.add(name));
        offering.refresh("one", &["a", "b"], LONG).await;
        assert_eq!(offering.states(&["a", "b"]), ["active"; 2]);
        offering.simulator.delete_load_balancer(&arns[1]).unwrap();
        offering.refresh("one", &["a", "b"], Duration::ZERO).await;
        assert_eq!(offering.states(&["a", "b"]), ["active"]);
    });
}

#[test]
fn one_that_is_being_created_is_polled_and_not_oftener() {
    with_offering(async |offering| {
        let arn = offering.add("web");
        offering.add("other");
        let set_state = |state| offering.simulator.set_load_balancer_state(&arn, state).unwrap();
        set_state(State::Provisioning);
        // At the beginning of a poll.
        tokio::time::sleep(offering.region.next_tick()).await;
        offering.refresh("two", &["other"], LONG).await;
        for _ in 0..3 {
            offering.refresh("one", &["web"], LONG).await;
        }
        assert_eq!(offering.calls(), (2, 2));
        assert_eq!(offering.states(&["web"]), ["provisioning"]);
        tokio::time::sleep(POLL).await;
        for _ in 0..3 {
            offering.refresh("two", &["other"], LONG).await;
        }
        assert_eq!(offering.calls(), (0, 0));
        set_state(State::Active);
        offering.refresh("one", &["web"], LONG).await;
        assert_eq!(
            (offering.calls(), offering.states(&["web"])),
            ((1, 1), vec!["active".to_owned()])
        );
        tokio::time::sleep(POLL).await;
        offering.refresh("one", &["web"], LONG).await;
        assert_eq!(offering.calls(), (0, 0));
    });
}

#[test]
fn an_object_has_names_that_are_not_known_read_once_in_a_poll() {
    with_offering(async |offering| {
        // At the beginning of a poll.
        tokio::time::sleep(offering.region.next_tick()).await;
        offering.refresh("one", &["x1"], LONG).await;
        for number in 2..20 {
            let name = format!("x{number}");
            let Err(RefreshError::Busy(time)) = offering.try_refresh("one", &[&name], LONG).await else {
                panic!("it has to wait");
            };
            assert!(time <= POLL + Duration::from_millis(1));
        }
        offering.refresh("two", &["y"], LONG).await;
        // Of the last name of each, in one call that fails and two of its halves.
        assert_eq!(offering.calls(), (4, 0));
        offering.refresh("one", &["x20"], LONG).await;
        assert_eq!(offering.calls(), (1, 0));
        let known = offering.region.balancers(|all| all.known.len());
        assert!(known <= 3, "what is no longer asked for is forgotten: {known}");
    });
}

#[test]
fn objects_that_ask_no_more_are_forgotten() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    for name in ["a", "b"] {
        cache.ask(name, &set(&[name]), now);
        cache.add(&[name.to_owned()], &[], now);
    }
    let later = now + FORGOTTEN_AFTER;
    cache.ask("b", &set(&["b"]), later);
    cache.forget(later);
    assert_eq!(cache.asked.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(cache.known.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_read_that_fails_is_not_repeated_at_once_for_others() {
    with_offering(async |offering| {
        offering.add("web");
        for (code, status) in [("AccessDenied", 403), ("Throttling", 400)] {
            let refused = FaultKind::refuse(status, code, "no");
            offering.simulator.fault(Fault::once(LOAD_BALANCING_READS, refused));
            for object in ["one", "two"] {
                let Err(RefreshError::Failed(error)) = offering.try_refresh(object, &["web"], LONG).await else {
                    panic!("it is refused");
                };
                assert_eq!(error.code, code);
            }
            assert_eq!(offering.calls(), (1, 0));
            tokio::time::sleep(POLL).await;
        }
        offering.refresh("one", &["web"], LONG).await;
        assert_eq!(offering.states(&["web"]), ["active"]);
    });
}

#[test]
fn tags_that_cannot_be_read_are_no_load_balancer_without_tags() {
    with_offering(async |offering| {
        offering.add("web");
        let refused = FaultKind::refuse(403, "AccessDenied", "no");
        offering.simulator.fault(Fault::once(TAGS, refused));
        let Err(RefreshError::Failed(error)) = offering.try_refresh("one", &["web"], LONG).await else {
            panic!("it is refused");
        };
        assert_eq!(error.action, TAGS);
        assert_eq!(offering.states(&["web"]), [""; 0]);
    });
}

#[test]
fn reads_wait_for_the_limit_that_all_describes_share() {
    with_offering(async |mut offering| {
        offering.region.settings.limits = Arc::new(Limits::new(["DescribeLoadBalancers=1/2".parse().unwrap()]));
        offering.region.limiters = super::super::RateLimiters::new(&offering.region.settings, Instant::now());
        for name in ["a", "b"] {
            offering.add(name);
        }
        offering.refresh("one", &["a"], LONG).await;
        // There was one token, and the tags waited for the next.
        let Err(RefreshError::Busy(time)) = offering.try_refresh("two", &["b"], LONG).await else {
            panic!("it has to wait");
        };
        assert!(time <= Duration::from_secs(1), "{time:?}");
        assert_eq!(offering.calls(), (1, 1));
        let gauges = offering.region.limiters.gauges();
        let actions: Vec<&str> = gauges.iter().map(|limiter| limiter.action).collect();
        assert_eq!(actions, [LOAD_BALANCING_READS]);
    });
}
