//! The series of objects, accounts and regions: read from the caches at every scrape, so that they
//! vanish with what they speak of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto;
use vpce_core::api::{self, AWSAccount, VPCEndpoint, Watched};
use vpce_core::ids::RoleArn;
use vpce_core::orphans::Kind;

/// Gives all objects of a kind.
pub(super) type Objects<K> = Arc<dyn Fn() -> Vec<Arc<Watched<K>>> + Send + Sync>;

/// Where the series come from.
#[derive(Clone)]
pub(crate) struct Sources {
    /// All VPCEndpoints.
    pub(crate) endpoints: Objects<VPCEndpoint>,
    /// All AWSAccounts.
    pub(crate) accounts: Objects<AWSAccount>,
    /// The regions in which the operator works.
    pub(crate) regions: Arc<dyn Fn() -> Vec<RegionGauges> + Send + Sync>,
    /// What is held back while nothing may be changed: AWSAccount and action of every step.
    pub(crate) planned_changes: Arc<dyn Fn() -> Vec<(String, &'static str)> + Send + Sync>,
    /// When the session of each AWSAccount (by name) expires.
    pub(crate) sessions: Arc<dyn Fn() -> Vec<(String, SystemTime)> + Send + Sync>,
}

/// How one region of one AWS account stands.
#[derive(Debug, Clone)]
pub(crate) struct RegionGauges {
    /// The AWS account's id.
    pub(crate) account_id: String,
    /// The region's name.
    pub(crate) region: String,
    /// When the whole region was last read; `None` before the first time.
    pub(crate) snapshot_at: Option<SystemTime>,
    /// Whether nothing is made there until a person has looked.
    pub(crate) paused: bool,
    /// What no object stands for: kind, whether it was retained, how many.
    pub(crate) orphans: Vec<(&'static str, bool, usize)>,
    /// The limiters for its AWS actions.
    pub(crate) limiters: Vec<RateLimiterGauges>,
}

/// How the line for one AWS action stands.
#[derive(Debug, Clone)]
pub(crate) struct RateLimiterGauges {
    /// The action, as AWS spells it.
    pub(crate) action: &'static str,
    /// Calls that could be made at once.
    pub(crate) tokens: f64,
    /// Objects that wait for a token.
    pub(crate) waiting: usize,
}

/// The endpoint type that the operator makes.
const INTERFACE: &str = "Interface";

/// The `state` of an endpoint that AWS has not made yet.
const NOT_MADE: &str = "none";

/// A gauge that is recreated at every scrape.
struct Series<const N: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
}

/// The samples of one `Series`. Two samples of the same labels would spoil the whole scrape: a map
/// has none.
type Samples<const N: usize> = BTreeMap<[String; N], f64>;

impl<const N: usize> Series<N> {
    fn desc(&self) -> Desc {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
            .expect("names and labels of metrics are valid")
    }

    fn family(&self, samples: Samples<N>) -> proto::MetricFamily {
        let metrics = samples.into_iter().map(|(values, value)| {
            let labels = self.labels.iter().zip(values).map(|(name, value)| {
                let mut pair = proto::LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value(value);
                pair
            });
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            let mut metric = proto::Metric::from_label(labels.collect());
            metric.set_gauge(gauge);
            metric
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(proto::MetricType::GAUGE);
        family.set_metric(metrics.collect());
        family
    }
}

const ENDPOINTS: Series<4> = Series {
    name: "vpce_endpoints",
    help: "Number of VPCEndpoints, by the state of the endpoint in AWS; none: not created yet.",
    labels: ["account", "region", "type", "state"],
};
const ENDPOINT_INFO: Series<7> = Series {
    name: "vpce_endpoint_info",
    help: "What a VPCEndpoint is in AWS; always 1.",
    labels: [
        "namespace",
        "name",
        "account",
        "account_id",
        "region",
        "type",
        "vpc_endpoint_id",
    ],
};
const ENDPOINT_CONDITION: Series<6> = Series {
    name: "vpce_endpoint_status_condition",
    help: "The current conditions of a VPCEndpoint; always 1.",
    labels: ["namespace", "name", "account", "condition", "status", "reason"],
};
const ENDPOINT_TRANSITION: Series<4> = Series {
    name: "vpce_endpoint_last_transition_timestamp_seconds",
    help: "Unix time at which the status of a condition of a VPCEndpoint last changed.",
    labels: ["namespace", "name", "account", "condition"],
};
const ENDPOINT_DELETION: Series<3> = Series {
    name: "vpce_endpoint_deletion_timestamp_seconds",
    help: "Unix time at which the deletion of a VPCEndpoint was requested; absent otherwise.",
    labels: ["namespace", "name", "account"],
};
const NETWORK_INTERFACES: Series<3> = Series {
    name: "vpce_endpoint_network_interfaces",
    help: "Number of network interfaces of endpoints, which AWS charges for by the hour.",
    labels: ["account", "namespace", "type"],
};
const PLANNED_CHANGES: Series<2> = Series {
    name: "vpce_planned_changes",
    help: "Number of changes that are planned and not made, because the operator is read-only, an AWSAccount is suspended or an endpoint is frozen.",
    labels: ["account", "action"],
};
const ACCOUNT_INFO: Series<2> = Series {
    name: "vpce_account_info",
    help: "The AWS account that an AWSAccount leads to; always 1.",
    labels: ["account", "account_id"],
};
const ACCOUNT_CONDITION: Series<4> = Series {
    name: "vpce_account_status_condition",
    help: "The current conditions of an AWSAccount; always 1.",
    labels: ["account", "condition", "status", "reason"],
};
const ACCOUNT_ENDPOINTS: Series<1> = Series {
    name: "vpce_account_endpoints",
    help: "Number of VPCEndpoints that are bound to an AWSAccount.",
    labels: ["account"],
};
const ACCOUNT_LIMIT: Series<1> = Series {
    name: "vpce_account_endpoints_limit",
    help: "Maximum number of VPCEndpoints of an AWSAccount (max_endpoints); absent without a limit.",
    labels: ["account"],
};
const ACCOUNT_SUSPENDED: Series<1> = Series {
    name: "vpce_account_suspended",
    help: "Whether an AWSAccount is suspended (1) or not (0).",
    labels: ["account"],
};
const SESSION_EXPIRATION: Series<1> = Series {
    name: "vpce_account_session_expiration_timestamp_seconds",
    help: "Unix time at which the session of an AWSAccount's role expires.",
    labels: ["account"],
};
const ORPHANS: Series<4> = Series {
    name: "vpce_orphans",
    help: "Number of AWS resources that carry this cluster's tag, or were retained by it, and belong to no object.",
    labels: ["account_id", "region", "kind", "retained"],
};
const RETAINED: Series<2> = Series {
    name: "vpce_retained",
    help: "Number of endpoints in AWS that were retained when their object was deleted (deletion_policy Retain).",
    labels: ["account_id", "region"],
};
const CREATION_PAUSED: Series<2> = Series {
    name: "vpce_creation_paused",
    help: "Whether creation is paused in a region because many endpoints vanished at once (1) or not (0).",
    labels: ["account_id", "region"],
};
const SNAPSHOT: Series<2> = Series {
    name: "vpce_snapshot_timestamp_seconds",
    help: "Unix time at which a region was last read as a whole.",
    labels: ["account_id", "region"],
};
const BUCKET_TOKENS: Series<3> = Series {
    name: "vpce_aws_rate_limiter_tokens",
    help: "Tokens of an action in the rate limiter, which are the calls that could be made now.",
    labels: ["account_id", "region", "action"],
};
const QUEUE_LENGTH: Series<3> = Series {
    name: "vpce_aws_rate_limiter_queue_length",
    help: "Number of objects in the rate limiter's queue for an action.",
    labels: ["account_id", "region", "action"],
};
const UNPARSEABLE: Series<1> = Series {
    name: "vpce_unparseable_objects",
    help: "Number of objects whose spec does not parse.",
    labels: ["kind"],
};

/// What the series are.
pub(super) fn descs(per_object: bool) -> Vec<Desc> {
    let mut descs = vec![
        ENDPOINTS.desc(),
        NETWORK_INTERFACES.desc(),
        PLANNED_CHANGES.desc(),
        ACCOUNT_INFO.desc(),
        ACCOUNT_CONDITION.desc(),
        ACCOUNT_ENDPOINTS.desc(),
        ACCOUNT_LIMIT.desc(),
        ACCOUNT_SUSPENDED.desc(),
        SESSION_EXPIRATION.desc(),
        ORPHANS.desc(),
        RETAINED.desc(),
        CREATION_PAUSED.desc(),
        SNAPSHOT.desc(),
        BUCKET_TOKENS.desc(),
        QUEUE_LENGTH.desc(),
        UNPARSEABLE.desc(),
    ];
    if per_object {
        descs.extend([
            ENDPOINT_INFO.desc(),
            ENDPOINT_CONDITION.desc(),
            ENDPOINT_TRANSITION.desc(),
            ENDPOINT_DELETION.desc(),
        ]);
    }
    descs
}

/// Makes the series when Prometheus asks.
pub(super) struct ObjectSeries {
    sources: Sources,
    per_object: bool,
    leader: IntGauge,
    descs: Vec<Desc>,
}

impl ObjectSeries {
    /// `per_object`: whether every VPCEndpoint has series of its own. Without `leader` there are
    /// none at all: two processes that both export an object would count it twice.
    pub(super) fn new(sources: Sources, per_object: bool, leader: IntGauge) -> Self {
        let descs = descs(per_object);
        Self {
            sources,
            per_object,
            leader,
            descs,
        }
    }
}

impl Collector for ObjectSeries {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        if self.leader.get() == 0 {
            return Vec::new();
        }
        let endpoints = (self.sources.endpoints)();
        let accounts = (self.sources.accounts)();
        let names: BTreeSet<&str> = accounts
            .iter()
            .filter_map(|account| account.metadata.name.as_deref())
            .collect();
        let mut families = Vec::from(totals(&endpoints, &accounts, &names));
        if self.per_object {
            families.extend(of_endpoints(&endpoints, &names));
        }
        families.push(planned_steps((self.sources.planned_changes)()));
        families.extend(of_accounts(&endpoints, &accounts, (self.sources.sessions)()));
        families.extend(of_regions((self.sources.regions)()));
        families
    }
}

/// The account that counts an endpoint as its own: the one it is bound to, or else the one that it
/// names, if there is such an AWSAccount: any name can be in a status.
fn account_of(endpoint: &Watched<VPCEndpoint>, accounts: &BTreeSet<&str>) -> String {
    let bound = endpoint.status.account.as_ref().map(|account| account.name.clone());
    let named = || {
        let named = endpoint.spec.as_ref().ok().and_then(|spec| spec.account.clone());
        named.filter(|name| accounts.contains(name.as_str()))
    };
    bound.or_else(named).unwrap_or_default()
}

/// The region that an endpoint is bound to, or else the one that it names: for series that every
/// endpoint has of its own.
fn region_of(endpoint: &Watched<VPCEndpoint>) -> String {
    let named = || endpoint.spec.as_ref().ok().and_then(|spec| spec.region.clone());
    endpoint.status.region.clone().or_else(named).unwrap_or_default()
}

/// The AWS account that an AWSAccount leads to: the one that AWS confirmed, or else the one that
/// its role names.
pub(super) fn account_id(account: &Watched<AWSAccount>) -> Option<String> {
    let confirmed = account.status.account_id.clone();
    confirmed.or_else(|| {
        let role: RoleArn = account.spec.as_ref().ok()?.role_arn.parse().ok()?;
        Some(role.account().to_string())
    })
}

/// What counts all endpoints together, and so stays small however many there are.
fn totals(
    endpoints: &[Arc<Watched<VPCEndpoint>>],
    accounts: &[Arc<Watched<AWSAccount>>],
    names: &BTreeSet<&str>,
) -> [proto::MetricFamily; 3] {
    let (mut states, mut interfaces) = (Samples::new(), Samples::new());
    for endpoint in endpoints {
        let namespace = endpoint.metadata.namespace.clone().unwrap_or_default();
        let account = account_of(endpoint, names);
        let type_ = INTERFACE.to_owned();
        let made = u32::try_from(endpoint.status.network_interface_ids.len()).unwrap_or(u32::MAX);
        *interfaces
            .entry([account.clone(), namespace, type_.clone()])
            .or_default() += f64::from(made);
        let state = endpoint.status.state.clone().unwrap_or_else(|| NOT_MADE.to_owned());
        let region = endpoint.status.region.clone().unwrap_or_default();
        *states.entry([account, region, type_, state]).or_default() += 1.0;
    }
    let unparseable = Samples::from([unparseable(endpoints), unparseable(accounts)]);
    [
        ENDPOINTS.family(states),
        NETWORK_INTERFACES.family(interfaces),
        UNPARSEABLE.family(unparseable),
    ]
}

fn planned_steps(planned_changes: Vec<(String, &'static str)>) -> proto::MetricFamily {
    let mut steps = Samples::new();
    for (account, step) in planned_changes {
        *steps.entry([account, step.to_owned()]).or_default() += 1.0;
    }
    PLANNED_CHANGES.family(steps)
}

/// What every endpoint has of its own.
fn of_endpoints(endpoints: &[Arc<Watched<VPCEndpoint>>], names: &BTreeSet<&str>) -> [proto::MetricFamily; 4] {
    let (mut info, mut conditions, mut transitions, mut deletions) =
        (Samples::new(), Samples::new(), Samples::new(), Samples::new());
    for endpoint in endpoints {
        let namespace = endpoint.metadata.namespace.clone().unwrap_or_default();
        let name = endpoint.metadata.name.clone().unwrap_or_default();
        let account = account_of(endpoint, names);
        let status = &endpoint.status;
        info.insert(
            [
                namespace.clone(),
                name.clone(),
                account.clone(),
                status
                    .account
                    .as_ref()
                    .map(|a| a.account_id.clone())
                    .unwrap_or_default(),
                region_of(endpoint),
                INTERFACE.to_owned(),
                status.vpc_endpoint_id.clone().unwrap_or_default(),
            ],
            1.0,
        );
        for Condition {
            type_,
            status,
            reason,
            last_transition_time,
            ..
        } in &status.conditions
        {
            let key = [namespace.clone(), name.clone(), account.clone(), type_.clone()];
            transitions.insert(key.clone(), of_time(last_transition_time));
            let [namespace, name, account, type_] = key;
            conditions.insert([namespace, name, account, type_, status.clone(), reason.clone()], 1.0);
        }
        if let Some(asked) = &endpoint.metadata.deletion_timestamp {
            deletions.insert([namespace, name, account], of_time(asked));
        }
    }
    [
        ENDPOINT_INFO.family(info),
        ENDPOINT_CONDITION.family(conditions),
        ENDPOINT_TRANSITION.family(transitions),
        ENDPOINT_DELETION.family(deletions),
    ]
}

/// What every AWSAccount has.
fn of_accounts(
    endpoints: &[Arc<Watched<VPCEndpoint>>],
    accounts: &[Arc<Watched<AWSAccount>>],
    sessions: Vec<(String, SystemTime)>,
) -> [proto::MetricFamily; 6] {
    let (mut info, mut conditions, mut bound) = (Samples::new(), Samples::new(), Samples::new());
    let (mut limits, mut suspended) = (Samples::new(), Samples::new());
    for account in accounts {
        let name = account.metadata.name.clone().unwrap_or_default();
        if let Some(id) = account_id(account) {
            info.insert([name.clone(), id], 1.0);
        }
        for condition in &account.status.conditions {
            let Condition {
                type_, status, reason, ..
            } = condition;
            conditions.insert([name.clone(), type_.clone(), status.clone(), reason.clone()], 1.0);
        }
        if let Ok(spec) = &account.spec {
            if let Some(most) = spec.max_endpoints {
                limits.insert([name.clone()], most.into());
            }
            suspended.insert([name.clone()], f64::from(u8::from(spec.suspended)));
        }
        bound.insert([name], 0.0);
    }
    for endpoint in endpoints {
        let account = endpoint.status.account.as_ref().map(|account| account.name.clone());
        if let Some(endpoints) = account.and_then(|account| bound.get_mut(&[account])) {
            *endpoints += 1.0;
        }
    }
    let sessions = sessions
        .into_iter()
        .map(|(account, expires)| ([account], of_system_time(expires)))
        .collect();
    [
        ACCOUNT_INFO.family(info),
        ACCOUNT_CONDITION.family(conditions),
        ACCOUNT_ENDPOINTS.family(bound),
        ACCOUNT_LIMIT.family(limits),
        ACCOUNT_SUSPENDED.family(suspended),
        SESSION_EXPIRATION.family(sessions),
    ]
}

/// What every region of every AWS account has, once it was read: one that does not exist never is.
fn of_regions(regions: Vec<RegionGauges>) -> [proto::MetricFamily; 6] {
    let (mut paused, mut snapshots, mut tokens, mut queues) =
        (Samples::new(), Samples::new(), Samples::new(), Samples::new());
    let (mut orphans, mut retained_endpoints) = (Samples::new(), Samples::new());
    for region in regions {
        let Some(read) = region.snapshot_at else {
            continue;
        };
        let key = [region.account_id, region.region];
        paused.insert(key.clone(), f64::from(u8::from(region.paused)));
        snapshots.insert(key.clone(), of_system_time(read));
        let [account_id, region_name] = key;
        for (kind, retained, found) in region.orphans {
            let key = [
                account_id.clone(),
                region_name.clone(),
                kind.to_owned(),
                retained.to_string(),
            ];
            let found = f64::from(u32::try_from(found).unwrap_or(u32::MAX));
            orphans.insert(key, found);
            if retained && kind == Kind::Endpoint.as_str() {
                retained_endpoints.insert([account_id.clone(), region_name.clone()], found);
            }
        }
        for line in region.limiters {
            let key = [account_id.clone(), region_name.clone(), line.action.to_owned()];
            tokens.insert(key.clone(), line.tokens);
            queues.insert(key, f64::from(u32::try_from(line.waiting).unwrap_or(u32::MAX)));
        }
    }
    [
        ORPHANS.family(orphans),
        RETAINED.family(retained_endpoints),
        CREATION_PAUSED.family(paused),
        SNAPSHOT.family(snapshots),
        BUCKET_TOKENS.family(tokens),
        QUEUE_LENGTH.family(queues),
    ]
}

/// How many objects of a kind have a spec that does not parse.
fn unparseable<K: api::Kind>(objects: &[Arc<Watched<K>>]) -> ([String; 1], f64) {
    let count = objects.iter().map(|object| f64::from(u8::from(object.spec.is_err())));
    ([K::kind(&()).into_owned()], count.sum())
}

/// Seconds since the epoch, at the precision that Kubernetes writes.
fn of_time(time: &Time) -> f64 {
    time.0.as_duration().as_secs_f64()
}

/// Seconds since the epoch.
fn of_system_time(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs_f64())
        .unwrap_or(0.0)
}
