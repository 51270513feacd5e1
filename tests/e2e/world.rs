//! The world of a test: a cluster, a simulated AWS and the operator between them.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use vpce_core::iam::{self, Passed, Scope, Trust};
use vpce_core::tags::Clusters;
use vpce_testbed::aws::{Config, RoleSpec, Simulator};
use vpce_testbed::operator::{Aws, Operator, Options};

use crate::cluster::{ACCOUNTS, Cluster, NAMESPACES};
use crate::subcommand::{self, BINARY};

/// Generous, since it is only reached where something is wrong: the machine may be busy with a
/// build.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
pub(crate) const LOG_LINES: usize = 30;
const SOURCE_IDENTITY: &str = "settings.sourceIdentity";

/// A cluster with the chart installed, a simulated AWS and a running operator. All roles have the
/// policies that `vpce-operator iam-policy` prints for them, where a test does not say otherwise.
pub(crate) struct World {
    // Dropped in this order: the operator ends while what it talks to is still there.
    pub(crate) operator: Operator,
    pub(crate) aws: Simulator,
    pub(crate) cluster: Cluster,
    cluster_id: String,
    pub(crate) partition: String,
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
    /// As fast as can be, without throttling.
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
                // Hundreds of accounts share a world.
                ("settings.refreshesPerMinute", "100000"),
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

    /// How to install and run the operator so.
    pub(crate) fn options(self) -> Options {
        Options {
            binary: BINARY.into(),
            values: self.values,
            env: self.env,
        }
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

/// What the tests of a module share: it ends with the last of them that runs, so that it takes
/// nothing from the others.
pub(crate) struct WhileUsed<T>(Mutex<Weak<T>>);

impl<T> WhileUsed<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// It, started if no test has it.
    pub(crate) fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut used = self.0.lock();
        used.upgrade().unwrap_or_else(|| {
            let new = Arc::new(start());
            *used = Arc::downgrade(&new);
            new
        })
    }
}

static SHARED: OnceLock<Result<World, String>> = OnceLock::new();

impl World {
    /// The one that tests share which neither stop the operator nor count the calls of others.
    pub(crate) fn shared() -> &'static Self {
        SHARED
            .get_or_init(|| Self::start(Setup::fast()).map_err(|error| format!("{error:#}")))
            .as_ref()
            .unwrap_or_else(|error| panic!("the shared world does not start: {error}"))
    }

    /// Whether it is that one.
    pub(crate) fn is_shared(&self) -> bool {
        let shared = SHARED.get().and_then(|world| world.as_ref().ok());
        shared.is_some_and(|world| std::ptr::eq(world, self))
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

    /// One on a cluster and an AWS that have been prepared.
    pub(crate) fn install(cluster: Cluster, aws: Simulator, setup: Setup) -> anyhow::Result<Self> {
        let partition = setup.aws.partition.clone();
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
        let operator = Operator::install(&cluster.plane, &Aws::from(&aws), setup.options())?;
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

    /// A role as an account's owner makes it: it may do what is printed for it, and trusts no
    /// principal but the operator.
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

    /// Such a role, whose policy is printed for this scope.
    pub(crate) fn role_within(&self, arn: &str, clusters: &Clusters, scope: &Scope) -> RoleSpec {
        let role = arn.parse().expect("the ARN of a role");
        let policy = iam::tenant_permissions(&role, clusters, scope).expect("a policy");
        RoleSpec {
            policy: Some(policy.to_string()),
            ..self.role(arn, None)
        }
    }

    /// Has a role be such a role, from now on.
    pub(crate) fn set_role(&self, arn: &str, scope: &Scope) {
        let role = self.role_within(arn, &self.cluster_id.as_str().into(), scope);
        self.aws.set_role(arn, role).expect("a role");
    }

    /// Such a role, which may enable private DNS as well.
    pub(crate) fn add_role_with_private_dns(&self, arn: &str) {
        let scope = Scope {
            private_dns: true,
            ..Scope::default()
        };
        self.set_role(arn, &scope);
    }

    /// Such a role, which may take over what another cluster made.
    pub(crate) fn role_that_adopts(&self, arn: &str, from: &str) -> RoleSpec {
        let clusters = Clusters {
            own: self.cluster_id.clone(),
            former: vec![from.to_owned()],
        };
        self.role_within(arn, &clusters, &Scope::default())
    }

    /// Has a role trust the operator, or no principal.
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

    /// Looks until there is something to return, and fails with the end of the operator's log when
    /// there never is.
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

    /// The operator's binary as an administrator of this world runs it; the caller adds the
    /// subcommand.
    pub(crate) fn subcommand(&self) -> Command {
        subcommand::subcommand(&self.cluster.plane, &Aws::from(&self.aws))
    }

    /// The AWSAccount as it is now.
    pub(crate) fn aws_account(&self, name: &str) -> Option<Value> {
        self.cluster.get(&format!("{ACCOUNTS}/{name}"))
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

/// An object with fields set; null takes one away.
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

/// A unique resource id.
pub(crate) fn id(prefix: &str) -> String {
    format!("{prefix}-{:017x}", number())
}

/// A string's text, and nothing for what is no string.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The region of a partition that tenants are in.
pub(crate) fn home(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-west-2",
    }
}

pub(crate) fn number() -> u64 {
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

pub(crate) fn end_of(log: &str, wanted: impl Fn(&str) -> bool) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| wanted(line)).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
