//! Finds out, by dry runs, which actions the role lacks, before any app team does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use parking_lot::Mutex;
use vpce_core::api::{AWSAccountSpec, EndpointType, RECONCILE_AT, VPCEndpointSpec};
use vpce_core::conditions::AccountReason as Reason;
use vpce_core::error::Class;
use vpce_core::ids::Partition;
use vpce_core::network::reads_networks;
use vpce_core::rate::Decision;
use vpce_core::tags;
use vpce_core::target::full_service_name;

use super::context::Context;
use crate::aws::dry_run::{Answer, Example, Probe, Target, further_reads};
use crate::aws::region::AccountRegion;
use crate::aws::region::limiter::Caller;
use crate::aws::sessions::{Session, SessionKey};
use crate::k8s::caches::{Account, Endpoint};
use crate::k8s::conditions;

/// The condition's type.
pub(crate) const CONDITION: &str = "PermissionsVerified";

/// What the condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verification {
    /// `True`, `False`, `Unknown`.
    pub(crate) status: String,
    /// One word.
    pub(crate) reason: String,
    /// What it means, and what to do.
    pub(crate) message: String,
}

impl Verification {
    fn new(status: &str, reason: Reason, message: String) -> Self {
        Self {
            status: status.to_owned(),
            reason: reason.to_string(),
            message,
        }
    }

    /// Whether an action is missing.
    pub(crate) fn is_bad(&self) -> bool {
        self.status == "False"
    }

    /// Whether some actions are neither allowed nor denied.
    fn is_open(&self) -> bool {
        self.status == "Unknown"
    }
}

/// What is known of one AWSAccount's role.
struct Known {
    role: SessionKey,
    /// Whether nothing is known yet of this role, so that what the condition says is about another.
    is_new: bool,
    /// The value of the annotation that asks for a resync when it was asked.
    asked_for: Option<String>,
    /// How many dry runs there was something to ask with; none where nothing has been asked since
    /// the operator started.
    possible: Option<usize>,
    /// By action: allowed, or what EC2 said. Empty while nothing has been asked.
    found: BTreeMap<&'static str, Found>,
    /// When the last dry run was answered, and what the condition says since.
    done: Option<(Instant, Verification)>,
}

impl Known {
    /// Whether the AWSAccount turns on actions that were not asked about.
    fn lacks(&self, spec: &AWSAccountSpec) -> bool {
        let types = spec.allowed_vpc_endpoint_types.as_deref().unwrap_or_default();
        let can_see = self.found.get("DescribeVpcEndpoints") == Some(&Found::Allowed);
        can_see && !further_reads(types, reads_networks(spec)).all(|action| self.found.contains_key(action))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Allowed,
    Denied(String),
    Unclear(String),
}

/// What is known of all of them.
#[derive(Clone, Default)]
pub(crate) struct Verifications(Arc<Mutex<HashMap<String, Known>>>);

/// How far it came.
pub(crate) struct Outcome {
    /// What the condition says; none while nothing is known.
    pub(crate) verification: Option<Verification>,
    /// When to go on, if there is more to ask.
    pub(crate) next: Option<Duration>,
}

/// Where a round of dry runs stands.
enum Round {
    Over(Verification),
    Later(Duration),
}

impl Verifications {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Known>) -> T) -> T {
        work(&mut self.0.lock())
    }

    /// Forgets an AWSAccount.
    pub(crate) fn forget(&self, account: &str) {
        self.with(|known| known.remove(account));
    }
}

/// Asks what has not been asked of this role: once for each change of it, and the rest as soon as
/// there is an endpoint to ask with; again after a while for as long as not all is well, and when
/// the annotation says so.
pub(crate) async fn verify(
    ctx: &Context,
    account: &Account,
    spec: &AWSAccountSpec,
    session: &Session,
    role: &SessionKey,
) -> Outcome {
    let name = account.name_any();
    let asked_for = account.annotations().get(RECONCILE_AT).cloned();
    let settled = ctx.verifications.with(|all| {
        let known = all.entry(name.clone()).or_insert_with(|| Known {
            role: role.clone(),
            is_new: said_before(account).is_none(),
            asked_for: asked_for.clone(),
            possible: None,
            found: BTreeMap::new(),
            done: said_before(account).map(|verification| (Instant::now(), verification)),
        });
        let is_due = known.done.as_ref().is_some_and(|(at, verification)| {
            let pause = match verification.status.as_str() {
                "True" => None,
                "False" => Some(ctx.shared.resync_interval()),
                _ => Some(ctx.shared.settings.account_probe_interval),
            };
            pause.is_some_and(|pause| at.elapsed() >= pause)
        });
        if known.role != *role || known.asked_for != asked_for || is_due {
            known.is_new |= known.role != *role;
            known.role = role.clone();
            known.asked_for.clone_from(&asked_for);
            known.found.clear();
            known.done = None;
        } else if known.lacks(spec) {
            known.done = None;
        } else if known
            .done
            .as_ref()
            .is_some_and(|(_, verification)| verification.is_open())
        {
            let possible = possible(example(ctx, &name, spec, role).as_ref());
            if *known.possible.get_or_insert(possible) < possible {
                // Whether dry runs are dry is asked again where that is not known.
                known.found.retain(|_, found| *found == Found::Allowed);
                known.done = None;
            }
        }
        known.done.clone()
    });
    if let Some((_, verification)) = settled {
        let next = verification.is_bad().then_some(ctx.shared.resync_interval());
        return Outcome {
            verification: Some(verification),
            next,
        };
    }
    match ask(ctx, account, spec, session, role).await {
        Round::Over(verification) => {
            let next = verification.is_bad().then_some(ctx.shared.resync_interval());
            ctx.verifications.with(|all| {
                if let Some(known) = all.get_mut(&name).filter(|known| known.role == *role) {
                    known.done = Some((Instant::now(), verification.clone()));
                    known.is_new = false;
                }
            });
            Outcome {
                verification: Some(verification),
                next,
            }
        }
        Round::Later(time) => {
            let is_new = |all: &mut HashMap<String, Known>| all.get(&name).is_none_or(|known| known.is_new);
            let asking = || Verification::new("Unknown", Reason::Asking, "the dry runs are in progress".to_owned());
            let verification = match ctx.verifications.with(is_new) {
                true => Some(asking()),
                false => current(account),
            };
            Outcome {
                verification,
                next: Some(time),
            }
        }
    }
}

/// What the condition says, if it speaks of this generation: found by an earlier run of the
/// operator.
fn said_before(account: &Account) -> Option<Verification> {
    let condition = conditions::find(&account.status.conditions, CONDITION)?;
    let is_of_now =
        condition.observed_generation == account.metadata.generation && condition.reason != Reason::Asking.to_string();
    is_of_now.then(|| Verification {
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    })
}

/// What the condition says, of whatever generation.
pub(crate) fn current(account: &Account) -> Option<Verification> {
    let condition = conditions::find(&account.status.conditions, CONDITION)?;
    Some(Verification {
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    })
}

async fn ask(ctx: &Context, account: &Account, spec: &AWSAccountSpec, session: &Session, role: &SessionKey) -> Round {
    let name = account.name_any();
    let uid = account.uid().unwrap_or_default();
    let example = example(ctx, &name, spec, role);
    ctx.verifications.with(|all| {
        if let Some(known) = all.get_mut(&name) {
            known.possible = Some(possible(example.as_ref()));
        }
    });
    let Some((place, example)) = example else {
        let message = "there is no region for the dry runs yet: set default_region".to_owned();
        return Round::Over(Verification::new("Unknown", Reason::NoRegion, message));
    };
    let (region, ec2) = ctx.shared.in_region(session, &place.as_str().into());
    for probe in example.probes() {
        let (asked, action) = (probe.name(), probe.action());
        let is_known =
            |all: &mut HashMap<String, Known>| all.get(&name).is_some_and(|known| known.found.contains_key(asked));
        if ctx.verifications.with(is_known) {
            continue;
        }
        // A dry run costs a token like any other call.
        if let Decision::Wait(time) = region.acquire(action, &Caller::of_the_operator(&uid)) {
            return Round::Later(time);
        }
        let found = match ec2.dry_run(probe, &example).await {
            Answer::Allowed => Found::Allowed,
            Answer::Denied(error) => Found::Denied(error.message),
            Answer::Unclear(error) => Found::Unclear(error.to_string()),
            Answer::NotDry => {
                let message = "what answers as EC2 here carries dry runs out, so that nothing was verified".to_owned();
                return Round::Over(Verification::new("Unknown", Reason::NoDryRuns, message));
            }
            Answer::Failed(error) => {
                if error.class == Class::Throttled {
                    region.throttled(action);
                }
                return Round::Later(ctx.shared.settings.refused_retry);
            }
        };
        let is_blind = matches!(probe, Probe::DescribeEndpoints) && found != Found::Allowed;
        ctx.verifications.with(|all| {
            if let Some(known) = all.get_mut(&name).filter(|known| known.role == *role) {
                known.found.insert(asked, found);
            }
        });
        // Whether a dry run would be dry is unknown.
        if is_blind {
            break;
        }
    }
    let found = ctx.verifications.with(|all| {
        let known = all.get(&name).filter(|known| known.role == *role);
        known.map(|known| known.found.clone()).unwrap_or_default()
    });
    Round::Over(sum_up(&found, &example.names(), role, &region))
}

/// What dry runs have found, in words.
fn sum_up(
    found: &BTreeMap<&'static str, Found>,
    actions: &[&'static str],
    role: &SessionKey,
    region: &AccountRegion,
) -> Verification {
    let of = |wanted: fn(&Found) -> bool| -> Vec<&str> {
        let all = actions.iter().copied();
        all.filter(|action| found.get(action).is_some_and(wanted)).collect()
    };
    let denied = of(|found| matches!(found, Found::Denied(_)));
    let allowed = of(|found| *found == Found::Allowed);
    let unknown: Vec<&str> = actions
        .iter()
        .copied()
        .filter(|action| !denied.contains(action) && !allowed.contains(action))
        .collect();
    let place = &region.key.region;
    let said = |of: fn(&Found) -> Option<&String>| found.values().find_map(of).cloned();
    let open = if unknown.is_empty() {
        String::new()
    } else {
        let why = said(|found| match found {
            Found::Unclear(words) => Some(words),
            _ => None,
        });
        let why = why.unwrap_or_else(|| "that needs an existing endpoint, group or VPC".to_owned());
        format!("; not verified: {} ({why})", unknown.join(", "))
    };
    if !denied.is_empty() {
        let words = said(|found| match found {
            Found::Denied(words) => Some(words),
            _ => None,
        });
        let message = format!(
            "role {} is denied {} in {place}; give it the policy that `vpce-operator iam-policy tenant` prints \
             (docs/iam.md). EC2 says: {}{open}",
            role.role_arn,
            denied.join(", "),
            words.unwrap_or_default(),
        );
        return Verification::new("False", Reason::ActionsDenied, message);
    }
    if unknown.is_empty() {
        let message = format!("EC2 allows the role all that endpoints need, by dry runs in {place}");
        return Verification::new("True", Reason::AllAllowed, message);
    }
    let allowed = match allowed.as_slice() {
        [] => "nothing yet".to_owned(),
        some => some.join(", "),
    };
    let message = format!("EC2 allows the role {allowed}, by dry runs in {place}{open}");
    Verification::new("Unknown", Reason::NotAllAsked, message)
}

/// The endpoints that are bound to an AWSAccount, in the AWS account that it leads to, in order of
/// their names.
fn users(ctx: &Context, account: &str, role: &SessionKey) -> Vec<Arc<Endpoint>> {
    let leads_there = |endpoint: &Arc<Endpoint>| {
        let binding = endpoint.status.account.as_ref();
        binding.is_some_and(|binding| binding.account_id == role.role_arn.account().as_str())
    };
    let users = ctx.shared.caches.bound_to(account).into_iter();
    users.filter(leads_there).collect()
}

/// Where to ask, and with what; none while no region is known.
fn example(ctx: &Context, account: &str, spec: &AWSAccountSpec, role: &SessionKey) -> Option<(String, Example)> {
    let users = users(ctx, account, role);
    let region = region_of(spec, &users)?;
    let example = example_in(ctx, spec, &users, role.role_arn.partition(), &region);
    Some((region, example))
}

/// How many dry runs there is something to ask with.
fn possible(example: Option<&(String, Example)>) -> usize {
    example.map_or(0, |(_, example)| example.probes().len())
}

fn region_of(spec: &AWSAccountSpec, users: &[Arc<Endpoint>]) -> Option<String> {
    let allowed = || spec.allowed_regions.as_ref()?.first().cloned();
    let used = || users.iter().find_map(|endpoint| endpoint.status.region.clone());
    let network = || spec.networks.first().map(|network| network.region.clone());
    spec.default_region
        .clone()
        .or_else(allowed)
        .or_else(network)
        .or_else(used)
}

/// What to ask with: what the guardrails name, and what the endpoints that are there have.
fn example_in(
    ctx: &Context,
    spec: &AWSAccountSpec,
    users: &[Arc<Endpoint>],
    partition: Partition,
    region: &str,
) -> Example {
    let here = |endpoint: &&Arc<Endpoint>| endpoint.status.region.as_deref() == Some(region);
    let users: Vec<&Arc<Endpoint>> = users.iter().filter(here).collect();
    let specs = || users.iter().filter_map(|endpoint| endpoint.spec.as_ref().ok());
    let railed = spec.allowed_vpc_ids.as_ref().and_then(|ids| ids.first().cloned());
    let networks = || users.iter().filter_map(|endpoint| endpoint.status.network.as_ref());
    let listed = spec.networks.iter().filter(|network| network.region == region);
    let listed = || listed.clone().find_map(|network| network.vpc_id.clone());
    let used = || networks().map(|network| network.vpc_id.clone()).next();
    let vpc = railed.or_else(listed).or_else(used);
    let subnet = vpc.as_ref().and_then(|vpc| {
        let beside = networks().filter(|network| network.vpc_id == *vpc);
        beside.filter_map(|network| network.subnet_ids.first()).next()
    });
    let is_name = |pattern: &&String| !pattern.contains(['*', '?']);
    let service = match &spec.allowed_services {
        None => Some(format!("{}.{region}.ec2", partition.service_prefix())),
        Some(patterns) => {
            let used = || {
                let is_local = |spec: &&VPCEndpointSpec| {
                    spec.vpc_endpoint_type == EndpointType::Interface && spec.service_region.is_none()
                };
                let name = specs().find(is_local)?.vpc_endpoint_service_id.as_deref()?;
                full_service_name(name, partition, region).ok()
            };
            patterns.iter().find(is_name).cloned().or_else(used)
        }
    };
    let others = others(spec, &specs().collect::<Vec<_>>(), partition, region);
    let mut tags = spec.default_tags.clone();
    tags.extend(spec.required_tags.clone());
    tags.insert(tags::CLUSTER.to_owned(), ctx.shared.clusters.own.clone());
    let tables = spec.allowed_route_table_ids.iter().flatten().cloned();
    let used_tables = specs().flat_map(|spec| spec.route_table_ids.iter().flatten().cloned());
    let of_ours = |id: fn(&Endpoint) -> Option<&String>| users.iter().find_map(|endpoint| id(endpoint));
    Example {
        subnet: subnet.map(|id| id.as_str().into()),
        vpc: vpc.map(|id| id.as_str().into()),
        private_dns: spec.allow_private_dns,
        networks: reads_networks(spec),
        types: spec.allowed_vpc_endpoint_types.clone().unwrap_or_default(),
        targets: service.map(Target::Service).into_iter().chain(others).collect(),
        route_table: tables.chain(used_tables).next(),
        tags,
        endpoint: of_ours(|endpoint| endpoint.status.vpc_endpoint_id.as_ref()).map(|id| id.as_str().into()),
        group: of_ours(|endpoint| endpoint.status.security_group_id.as_ref()).map(|id| id.as_str().into()),
    }
}

/// What endpoints may connect to that need more than those of type Interface in one region, as far
/// as the guardrails turn it on and there is an example.
fn others(spec: &AWSAccountSpec, used: &[&VPCEndpointSpec], partition: Partition, region: &str) -> Vec<Target> {
    let types = spec.allowed_vpc_endpoint_types.as_deref().unwrap_or_default();
    let of_type = |type_: EndpointType| {
        let of_type = used.iter().filter(move |used| used.vpc_endpoint_type == type_);
        of_type.filter(move |_| types.contains(&type_))
    };
    let named = |end: &str| {
        let names = spec.allowed_services.iter().flatten();
        let mut names = names.filter(|pattern| !pattern.contains(['*', '?']));
        names.find(|name| name.ends_with(end)).cloned()
    };
    let s3 = |region: &str| {
        let all = spec.allowed_services.is_none();
        all.then(|| format!("{}.{region}.s3", partition.service_prefix()))
    };
    let service_of = |used: &&&VPCEndpointSpec, region: &str| {
        let name = used.vpc_endpoint_service_id.as_deref()?;
        full_service_name(name, partition, region).ok()
    };
    let gateway = types.contains(&EndpointType::Gateway).then(|| {
        let used = of_type(EndpointType::Gateway).find_map(|used| service_of(&used, region));
        used.or_else(|| s3(region)).or_else(|| named(&format!(".{region}.s3")))
    });
    let across = spec.allowed_service_regions.iter().find_map(|elsewhere| {
        let is_there = |used: &&&VPCEndpointSpec| used.service_region.as_ref() == Some(elsewhere);
        let used = used.iter().find(is_there);
        let used = used.and_then(|used| service_of(&used, elsewhere));
        let service = used
            .or_else(|| s3(elsewhere))
            .or_else(|| named(&format!(".{elsewhere}.s3")))?;
        Some(Target::Across(service, elsewhere.clone()))
    });
    let resource = of_type(EndpointType::Resource).find_map(|used| used.resource_configuration_arn.clone());
    let network = of_type(EndpointType::ServiceNetwork).find_map(|used| used.service_network_arn.clone());
    let all = [
        gateway.flatten().map(Target::Gateway),
        across,
        resource.map(Target::Resource),
        network.map(Target::ServiceNetwork),
    ];
    all.into_iter().flatten().collect()
}
