//! The series of objects, accounts and regions: read from the caches at every scrape, so that they
//! vanish with what they speak of.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use vpce_core::api::{self, AWSAccount, EndpointType, VPCEndpoint, VPCEndpointService, Watched};
use vpce_core::conditions::{CREATION_PAUSED as CREATION_IS_PAUSED, ConditionType, READY, STALLED};
use vpce_core::ids::RoleArn;
use vpce_core::orphans::ResourceKind;

use super::Described;

mod bound;
pub(super) mod endpoint_services;

use bound::{account_of, namespace_of, ready};

/// Gives all objects of a kind.
pub(super) type Objects<K> = Arc<dyn Fn() -> Vec<Arc<Watched<K>>> + Send + Sync>;

/// Where the series come from.
#[derive(Clone)]
pub(crate) struct Sources {
    /// All VPCEndpoints.
    pub(crate) endpoints: Objects<VPCEndpoint>,
    /// All VPCEndpointServices.
    pub(crate) endpoint_services: Objects<VPCEndpointService>,
    /// All AWSAccounts.
    pub(crate) accounts: Objects<AWSAccount>,
    /// How often everything is compared with AWS.
    pub(crate) resync_interval: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// The regions in which the operator works.
    pub(crate) regions: Arc<dyn Fn() -> Vec<RegionGauges> + Send + Sync>,
    /// Planned changes that are not carried out: AWSAccount and action of every step.
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
    /// Whether creation is paused there.
    pub(crate) paused: bool,
    /// What no object stands for: kind, whether it was retained, how many.
    pub(crate) orphans: Vec<(&'static str, bool, usize)>,
    /// The limiters for its AWS actions.
    pub(crate) limiters: Vec<RateLimiterGauges>,
}

/// The rate limiter of one AWS action.
#[derive(Debug, Clone)]
pub(crate) struct RateLimiterGauges {
    /// The action, as AWS spells it.
    pub(crate) action: &'static str,
    /// Calls that could be made at once.
    pub(crate) tokens: f64,
    /// Objects that wait for a token.
    pub(crate) waiting: usize,
    /// Whether the bucket is full.
    pub(crate) full: bool,
}

/// The `state` of what AWS has not created yet.
const NOT_MADE: &str = "none";

const TRUE: &str = "True";
const UNKNOWN: &str = "Unknown";

/// The `reason` of an object that has no condition yet.
pub(super) const NOT_RECONCILED: &str = "NotReconciled";

/// A gauge that is computed at every scrape.
struct Series<const N: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
}

/// The samples of a `Series` that sums up: labels and value. Two samples of the same labels would
/// spoil the whole scrape: a map has none.
type Samples<'a, const N: usize> = BTreeMap<[&'a str; N], f64>;

impl<const N: usize> Series<N> {
    fn described(&self) -> Described {
        Described {
            name: self.name.to_owned(),
            type_: "gauge",
            help: self.help.to_owned(),
            labels: self.labels.iter().map(|label| (*label).to_owned()).collect(),
            buckets: &[],
        }
    }

    /// Appends the family in the text format: straight from what the caches hold, since the client
    /// library would copy each label of each sample first. Without samples there is no family.
    fn write<'a>(&self, text: &mut String, samples: impl IntoIterator<Item = ([&'a str; N], f64)>) {
        let Self { name, help, labels } = self;
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        push(text, format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (values, value) in samples {
            text.push_str(name);
            for (at, (label, value)) in labels.iter().zip(values).enumerate() {
                text.push(if at == 0 { '{' } else { ',' });
                text.push_str(label);
                text.push_str("=\"");
                push_escaped(text, value);
                text.push('"');
            }
            text.push_str(if labels.is_empty() { " " } else { "} " });
            push(text, format_args!("{value}\n"));
        }
    }
}

fn push(text: &mut String, more: fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a String takes any text");
}

/// Appends a label's value: a status can be written by others than the operator.
fn push_escaped(text: &mut String, mut value: &str) {
    while let Some((at, special)) = value.char_indices().find(|(_, c)| matches!(c, '\\' | '"' | '\n')) {
        text.push_str(&value[..at]);
        text.push_str(match special {
            '\\' => "\\\\",
            '"' => "\\\"",
            _ => "\\n",
        });
        value = &value[at + 1..];
    }
    text.push_str(value);
}

const ENDPOINTS: Series<4> = Series {
    name: "vpce_endpoints",
    help: "Number of VPCEndpoints with an endpoint of their own, by its state in AWS; none: not created yet.",
    labels: ["account", "region", "type", "state"],
};
const NOT_READY: Series<3> = Series {
    name: "vpce_endpoints_not_ready",
    help: "Number of VPCEndpoints with an endpoint of their own that are not Ready, by the reason of their condition; absent where there are none.",
    labels: ["account", "region", "reason"],
};
const EACH_ENDPOINT: bound::Each = bound::Each {
    info: Series {
        name: "vpce_endpoint_info",
        help: "What a VPCEndpoint is in AWS; always 1.",
        labels: ["namespace", "name", "account", "region", "vpc_endpoint_id"],
    },
    condition: Series {
        name: "vpce_endpoint_status_condition",
        help: "The conditions of a VPCEndpoint that need attention: Ready unless it is True with the reason Available, Stalled if True, and EndpointAvailable unless True; always 1.",
        labels: ["namespace", "name", "account", "condition", "status", "reason"],
    },
    not_ready: Series {
        name: "vpce_endpoint_not_ready_timestamp_seconds",
        help: "Unix time since which a VPCEndpoint has not been Ready; absent while it is.",
        labels: ["namespace", "name", "account"],
    },
    deletion: Series {
        name: "vpce_endpoint_deletion_timestamp_seconds",
        help: "Unix time at which the deletion of a VPCEndpoint was requested; absent otherwise.",
        labels: ["namespace", "name", "account"],
    },
    parts: &[ConditionType::EndpointAvailable],
};
const NETWORK_INTERFACES: Series<3> = Series {
    name: "vpce_endpoint_network_interfaces",
    help: "Number of network interfaces of endpoints, which AWS charges for by the hour.",
    labels: ["account", "namespace", "type"],
};
const PLANNED_CHANGES: Series<2> = Series {
    name: "vpce_planned_changes",
    help: "Number of changes that are planned and not made, because the operator is read-only, an AWSAccount is suspended or an object is frozen.",
    labels: ["account", "action"],
};
const ACCOUNT_INFO: Series<2> = Series {
    name: "vpce_account_info",
    help: "The AWS account that an AWSAccount leads to; always 1.",
    labels: ["account", "account_id"],
};
const ACCOUNT_CONDITION: Series<4> = Series {
    name: "vpce_account_status_condition",
    help: "The condition Ready of an AWSAccount, and its other conditions that need attention: CreationPaused and Stalled if True, PermissionsVerified unless True; always 1.",
    labels: ["account", "condition", "status", "reason"],
};
const ACCOUNT_ENDPOINTS: Series<1> = Series {
    name: "vpce_account_endpoints",
    help: "Number of VPCEndpoints that are bound to an AWSAccount.",
    labels: ["account"],
};
const ACCOUNT_ENDPOINT_SERVICES: Series<1> = Series {
    name: "vpce_account_endpoint_services",
    help: "Number of VPCEndpointServices that are bound to an AWSAccount.",
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
    help: "Number of AWS resources that carry this cluster's tag, or were retained by it, and belong to no object; absent where there are none.",
    labels: ["account_id", "region", "kind", "retained"],
};
const RETAINED: Series<2> = Series {
    name: "vpce_retained",
    help: "Number of endpoints in AWS that were retained when their object was deleted (deletion_policy Retain); absent where there are none.",
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
const RESYNC_INTERVAL: Series<0> = Series {
    name: "vpce_resync_interval_seconds",
    help: "How often a region is read as a whole and compared: the resync interval that is set, or longer where there are very many regions.",
    labels: [],
};
const BUCKET_TOKENS: Series<3> = Series {
    name: "vpce_aws_rate_limiter_tokens",
    help: "Tokens of an action in the rate limiter, which are the calls that could be made now; absent while the bucket is full and nothing waits.",
    labels: ["account_id", "region", "action"],
};
const QUEUE_LENGTH: Series<3> = Series {
    name: "vpce_aws_rate_limiter_queue_length",
    help: "Number of objects in the rate limiter's queue for an action; absent where vpce_aws_rate_limiter_tokens is.",
    labels: ["account_id", "region", "action"],
};
const UNPARSEABLE: Series<1> = Series {
    name: "vpce_unparseable_objects",
    help: "Number of objects whose spec does not parse.",
    labels: ["kind"],
};

/// What the series are.
pub(super) fn described(per_object: bool) -> Vec<Described> {
    let mut all = vec![
        ENDPOINTS.described(),
        NOT_READY.described(),
        NETWORK_INTERFACES.described(),
        endpoint_services::STATES.described(),
        endpoint_services::NOT_READY.described(),
        PLANNED_CHANGES.described(),
        ACCOUNT_INFO.described(),
        ACCOUNT_CONDITION.described(),
        ACCOUNT_ENDPOINTS.described(),
        ACCOUNT_ENDPOINT_SERVICES.described(),
        ACCOUNT_LIMIT.described(),
        ACCOUNT_SUSPENDED.described(),
        SESSION_EXPIRATION.described(),
        ORPHANS.described(),
        RETAINED.described(),
        CREATION_PAUSED.described(),
        SNAPSHOT.described(),
        RESYNC_INTERVAL.described(),
        BUCKET_TOKENS.described(),
        QUEUE_LENGTH.described(),
        UNPARSEABLE.described(),
    ];
    if per_object {
        all.extend(EACH_ENDPOINT.described());
        all.extend(endpoint_services::EACH.described());
        all.push(endpoint_services::CONNECTIONS.described());
    }
    all
}

/// Appends all series. `per_object`: whether single objects have series of their own.
pub(super) fn write(text: &mut String, sources: &Sources, accounts: &[Arc<Watched<AWSAccount>>], per_object: bool) {
    let (endpoints, services) = ((sources.endpoints)(), (sources.endpoint_services)());
    let names = names(accounts);
    totals(text, &endpoints, &names);
    endpoint_services::totals(text, &services, &names);
    let unparseable = [unparseable(&endpoints), unparseable(&services), unparseable(accounts)];
    UNPARSEABLE.write(text, unparseable.iter().map(|(kind, count)| ([&**kind], *count)));
    if per_object {
        EACH_ENDPOINT.write(text, &endpoints, &names);
        endpoint_services::EACH.write(text, &services, &names);
        endpoint_services::connections(text, &services, &names);
    }
    planned_steps(text, &(sources.planned_changes)());
    of_accounts(text, accounts, &(sources.sessions)());
    ACCOUNT_ENDPOINTS.write(text, bound::to_accounts(accounts, &endpoints));
    ACCOUNT_ENDPOINT_SERVICES.write(text, bound::to_accounts(accounts, &services));
    of_regions(text, &(sources.regions)());
    RESYNC_INTERVAL.write(text, [([], (sources.resync_interval)().as_secs_f64())]);
}

/// The names of AWSAccounts.
pub(super) fn names(accounts: &[Arc<Watched<AWSAccount>>]) -> HashSet<&str> {
    let names = accounts.iter().map(|account| name_of(&account.metadata));
    names.collect()
}

fn name_of(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
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

fn is_true(condition: &Condition) -> bool {
    condition.status == TRUE
}

/// The type of an endpoint: what it is bound to, else what its spec says.
fn type_of(endpoint: &Watched<VPCEndpoint>) -> EndpointType {
    let asked = endpoint.spec.as_ref().map(|spec| spec.vpc_endpoint_type);
    let bound = endpoint.status.vpc_endpoint_type;
    bound.unwrap_or_else(|| asked.unwrap_or_default())
}

/// Whether an object shares the endpoint of another, which is counted there.
fn shares_another(endpoint: &Watched<VPCEndpoint>) -> bool {
    let spec = endpoint.spec.as_ref();
    spec.is_ok_and(|spec| spec.vpc_endpoint_ref.is_some())
}

/// What counts all endpoints together, and so stays small however many there are.
fn totals(text: &mut String, endpoints: &[Arc<Watched<VPCEndpoint>>], names: &HashSet<&str>) {
    let (mut states, mut not_ready, mut interfaces) = (Samples::new(), Samples::new(), Samples::new());
    for endpoint in endpoints.iter().filter(|endpoint| !shares_another(endpoint)) {
        let account = account_of(&**endpoint, names);
        let type_ = type_of(endpoint).as_str();
        *interfaces
            .entry([account, namespace_of(&**endpoint), type_])
            .or_default() += whole(endpoint.status.network_interface_ids.len());
        let state = endpoint.status.state.as_deref().unwrap_or(NOT_MADE);
        let region = endpoint.status.region.as_deref().unwrap_or_default();
        *states.entry([account, region, type_, state]).or_default() += 1.0;
        let (status, reason) = ready(&**endpoint);
        if status != TRUE {
            *not_ready.entry([account, region, reason]).or_default() += 1.0;
        }
    }
    ENDPOINTS.write(text, states);
    NOT_READY.write(text, not_ready);
    NETWORK_INTERFACES.write(text, interfaces);
}

fn planned_steps(text: &mut String, planned_changes: &[(String, &'static str)]) {
    let mut steps = Samples::new();
    for (account, step) in planned_changes {
        *steps.entry([account.as_str(), step]).or_default() += 1.0;
    }
    PLANNED_CHANGES.write(text, steps);
}

/// Whether a condition of an AWSAccount is exported. Alerts ask whether it is Ready; of the others
/// only what needs attention.
fn is_told(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        READY => true,
        STALLED | CREATION_IS_PAUSED => is_true(condition),
        _ => !is_true(condition),
    }
}

/// What every AWSAccount has.
fn of_accounts(text: &mut String, accounts: &[Arc<Watched<AWSAccount>>], sessions: &[(String, SystemTime)]) {
    let ids: Vec<(&str, String)> = accounts
        .iter()
        .filter_map(|account| Some((name_of(&account.metadata), account_id(account)?)))
        .collect();
    ACCOUNT_INFO.write(text, ids.iter().map(|(name, id)| ([*name, id], 1.0)));
    let conditions = accounts.iter().flat_map(|account| {
        let told = account.status.conditions.iter().filter(|condition| is_told(condition));
        told.map(|told| [name_of(&account.metadata), &told.type_, &told.status, &told.reason])
    });
    ACCOUNT_CONDITION.write(text, conditions.map(|labels| (labels, 1.0)));
    let specs = || {
        accounts
            .iter()
            .filter_map(|account| Some((name_of(&account.metadata), account.spec.as_ref().ok()?)))
    };
    let limits = specs().filter_map(|(name, spec)| Some(([name], spec.max_endpoints?.into())));
    ACCOUNT_LIMIT.write(text, limits);
    let suspended = specs().map(|(name, spec)| ([name], f64::from(u8::from(spec.suspended))));
    ACCOUNT_SUSPENDED.write(text, suspended);
    let sessions = sessions
        .iter()
        .map(|(account, expires)| ([account.as_str()], of_system_time(*expires)));
    SESSION_EXPIRATION.write(text, sessions);
}

/// What every region of every AWS account has, once it was read: one that does not exist never is.
fn of_regions(text: &mut String, regions: &[RegionGauges]) {
    let read: Vec<(&RegionGauges, [&str; 2], SystemTime)> = regions
        .iter()
        .filter_map(|region| Some((region, [&*region.account_id, &*region.region], region.snapshot_at?)))
        .collect();
    let orphans = read.iter().flat_map(|(region, [account_id, name], _)| {
        let found = region.orphans.iter().filter(|(.., found)| *found > 0);
        found.map(move |(kind, retained, found)| {
            let retained = if *retained { "true" } else { "false" };
            ([*account_id, *name, kind, retained], whole(*found))
        })
    });
    ORPHANS.write(text, orphans);
    let retained = read.iter().flat_map(|(region, labels, _)| {
        let is_told = |(kind, retained, found): &&(&'static str, bool, usize)| {
            *retained && *kind == ResourceKind::Endpoint.as_str() && *found > 0
        };
        let found = region.orphans.iter().filter(is_told);
        found.map(move |(.., found)| (*labels, whole(*found)))
    });
    RETAINED.write(text, retained);
    let paused = read
        .iter()
        .map(|(region, labels, _)| (*labels, f64::from(u8::from(region.paused))));
    CREATION_PAUSED.write(text, paused);
    let snapshots = read.iter().map(|(_, labels, at)| (*labels, of_system_time(*at)));
    SNAPSHOT.write(text, snapshots);
    let limiters = || {
        read.iter().flat_map(|(region, [account_id, name], _)| {
            let busy = region
                .limiters
                .iter()
                .filter(|limiter| !limiter.full || limiter.waiting > 0);
            busy.map(move |limiter| ([*account_id, *name, limiter.action], limiter))
        })
    };
    BUCKET_TOKENS.write(text, limiters().map(|(labels, limiter)| (labels, limiter.tokens)));
    QUEUE_LENGTH.write(
        text,
        limiters().map(|(labels, limiter)| (labels, whole(limiter.waiting))),
    );
}

/// How many objects of a kind have a spec that does not parse.
fn unparseable<K: api::Kind>(objects: &[Arc<Watched<K>>]) -> (Cow<'static, str>, f64) {
    let unparseable = objects.iter().filter(|object| object.spec.is_err());
    (K::kind(&()), whole(unparseable.count()))
}

fn whole(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
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
