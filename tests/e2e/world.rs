//! The world of a test: a cluster, a simulated AWS and the operator between them; and tenants, which keep tests that share a world apart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use vpce_core::iam::{self, Passed, Scope, Trust};
use vpce_core::tags::Clusters;
use vpce_testbed::aws::{Call, Config, EndpointView, GroupView, RoleSpec, ServiceSpec, Simulator};
use vpce_testbed::operator::{Aws, Operator, Options};

use crate::cluster::{self, ACCOUNTS, Cluster, NAMESPACES, Refusal, Run};

/// Generous, since it is only reached where something is wrong: the machine may be busy with a build.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOG_LINES: usize = 30;
/// How each message starts that says that changes are paused while the endpoint serves.
const KEEPS_SERVING: &str = "the endpoint keeps serving; changes are paused until ";
const SOURCE_IDENTITY: &str = "settings.sourceIdentity";
/// A cluster with the chart installed, a simulated AWS and a running operator. All roles have the policies that `vpce-operator iam-policy` prints for them, where a test does not say otherwise.
pub(crate) struct World {
    // Dropped in this order: the operator ends while what it talks to is still there.
    pub(crate) operator: Operator,
    pub(crate) aws: Simulator,
    pub(crate) cluster: Cluster,
    cluster_id: String,
    partition: String,
    sends_source_identity: bool,
}

/// How a world behaves.
#[derive(Clone)]
pub(crate) struct Setup {
    /// How the simulated AWS does.
    pub(crate) aws: Config,
    /// Values of the chart, for `helm --set`.
    pub(crate) values: Vec<(String, String)>,
    /// Environment of the operator beside what its Deployment says.
    pub(crate) env: Vec<(String, String)>,
}

impl Setup {
    /// As fast as can be, and nobody is throttled.
    pub(crate) fn fast() -> Self {
        Self {
            aws: Config {
                pending_seconds: 0.5,
                modify_seconds: 0.3,
                deleting_seconds: 0.5,
                eni_release_seconds: 0.5,
                throttle: false,
                ..Config::default()
            },
            values: pairs(&[
                ("settings.resyncIntervalSeconds", "5"),
                ("settings.settleSeconds", "1"),
                ("settings.refusedRetrySeconds", "2"),
                ("settings.accountProbeIntervalSeconds", "30"),
                ("settings.awsLimits.*", "1000/1000"),
                ("settings.logFormat", "text"),
                ("settings.logLevel", "info\\,vpce_operator=debug"),
            ]),
            // No integer, which is all that `helm --set` can say.
            env: pairs(&[("VPCE_POLL_INTERVAL_SECONDS", "0.5")]),
        }
    }

    /// The same in a partition of AWS, where the operator then is too.
    pub(crate) fn in_partition(mut self, partition: &str) -> Self {
        let Config { partition, regions, .. } = Config::of_partition(partition);
        self.env.push(("AWS_REGION".to_owned(), home(&partition).to_owned()));
        self.aws = Config {
            partition,
            regions,
            ..self.aws
        };
        self
    }

    /// With an operator that sends a source identity, and policies that let it.
    pub(crate) fn with_source_identity(self) -> Self {
        self.value(SOURCE_IDENTITY, "true")
    }

    /// With this value of the chart.
    pub(crate) fn value(mut self, name: &str, value: &str) -> Self {
        self.values.push((name.to_owned(), value.to_owned())); // the last one counts
        self
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

impl World {
    /// The one that tests share which neither stop the operator nor count the calls of others.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<World, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::start(Setup::fast()).map_err(|error| format!("{error:#}")))
            .as_ref()
            .unwrap_or_else(|error| panic!("the shared world does not start: {error}"))
    }

    /// One of a test's own.
    pub(crate) fn own(setup: Setup) -> Self {
        Self::start(setup).expect("the world starts")
    }

    fn start(setup: Setup) -> anyhow::Result<Self> {
        Self::on(Cluster::start()?, setup)
    }

    /// One on a cluster that has been prepared.
    pub(crate) fn on(cluster: Cluster, setup: Setup) -> anyhow::Result<Self> {
        let aws = Simulator::start(setup.aws.clone())?;
        Self::install(cluster, aws, setup)
    }

    /// Another cluster in front of the same simulated AWS, which stays as it is.
    pub(crate) fn beside(other: &Self, setup: Setup) -> Self {
        let world = Cluster::start().and_then(|cluster| Self::install(cluster, other.aws.clone(), setup));
        world.expect("the world starts")
    }

    fn install(cluster: Cluster, aws: Simulator, setup: Setup) -> anyhow::Result<Self> {
        let partition = setup.aws.partition;
        let sends_source_identity = setup
            .values
            .iter()
            .any(|(name, value)| name == SOURCE_IDENTITY && value == "true");
        let roles = format!("arn:{partition}:iam::*:role/vpce-operator*").parse()?;
        let passed = Passed {
            tags: false,
            source_identity: sends_source_identity,
        };
        let base = iam::base_permissions(&[roles], passed)?;
        aws.set_base_policy(Some(base.to_string()))?;
        let system = cluster.get(&format!("{NAMESPACES}/kube-system"));
        let system = system.context("there is no namespace kube-system")?;
        let given = setup.values.iter().rfind(|(name, _)| name == "settings.clusterId");
        let cluster_id = given.map_or_else(|| text(&system["metadata"]["uid"]), |(_, id)| id.clone());
        let options = Options {
            binary: PathBuf::from(env!("CARGO_BIN_EXE_vpce-operator")),
            values: setup.values,
            env: setup.env,
        };
        let operator = Operator::install(&cluster.plane, &Aws::from(&aws), options)?;
        Ok(Self {
            operator,
            aws,
            cluster,
            cluster_id,
            partition,
            sends_source_identity,
        })
    }

    /// What names the cluster in tags and policies.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// A role as an account's owner makes it: it may do what is printed for it, and lets in nobody but the operator.
    pub(crate) fn role(&self, arn: &str, external_id: Option<&str>) -> RoleSpec {
        self.role_for(arn, external_id, &BTreeMap::new())
    }

    /// Such a role for sessions with tags.
    pub(crate) fn role_for(
        &self,
        arn: &str,
        external_id: Option<&str>,
        session_tags: &BTreeMap<String, String>,
    ) -> RoleSpec {
        let described = iam::Tenant {
            role: arn.parse().expect("the ARN of a role"),
            cluster: self.cluster_id.as_str().into(),
            scope: Scope::default(),
            trust: Trust {
                base: self.aws.base_arn().parse().expect("an identity"),
                external_id: external_id.map(str::to_owned),
                session_tags: session_tags.clone(),
                base_is_tagged: false,
                source_identity: self.sends_source_identity,
            },
        };
        let policies = iam::tenant(&described).expect("policies");
        RoleSpec {
            policy: Some(policies.permissions.to_string()),
            trust_policy: Some(policies.trust.to_string()),
            ..RoleSpec::default()
        }
    }

    /// Such a role, which asks for no external id.
    pub(crate) fn add_role(&self, arn: &str) {
        self.aws.add_role(arn, self.role(arn, None)).expect("a role");
    }

    /// Such a role, which may turn on private DNS as well.
    pub(crate) fn add_role_with_private_dns(&self, arn: &str) {
        let scope = Scope {
            private_dns: true,
            ..Scope::default()
        };
        let role = arn.parse().expect("the ARN of a role");
        let policy = iam::tenant_permissions(&role, &self.cluster_id.as_str().into(), &scope).expect("a policy");
        let role = RoleSpec {
            policy: Some(policy.to_string()),
            ..self.role(arn, None)
        };
        self.aws.set_role(arn, role).expect("a role");
    }

    /// Such a role, which may take over what another cluster made.
    pub(crate) fn role_that_adopts(&self, arn: &str, from: &str) -> RoleSpec {
        let clusters = Clusters {
            own: self.cluster_id.clone(),
            former: vec![from.to_owned()],
        };
        let role = arn.parse().expect("the ARN of a role");
        let policy = iam::tenant_permissions(&role, &clusters, &Scope::default()).expect("a policy");
        RoleSpec {
            policy: Some(policy.to_string()),
            ..self.role(arn, None)
        }
    }

    /// Has a role trust the operator, or nobody.
    pub(crate) fn set_trust(&self, arn: &str, trusts: bool) {
        let role = self.role(arn, None);
        let nobody = RoleSpec {
            trust: false,
            trust_policy: None,
            ..role.clone()
        };
        let role = if trusts { role } else { nobody };
        self.aws.set_role(arn, role).expect("a role");
    }

    /// A namespace, an AWS account with a network and a service to connect to, and the AWSAccount that maps one to the other; all of it new.
    pub(crate) fn tenant(&self, name: &str) -> Tenant<'_> {
        let tenant = self.unregistered_tenant(name);
        tenant.register(json!({}));
        tenant
    }

    /// The same without the AWSAccount.
    pub(crate) fn unregistered_tenant(&self, name: &str) -> Tenant<'_> {
        let number = number();
        let (namespace, account_id) = (format!("{name}-{number}"), format!("1{number:011}"));
        let (partition, region) = (&self.partition, home(&self.partition));
        let role_arn = format!("arn:{partition}:iam::{account_id}:role/vpce-operator");
        self.cluster.create_namespace(&namespace, json!({"tenant": namespace}));
        self.add_role(&role_arn);
        let mut tenant = Tenant {
            world: self,
            account: namespace.clone(),
            namespace,
            account_id,
            region: region.to_owned(),
            role_arn,
            vpc: id("vpc"),
            subnets: Vec::new(),
            group: String::new(),
            service: String::new(),
        };
        self.aws
            .add_vpc(&tenant.account_id, region, &tenant.vpc, "10.0.0.0/16")
            .expect("a VPC");
        tenant.subnets = ["a", "b", "c"].map(|zone| tenant.add_subnet(zone)).into();
        tenant.group = tenant.add_group("clients");
        tenant.service = tenant.add_service(ServiceSpec::default());
        tenant
    }

    /// Looks until there is something to return, and fails with the end of the operator's log when there never is.
    #[track_caller]
    pub(crate) fn eventually<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        eventually(look).unwrap_or_else(|| {
            panic!(
                "waited {WITHIN:?} in vain: {what}\n\nthe operator's log:\n{}",
                end_of(&self.operator.logs(), |_| true)
            )
        })
    }

    /// Runs kubectl as a person would, and returns what it prints.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.cluster.plane.kubectl(arguments).expect("kubectl runs");
        output.success().unwrap_or_else(|error| {
            panic!(
                "kubectl {}: {error:#}\n\nthe operator's log:\n{}",
                arguments.join(" "),
                end_of(&self.operator.logs(), |_| true)
            )
        })
    }

    /// The AWSAccount as it is now.
    pub(crate) fn aws_account(&self, name: &str) -> Option<Value> {
        self.cluster.get(&format!("{ACCOUNTS}/{name}"))
    }
}

/// What one team has to itself.
pub(crate) struct Tenant<'w> {
    pub(crate) world: &'w World,
    /// Its namespace, labelled `tenant=<itself>`.
    pub(crate) namespace: String,
    /// The AWSAccount's name.
    pub(crate) account: String,
    /// The AWS account.
    pub(crate) account_id: String,
    /// Where its VPC is.
    pub(crate) region: String,
    /// The role that the AWSAccount names.
    pub(crate) role_arn: String,
    /// Its VPC.
    pub(crate) vpc: String,
    /// One in each of the zones a, b and c.
    pub(crate) subnets: Vec<String>,
    /// A security group that is not the operator's.
    pub(crate) group: String,
    /// The full name of an endpoint service that accepts everybody.
    pub(crate) service: String,
}

impl Tenant<'_> {
    /// Creates the AWSAccount, with more fields or others in its spec.
    pub(crate) fn register(&self, changes: Value) {
        let spec = json!({"role_arn": self.role_arn, "namespaces": [self.namespace], "default_region": self.region});
        let account = json!({
            "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount",
            "metadata": {"name": self.account}, "spec": merged(spec, changes),
        });
        let created = self.world.cluster.create(ACCOUNTS, &account, Run::Real);
        created.unwrap_or_else(|refusal| panic!("AWSAccount {}: {}", self.account, refusal.message));
    }

    /// Merges changes into the AWSAccount's spec; null takes a field away.
    #[track_caller]
    pub(crate) fn edit_account(&self, spec: Value) {
        self.merge_account(json!({"spec": spec}));
    }

    /// Suspends the AWSAccount and waits until the operator knows: what is done to `witness` right after it must not be quicker.
    #[track_caller]
    pub(crate) fn suspend(&self, witness: &str) {
        self.edit_account(json!({"suspended": true}));
        self.eventually(witness, "it says that the AWSAccount is suspended", || {
            (self.reason(witness) == "AccountSuspended").then_some(())
        });
    }

    /// Takes an object away and leaves what it has in AWS, as somebody does who removes its finalizer; the AWSAccount is suspended then.
    /// It ends when the operator knows that the object is gone, since it was to be deleted: nothing else forbids that once it is resumed.
    #[track_caller]
    pub(crate) fn take_away(&self, name: &str) {
        self.is_counted();
        self.suspend(name);
        self.delete(name);
        self.merge(name, json!({"metadata": {"finalizers": null}}));
        self.gone(name);
        self.is_counted();
    }

    /// Waits until the AWSAccount counts the namespace's objects that are bound.
    #[track_caller]
    fn is_counted(&self) {
        self.world.eventually("the AWSAccount counts who is bound", || {
            let objects = self.world.cluster.list(&cluster::endpoints(&self.namespace));
            let bound = objects.iter().filter(|object| !object["status"]["account"].is_null());
            let account = self.world.aws_account(&self.account)?;
            (account["status"]["endpoints"] == bound.count()).then_some(())
        });
    }

    /// Merges something into the AWSAccount, for example an annotation.
    #[track_caller]
    pub(crate) fn merge_account(&self, change: Value) {
        let path = format!("{ACCOUNTS}/{}", self.account);
        if let Err(refusal) = self.world.cluster.merge(&path, &change) {
            panic!("AWSAccount {} is refused: {}", self.account, refusal.message);
        }
    }

    /// A spec with a generated group in two subnets, with more fields or others; null takes one away.
    pub(crate) fn spec(&self, changes: Value) -> Value {
        let spec = json!({
            "region": self.region,
            "vpc_id": self.vpc,
            "subnet_ids": self.subnets[..2],
            "vpc_endpoint_service_id": self.service,
            "security_group_type": "generated",
        });
        merged(spec, changes)
    }

    /// Creates a VPCEndpoint, or replaces the spec of the one that is there.
    #[track_caller]
    pub(crate) fn apply(&self, name: &str, spec: Value) -> Value {
        match self.try_apply(name, spec) {
            Ok(object) => object,
            Err(refusal) => panic!("{}/{name} is refused: {}", self.namespace, refusal.message),
        }
    }

    /// The same, where it may be refused.
    pub(crate) fn try_apply(&self, name: &str, spec: Value) -> Result<Value, Refusal> {
        let cluster = &self.world.cluster;
        let collection = cluster::endpoints(&self.namespace);
        match cluster.create(&collection, &endpoint(&self.namespace, name, &spec), Run::Real) {
            Err(refusal) if refusal.code == 409 => cluster.set_spec(&format!("{collection}/{name}"), &spec, Run::Real),
            result => result,
        }
    }

    /// The VPCEndpoint as it is now.
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.world.cluster.get(&self.path(name))
    }

    /// Asks for the VPCEndpoint's deletion.
    pub(crate) fn delete(&self, name: &str) {
        self.world.cluster.delete(&self.path(name));
    }

    /// Merges something into the VPCEndpoint, for example an annotation.
    #[track_caller]
    pub(crate) fn merge(&self, name: &str, change: Value) {
        if let Err(refusal) = self.world.cluster.merge(&self.path(name), &change) {
            panic!("{}/{name} is refused: {}", self.namespace, refusal.message);
        }
    }

    /// Merges something into the VPCEndpoint's status, as only an administrator may.
    #[track_caller]
    pub(crate) fn merge_status(&self, name: &str, status: Value) {
        let path = format!("{}/status", self.path(name));
        if let Err(refusal) = self.world.cluster.merge(&path, &json!({"status": status})) {
            panic!("{}/{name}: {}", self.namespace, refusal.message);
        }
    }

    /// The Service as it is now.
    pub(crate) fn kubernetes_service(&self, name: &str) -> Option<Value> {
        self.world
            .cluster
            .get(&format!("{}/{name}", cluster::services(&self.namespace)))
    }

    /// The condition of this type, if it speaks of the object's generation.
    pub(crate) fn condition(&self, name: &str, kind: &str) -> Option<Condition> {
        let object = self.get(name)?;
        condition(&object, kind)
    }

    /// Why it is Ready or is not; empty until the operator has said something of this generation.
    pub(crate) fn reason(&self, name: &str) -> String {
        self.condition(name, "Ready")
            .map(|ready| ready.reason)
            .unwrap_or_default()
    }

    /// Waits until the VPCEndpoint is Ready in its present generation, and returns it.
    #[track_caller]
    pub(crate) fn ready(&self, name: &str) -> Value {
        self.eventually(name, "it is Ready", || {
            let object = self.get(name)?;
            condition(&object, "Ready").filter(|ready| ready.status)?;
            Some(object)
        })
    }

    /// Waits until the VPCEndpoint is not Ready for this reason, and returns the message.
    #[track_caller]
    pub(crate) fn not_ready(&self, name: &str, reason: &str) -> String {
        self.eventually(name, &format!("it is not Ready: {reason}"), || {
            let ready = self.condition(name, "Ready")?;
            (!ready.status && ready.reason == reason).then_some(ready.message)
        })
    }

    /// Waits until the VPCEndpoint says that it serves as its spec says and that changes are paused for this reason, and returns the message.
    #[track_caller]
    pub(crate) fn paused(&self, name: &str, reason: &str) -> String {
        self.eventually(name, &format!("it is Ready, and paused: {reason}"), || {
            let ready = self.condition(name, "Ready")?;
            let told = ready.message.starts_with(KEEPS_SERVING);
            (ready.status && ready.reason == reason && told).then_some(ready.message)
        })
    }

    /// Waits until the VPCEndpoint says that it serves as before an edit that cannot be carried out for this reason, and returns the message.
    #[track_caller]
    pub(crate) fn serves_without_the_edit(&self, name: &str, reason: &str) -> String {
        let message = self.not_ready(name, reason);
        assert!(message.starts_with(KEEPS_SERVING), "{message}");
        message
    }

    /// Waits until the VPCEndpoint is no more.
    #[track_caller]
    pub(crate) fn gone(&self, name: &str) {
        self.eventually(name, "it is gone", || self.get(name).is_none().then_some(()));
    }

    /// What happened to the VPCEndpoint, as `Warning Reason: note`, oldest first.
    pub(crate) fn events(&self, name: &str) -> Vec<String> {
        let mut events: Vec<Value> = self.world.cluster.list(&cluster::events(&self.namespace));
        events.retain(|event| event["regarding"]["name"] == name && event["regarding"]["kind"] == "VPCEndpoint");
        events.sort_by_key(|event| text(&event["eventTime"]));
        events
            .iter()
            .map(|event| {
                format!(
                    "{} {}: {}",
                    text(&event["type"]),
                    text(&event["reason"]),
                    text(&event["note"])
                )
            })
            .collect()
    }

    /// Waits for an event of this reason, and returns it.
    #[track_caller]
    pub(crate) fn event(&self, name: &str, reason: &str) -> String {
        let infix = format!(" {reason}: ");
        self.eventually(name, &format!("an event says {reason}"), || {
            self.events(name).into_iter().find(|event| event.contains(&infix))
        })
    }

    /// Its endpoints in AWS, deleted ones left out.
    pub(crate) fn endpoints(&self) -> Vec<EndpointView> {
        self.world.aws.endpoints(&self.account_id, &self.region)
    }

    /// Its security groups in AWS but the one that was there before.
    pub(crate) fn groups(&self) -> Vec<GroupView> {
        let mut groups = self.world.aws.security_groups(&self.account_id, &self.region);
        groups.retain(|group| group.id != self.group);
        groups
    }

    /// The calls in its account, dry runs aside.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut calls = self.world.aws.calls();
        calls.retain(|call| call.account == self.account_id && !call.is_dry_run());
        calls
    }

    /// The calls in its account that change something in EC2, by name and in order.
    pub(crate) fn writes(&self) -> Vec<String> {
        let writes = self.calls().into_iter().filter(Call::mutating);
        writes.map(|call| call.action).collect()
    }

    /// Adds a subnet to its VPC, in the zone of this letter.
    pub(crate) fn add_subnet(&self, zone: &str) -> String {
        let subnet = id("subnet");
        let zone = format!("{}{zone}", self.region);
        self.world
            .aws
            .add_subnet(&self.account_id, &self.region, &subnet, &self.vpc, &zone)
            .expect("a subnet");
        subnet
    }

    /// Adds a security group to its VPC.
    pub(crate) fn add_group(&self, name: &str) -> String {
        let group = id("sg");
        self.world
            .aws
            .add_security_group(&self.account_id, &self.region, &group, &self.vpc, name)
            .expect("a security group");
        group
    }

    /// Adds an endpoint service in its region, and returns the full name.
    pub(crate) fn add_service(&self, spec: ServiceSpec) -> String {
        let china = if self.region.starts_with("cn-") { "cn." } else { "" };
        let name = format!("{china}com.amazonaws.vpce.{}.{}", self.region, id("vpce-svc"));
        self.world.aws.add_service(&self.region, &name, spec);
        name
    }

    /// Looks until there is something to return, and fails with the VPCEndpoint's story when there never is.
    #[track_caller]
    pub(crate) fn eventually<T>(&self, name: &str, what: &str, look: impl FnMut() -> Option<T>) -> T {
        eventually(look).unwrap_or_else(|| {
            panic!(
                "waited {WITHIN:?} in vain for {}/{name}: {what}\n{}",
                self.namespace,
                self.story(name)
            )
        })
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", cluster::endpoints(&self.namespace))
    }

    /// All that helps to see why a test failed.
    fn story(&self, name: &str) -> String {
        let mut story = String::new();
        let mut tell = |what: &str, content: String| {
            let _ = write!(story, "\n{what}:\n{}\n", content.trim_end());
        };
        let pretty = |object: Option<Value>| match object {
            Some(mut object) => {
                object["metadata"]["managedFields"].take();
                serde_json::to_string_pretty(&object).expect("JSON")
            }
            None => "is not there".to_owned(),
        };
        tell("the object", pretty(self.get(name)));
        let account = self.world.aws_account(&self.account);
        tell(
            "its AWSAccount's status",
            pretty(account.map(|mut account| account["status"].take())),
        );
        tell("its events", self.events(name).join("\n"));
        let call = |call: &Call| format!("{:8.2} {} {}", call.time, call.action, call.result);
        let calls: Vec<String> = self.calls().iter().map(call).collect();
        tell(
            "the last AWS calls of its account",
            calls[calls.len().saturating_sub(LOG_LINES)..].join("\n"),
        );
        let logs = self.world.operator.logs();
        tell(
            "the operator's log of its account",
            end_of(&logs, |line| {
                line.contains(&self.account_id) || line.contains(&self.namespace)
            }),
        );
        tell("the operator's log", end_of(&logs, |_| true));
        story
    }
}

/// A condition of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    /// Whether it is True.
    pub(crate) status: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// The object's condition of this type, if it speaks of the object's generation.
pub(crate) fn condition(object: &Value, kind: &str) -> Option<Condition> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
    (condition["observedGeneration"] == object["metadata"]["generation"]).then(|| Condition {
        status: condition["status"] == "True",
        reason: text(&condition["reason"]),
        message: text(&condition["message"]),
    })
}

/// A VPCEndpoint's manifest.
pub(crate) fn endpoint(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "silvermullet.com/v1beta1", "kind": "VPCEndpoint",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

/// An object with fields set anew; null takes one away.
pub(crate) fn merged(mut object: Value, changes: Value) -> Value {
    let (Value::Object(fields), Value::Object(changes)) = (&mut object, changes) else {
        panic!("only objects are merged");
    };
    for (name, value) in changes {
        match value {
            Value::Null => fields.remove(&name),
            value => fields.insert(name, value),
        };
    }
    object
}

/// A resource id that nobody else has.
pub(crate) fn id(prefix: &str) -> String {
    format!("{prefix}-{:017x}", number())
}

/// A string's text, and nothing for what is no string.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The region of a partition that tenants are in.
fn home(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-west-2",
    }
}

fn number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Looks until there is something to return, or for too long.
pub(crate) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn end_of(log: &str, wanted: impl Fn(&str) -> bool) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| wanted(line)).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
