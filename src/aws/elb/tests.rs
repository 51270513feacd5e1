//! The calls to Elastic Load Balancing, against a simulated one.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parking_lot::Mutex;
use vpce_core::api::AWSAccountSpec;
use vpce_core::endpoint_service::{LoadBalancerService, NETWORK, ServiceLoadBalancers};
use vpce_core::error::Class;
use vpce_core::iam::{Scope, tenant_permissions};
use vpce_core::resolve::Binding;
use vpce_testbed::aws::{
    Config, Fault, FaultKind, LoadBalancerSpec, LoadBalancerState as State, LoadBalancerType as Type, RoleSpec,
    Simulator,
};

use super::simulated::{elb, elb_with};
use super::*;
use crate::aws::ec2::simulated::{self, REGION};

const ACCOUNT: &str = "111111111111";
const ROLE: &str = "arn:aws:iam::111111111111:role/vpce";

fn simulator() -> Simulator {
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
    simulator
}

fn add(simulator: &Simulator, name: &str, kind: Type, tags: &[(&str, &str)]) -> String {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let spec = LoadBalancerSpec {
        kind,
        subnet_ids: vec!["subnet-a".to_owned()],
        tags: tags.collect(),
        ..LoadBalancerSpec::default()
    };
    simulator.add_load_balancer(ACCOUNT, REGION, name, spec).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// The load balancers of these names, with their tags.
async fn described(elb: &Elb, of: &[&str]) -> Vec<ObservedLoadBalancer> {
    let (mut found, next) = elb.describe_load_balancers(&names(of), None).await.unwrap();
    assert_eq!(next, None);
    let arns: Vec<String> = found.iter().map(|one| one.arn.clone()).collect();
    let mut tags: BTreeMap<String, Tags> = elb.describe_tags(&arns).await.unwrap().into_iter().collect();
    for one in &mut found {
        one.tags = tags.remove(&one.arn).unwrap();
    }
    found
}

#[test]
fn a_load_balancer_is_described_with_the_tags_that_prove_whose_it_is() {
    let simulator = simulator();
    let tags = [
        ("Name", "web"),
        ("service.k8s.aws/stack", "shop/web"),
        ("elbv2.k8s.aws/cluster", "west"),
    ];
    let arn = add(&simulator, "k8s-shop-web-1a2b", Type::Network, &tags);
    add(&simulator, "app", Type::Application, &[]);
    add(&simulator, "fw", Type::Gateway, &[]);
    let view = simulator.load_balancers(ACCOUNT, REGION);
    let host_name = view.iter().find(|one| one.arn == arn).unwrap().dns_name.clone();
    simulated::run(simulator.clone(), async {
        let elb = elb(&simulator, ACCOUNT);
        let found = described(&elb, &["k8s-shop-web-1a2b", "app", "fw"]).await;
        let mut types: Vec<&str> = found.iter().map(|one| one.type_.as_str()).collect();
        types.sort_unstable();
        assert_eq!(types, ["application", "gateway", NETWORK]);
        let web = found.iter().find(|one| one.arn == arn).unwrap();
        assert_eq!(web.state, LoadBalancerState::Active);
        assert_eq!(Some(&web.dns_name), host_name.as_ref());
        assert_eq!(web.tags.len(), 2, "the name proves nothing");

        // As the controller of VPCEndpointServices uses it.
        let binding = Binding {
            account: "shop".into(),
            account_id: ACCOUNT.parse().unwrap(),
            region: REGION.into(),
        };
        let service = LoadBalancerService {
            type_: "LoadBalancer".into(),
            host_names: host_name.into_iter().collect(),
        };
        let wanted = ServiceLoadBalancers::of("shop", "web", Some(&service), &binding).unwrap();
        assert_eq!(wanted.names(), ["k8s-shop-web-1a2b".to_owned()].into());
        assert_eq!(wanted.prove(&found, Some("west")), Ok([arn.clone()].into()));
        assert!(wanted.prove(&found, Some("east")).is_err());
        let state = State::Provisioning;
        simulator.set_load_balancer_state(&arn, state).unwrap();
        let found = described(&elb, &["k8s-shop-web-1a2b"]).await;
        assert_eq!(found[0].state, LoadBalancerState::Provisioning);
    });
}

#[test]
fn for_one_that_is_not_there_the_whole_call_fails() {
    let simulator = simulator();
    let arn = add(&simulator, "web", Type::Network, &[]);
    simulated::run(simulator.clone(), async {
        let elb = elb(&simulator, ACCOUNT);
        let error = elb.describe_load_balancers(&names(&["web", "gone"]), None).await;
        let error = error.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (Class::NotFound, "LoadBalancerNotFound")
        );
        assert!(error.to_string().starts_with("DescribeLoadBalancers: "), "{error}");
        let error = elb.describe_tags(&[arn.clone(), format!("{arn}0")]).await.unwrap_err();
        assert_eq!((error.class, error.action), (Class::NotFound, "DescribeTags"));
    });
}

#[test]
fn calls_are_observed_as_those_of_elastic_load_balancing() {
    let simulator = simulator();
    add(&simulator, "web", Type::Network, &[]);
    let action = "DescribeLoadBalancers";
    simulator.fault(Fault::once(
        action,
        FaultKind::refuse(400, "Throttling", "Rate exceeded"),
    ));
    simulated::run(simulator.clone(), async {
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let observer = seen.clone();
        let elb = Elb {
            observer: Arc::new(move |call| observer.lock().push((call.service, call.action, call.error))),
            ..elb(&simulator, ACCOUNT)
        };
        let web = names(&["web"]);
        let error = elb.describe_load_balancers(&web, None).await.unwrap_err();
        assert_eq!(error.class, Class::Throttled);
        elb.describe_load_balancers(&web, None).await.unwrap();
        let service = "elasticloadbalancing";
        let expected = [(service, action, Some(Class::Throttled)), (service, action, None)];
        assert_eq!(*seen.lock(), expected);
    });
}

#[test]
fn the_roles_policy_allows_the_reads_where_endpoint_services_are_allowed() {
    let simulator = simulator();
    let arn = add(&simulator, "web", Type::Network, &[]);
    simulated::run(simulator.clone(), async {
        for allowed in [true, false] {
            let spec = serde_json::json!({"role_arn": ROLE, "allow_endpoint_services": allowed});
            let spec: AWSAccountSpec = serde_json::from_value(spec).unwrap();
            let policy = tenant_permissions(&ROLE.parse().unwrap(), &"c".into(), &Scope::of(&spec));
            let role = RoleSpec {
                policy: Some(policy.unwrap().to_string()),
                ..RoleSpec::default()
            };
            simulator.add_role(ROLE, role).unwrap();
            let elb = elb_with(&simulator, ACCOUNT, simulated::assume(&simulator, ROLE).await);
            let found = elb.describe_load_balancers(&names(&["web"]), None).await;
            let tags = elb.describe_tags(std::slice::from_ref(&arn)).await;
            if allowed {
                assert_eq!((found.unwrap().0.len(), tags.unwrap().len()), (1, 1));
                continue;
            }
            for error in [found.unwrap_err(), tags.unwrap_err()] {
                assert_eq!((error.class, error.code.as_str()), (Class::Denied, "AccessDenied"));
            }
        }
    });
}
