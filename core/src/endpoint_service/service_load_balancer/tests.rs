use serde_json::{Value, json};

use super::*;

const HOST: &str = "k8s-shop-web-0123456789-fedcba9876543210.elb.eu-west-1.amazonaws.com";
const NAME: &str = "k8s-shop-web-0123456789";
const ARN: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/net/k8s-shop-web-0123456789/fedcba9876543210";

fn binding() -> Binding {
    Binding {
        account: "shop".into(),
        account_id: "111122223333".parse().expect("an id"),
        region: "eu-west-1".into(),
    }
}

fn service(host_names: &[&str]) -> LoadBalancerService {
    let ingress: Vec<Value> = host_names.iter().map(|name| json!({"hostname": name})).collect();
    let service = json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    (&serde_json::from_value::<Service>(service).expect("a Service")).into()
}

/// The load balancer of the Service, with these tags.
fn tagged(tags: &[(&str, &str)]) -> ObservedLoadBalancer {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ObservedLoadBalancer {
        arn: ARN.into(),
        name: NAME.into(),
        dns_name: HOST.into(),
        type_: NETWORK.into(),
        state: LoadBalancerState::Active,
        tags: tags.collect(),
    }
}

/// That of the AWS Load Balancer Controller.
fn load_balancer() -> ObservedLoadBalancer {
    tagged(&[("service.k8s.aws/stack", "shop/web"), ("elbv2.k8s.aws/cluster", "west")])
}

fn prove_hosts(
    host_names: &[&str],
    read: &[ObservedLoadBalancer],
    cluster: Option<&str>,
) -> Result<BTreeSet<String>, Finding> {
    let binding = binding();
    let wanted = ServiceLoadBalancers::of("shop", "web", Some(&service(host_names)), &binding)?;
    wanted.prove(read, cluster)
}

fn prove(read: ObservedLoadBalancer, cluster: Option<&str>) -> Result<BTreeSet<String>, Finding> {
    prove_hosts(&[HOST], &[read], cluster)
}

#[track_caller]
fn assert_bad<T: fmt::Debug>(result: Result<T, Finding>, reason: Reason, words: &[&str]) {
    let finding = result.expect_err("it cannot be offered");
    assert!(!finding.ok);
    assert_eq!(finding.reason, reason, "{}", finding.message);
    for word in words.iter().chain(&["shop/web"]) {
        assert!(finding.message.contains(word), "{word}: {}", finding.message);
    }
}

#[test]
fn the_name_is_what_comes_before_the_last_hyphen() {
    for (host_name, name, region, is_network) in [
        (HOST, NAME, "eu-west-1", true),
        (&format!("{HOST}."), NAME, "eu-west-1", true),
        ("a0b1-1a2b.elb.cn-north-1.amazonaws.com.cn", "a0b1", "cn-north-1", true),
        (
            "internal-a0b1-1a2b.elb.us-east-1.amazonaws.com",
            "a0b1",
            "us-east-1",
            true,
        ),
        (
            "internal-k8s-web-1a2b-1234567.us-east-1.elb.amazonaws.com",
            "k8s-web-1a2b",
            "us-east-1",
            false,
        ),
        ("a0b1-1234567.eu-west-1.elb.amazonaws.com", "a0b1", "eu-west-1", false),
    ] {
        let found = HostName::parse(host_name).expect("a load balancer's");
        assert_eq!(
            (found.name.as_str(), found.region.as_str(), found.is_network),
            (name, region, is_network)
        );
    }
    for bad in [
        "",
        "web",
        "web.example.com",
        "10.0.0.7",
        "web.elb.eu-west-1.amazonaws.com",
        "-1a2b.elb.eu-west-1.amazonaws.com",
        "a_b-1a2b.elb.eu-west-1.amazonaws.com",
        "internal--1a2b.elb.eu-west-1.amazonaws.com",
        "a123456789-123456789-123456789-123-1a2b.elb.eu-west-1.amazonaws.com",
        "vpce-1a2b.vpce-svc-1a2b.eu-west-1.vpce.amazonaws.com",
    ] {
        assert_eq!(HostName::parse(bad), None, "{bad}");
    }
}

#[test]
fn what_a_service_says_is_read_from_its_type_and_status() {
    let bare: Service = serde_json::from_value(json!({"spec": {}})).expect("a Service");
    let found = LoadBalancerService::from(&bare);
    assert_eq!((found.type_.as_str(), found.host_names.len()), ("ClusterIP", 0));
    let binding = binding();
    let found = service(&[HOST, HOST]);
    let wanted = ServiceLoadBalancers::of("shop", "web", Some(&found), &binding).expect("named");
    assert_eq!(wanted.names(), [NAME.to_owned()].into());
}

#[test]
fn each_controllers_tag_proves_that_the_load_balancer_is_the_services() {
    let of_each = [
        [("service.k8s.aws/stack", "shop/web"), ("elbv2.k8s.aws/cluster", "west")],
        [
            ("service.eks.amazonaws.com/stack", "shop/web"),
            ("eks:eks-cluster-name", "west"),
        ],
        [
            ("kubernetes.io/service-name", "shop/web"),
            ("kubernetes.io/cluster/west", "owned"),
        ],
    ];
    for tags in of_each {
        assert!(tags.iter().all(|(key, _)| is_proof(key)));
        for cluster in [None, Some("west")] {
            assert_eq!(prove(tagged(&tags), cluster), Ok([ARN.to_owned()].into()), "{tags:?}");
        }
        let why = ["not tagged with the name of this cluster, east"];
        assert_bad(prove(tagged(&tags), Some("east")), Reason::LoadBalancerRefused, &why);
    }
    assert!(!is_proof("Name") && !is_proof("service.k8s.aws/resource"));
}

#[test]
fn the_dns_name_is_compared_ignoring_case() {
    let spelled = ObservedLoadBalancer {
        dns_name: HOST.to_ascii_uppercase(),
        name: NAME.to_ascii_uppercase(),
        ..load_balancer()
    };
    assert_eq!(prove(spelled, None), Ok([ARN.to_owned()].into()));
}

#[test]
fn without_a_service_that_has_a_load_balancer_there_is_nothing_to_offer() {
    let binding = binding();
    let of = |service: Option<&LoadBalancerService>| ServiceLoadBalancers::of("shop", "web", service, &binding);
    let why = ["there is no Service", "spec.load_balancer.service"];
    assert_bad(of(None), Reason::LoadBalancerNotFound, &why);
    let internal = LoadBalancerService {
        type_: "ClusterIP".into(),
        host_names: Vec::new(),
    };
    let why = ["of type ClusterIP", "LoadBalancer"];
    assert_bad(of(Some(&internal)), Reason::LoadBalancerNotFound, &why);
    let why = [
        "no host name yet",
        "AWS Load Balancer Controller",
        "events of the Service",
    ];
    assert_bad(of(Some(&service(&[]))), Reason::LoadBalancerNotReady, &why);
}

#[test]
fn a_host_name_that_no_load_balancer_of_the_region_has_is_refused() {
    let refused = Reason::LoadBalancerRefused;
    let why = ["\"web.example.com\"", "not the DNS name of an AWS load balancer"];
    assert_bad(prove_hosts(&["web.example.com"], &[], None), refused, &why);
    let elsewhere = "web-1a2b.elb.eu-central-1.amazonaws.com";
    let why = ["region eu-central-1", "bound to region eu-west-1", "spec.region"];
    assert_bad(prove_hosts(&[elsewhere], &[], None), refused, &why);
    let many = vec![HOST; MOST_HOST_NAMES * 2];
    assert_bad(prove_hosts(&many, &[], None), refused, &["more than 4"]);
}

#[test]
fn a_load_balancer_of_another_account_is_not_found() {
    let why = ["account 111122223333", "region eu-west-1", HOST, "spec.account"];
    assert_bad(prove_hosts(&[HOST], &[], None), Reason::LoadBalancerNotFound, &why);
    // One of the same name, whose own name is not said.
    let other = ObservedLoadBalancer {
        dns_name: "other-1a2b.elb.eu-west-1.amazonaws.com".into(),
        ..load_balancer()
    };
    let found = prove(other, None);
    assert!(!format!("{found:?}").contains("other-1a2b"));
    assert_bad(found, Reason::LoadBalancerNotFound, &why);
}

#[test]
fn only_a_network_load_balancer_can_be_offered() {
    let refused = Reason::LoadBalancerRefused;
    let classic = "a0b1-1234567.eu-west-1.elb.amazonaws.com";
    let why = ["a Classic or Application Load Balancer", "service.k8s.aws/nlb"];
    assert_bad(prove_hosts(&[classic], &[], None), refused, &why);
    for (type_, what) in [
        ("application", "an Application Load Balancer"),
        ("gateway", "a Gateway Load Balancer"),
        ("quantum", "of type quantum"),
    ] {
        let other = ObservedLoadBalancer {
            name: "a0b1".into(),
            dns_name: classic.into(),
            type_: type_.into(),
            tags: BTreeMap::new(),
            ..load_balancer()
        };
        assert_bad(prove_hosts(&[classic], &[other], None), refused, &[what]);
    }
}

#[test]
fn the_load_balancer_of_another_service_is_refused_whatever_its_state() {
    let of_another = [
        vec![("service.k8s.aws/stack", "shop/api")],
        vec![("service.k8s.aws/stack", "bank/web")],
        vec![("kubernetes.io/service-name", "bank/web")],
        // What names both may have been planted.
        vec![
            ("service.k8s.aws/stack", "bank/web"),
            ("kubernetes.io/service-name", "shop/web"),
        ],
    ];
    for tags in of_another {
        for state in [LoadBalancerState::Active, LoadBalancerState::Provisioning] {
            let other = ObservedLoadBalancer { state, ..tagged(&tags) };
            let found = prove(other, None);
            assert!(!format!("{found:?}").contains("bank"), "{found:?}");
            assert_bad(found, Reason::LoadBalancerRefused, &["that of another Service"]);
        }
    }
    let why = ["none of the tags", "network_load_balancer_arns"];
    let untagged = tagged(&[("elbv2.k8s.aws/cluster", "west")]);
    assert_bad(prove(untagged, None), Reason::LoadBalancerRefused, &why);
}

#[test]
fn of_a_cluster_that_is_set_the_tag_is_needed_and_none_may_name_another() {
    let refused = Reason::LoadBalancerRefused;
    let why = ["west", "elbv2.k8s.aws/cluster", "another cluster"];
    let stack = ("service.k8s.aws/stack", "shop/web");
    assert_bad(prove(tagged(&[stack]), Some("west")), refused, &why);
    let of_both = [
        stack,
        ("elbv2.k8s.aws/cluster", "east"),
        ("kubernetes.io/cluster/west", "shared"),
    ];
    assert_bad(prove(tagged(&of_both), Some("west")), refused, &why);
    assert!(prove(tagged(&of_both), None).is_ok());
}

#[test]
fn a_load_balancer_is_offered_once_it_routes_traffic() {
    use LoadBalancerState as State;
    let of = |state: &str| {
        let state = State::parse(state);
        let of_state = ObservedLoadBalancer {
            state,
            ..load_balancer()
        };
        prove(of_state, Some("west"))
    };
    for state in ["active", "active_impaired"] {
        assert_eq!(State::parse(state).to_string(), state);
        assert!(of(state).is_ok());
    }
    for state in ["provisioning", "resting"] {
        assert_bad(of(state), Reason::LoadBalancerNotReady, &[state, NAME]);
    }
    assert_bad(of("failed"), Reason::LoadBalancerRefused, &["could not create", NAME]);
}

#[test]
fn of_several_load_balancers_all_have_to_be_proven() {
    let second = ObservedLoadBalancer {
        arn: "arn:2".into(),
        name: "second".into(),
        dns_name: "second-1a2b.elb.eu-west-1.amazonaws.com".into(),
        ..load_balancer()
    };
    let hosts = [HOST, &second.dns_name];
    let both = [load_balancer(), second.clone()];
    assert_eq!(prove_hosts(&hosts, &both, None).expect("both").len(), 2);
    let why = ["second-1a2b"];
    assert_bad(
        prove_hosts(&hosts, &both[..1], None),
        Reason::LoadBalancerNotFound,
        &why,
    );
}
