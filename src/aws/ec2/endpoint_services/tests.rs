//! What is planned is carried out by a simulated EC2, and what EC2 then describes is what was
//! planned for.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vpce_core::api::{ConnectionsOnDelete, DeletionPolicy, LoadBalancerType, VPCEndpointServiceSpec};
use vpce_core::conditions::Reason;
use vpce_core::endpoint_service::{
    Claimant, Desired, Discovered, Observed, Plan, PlanContext, ServiceChange, Step, classify, client_token, desired,
    plan, plan_deletion,
};
use vpce_core::error::Class;
use vpce_core::iam::{Scope, tenant_permissions};
use vpce_core::ids::EndpointServiceId;
use vpce_core::observed::{Lookup, State};
use vpce_core::ownership::LookupById;
use vpce_core::resolve::{Binding, Resolved, Writes};
use vpce_core::tags::Owner;
use vpce_testbed::aws::{Config, Fault, FaultKind, LoadBalancerSpec, LoadBalancerType as Type, RoleSpec, Simulator};

use crate::aws::ec2::simulated::{self, REGION, assume, ec2, ec2_with};
use crate::aws::ec2::{Ec2, Which};

const PROVIDER: &str = "111111111111";
const CONSUMERS: [&str; 2] = ["222222222222", "333333333333"];
const ROLE: &str = "arn:aws:iam::111111111111:role/vpce";

/// A provider with load balancers, and what its object is bound to.
struct Provider {
    simulator: Simulator,
    ec2: Ec2,
    owner: Owner,
    resolved: Resolved,
    /// Those that the status names before anything is created.
    bound: BTreeSet<String>,
}

fn provider() -> Provider {
    let simulator = Simulator::start(Config {
        throttle: false,
        load_balancer_seconds: 0.0,
        service_pending_seconds: 30.0,
        ..Config::default()
    })
    .unwrap();
    for account in [PROVIDER].iter().chain(&CONSUMERS) {
        simulator.add_vpc(account, REGION, "vpc-1", "10.0.0.0/16").unwrap();
        let zone = format!("{REGION}a");
        simulator
            .add_subnet(account, REGION, "subnet-a", "vpc-1", &zone)
            .unwrap();
    }
    Provider {
        ec2: ec2(&simulator, PROVIDER),
        owner: Owner {
            cluster: "c".into(),
            kind: "VPCEndpointService".into(),
            namespace: "ns".into(),
            name: "web".into(),
            uid: "55ea9f5f-45a4".into(),
        },
        resolved: Resolved {
            binding: Binding {
                account: "one".into(),
                account_id: PROVIDER.parse().unwrap(),
                region: REGION.into(),
            },
            role: ROLE.parse().unwrap(),
            account: serde_json::from_value(json!({"role_arn": ROLE, "allow_endpoint_services": true})).unwrap(),
            forced_tags: BTreeMap::new(),
            mapped: true,
            writes: Writes::Allowed,
        },
        bound: BTreeSet::new(),
        simulator,
    }
}

/// Runs a test with a provider.
fn with_provider(test: impl AsyncFnOnce(Provider)) {
    let provider = provider();
    simulated::run(provider.simulator.clone(), test(provider));
}

impl Provider {
    fn load_balancer(&self, name: &str, kind: Type) -> String {
        let spec = LoadBalancerSpec {
            kind,
            subnet_ids: vec!["subnet-a".to_owned()],
            ..LoadBalancerSpec::default()
        };
        self.simulator.add_load_balancer(PROVIDER, REGION, name, spec).unwrap()
    }

    fn desired(&self, spec: Value) -> Desired {
        let spec: VPCEndpointServiceSpec = serde_json::from_value(spec).unwrap();
        desired(&spec, &self.owner, &self.resolved, &Discovered::default()).unwrap()
    }

    /// What EC2 holds for the object.
    async fn look(&self, known: Option<&EndpointServiceId>) -> Observed {
        let clusters = Which::Clusters(&["c"]);
        let (services, more) = self.ec2.describe_endpoint_services(&clusters, None).await.unwrap();
        assert_eq!(more, None);
        let claimant = Claimant {
            owner: &self.owner,
            service: known,
            load_balancers: Some((LoadBalancerType::Network, &self.bound)),
        };
        let found = services.iter().find(|service| Some(&service.id) == known);
        let by_id = match (known, found) {
            (None, _) => LookupById::NoId,
            (Some(_), Some(service)) => LookupById::Found(service.clone()),
            (Some(_), None) => LookupById::Deleted,
        };
        let service = classify(&claimant, by_id, services);
        let Some(id) = service.owned().map(|service| service.id.clone()) else {
            return Observed {
                service,
                ..Observed::nothing()
            };
        };
        let (principals, _) = self.ec2.describe_principals(&id, None).await.unwrap();
        let ids = std::slice::from_ref(&id);
        let (connections, _) = self.ec2.describe_connections(ids, None).await.unwrap();
        let connections = connections.into_iter().map(|(of, connection)| {
            assert_eq!(of, id);
            connection
        });
        Observed {
            service,
            principals: Some(principals.into_iter().collect()),
            connections: Some(connections.collect()),
        }
    }

    /// Plans and carries out until nothing is left to do; each effect is what EC2 then describes.
    async fn converge(&mut self, planned: impl Fn(&Observed) -> Plan) -> Plan {
        let mut known = None;
        for _ in 0..12 {
            let mut seen = self.look(known.as_ref()).await;
            known = seen.service.owned().map(|service| service.id.clone()).or(known);
            let plan = planned(&seen);
            let token = client_token(&self.owner, &self.resolved, 0);
            for step in &plan.steps {
                let done = self.ec2.carry_out(step, &token).await;
                seen.record(step.effect(done.unwrap_or_else(|error| panic!("{step}: {error}")).value));
            }
            known = seen.service.owned().map(|service| service.id.clone()).or(known);
            let now = self.look(known.as_ref()).await;
            if !matches!(seen.service, Lookup::Unowned(_)) {
                assert_eq!(seen, now, "after {:?}", plan.steps);
            }
            self.simulator.advance(120.0);
            let later = self.look(known.as_ref()).await;
            if plan.steps.is_empty() && later == now {
                return plan;
            }
        }
        panic!("still at it");
    }

    async fn converge_to(&mut self, desired: &Desired, consumers: &[String]) -> Plan {
        let owner = self.owner.clone();
        let tag_keys = ["cost".to_owned()];
        let planned = |seen: &Observed| {
            let context = PlanContext {
                tag_keys: &tag_keys,
                consumers,
                ..PlanContext::default()
            };
            plan(&owner, desired, seen, context)
        };
        if self.bound.is_empty() {
            self.bound = desired.load_balancers.clone();
        }
        let last = self.converge(planned).await;
        assert!(last.service.ok && last.load_balancers.ok, "{last:?}");
        last
    }

    /// An endpoint of a consumer for the only service.
    async fn connect(&self, account: &str) -> String {
        let name = &self.simulator.endpoint_services(PROVIDER, REGION)[0].name;
        self.connect_to(name, account).await
    }

    async fn connect_to(&self, name: &str, account: &str) -> String {
        let ec2 = ec2(&self.simulator, account);
        let request = ec2.client.create_vpc_endpoint().vpc_endpoint_type("Interface".into());
        let request = request.vpc_id("vpc-1").subnet_ids("subnet-a").service_name(name);
        let made = request.send().await.unwrap().vpc_endpoint.unwrap();
        made.vpc_endpoint_id.unwrap()
    }

    fn state(&self, account: &str, endpoint: &str) -> String {
        let endpoints = self.simulator.endpoints(account, REGION);
        let found = endpoints.iter().find(|found| found.id == endpoint);
        found.map_or_else(|| "gone".to_owned(), |found| found.state.clone())
    }
}

fn of(arns: &[&String]) -> Value {
    json!({"network_load_balancer_arns": arns})
}

#[test]
fn a_service_is_created_changed_and_deleted_as_it_was_planned() {
    with_provider(async |mut provider| {
        let [a, b] = ["a", "b"].map(|name| provider.load_balancer(name, Type::Network));
        let first = provider.desired(json!({
            "load_balancer": of(&[&a]),
            "tags": {"cost": "1"},
            "allowed_principals": ["arn:aws:iam::444444444444:role/x"],
        }));
        provider.converge_to(&first, &[]).await;
        let view = provider.simulator.endpoint_services(PROVIDER, REGION).remove(0);
        assert!(view.acceptance_required && view.tags["cost"] == "1");
        assert_eq!(view.tags["silvermullet.com/kind"], "VPCEndpointService");

        let second = provider.desired(json!({
            "load_balancer": of(&[&b]),
            "acceptance_required": false,
            "consumers": {"account_ids": CONSUMERS},
        }));
        provider.converge_to(&second, &[]).await;
        let changed = provider.simulator.endpoint_services(PROVIDER, REGION).remove(0);
        assert_eq!(changed.id, view.id);
        assert_eq!(changed.load_balancer_arns, [b]);
        assert_eq!(
            changed.principals,
            CONSUMERS.map(|id| format!("arn:aws:iam::{id}:root"))
        );
        assert!(!changed.acceptance_required && !changed.tags.contains_key("cost"));

        let owner = provider.owner.clone();
        let delete =
            |seen: &Observed| plan_deletion(&owner, seen, Ok(DeletionPolicy::Delete), ConnectionsOnDelete::Wait);
        provider.bound = second.load_balancers.clone();
        assert!(provider.converge(delete).await.service.ok);
        assert!(provider.simulator.endpoint_services(PROVIDER, REGION).is_empty());
    });
}

#[test]
fn consumers_are_accepted_by_account_and_nobody_else_and_rejected_once_they_are_none() {
    with_provider(async |mut provider| {
        let a = provider.load_balancer("a", Type::Network);
        let everyone = json!({
            "load_balancer": of(&[&a]),
            "allowed_principals": ["*"],
            "consumers": {"account_ids": [CONSUMERS[0]]},
        });
        let desired = provider.desired(everyone);
        provider.converge_to(&desired, &[]).await;
        let (vouched, stranger) = (
            provider.connect(CONSUMERS[0]).await,
            provider.connect(CONSUMERS[1]).await,
        );
        let last = provider.converge_to(&desired, &[]).await;
        assert_eq!(provider.state(CONSUMERS[0], &vouched), "available");
        assert_eq!(provider.state(CONSUMERS[1], &stranger), "pendingAcceptance");
        assert!(last.service.message.contains("waits to be accepted by hand"));

        let nobody = provider.desired(json!({"load_balancer": of(&[&a]), "allowed_principals": ["*"]}));
        provider.converge_to(&nobody, &[CONSUMERS[0].to_owned()]).await;
        assert_eq!(provider.state(CONSUMERS[0], &vouched), "rejected");
        assert_eq!(provider.state(CONSUMERS[1], &stranger), "pendingAcceptance");

        let owner = provider.owner.clone();
        let delete = |on_delete| {
            let owner = owner.clone();
            move |seen: &Observed| plan_deletion(&owner, seen, Ok(DeletionPolicy::Delete), on_delete)
        };
        let waits = provider.converge(delete(ConnectionsOnDelete::Wait)).await;
        assert_eq!(waits.service.reason, Reason::InUse);
        assert!(waits.service.message.contains(&stranger), "{}", waits.service.message);
        assert!(provider.converge(delete(ConnectionsOnDelete::Reject)).await.service.ok);
        assert_eq!(provider.state(CONSUMERS[1], &stranger), "rejected");
    });
}

#[test]
fn a_lost_answer_makes_no_second_service_even_after_an_edit() {
    with_provider(async |mut provider| {
        let [a, b] = ["a", "b"].map(|name| provider.load_balancer(name, Type::Network));
        let first = provider.desired(json!({"load_balancer": of(&[&a])}));
        let edited = provider.desired(json!({"load_balancer": of(&[&b])}));
        provider.bound = first.load_balancers.clone();
        let token = client_token(&provider.owner, &provider.resolved, 0);
        let create = |desired: &Desired| {
            let plan = plan(&provider.owner, desired, &Observed::nothing(), PlanContext::default());
            plan.steps.into_iter().next().unwrap()
        };
        let action = "CreateVpcEndpointServiceConfiguration";
        provider.simulator.fault(Fault::once(action, FaultKind::LoseAnswer));
        let lost = provider.ec2.carry_out(&create(&first), &token).await.unwrap_err();
        assert!(lost.outcome_unknown());
        let mismatch = provider.ec2.carry_out(&create(&edited), &token).await.unwrap_err();
        assert_eq!(mismatch.code, "IdempotentParameterMismatch");
        let again = provider.ec2.carry_out(&create(&first), &token).await.unwrap();
        let found = provider.look(None).await;
        let id = &found.service.owned().unwrap().id;
        assert!(matches!(again.value, vpce_core::endpoint_service::Outcome::Created(made) if made.id == *id));
        assert_eq!(provider.simulator.endpoint_services(PROVIDER, REGION).len(), 1);
    });
}

#[test]
fn what_aws_refuses_has_a_class_and_says_what_to_do() {
    with_provider(async |provider| {
        let a = provider.load_balancer("a", Type::Network);
        let gateway = provider.load_balancer("fw", Type::Gateway);
        let token = client_token(&provider.owner, &provider.resolved, 0);
        let create = |arns: &[&String]| Step::Create {
            load_balancer_type: LoadBalancerType::Network,
            load_balancers: arns.iter().map(ToString::to_string).collect(),
            acceptance_required: true,
            address_types: [vpce_core::api::AddressType::Ipv4].into(),
            private_dns_name: None,
            tags: provider.owner.tags(),
        };
        let absent = a.replace("/a/", "/absent/");
        for (arn, class) in [(&absent, Class::NotFound), (&gateway, Class::Invalid)] {
            let error = provider.ec2.carry_out(&create(&[arn]), &token).await.unwrap_err();
            assert_eq!(error.class, class, "{error}");
        }
        let made = provider.ec2.carry_out(&create(&[&a]), &token).await.unwrap();
        let vpce_core::endpoint_service::Outcome::Created(service) = made.value else {
            panic!("it describes what it made");
        };
        assert_eq!(service.state, State::Pending);
        assert!(service.name.ends_with(service.id.as_str()) && !service.zone_ids.is_empty());
        let taken = provider
            .ec2
            .carry_out(&create(&[&a]), "another token")
            .await
            .unwrap_err();
        assert_eq!(taken.class, Class::Invalid);
        let finding = create(&[&a]).refusal(&taken.code, &taken.message).unwrap();
        assert_eq!(finding.reason, Reason::Conflict, "it may pass: {}", finding.message);

        let unknown = Step::Accept(service.id.clone(), ["vpce-0123456789abcdef0".into()].into());
        let error = provider.ec2.carry_out(&unknown, &token).await.unwrap_err();
        assert_eq!(error.class, Class::NotFound, "{error}");
        let gone: EndpointServiceId = "vpce-svc-0123456789abcdef0".into();
        provider
            .ec2
            .carry_out(&Step::Delete(gone.clone()), &token)
            .await
            .unwrap();
        let change = Step::Modify(gone, ServiceChange::AcceptanceRequired(false));
        let error = provider.ec2.carry_out(&change, &token).await.unwrap_err();
        assert_eq!(error.class, Class::NotFound, "{error}");
    });
}

#[test]
fn the_role_that_is_printed_is_allowed_all_of_it_and_nothing_of_others() {
    with_provider(async |mut provider| {
        let policy = tenant_permissions(
            &provider.resolved.role,
            &provider.owner.cluster,
            &Scope::of(&provider.resolved.account),
        );
        let spec = RoleSpec {
            policy: Some(policy.unwrap().to_string()),
            ..RoleSpec::default()
        };
        provider.simulator.add_role(ROLE, spec).unwrap();
        let [a, b] = ["a", "b"].map(|name| provider.load_balancer(name, Type::Network));
        // Another's, of no cluster.
        let administrator = provider.ec2.client.clone();
        let create = administrator.create_vpc_endpoint_service_configuration();
        let theirs = create.network_load_balancer_arns(&b).send().await.unwrap();
        let theirs: EndpointServiceId = theirs.service_configuration.unwrap().service_id.unwrap().into();

        let session = assume(&provider.simulator, ROLE).await;
        provider.ec2 = ec2_with(&provider.simulator, PROVIDER, session);
        let first = provider.desired(json!({
            "load_balancer": of(&[&a]), "tags": {"cost": "1"}, "consumers": {"account_ids": [CONSUMERS[0]]},
        }));
        provider.converge_to(&first, &[]).await;
        let services = provider.simulator.endpoint_services(PROVIDER, REGION);
        let name = &services
            .iter()
            .find(|service| service.load_balancer_arns == [a.clone()])
            .unwrap()
            .name;
        let endpoint = provider.connect_to(name, CONSUMERS[0]).await;
        provider.converge_to(&first, &[]).await;
        assert_eq!(provider.state(CONSUMERS[0], &endpoint), "available");
        let second = provider.desired(json!({"load_balancer": of(&[&a]), "acceptance_required": false}));
        provider.converge_to(&second, &[CONSUMERS[0].to_owned()]).await;
        assert_eq!(provider.state(CONSUMERS[0], &endpoint), "rejected");
        let owner = provider.owner.clone();
        let delete =
            |seen: &Observed| plan_deletion(&owner, seen, Ok(DeletionPolicy::Delete), ConnectionsOnDelete::Wait);
        assert!(provider.converge(delete).await.service.ok);

        let tags = BTreeMap::from([("cost".to_owned(), "1".to_owned())]);
        for step in [
            Step::Modify(theirs.clone(), ServiceChange::AcceptanceRequired(false)),
            Step::Tag(theirs.clone(), tags),
            Step::Delete(theirs),
        ] {
            let error = provider.ec2.carry_out(&step, "token").await.unwrap_err();
            assert_eq!(error.class, Class::Denied, "{step}: {error}");
        }
    });
}
