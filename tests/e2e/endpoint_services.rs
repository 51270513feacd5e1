//! VPCEndpointServices: load balancers are offered, consumers are let in, and what is changed in
//! AWS is corrected.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vpce_core::iam::Scope;
use vpce_testbed::aws::{EndpointServiceView, LoadBalancerSpec, LoadBalancerState, LoadBalancerType};

use crate::cluster::{self, Run};
use crate::tenant::Tenant;
use crate::world::{Setup, WITHIN, World, condition, end_of, eventually, id, merged, text};

/// What a tenant offers.
pub(crate) struct Offers<'t, 'w> {
    pub(crate) tenant: &'t Tenant<'w>,
}

impl<'t, 'w> Offers<'t, 'w> {
    /// The tenant's AWSAccount lets it offer all of its load balancers, and its role may.
    pub(crate) fn of(tenant: &'t Tenant<'w>) -> Self {
        tenant.edit_account(json!({"allow_endpoint_services": true, "allowed_load_balancer_arns": ["*"]}));
        let scope = Scope {
            endpoint_services: true,
            ..Scope::default()
        };
        tenant.world.set_role(&tenant.role_arn, &scope);
        Self { tenant }
    }

    /// A Network Load Balancer in two zones.
    pub(crate) fn load_balancer(&self) -> String {
        self.load_balancer_of(LoadBalancerType::Network)
    }

    fn load_balancer_of(&self, kind: LoadBalancerType) -> String {
        let Tenant {
            world,
            account_id,
            region,
            subnets,
            ..
        } = self.tenant;
        let spec = LoadBalancerSpec {
            kind,
            subnet_ids: subnets[..2].to_vec(),
            ..LoadBalancerSpec::default()
        };
        world
            .aws
            .add_load_balancer(account_id, region, &id("nlb"), spec)
            .expect("a load balancer")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", cluster::endpoint_services(&self.tenant.namespace))
    }

    pub(crate) fn try_apply(&self, name: &str, spec: &Value) -> Result<Value, cluster::Refusal> {
        let cluster = &self.tenant.world.cluster;
        let collection = cluster::endpoint_services(&self.tenant.namespace);
        let object = json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpointService",
            "metadata": {"name": name}, "spec": spec,
        });
        match cluster.create(&collection, &object, Run::Real) {
            Err(refusal) if refusal.code == 409 => cluster.set_spec(&self.path(name), spec, Run::Real),
            result => result,
        }
    }

    #[track_caller]
    pub(crate) fn apply(&self, name: &str, spec: &Value) {
        if let Err(refusal) = self.try_apply(name, spec) {
            panic!("{name} is refused: {}", refusal.message);
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.tenant.world.cluster.get(&self.path(name))
    }

    #[track_caller]
    pub(crate) fn eventually<T>(&self, name: &str, what: &str, look: impl FnMut() -> Option<T>) -> T {
        eventually(look).unwrap_or_else(|| {
            let logs = self.tenant.world.operator.logs();
            panic!(
                "waited {WITHIN:?} in vain for {name}: {what}: {:#}\n\nthe operator's log of its account:\n{}",
                self.get(name).unwrap_or_default(),
                end_of(&logs, |line| line.contains(&self.tenant.namespace))
            )
        })
    }

    #[track_caller]
    pub(crate) fn ready(&self, name: &str) -> Value {
        self.eventually(name, "it is Ready", || {
            let object = self.get(name)?;
            condition(&object, "Ready").filter(|ready| ready.status)?;
            Some(object)
        })
    }

    #[track_caller]
    pub(crate) fn not_ready(&self, name: &str, reason: &str) -> String {
        self.eventually(name, &format!("it is not Ready: {reason}"), || {
            let ready = condition(&self.get(name)?, "Ready")?;
            (!ready.status && ready.reason == reason).then_some(ready.message)
        })
    }

    #[track_caller]
    pub(crate) fn gone(&self, name: &str) {
        self.eventually(name, "it is gone", || self.get(name).is_none().then_some(()));
    }

    pub(crate) fn delete(&self, name: &str) {
        self.tenant.world.cluster.delete(&self.path(name));
    }

    pub(crate) fn all(&self) -> Vec<EndpointServiceView> {
        let Tenant {
            world,
            account_id,
            region,
            ..
        } = self.tenant;
        world.aws.endpoint_services(account_id, region)
    }

    #[track_caller]
    pub(crate) fn only(&self) -> EndpointServiceView {
        let [service] = &self.all()[..] else {
            panic!("one endpoint service: {:#?}", self.all());
        };
        service.clone()
    }
}

impl Offers<'_, '_> {
    /// What the AWS Load Balancer Controller makes of a Service of this name, with a load balancer
    /// whose stack is that of another Service if one is given.
    fn service_of(&self, name: &str, stack: Option<&str>) -> String {
        let Tenant {
            world,
            account_id,
            region,
            namespace,
            subnets,
            ..
        } = self.tenant;
        let own = format!("{namespace}/{name}");
        let stack = stack.unwrap_or(&own).to_owned();
        let spec = LoadBalancerSpec {
            subnet_ids: subnets[..2].to_vec(),
            tags: [("service.k8s.aws/stack".to_owned(), stack)].into(),
            ..LoadBalancerSpec::default()
        };
        let arn = world.aws.add_load_balancer(account_id, region, &id("k8s"), spec);
        let arn = arn.expect("a load balancer");
        let collection = cluster::services(namespace);
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {
                "type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb", "ports": [{"port": 443}],
            },
        });
        let created = world.cluster.create(&collection, &service, Run::Real);
        created.unwrap_or_else(|refusal| panic!("{}", refusal.message));
        self.write_host_name(name, &arn);
        arn
    }

    /// Writes the DNS name of a load balancer into the status of a Service.
    fn write_host_name(&self, service: &str, arn: &str) {
        let Tenant {
            world,
            account_id,
            region,
            namespace,
            ..
        } = self.tenant;
        let all = world.aws.load_balancers(account_id, region);
        let found = all.iter().find(|one| one.arn == arn).expect("it is there");
        let status = json!({"status": {"loadBalancer": {"ingress": [{"hostname": found.dns_name}]}}});
        let path = format!("{}/{service}/status", cluster::services(namespace));
        let written = world.cluster.merge(&path, &status);
        written.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    }
}

/// A spec that offers these load balancers, with more fields or others.
pub(crate) fn offering(arns: &[&String], changes: Value) -> Value {
    merged(json!({"load_balancer": {"network_load_balancer_arns": arns}}), changes)
}

/// The root of an AWS account.
pub(crate) fn root(account_id: &str) -> String {
    format!("arn:aws:iam::{account_id}:root")
}

#[test]
fn a_load_balancer_is_offered_as_the_spec_says_changed_in_place_and_goes_with_the_object() {
    let tenant = World::shared().tenant("offers");
    let offers = Offers::of(&tenant);
    let (one, two) = (offers.load_balancer(), offers.load_balancer());
    let consumers = json!({"account_ids": ["222222222222"]});
    offers.apply(
        "web",
        &offering(&[&one], json!({"consumers": consumers, "tags": {"cost": "7"}})),
    );
    let object = offers.ready("web");
    let made = offers.only();
    assert_eq!(made.load_balancer_arns, std::slice::from_ref(&one));
    assert_eq!(made.principals, [root("222222222222")]);
    assert!(made.acceptance_required);
    let tag = |key: &str| made.tags.get(key).map(String::as_str);
    assert_eq!(
        (tag("cost"), tag("Name"), tag("silvermullet.com/kind")),
        (
            Some("7"),
            Some(format!("web-{}", tenant.namespace).as_str()),
            Some("VPCEndpointService")
        )
    );
    let status = &object["status"];
    assert_eq!(status["service_id"], made.id.as_str());
    assert_eq!(status["service_name"], made.name.as_str());
    assert_eq!(status["state"], "Available");
    assert_eq!(status["load_balancer_arns"], json!([one]));
    assert_eq!(status["zone_ids"].as_array().map(Vec::len), Some(2));
    for kind in ["AccountResolved", "LoadBalancerReady", "ServiceAvailable"] {
        assert!(condition(&object, kind).expect("a condition").status, "{kind}");
    }
    let account = tenant.world.aws_account(&tenant.account);
    assert_eq!(account.expect("it is there")["status"]["endpoints"], 0);
    tenant.world.eventually("the AWSAccount counts it", || {
        let account = tenant.world.aws_account(&tenant.account)?;
        (account["status"]["endpoint_services"] == 1).then_some(())
    });

    let changes = json!({
        "acceptance_required": false, "allowed_principals": [root("333333333333")], "tags": {"team": "web"},
    });
    offers.apply("web", &offering(&[&two], changes));
    offers.ready("web");
    let changed = offers.only();
    assert_eq!(
        (changed.id.as_str(), changed.load_balancer_arns.as_slice()),
        (made.id.as_str(), &[two][..])
    );
    assert_eq!(changed.principals, [root("333333333333")]);
    assert!(!changed.acceptance_required);
    assert!(changed.tags.contains_key("team") && !changed.tags.contains_key("cost"));

    offers.delete("web");
    offers.gone("web");
    assert_eq!(offers.all(), []);
    tenant.world.eventually("the AWSAccount counts none", || {
        let account = tenant.world.aws_account(&tenant.account)?;
        (account["status"]["endpoint_services"] == 0).then_some(())
    });
}

#[test]
fn gateway_load_balancers_are_offered_too() {
    let tenant = World::shared().tenant("gateways");
    let offers = Offers::of(&tenant);
    let arn = offers.load_balancer_of(LoadBalancerType::Gateway);
    offers.apply("fw", &json!({"load_balancer": {"gateway_load_balancer_arns": [arn]}}));
    offers.ready("fw");
    assert_eq!(offers.only().load_balancer_arns, [arn]);
    offers.delete("fw");
    offers.gone("fw");
}

#[test]
fn what_is_changed_in_aws_is_corrected_and_what_is_deleted_is_created_again_under_another_name() {
    let tenant = World::shared().tenant("drifts");
    let offers = Offers::of(&tenant);
    let arn = offers.load_balancer();
    let spec = offering(&[&arn], json!({"allowed_principals": [root("222222222222")]}));
    offers.apply("web", &spec);
    offers.ready("web");
    let before = offers.only();
    let (aws, account, region) = (&tenant.world.aws, &tenant.account_id, &tenant.region);
    aws.set_allowed_principals(account, region, &before.id, &[&root("444444444444")])
        .expect("it is there");
    aws.set_acceptance_required(account, region, &before.id, false)
        .expect("it is there");
    offers.eventually("web", "it is as before", || {
        let now = offers.only();
        (now == before).then_some(())
    });

    aws.delete_endpoint_service_behind(account, region, &before.id)
        .expect("it is there");
    offers.eventually("web", "another takes its place", || {
        let object = offers.get("web")?;
        let id = text(&object["status"]["service_id"]);
        let is_ready = condition(&object, "Ready")?.status;
        (is_ready && id != before.id && !id.is_empty()).then_some(())
    });
    assert_eq!(offers.only().load_balancer_arns, [arn]);
}

#[test]
fn a_consumer_in_the_cluster_is_accepted_and_one_that_is_taken_away_is_rejected() {
    let world = World::shared();
    let (provider, consumer) = (world.tenant("provider"), world.tenant("consumer"));
    let offers = Offers::of(&provider);
    let arn = offers.load_balancer();
    let spec = |accounts: &[&String]| offering(&[&arn], json!({"consumers": {"account_ids": accounts}}));
    offers.apply("web", &spec(&[&consumer.account_id]));
    let service = text(&offers.ready("web")["status"]["service_name"]);

    consumer.apply("web", consumer.spec(json!({"vpc_endpoint_service_id": service})));
    consumer.ready("web");
    let connections = |wanted: Value| {
        offers.eventually("web", "its status counts the connections", || {
            let status = offers.get("web")?["status"]["connections"].clone();
            (status["available"] == wanted["available"] && status["rejected"] == wanted["rejected"]).then_some(status)
        })
    };
    let counted = connections(json!({"available": 1, "rejected": 0}));
    assert_eq!(counted["first"][0]["owner"], consumer.account_id.as_str());
    assert_eq!(counted["first"][0]["vpc_endpoint_id"], consumer.only().id.as_str());

    offers.apply("web", &spec(&[]));
    consumer.not_ready("web", "Rejected");
    connections(json!({"available": 0, "rejected": 1}));
    consumer.delete("web");
    consumer.gone("web");
    offers.delete("web");
    offers.gone("web");
}

#[test]
fn an_endpoint_that_no_consumer_account_vouches_for_is_left_waiting() {
    let world = World::shared();
    let (provider, consumer) = (world.tenant("provider"), world.tenant("stranger"));
    let offers = Offers::of(&provider);
    let arn = offers.load_balancer();
    let principals = json!({"allowed_principals": [root(&consumer.account_id)]});
    offers.apply("web", &offering(&[&arn], principals));
    let service = text(&offers.ready("web")["status"]["service_name"]);
    consumer.apply("web", consumer.spec(json!({"vpc_endpoint_service_id": service})));
    consumer.not_ready("web", "PendingAcceptance");
    let waiting = offers.eventually("web", "it says that one waits", || {
        let object = offers.get("web")?;
        (object["status"]["connections"]["pending_acceptance"] == 1).then_some(object)
    });
    let ready = condition(&waiting, "Ready").expect("a condition");
    assert!(
        ready.status && ready.message.contains("waits to be accepted"),
        "{}",
        ready.message
    );
    assert!(!provider.writes().contains(&"AcceptVpcEndpointConnections".to_owned()));

    // While an endpoint wants to connect, the service stays, unless it is to reject them.
    offers.delete("web");
    let message = offers.not_ready("web", "InUse");
    assert!(message.contains(&consumer.only().id), "{message}");
    let rejects = json!({"spec": {"on_delete": "Reject"}});
    let path = offers.path("web");
    world.cluster.merge(&path, &rejects).expect("an edit");
    offers.gone("web");
    assert_eq!(offers.all(), []);
}

#[test]
fn nothing_is_offered_that_the_guardrails_do_not_allow() {
    let tenant = World::shared().tenant("guards");
    let offers = Offers::of(&tenant);
    let arn = offers.load_balancer();
    tenant.edit_account(json!({"allow_endpoint_services": null, "allowed_load_balancer_arns": null}));
    offers.apply("web", &offering(&[&arn], json!({"allowed_principals": ["*"]})));
    let says = |field: &str| {
        offers.eventually("web", field, || {
            let ready = condition(&offers.get("web")?, "Ready")?;
            (ready.reason == "NotAllowed" && ready.message.contains(field)).then_some(())
        });
        assert_eq!(offers.all(), []);
    };
    says("allow_endpoint_services");
    tenant.edit_account(json!({"allow_endpoint_services": true}));
    says("allowed_load_balancer_arns");
    tenant.edit_account(json!({"allowed_load_balancer_arns": [format!("{arn}x")]}));
    says("allowed_load_balancer_arns");
    tenant.edit_account(json!({"allowed_load_balancer_arns": [arn]}));
    says("allow_any_principal");
    tenant.edit_account(json!({"allow_any_principal": true}));
    offers.ready("web");
    assert_eq!(offers.only().principals, ["*"]);
    // What is there stays as it is when the guardrails are tightened.
    tenant.edit_account(json!({"allow_any_principal": null}));
    offers.eventually("web", "it is frozen", || {
        let object = offers.get("web")?;
        let account = condition(&object, "AccountResolved")?;
        (account.reason == "NotAllowed").then_some(())
    });
    assert_eq!(offers.only().principals, ["*"]);
}

#[test]
fn bad_load_balancers_are_told_and_taken_once_they_are_right() {
    let world = World::shared();
    let (tenant, other) = (world.tenant("bad"), world.tenant("other"));
    let offers = Offers::of(&tenant);
    let theirs = Offers::of(&other).load_balancer();
    offers.apply("web", &offering(&[&theirs], json!({})));
    let message = offers.not_ready("web", "InvalidSpec");
    assert!(message.contains(&other.account_id), "{message}");

    // In use by another endpoint service.
    let (taken, free) = (offers.load_balancer(), offers.load_balancer());
    offers.apply("first", &offering(&[&taken], json!({})));
    offers.ready("first");
    offers.apply("web", &offering(&[&taken], json!({})));
    let message = offers.not_ready("web", "Conflict");
    assert!(message.contains("load balancer"), "{message}");
    assert_eq!(offers.all().len(), 1);
    // Edited before there is an endpoint service, it is bound again.
    offers.apply("web", &offering(&[&free], json!({})));
    offers.ready("web");
    assert_eq!(offers.all().len(), 2);
    // The type is fixed from then on.
    let gateway = offers.load_balancer_of(LoadBalancerType::Gateway);
    let refusal = offers
        .try_apply(
            "web",
            &json!({"load_balancer": {"gateway_load_balancer_arns": [gateway]}}),
        )
        .expect_err("it is fixed");
    assert!(
        refusal.message.contains("status.load_balancer_type"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_service_that_is_retained_loses_its_owner_and_a_suspended_account_is_left_alone() {
    let tenant = World::shared().tenant("retains");
    let offers = Offers::of(&tenant);
    tenant.edit_account(json!({"allow_retain": true}));
    let arn = offers.load_balancer();
    offers.apply("web", &offering(&[&arn], json!({"deletion_policy": "Retain"})));
    offers.ready("web");
    tenant.edit_account(json!({"suspended": true}));
    offers.eventually("web", "it says so", || {
        let ready = condition(&offers.get("web")?, "Ready")?;
        (ready.status && ready.reason == "AccountSuspended").then_some(())
    });
    let before = offers.only();
    offers.apply(
        "web",
        &offering(
            &[&arn],
            json!({"deletion_policy": "Retain", "acceptance_required": false}),
        ),
    );
    let message = offers.not_ready("web", "AccountSuspended");
    assert!(message.contains("set acceptance_required to false"), "{message}");
    assert_eq!(offers.only(), before);
    tenant.edit_account(json!({"suspended": null}));
    offers.ready("web");
    offers.delete("web");
    offers.gone("web");
    let left = offers.only();
    let ours: BTreeMap<_, _> = left
        .tags
        .iter()
        .filter(|(key, _)| key.starts_with("silvermullet.com/"))
        .collect();
    assert_eq!(
        ours.keys().map(|key| key.as_str()).collect::<Vec<_>>(),
        ["silvermullet.com/retained"]
    );
}

#[test]
fn a_role_that_may_not_offer_is_told_with_the_action() {
    let tenant = World::shared().tenant("denied");
    let offers = Offers::of(&tenant);
    tenant.world.set_role(&tenant.role_arn, &Scope::default());
    offers.apply("web", &offering(&[&offers.load_balancer()], json!({})));
    let message = offers.not_ready("web", "Denied");
    assert!(
        message.contains("ec2:DescribeVpcEndpointServiceConfigurations") && message.contains(&tenant.role_arn),
        "{message}"
    );
    let scope = Scope {
        endpoint_services: true,
        ..Scope::default()
    };
    tenant.world.set_role(&tenant.role_arn, &scope);
    offers.ready("web");
}

#[test]
fn from_nothing_to_available_and_at_rest_few_calls_are_made_and_none_after_a_restart_writes() {
    let world = World::own(Setup::fast().value("settings.resyncIntervalSeconds", "3600"));
    let tenant = world.tenant("figures");
    let offers = Offers::of(&tenant);
    let arn = offers.load_balancer();
    let active = world.aws.set_load_balancer_state(&arn, LoadBalancerState::Active);
    active.expect("it is there");
    let consumers = json!({"consumers": {"account_ids": ["222222222222"]}});
    offers.apply("web", &offering(&[&arn], consumers));
    offers.ready("web");
    assert_eq!(
        tenant.writes(),
        [
            "CreateVpcEndpointServiceConfiguration",
            "ModifyVpcEndpointServicePermissions"
        ]
    );
    assert!(world.operator.terminate().expect("it was running").success());
    world.aws.clear_calls();
    world.operator.start().expect("it starts again");
    tenant.world.eventually("it looks", || {
        let looked = tenant.calls();
        looked
            .iter()
            .any(|call| call.action == "DescribeVpcEndpointServicePermissions")
            .then_some(())
    });
    offers.ready("web");
    let of_services = |action: &str| tenant.calls().iter().filter(|call| call.action == action).count();
    for action in [
        "DescribeVpcEndpointServiceConfigurations",
        "DescribeVpcEndpointConnections",
        "DescribeVpcEndpointServicePermissions",
    ] {
        assert_eq!(of_services(action), 1, "{action}");
    }
    assert_eq!(tenant.writes(), [""; 0]);
}

#[test]
fn the_load_balancer_of_a_service_is_offered_once_it_is_there_and_no_other() {
    let tenant = World::shared().tenant("from-service");
    let offers = Offers::of(&tenant);
    // No guardrail has to name it: that it is the namespace's own is proven.
    tenant.edit_account(json!({"allowed_load_balancer_arns": null}));
    offers.apply("web", &json!({"load_balancer": {"service": {"name": "front"}}}));
    let message = offers.not_ready("web", "LoadBalancerNotFound");
    assert!(message.contains(&format!("{}/front", tenant.namespace)), "{message}");
    let arn = offers.service_of("front", None);
    let object = offers.ready("web");
    assert_eq!(offers.only().load_balancer_arns, std::slice::from_ref(&arn));
    assert_eq!(object["status"]["load_balancer_arns"], json!([arn]));

    // Who may write the status of a Service publishes no load balancer of another one.
    let theirs = offers.service_of("back", None);
    offers.write_host_name("front", &theirs);
    let message = offers.not_ready("web", "LoadBalancerRefused");
    assert!(message.contains("another Service"), "{message}");
    let there = offers.only().load_balancer_arns;
    assert_eq!(there, std::slice::from_ref(&arn), "what it has stays");
    offers.write_host_name("front", &arn);
    offers.ready("web");
    offers.apply("stolen", &json!({"load_balancer": {"service": {"name": "forged"}}}));
    offers.service_of("forged", Some("another-namespace/front"));
    offers.not_ready("stolen", "LoadBalancerRefused");
    assert_eq!(offers.all().len(), 1);
}

#[test]
fn a_service_that_is_deleted_first_is_told_and_nothing_is_destroyed_for_it() {
    let tenant = World::shared().tenant("service-first");
    let offers = Offers::of(&tenant);
    let arn = offers.service_of("front", None);
    offers.apply("web", &json!({"load_balancer": {"service": {"name": "front"}}}));
    offers.ready("web");
    // As the load balancer's controller does, which waits until AWS lets it delete that.
    let path = format!("{}/front", cluster::services(&tenant.namespace));
    let cluster = &tenant.world.cluster;
    let hold = json!({"metadata": {"finalizers": ["service.k8s.aws/resources"]}});
    cluster.merge(&path, &hold).expect("an edit");
    cluster.delete(&path);
    let message = offers.not_ready("web", "InUse");
    assert!(message.contains("is being deleted"), "{message}");
    assert_eq!(offers.only().load_balancer_arns, [arn]);
    offers.eventually("web", "an event tells it on the Service", || {
        let events: Vec<Value> = cluster.list(&cluster::events(&tenant.namespace));
        let told = events.iter().any(|event| {
            event["regarding"]["kind"] == "Service"
                && event["regarding"]["name"] == "front"
                && event["reason"] == "InUse"
        });
        told.then_some(())
    });
    offers.delete("web");
    offers.gone("web");
    assert_eq!(offers.all(), []);
    cluster
        .merge(&path, &json!({"metadata": {"finalizers": null}}))
        .expect("an edit");
}

#[test]
fn services_without_a_network_load_balancer_are_told_what_they_lack() {
    let world = World::own(Setup::fast().value("settings.clusterName", "blue"));
    let tenant = world.tenant("lacks");
    let offers = Offers::of(&tenant);
    offers.apply("web", &json!({"load_balancer": {"service": {"name": "front"}}}));
    offers.not_ready("web", "LoadBalancerNotFound");
    let collection = cluster::services(&tenant.namespace);
    let service = |type_: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"},
            "spec": {"type": type_, "ports": [{"port": 443}]},
        })
    };
    let made = world.cluster.create(&collection, &service("ClusterIP"), Run::Real);
    made.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let says = |reason: &str, words: &str| {
        offers.eventually("web", words, || {
            let ready = condition(&offers.get("web")?, "Ready")?;
            (ready.reason == reason && ready.message.contains(words)).then_some(())
        });
    };
    says("LoadBalancerNotFound", "ClusterIP");
    let path = format!("{collection}/front");
    let type_ = json!({"spec": {"type": "LoadBalancer"}});
    world.cluster.merge(&path, &type_).expect("an edit");
    says("LoadBalancerNotReady", "no host name");
    world.cluster.delete(&path);
    says("LoadBalancerNotFound", "there is no Service");
    let arn = offers.service_of("front", None);
    says("LoadBalancerRefused", "blue");
    let tags = [
        ("service.k8s.aws/stack", format!("{}/front", tenant.namespace)),
        ("elbv2.k8s.aws/cluster", "blue".to_owned()),
    ];
    let tags = tags.map(|(key, value)| (key.to_owned(), value)).into();
    world.aws.set_load_balancer_tags(&arn, tags).expect("it is there");
    world
        .aws
        .set_load_balancer_state(&arn, LoadBalancerState::Provisioning)
        .expect("it is there");
    // The tags are read again at a resync.
    says("LoadBalancerNotReady", "provisioning");
    world
        .aws
        .set_load_balancer_state(&arn, LoadBalancerState::Active)
        .expect("it is there");
    offers.ready("web");
    assert_eq!(offers.only().load_balancer_arns, [arn]);
}

/// A VPCEndpoint that names a VPCEndpointService.
fn naming(consumer: &Tenant<'_>, provider: &Tenant<'_>, name: &str) -> Value {
    let reference = json!({"namespace": provider.namespace, "name": name});
    consumer.spec(json!({"vpc_endpoint_service_id": null, "vpc_endpoint_service_ref": reference}))
}

#[test]
fn the_two_ends_find_each_other_by_name_and_part_when_a_namespace_is_taken_away() {
    let world = World::shared();
    let (provider, consumer) = (world.tenant("names-provider"), world.tenant("names-consumer"));
    let offers = Offers::of(&provider);
    let arn = offers.load_balancer();
    // In whatever order they are applied.
    consumer.apply("db", naming(&consumer, &provider, "web"));
    let message = consumer.not_ready("db", "NotOffered");
    assert!(message.contains(&format!("{}/web", provider.namespace)), "{message}");
    offers.apply("web", &offering(&[&arn], json!({})));
    offers.ready("web");
    consumer.not_ready("db", "NotOffered");
    let lets_in = |namespaces: &[&String]| {
        offers.apply(
            "web",
            &offering(&[&arn], json!({"consumers": {"namespaces": namespaces}})),
        );
    };
    lets_in(&[&consumer.namespace]);
    let object = consumer.ready("db");
    assert_eq!(object["status"]["vpc_endpoint_service_id"], offers.only().name.as_str());
    assert_eq!(offers.only().principals, [root(&consumer.account_id)]);
    let refused: Vec<String> = consumer
        .calls()
        .iter()
        .filter(|call| call.mutating() && call.result != "ok")
        .map(|call| format!("{}: {}", call.action, call.result))
        .collect();
    assert_eq!(refused, [""; 0]);
    offers.eventually("web", "an event tells of it", || {
        let events: Vec<Value> = world.cluster.list(&cluster::events(&provider.namespace));
        let told = events.iter().any(|event| event["reason"] == "ConnectionsAccepted");
        told.then_some(())
    });

    // An endpoint of the same account that no VPCEndpoint stands for is not accepted with it.
    let service = offers.only().name;
    consumer.apply("by-hand", consumer.spec(json!({"vpc_endpoint_service_id": service})));
    consumer.not_ready("by-hand", "PendingAcceptance");
    offers.ready("web");
    consumer.not_ready("by-hand", "PendingAcceptance");
    consumer.delete("by-hand");
    consumer.gone("by-hand");

    lets_in(&[]);
    consumer.not_ready("db", "Rejected");
    offers.eventually("web", "the account is not allowed any more", || {
        offers.only().principals.is_empty().then_some(())
    });
    consumer.delete("db");
    consumer.gone("db");
    offers.delete("web");
    offers.gone("web");
}

#[test]
fn who_lies_in_a_status_lets_no_endpoint_of_others_in() {
    let world = World::shared();
    let (provider, liar, stranger) = (world.tenant("lied-to"), world.tenant("liar"), world.tenant("waits"));
    let offers = Offers::of(&provider);
    let arn = offers.load_balancer();
    let spec = json!({
        "allowed_principals": [root(&stranger.account_id)],
        "consumers": {"namespaces": [liar.namespace]},
    });
    offers.apply("web", &offering(&[&arn], spec));
    let service = text(&offers.ready("web")["status"]["service_name"]);
    stranger.apply("db", stranger.spec(json!({"vpc_endpoint_service_id": service})));
    stranger.not_ready("db", "PendingAcceptance");
    let theirs = stranger.only().id;
    // The AWSAccount leads nowhere, so that the operator leaves the object alone.
    liar.edit_account(json!({"suspended": true}));
    liar.apply("db", naming(&liar, &provider, "web"));
    liar.not_ready("db", "AccountSuspended");
    liar.merge_status(
        "db",
        json!({
            "account": {"name": stranger.account, "account_id": stranger.account_id}, "region": stranger.region,
            "vpc_endpoint_id": theirs, "vpc_endpoint_service_id": service, "state": "pendingAcceptance",
        }),
    );
    let path = offers.path("web");
    for number in 0..3 {
        let asked = json!({"metadata": {"annotations": {"silvermullet.com/reconcile-at": number.to_string()}}});
        world.cluster.merge(&path, &asked).expect("an edit");
        let before = provider.calls().len();
        offers.eventually("web", "it is reconciled", || {
            let now = provider.calls();
            let read = |call: &vpce_testbed::aws::Call| call.action == "DescribeVpcEndpointConnections";
            now[before..].iter().any(read).then_some(())
        });
    }
    stranger.not_ready("db", "PendingAcceptance");
    assert!(!provider.writes().contains(&"AcceptVpcEndpointConnections".to_owned()));
    assert_eq!(offers.only().principals, [root(&stranger.account_id)]);
}

#[test]
fn a_private_dns_name_is_verified_by_the_record_that_the_status_has_and_may_be_lost_again() {
    let world = World::shared();
    let (provider, consumer) = (world.tenant("named"), world.tenant("by-name"));
    let offers = Offers::of(&provider);
    let arn = offers.load_balancer();
    let named = |name: Value| {
        let consumers = json!({"account_ids": [consumer.account_id]});
        offering(&[&arn], json!({"private_dns_name": name, "consumers": consumers}))
    };
    offers.apply("web", &named(json!("web.example.com")));
    let message = offers.not_ready("web", "NotAllowed");
    assert!(message.contains("allowed_dns_names"), "{message}");
    provider.edit_account(json!({"allowed_dns_names": ["*.example.com"]}));
    let message = offers.not_ready("web", "PrivateDNSNotVerified");
    let status = offers.get("web").expect("it is there")["status"]["private_dns"].clone();
    let (record, value) = (text(&status["record_name"]), text(&status["record_value"]));
    assert!(
        record.ends_with(".web.example.com") && value.starts_with("vpce:"),
        "{status}"
    );
    assert!(message.contains(&record) && message.contains(&value), "{message}");
    world.aws.publish_txt_record(&record, &value);
    let object = offers.ready("web");
    assert_eq!(object["status"]["private_dns"]["state"], "verified");
    assert!(condition(&object, "PrivateDNSVerified").expect("a condition").status);

    // Consumers may turn on private DNS from then on.
    consumer.edit_account(json!({"allow_private_dns": true}));
    world.add_role_with_private_dns(&consumer.role_arn);
    let service = text(&object["status"]["service_name"]);
    consumer.apply(
        "web",
        consumer.spec(json!({"vpc_endpoint_service_id": service, "private_dns_enabled": true})),
    );
    consumer.ready("web");

    world.aws.remove_txt_record(&record, &value).expect("it was published");
    let id = offers.only().id;
    let recheck = world
        .aws
        .recheck_private_dns_name(&provider.account_id, &provider.region, &id);
    recheck.expect("it has one");
    offers.not_ready("web", "PrivateDNSNotVerified");
    offers.apply("web", &named(Value::Null));
    let object = offers.ready("web");
    assert_eq!(offers.only().private_dns_name, None);
    assert!(condition(&object, "PrivateDNSVerified").is_none());
}
