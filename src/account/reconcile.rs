//! Reconciles an AWSAccount: assumes its role, counts its endpoints, and removes its finalizer when
//! it is deleted and not in use.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, Patch};
use kube::{Resource, ResourceExt};
use serde_json::json;
use vpce_core::api::{AWSAccountStatus, AccountNetworkStatus, OrphansStatus, RESUME_CREATION};
use vpce_core::conditions::{AccountReason as Reason, CREATION_PAUSED, EventKind, READY, STALLED};
use vpce_core::tenancy::maps_no_namespace;

use super::context::Context;
use super::permissions::{self, Outcome, Verification};
use super::{networks, orphans, role, trust};
use crate::aws::sessions::{Cause, Refusal, SessionKey};
use crate::backoff::jitter;
use crate::k8s::caches::Account;
use crate::k8s::conditions::{self, Conditions};
use crate::k8s::patch::replacing;
use crate::k8s::writes::{Refused, Write};

/// A message names so many of those who use the account.
const NAMED: usize = 5;

struct Verdict {
    reason: Reason,
    message: String,
    next: Duration,
}

/// Reconciles an AWSAccount; gives when to requeue, or none once it is gone.
pub(crate) async fn reconcile(ctx: &Context, account: Arc<Account>) -> Result<Option<Duration>, kube::Error> {
    let name = account.name_any();
    let api: Api<Account> = Api::all(ctx.shared.client.clone());
    let users = Users::count(ctx, &name);
    let mut account = account;
    let mut refused = None;
    if account.metadata.deletion_timestamp.is_some() {
        if users.endpoints + users.endpoint_services == 0 {
            match remove_finalizer(ctx, &account).await {
                Ok(true) => return Ok(None),
                Ok(false) => {}
                Err(error) => refused = Some(Refused::of(&error).cloned().ok_or(error)?),
            }
        }
    } else {
        match ctx.shared.protection.add_finalizer(&account).await {
            Ok(protected) => account = protected,
            Err(error) => refused = Some(Refused::of(&error).cloned().ok_or(error)?),
        }
    }
    let verdict = match refused {
        Some(refused) => finalizer_refused(&account, &refused),
        None => probe(ctx, &account).await,
    };
    let insight = look_inside(ctx, &account, &verdict).await;
    let resync = jitter(ctx.shared.resync_interval());
    let next = insight
        .next
        .into_iter()
        .chain([resync])
        .fold(verdict.next, Duration::min);
    let status = status(ctx, &account, &verdict, &insight, users);
    let (before, after) = (said(&account.status), said(&status));
    let paused = |status: &AWSAccountStatus| {
        conditions::find(&status.conditions, CREATION_PAUSED).map(|condition| condition.message.clone())
    };
    let newly_paused = paused(&status).filter(|message| paused(&account.status).as_ref() != Some(message));
    let networks_changed = networks::changed(&account.status.networks, &status.networks);
    let written = write(ctx, &api, &account, status).await?;
    if networks_changed && written.is_stored {
        // Those that wait for a network need not wait for their own next try.
        ctx.shared.requeuer.account_changed(&name);
    }
    let next = written.not_before.map_or(next, |left| next.min(left));
    if before != after && written.is_stored {
        let good = verdict.reason.is_ready();
        tracing::info!(account = name, ready = good, reason = ?verdict.reason, condition_message = verdict.message, "now");
        let kind = if good { EventKind::Normal } else { EventKind::Warning };
        let reason = verdict.reason.to_string();
        // Events of an AWSAccount name no objects of tenants.
        let note = match verdict.reason {
            Reason::InUse => format!("it is being deleted, and waits for {users} that use it"),
            _ => verdict.message.clone(),
        };
        ctx.shared.events.publish(&*account, kind, &reason, "Verify", &note);
        if good {
            ctx.shared.requeuer.account_changed(&name);
        }
    }
    if let Some(message) = newly_paused.filter(|_| written.is_stored) {
        ctx.shared.events.publish(
            &*account,
            EventKind::Warning,
            CREATION_PAUSED,
            "PauseCreation",
            &message,
        );
    }
    report_missing_permissions(ctx, &account, insight.verification);
    Ok(Some(next))
}

/// Warns of permissions that the role lacks, unless the status has them already.
fn report_missing_permissions(ctx: &Context, account: &Account, verification: Option<Verification>) {
    let missing = verification.filter(Verification::is_bad);
    if let Some(missing) = missing.filter(|missing| Some(missing) != permissions::current(account).as_ref()) {
        tracing::warn!(
            account = account.name_any(),
            condition_message = missing.message,
            "the role lacks permissions"
        );
        ctx.shared
            .events
            .publish(account, EventKind::Warning, &missing.reason, "Verify", &missing.message);
    }
}

/// Lets an AWSAccount that nothing uses go, and forgets it. False: something uses it by now.
async fn remove_finalizer(ctx: &Context, account: &Account) -> Result<bool, kube::Error> {
    if !ctx.shared.protection.remove_finalizer(account).await? {
        return Ok(false);
    }
    if let Some(role) = role(&ctx.shared, account) {
        ctx.shared.sessions.forget(&role).await;
        for region in ctx.shared.regions.of(role.role_arn.account()) {
            region.cancel(&account.uid().unwrap_or_default());
        }
    }
    ctx.verifications.forget(&account.name_any());
    ctx.shared.writes.forget(account);
    Ok(true)
}

/// What Ready says, as far as saying something else is worth an event: who uses an account that is
/// being deleted changes with each that goes.
fn said(status: &AWSAccountStatus) -> Option<(bool, String, Option<String>)> {
    let ready = conditions::find(&status.conditions, READY)?;
    let is_list = ready.reason == format!("{:?}", Reason::InUse);
    let message = (!is_list).then(|| ready.message.clone());
    Some((ready.status == "True", ready.reason.clone(), message))
}

/// What was found with a session of the role.
struct Insight {
    /// What the role may do.
    verification: Option<Verification>,
    orphans: Option<OrphansStatus>,
    /// What each network consists of.
    networks: Vec<AccountNetworkStatus>,
    /// When there is more to ask.
    next: Option<Duration>,
}

/// What the role may do and what is left over, where it can be assumed; else what was found before.
async fn look_inside(ctx: &Context, account: &Account, verdict: &Verdict) -> Insight {
    let session = match (&account.spec, role(&ctx.shared, account)) {
        (Ok(spec), Some(role)) if verdict.reason.is_ready() => {
            let session = ctx.shared.sessions.get(&role).await.ok();
            session.map(|session| (spec, role, session))
        }
        _ => None,
    };
    match session {
        Some((spec, role, session)) => {
            let networks = networks::look(&ctx.shared, &account.status.networks, spec, &session, &role).await;
            let found = orphans::look(&ctx.shared, account, spec, &session, &role).await;
            let Outcome { verification, next } = permissions::verify(ctx, account, spec, &session, &role).await;
            Insight {
                verification,
                orphans: Some(found.orphans),
                next: next.into_iter().chain(found.next).chain(networks.next).min(),
                networks: networks.found,
            }
        }
        None => Insight {
            verification: permissions::current(account),
            orphans: account.status.orphans.clone(),
            networks: account.status.networks.clone(),
            next: None,
        },
    }
}

fn finalizer_refused(account: &Account, refused: &Refused) -> Verdict {
    let message = &refused.message;
    let what = match account.metadata.deletion_timestamp {
        Some(_) => "no VPCEndpoint uses it any more, but its finalizer cannot be removed",
        None => "no VPCEndpoint is bound to it before it has the operator's finalizer, which cannot be added",
    };
    Verdict {
        reason: Reason::FinalizerRefused,
        message: format!(
            "{what}: {message}. An admission controller rejects the operator's writes \
            (docs/troubleshooting.md)"
        ),
        next: refused.left,
    }
}

async fn probe(ctx: &Context, account: &Account) -> Verdict {
    let probe = jitter(ctx.shared.settings.account_probe_interval);
    let verdict = |reason, message, next| Verdict { reason, message, next };
    if account.metadata.deletion_timestamp.is_some() {
        let users = users(ctx, &account.name_any());
        let named = users[..users.len().min(NAMED)].join(", ");
        let more = users.len().saturating_sub(NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let message = format!("it is being deleted, and waits for the objects that use it: {named}{more}");
        return verdict(Reason::InUse, message, probe);
    }
    let spec = match &account.spec {
        Err(unparsed) => {
            let message = format!("the spec does not parse: {}", unparsed.error);
            return verdict(Reason::InvalidSpec, message, probe);
        }
        Ok(spec) if spec.decommissioned => {
            let message = "the AWS account is closed: no calls are made there, and the finalizers of deleted VPCEndpoints are \
                 removed without calling AWS";
            return verdict(Reason::Decommissioned, message.to_owned(), probe);
        }
        Ok(spec) => spec,
    };
    let Some(role) = role(&ctx.shared, account) else {
        return verdict(
            Reason::InvalidSpec,
            "role_arn is not the ARN of an IAM role (arn:<partition>:iam::<12 digits>:role/<name>)".to_owned(),
            probe,
        );
    };
    retain_former(ctx, account, &role).await;
    match ctx.shared.sessions.get(&role).await {
        Ok(session) => {
            let clamped = if session.is_clamped() {
                "; its sessions last an hour, the maximum that STS allows from another role's session"
            } else {
                ""
            };
            let assumed = format!("the role was assumed, in AWS account {}{clamped}", session.account_id());
            if spec.suspended {
                let message = format!("suspended: nothing is changed in AWS while spec.suspended is true; {assumed}");
                verdict(Reason::Suspended, message, probe)
            } else if maps_no_namespace(spec) {
                let message =
                    format!("no namespace may use it: set spec.namespaces or spec.namespace_selector; {assumed}");
                verdict(Reason::NoNamespaces, message, probe)
            } else {
                verdict(Reason::Verified, assumed, probe)
            }
        }
        Err(refusal) => {
            let reason = match refusal {
                Refusal::Denied { .. } => Reason::AssumeRoleDenied,
                Refusal::WrongAccount { .. } => Reason::WrongAccount,
                Refusal::Unavailable { .. } | Refusal::NoRegion { .. } => Reason::STSUnavailable,
            };
            let next = refusal.retry_after() + Duration::from_millis(200);
            let mut message = refusal.to_string();
            if let Refusal::Denied {
                message: said, cause, ..
            } = &refusal
            {
                let own = ctx.shared.sessions.own_arn(&role).await;
                message.push_str(&match cause {
                    Cause::Trust => trust::hint(own, &role, said),
                    Cause::Request { .. } => trust::crossing(own, &role),
                    Cause::SessionTags => String::new(),
                });
            }
            verdict(reason, message, next)
        }
    }
}

/// Lets go of the session that an AWSAccount asked for before, unless another AWSAccount asks for
/// the same.
async fn retain_former(ctx: &Context, account: &Account, role: &SessionKey) {
    let former = {
        let mut asked = ctx.asked.lock();
        let former = asked.insert(account.name_any(), role.clone());
        former.filter(|former| former != role && !asked.values().any(|other| other == former))
    };
    if let Some(former) = former {
        tracing::info!(
            account = account.name_any(),
            role = former.role_arn.as_str(),
            "no longer used; its session is dropped"
        );
        ctx.shared.sessions.forget(&former).await;
    }
}

/// How many objects are bound to an AWSAccount.
#[derive(Debug, Clone, Copy)]
struct Users {
    endpoints: usize,
    endpoint_services: usize,
}

impl Users {
    fn count(ctx: &Context, account: &str) -> Self {
        let caches = &ctx.shared.caches;
        Self {
            endpoints: caches.count_bound_to(account),
            endpoint_services: caches.count_endpoint_services_bound_to(account),
        }
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoints,
            endpoint_services,
        } = self;
        match endpoint_services {
            0 => write!(f, "{endpoints} VPCEndpoints"),
            services => write!(f, "{endpoints} VPCEndpoints and {services} VPCEndpointServices"),
        }
    }
}

/// The objects that are bound to an AWSAccount, as `VPCEndpoint namespace/name`.
fn users(ctx: &Context, account: &str) -> Vec<String> {
    fn name<K: Resource<DynamicType = ()>>(user: &Arc<K>) -> String {
        let (namespace, name) = (user.namespace().unwrap_or_default(), user.name_any());
        format!("{} {namespace}/{name}", K::kind(&()))
    }
    let caches = &ctx.shared.caches;
    let mut names: Vec<String> = caches.bound_to(account).iter().map(name).collect();
    names.sort();
    let mut services: Vec<String> = caches.endpoint_services_bound_to(account).iter().map(name).collect();
    services.sort();
    names.extend(services);
    names
}

fn status(ctx: &Context, account: &Account, verdict: &Verdict, insight: &Insight, users: Users) -> AWSAccountStatus {
    let role = role(&ctx.shared, account);
    let generation = account.metadata.generation;
    let before = &account.status;
    let made = Conditions {
        before: &before.conditions,
        generation,
    };
    let good = verdict.reason.is_ready();
    let reason = verdict.reason.to_string();
    let mut conditions = Vec::new();
    let regions = role.as_ref().map(|role| ctx.shared.regions.of(role.role_arn.account()));
    let paused: Vec<(String, String)> = regions
        .iter()
        .flatten()
        .filter_map(|region| Some((region.key.region.to_string(), region.gauges().paused?)))
        .collect();
    if !paused.is_empty() {
        let paused_in: Vec<String> = paused.iter().map(|(region, id)| format!("{id} in {region}")).collect();
        let message = format!(
            "many endpoints vanished at once, so creation is paused there until a person resumes it: resume id {}. Once the \
             cause is known, annotate this object with {RESUME_CREATION}=<id>",
            paused_in.join(", ")
        );
        conditions.push(made.condition(
            CREATION_PAUSED,
            "True",
            Reason::MassDeletionDetected.to_string(),
            message,
        ));
    }
    if let Some(found) = &insight.verification {
        let Verification {
            status,
            reason,
            message,
        } = found;
        conditions.push(made.condition(permissions::CONDITION, status, reason, message));
    }
    // First, for the column that shows what stands in the way.
    let ready = made.condition(READY, conditions::status(good), &reason, &verdict.message);
    conditions.insert(0, ready);
    if verdict.reason == Reason::InvalidSpec {
        conditions.push(made.condition(STALLED, "True", &reason, &verdict.message));
    }
    AWSAccountStatus {
        account_id: if good {
            role.map(|role| role.role_arn.account().to_string())
        } else {
            // What AWS confirmed before stays true.
            before.account_id.clone()
        },
        endpoints: i64::try_from(users.endpoints).ok(),
        endpoint_services: i64::try_from(users.endpoint_services).ok(),
        networks: insight.networks.clone(),
        orphans: insight.orphans.clone(),
        observed_generation: generation,
        conditions,
    }
}

struct Written {
    /// Whether it is stored, now or before.
    is_stored: bool,
    /// When one that was refused is tried again.
    not_before: Option<Duration>,
}

async fn write(
    ctx: &Context,
    api: &Api<Account>,
    account: &Account,
    status: AWSAccountStatus,
) -> Result<Written, kube::Error> {
    let done = |is_stored| Written {
        is_stored,
        not_before: None,
    };
    if status == account.status {
        return Ok(done(true));
    }
    if ctx
        .shared
        .writes
        .would_be_changed_again(account, &account.status, &status)
    {
        return Ok(done(false));
    }
    let name = account.name_any();
    let patch = json!({
        "metadata": {"uid": account.uid()},
        "status": replacing(&account.status, &status),
    });
    let (params, patch) = (crate::k8s::patch::params(), Patch::Merge(patch));
    let write = api.patch_status(&name, &params, &patch);
    let most = ctx.shared.settings.resync_interval;
    let written = ctx
        .shared
        .writes
        .acknowledged(account, Write::Status, most, write, |_| None)
        .await;
    match written {
        Ok(stored) => {
            if let Some(fields) = ctx.shared.writes.compare(account, &status, &stored.status, most) {
                let fields = fields.join(", ");
                tracing::warn!(
                    account = name,
                    fields,
                    "the status was stored differently from what was written"
                );
                let note = format!(
                    "the API server stored a different status than the operator wrote ({fields}): an admission \
                     controller changes it"
                );
                ctx.shared
                    .events
                    .publish(account, EventKind::Warning, "StatusChanged", "Verify", &note);
            }
            Ok(done(true))
        }
        Err(error) => {
            let refused = Refused::of(&error).cloned().ok_or(error)?;
            if refused.is_tried {
                tracing::warn!(account = name, error = refused.message, "the status was not written");
            }
            if refused.is_news {
                let note = format!(
                    "the status cannot be written, so it is out of date: {}",
                    refused.message
                );
                ctx.shared
                    .events
                    .publish(account, EventKind::Warning, "StatusRefused", "Verify", &note);
            }
            Ok(Written {
                is_stored: false,
                not_before: Some(refused.left),
            })
        }
    }
}
