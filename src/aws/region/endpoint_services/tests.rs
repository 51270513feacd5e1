//! What a region knows of endpoint services, read from a simulated EC2: how many calls it takes,
//! and what is believed of them after our own writes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use vpce_core::api::{AddressType, LoadBalancerType};
use vpce_core::endpoint_service::{Outcome, Step};
use vpce_core::ids::Partition;
use vpce_core::object_key::ObjectKey;
use vpce_core::orphans::ResourceKind;
use vpce_core::ownership::LookupById;
use vpce_core::rate::Limits;
use vpce_testbed::aws::{Config, Fault, FaultKind, LoadBalancerSpec, Simulator};

use super::*;
use crate::aws::ec2::simulated::{self, REGION};
use crate::aws::region::{AccountRegionKey, Settings};

const ACCOUNT: &str = "111111111111";
const SETTLE: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_mins(5);
const RARELY: MaxAge = MaxAge {
    all: LONG,
    awaited: None,
};

/// All that carries the cluster's tag belongs to an object that is waiting for it, but for what is
/// of this name.
struct AllBut(&'static str);

impl Objects for AllBut {
    fn lacks(&self, object: &ObjectKey, kind: ResourceKind) -> bool {
        kind == ResourceKind::EndpointService && object.name != self.0
    }

    fn is_known(&self, _: &str) -> bool {
        false
    }
}

struct Hosting {
    simulator: Simulator,
    ec2: Ec2,
    region: AccountRegion,
}

fn owner(name: &str) -> Owner {
    Owner {
        cluster: "c".into(),
        kind: "VPCEndpointService".into(),
        namespace: "ns".into(),
        name: name.into(),
        uid: format!("uid of {name}"),
    }
}

fn with_hosting(test: impl AsyncFnOnce(Hosting)) {
    let simulator = Simulator::start(Config {
        throttle: false,
        load_balancer_seconds: 0.0,
        service_pending_seconds: 0.0,
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
        settle: SETTLE,
        resync: LONG,
        refreshes_per_minute: NonZeroU32::new(20).unwrap(),
        limits: Arc::new(Limits::new(["*=1000/1000".parse().unwrap()])),
        requeue: Arc::new(|_| ()),
        enqueue: Arc::new(|_| ()),
        known: Arc::new(|_| Vec::new()),
        headless: Arc::new(|_| Vec::new()),
        claims: Arc::new(|_| unreachable!("no endpoints are read")),
        waited: Arc::new(|_, _| ()),
    };
    let hosting = Hosting {
        ec2: simulated::ec2(&simulator, ACCOUNT),
        region: AccountRegion::new(key, settings, Instant::now()),
        simulator: simulator.clone(),
    };
    simulated::run(simulator, test(hosting));
}

impl Hosting {
    /// The step that creates a service for the object of this name.
    fn create(&self, name: &str) -> Step {
        let spec = LoadBalancerSpec {
            subnet_ids: vec!["subnet-a".to_owned()],
            ..LoadBalancerSpec::default()
        };
        let arn = self.simulator.add_load_balancer(ACCOUNT, REGION, name, spec).unwrap();
        Step::Create {
            load_balancer_type: LoadBalancerType::Network,
            load_balancers: [arn].into(),
            acceptance_required: true,
            address_types: [AddressType::Ipv4].into(),
            private_dns_name: None,
            tags: owner(name).tags(),
        }
    }

    /// Carries out a step, unknown to the region.
    async fn do_behind(&self, step: &Step, token: &str) -> Outcome {
        self.ec2.carry_out(step, token).await.unwrap().value
    }

    async fn created_behind(&self, name: &str) -> EndpointServiceId {
        match self.do_behind(&self.create(name), name).await {
            Outcome::Created(service) => service.id,
            other => panic!("{other:?}"),
        }
    }

    async fn refresh(&self, name: &str, known: Option<&EndpointServiceId>, all: Duration) {
        let (owner, objects) = (owner(name), || AllBut("nobody"));
        loop {
            let refresh =
                self.region
                    .refresh_endpoint_services(&self.ec2, objects, &owner, known, MaxAge { all, awaited: None });
            match refresh.await {
                Ok(()) => return,
                Err(RefreshError::Busy(time)) => tokio::time::sleep(time).await,
                Err(RefreshError::Failed(error)) => panic!("{error}"),
            }
        }
    }

    /// How often each action was called since this was last asked.
    fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for call in self.simulator.take_calls() {
            *calls.entry(call.action).or_default() += 1;
        }
        calls
    }
}

fn counted(services: usize, connections: usize, principals: usize) -> BTreeMap<String, usize> {
    let counts = [
        (SERVICES, services),
        (CONNECTIONS, connections),
        (PRINCIPALS, principals),
    ];
    let called = counts.into_iter().filter(|(_, count)| *count > 0);
    called.map(|(action, count)| (action.to_owned(), count)).collect()
}

#[test]
fn a_resync_costs_one_describe_of_all_services_and_connections_and_one_of_principals_for_each() {
    with_hosting(async |hosting| {
        let names = ["a", "b", "c"];
        for name in names {
            hosting.created_behind(name).await;
        }
        hosting.calls();
        let resync = Duration::from_millis(1500);
        for _ in 0..2 {
            for name in names {
                hosting.refresh(name, None, resync).await;
            }
            assert_eq!(hosting.calls(), counted(1, 1, 3));
            for name in names {
                hosting.refresh(name, None, LONG).await;
            }
            assert_eq!(hosting.calls(), counted(0, 0, 0));
            tokio::time::sleep(resync).await;
        }
    });
}

#[test]
fn what_was_created_is_known_before_it_is_read_and_read_once_it_is_consistent() {
    with_hosting(async |hosting| {
        hosting.refresh("a", None, LONG).await;
        let step = hosting.create("a");
        let made = hosting.do_behind(&step, "a").await;
        hosting.region.record_endpoint_service(step.effect(made));
        let owner = owner("a");
        let found = hosting.region.find_endpoint_service(&owner, None);
        let id = found.candidates.by_tags[0].id.clone();
        assert!(found.settles_at.is_some());
        let consumers = hosting.region.consumers_of(&id);
        assert_eq!(
            (consumers.principals, consumers.connections),
            (Some(BTreeSet::new()), Some(Vec::new()))
        );
        hosting.calls();
        // What was written is checked at every sixth poll.
        tokio::time::sleep(SETTLE + POLL * 7).await;
        hosting.refresh("a", Some(&id), LONG).await;
        assert_eq!(hosting.calls(), counted(1, 0, 1));
        let found = hosting.region.find_endpoint_service(&owner, Some(&id));
        let LookupById::Found(service) = found.candidates.by_id else {
            panic!("{found:?}");
        };
        assert_eq!((service.state, found.settles_at), (State::Available, None));
    });
}

#[test]
fn a_read_that_is_not_consistent_undoes_no_write_of_ours_and_a_later_one_does() {
    with_hosting(async |hosting| {
        let id = hosting.created_behind("a").await;
        hosting.refresh("a", Some(&id), LONG).await;
        let added: BTreeSet<String> = ["*".to_owned()].into();
        let step = Step::ModifyPermissions {
            id: id.clone(),
            add: added.clone(),
            remove: BTreeSet::new(),
        };
        // It is as if EC2 did not show it yet.
        hosting.region.record_endpoint_service(step.effect(Outcome::Done));
        hosting.refresh("a", Some(&id), Duration::ZERO).await;
        assert_eq!(hosting.region.consumers_of(&id).principals, Some(added));
        tokio::time::sleep(SETTLE).await;
        hosting.calls();
        hosting.refresh("a", Some(&id), LONG).await;
        assert_eq!(hosting.calls(), counted(0, 0, 1));
        assert_eq!(hosting.region.consumers_of(&id).principals, Some(BTreeSet::new()));
    });
}

#[test]
fn what_vanishes_is_believed_gone_when_two_reads_with_time_between_do_not_find_it() {
    with_hosting(async |hosting| {
        let id = hosting.created_behind("a").await;
        hosting.refresh("a", Some(&id), LONG).await;
        let simulator = &hosting.simulator;
        simulator
            .delete_endpoint_service_behind(ACCOUNT, REGION, id.as_str())
            .unwrap();
        // Until EC2 does not describe it even as deleted.
        simulator.advance(36_000.0);
        hosting.refresh("a", Some(&id), Duration::ZERO).await;
        let by_id = |hosting: &Hosting| {
            let found = hosting.region.find_endpoint_service(&owner("a"), Some(&id));
            found.candidates.by_id
        };
        assert_eq!(by_id(&hosting), LookupById::Unconfirmed);
        tokio::time::sleep(SETTLE * 2).await;
        hosting.refresh("a", Some(&id), LONG).await;
        assert_eq!(by_id(&hosting), LookupById::Deleted);
    });
}

#[test]
fn of_what_no_object_claims_no_more_is_kept_than_that_it_is_there() {
    with_hosting(async |hosting| {
        hosting.created_behind("theirs").await;
        let objects = AllBut("theirs");
        let (owner, region) = (owner("mine"), &hosting.region);
        let refresh = region.refresh_endpoint_services(&hosting.ec2, || AllBut("theirs"), &owner, None, RARELY);
        refresh.await.unwrap();
        assert_eq!(region.find_endpoint_service(&owner, None).candidates.by_tags, []);
        region.services(|all| {
            assert_eq!(all.services.staying().count(), 0);
            assert_eq!(all.services.unclaimed(&objects).len(), 1);
        });
    });
}

#[test]
fn a_read_that_fails_is_not_repeated_at_once_for_others() {
    with_hosting(async |hosting| {
        let refused = FaultKind::refuse(403, "UnauthorizedOperation", "You are not authorized");
        hosting.simulator.fault(Fault::once(SERVICES, refused));
        for name in ["a", "b"] {
            let (owner, objects) = (owner(name), || AllBut("nobody"));
            let refresh = hosting
                .region
                .refresh_endpoint_services(&hosting.ec2, objects, &owner, None, RARELY);
            let Err(RefreshError::Failed(error)) = refresh.await else {
                panic!("it is refused");
            };
            assert_eq!(error.code, "UnauthorizedOperation");
        }
        assert_eq!(hosting.calls(), counted(1, 0, 0));
        tokio::time::sleep(POLL).await;
        hosting.refresh("a", None, LONG).await;
    });
}

#[test]
fn what_a_lost_answer_was_about_is_found_by_the_next_read_however_young_the_last_is() {
    with_hosting(async |hosting| {
        hosting.refresh("a", None, LONG).await;
        let action = "CreateVpcEndpointServiceConfiguration";
        hosting.simulator.fault(Fault::once(action, FaultKind::LoseAnswer));
        let lost = hosting.ec2.carry_out(&hosting.create("a"), "a").await.unwrap_err();
        assert!(lost.outcome_unknown());
        let found = |hosting: &Hosting| {
            let found = hosting.region.find_endpoint_service(&owner("a"), None);
            found.candidates.by_tags.len()
        };
        hosting.refresh("a", None, LONG).await;
        assert_eq!(found(&hosting), 0);
        hosting.region.invalidate_endpoint_services();
        hosting.refresh("a", None, LONG).await;
        assert_eq!(found(&hosting), 1);
    });
}
