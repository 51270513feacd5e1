//! The way of the data, on one screen: resolve, desired, observe, plan, apply, status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use vpce_core::api::{DeletionPolicy, ENDPOINT_FINALIZER, KOPF_ANNOTATION_PREFIX, KOPF_FINALIZER, VPCEndpointSpec};
use vpce_core::authorize::{authorize, authorize_deletion};
use vpce_core::conditions::{EventKind, Finding, Reason};
use vpce_core::desired::{self, Desired};
use vpce_core::guardrails;
use vpce_core::ids::GroupId;
use vpce_core::metadata::Allowed;
use vpce_core::resolve::{self, Resolved, Subject, Writes};
use vpce_core::tags::Owner;

use super::acknowledged::remove_finalizer;
use super::bind::Move;
use super::context::Context;
use super::memory::PlannedChanges;
use super::observe::{Age, observe};
use super::queues;
use super::semaphore::Permit;
use super::status::{self, Findings};
use crate::aws::ec2::Ec2;
use crate::aws::region::{RefreshError, Region};
use crate::aws::sessions::Refusal;
use crate::k8s::caches::Endpoint;
pub use crate::k8s::controller::Next;
use crate::k8s::finalizer;
use crate::settings::Mode;

/// As what an object is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// As it is: bound, or not yet.
    Bound,
    /// As if it were bound to nothing.
    New,
    /// As one that is to have nothing left where it is bound.
    Leaving,
}

/// One object on its way.
pub(super) struct Reconciliation<'a> {
    pub(super) ctx: &'a Context,
    pub(super) object: Arc<Endpoint>,
    pub(super) owner: Owner,
    pub(super) deleting: bool,
    /// Ready, for this generation, when the reconciliation began.
    pub(super) was_ready: bool,
    /// Whether the endpoint was available when it was last seen.
    pub(super) serves: bool,
    /// What would be done if anything might be changed.
    pub(super) planned_changes: Option<PlannedChanges>,
    /// The spec was edited before there was an endpoint: nothing is desired where the object is bound.
    pub(super) moving: Option<Move>,
    /// Whether the spec, in this generation, agrees with what the object is bound to.
    pub(super) agrees: bool,
}

/// Looks at an object and does what there is to do.
pub async fn reconcile(ctx: &Context, object: Arc<Endpoint>) -> Result<Next, kube::Error> {
    let mut reconciliation = Reconciliation::new(ctx, object);
    if reconciliation.deleting
        && !finalizer::has(&*reconciliation.object, ENDPOINT_FINALIZER)
        && !is_legacy(&reconciliation.object)
    {
        return Ok(Next::Gone);
    }
    if is_legacy(&reconciliation.object) {
        return reconciliation
            .report(Findings::account(status::legacy_unsettled()))
            .await;
    }
    let (spec, deletion_policy) = match reconciliation.object.spec.clone() {
        Ok(spec) => {
            let policy = spec.deletion_policy;
            (Some(spec), policy)
        }
        Err(unparsed) if reconciliation.deleting => (None, unparsed.deletion_policy()),
        Err(unparsed) => {
            return reconciliation
                .report(Findings::account(status::does_not_parse(&unparsed.error)))
                .await;
        }
    };
    let is_bound = status::binding(&reconciliation.object.status).is_some();
    if let Err(findings) = reconciliation.compare_binding(spec.as_ref()) {
        return reconciliation.report(findings).await;
    }
    let resolved = reconciliation.resolve(spec.as_ref());
    let account = resolved.as_ref().ok().map(|resolved| resolved.binding.account.clone());
    ctx.memories
        .with(&reconciliation.object, |memory| memory.resolved_to = account);
    let mut resolved = match resolved {
        Ok(resolved) => resolved,
        // Nothing is made before it is bound. Should the status have been lost, it is looked for where it would be.
        Err(_) if reconciliation.deleting && !is_bound => return reconciliation.remove_finalizer().await,
        Err(finding) if reconciliation.deleting && finding.reason == Reason::AccountDecommissioned => {
            return reconciliation.abandon(&finding).await;
        }
        Err(finding) if reconciliation.moving.is_some() && finding.reason == Reason::AccountDecommissioned => {
            reconciliation.tell_of_abandoned(&finding);
            return reconciliation.unbind().await;
        }
        Err(finding) => return reconciliation.report(Findings::account(finding)).await,
    };
    let desired = match spec.as_ref().filter(|_| !reconciliation.leaves()) {
        None => None,
        Some(spec) => match reconciliation.desired(spec, &resolved) {
            Ok((desired, Ok(()))) => Some(desired),
            // What is there is looked at and left as it is.
            Ok((desired, Err(not_allowed))) if is_bound && reconciliation.object.status.vpc_endpoint_id.is_some() => {
                resolved.writes = Writes::Frozen(not_allowed);
                Some(desired)
            }
            Ok((_, Err(finding))) | Err(finding) => return reconciliation.report_bad_spec(&resolved, finding).await,
        },
    };
    // Who is refused takes nobody's place.
    if let Some(refusal) = reconciliation.remembered_refusal(&resolved).await {
        return reconciliation.refused(&resolved, &refusal).await;
    }
    let Some(_inside) = reconciliation.enter(&resolved) else {
        return Ok(Next::WhenRoom);
    };
    let (region, ec2) = match reconciliation.open(&resolved).await {
        Ok(opened) => opened,
        Err(refusal) => return reconciliation.refused(&resolved, &refusal).await,
    };
    if let Some(desired) = &desired {
        if !is_bound && resolved.account.max_endpoints.is_some() {
            let age = ctx.shared.settings.account_probe_interval;
            if let Err(error) = region.read_retained(&ec2, age).await {
                return reconciliation.not_seen(&resolved, &ec2, error).await;
            }
        }
        if let Err(full) = reconciliation.admit(&resolved, false) {
            crate::account::record_event(&ctx.shared, &resolved.binding.account, &full, "");
            return reconciliation.report(Findings::account(full)).await;
        }
        if !reconciliation.was_ready && resolved.writes == Writes::Allowed {
            match reconciliation.check_groups(&region, &ec2, Some(desired)).await {
                Ok(Ok(())) => {}
                Ok(Err(finding)) => return reconciliation.report_bad_spec(&resolved, finding).await,
                Err(error) => return reconciliation.not_seen(&resolved, &ec2, error).await,
            }
        }
        // A binding is for good: not to a region that cannot be read, where nothing could be made, nor the object deleted.
        if let Err(error) = reconciliation.see_before_binding(&region, &ec2).await {
            return reconciliation.not_seen(&resolved, &ec2, error).await;
        }
        // Nor does it take a place before.
        if let Err(full) = reconciliation.admit(&resolved, resolved.writes == Writes::Allowed) {
            return reconciliation.report(Findings::account(full)).await;
        }
        if is_bound || resolved.writes == Writes::Allowed {
            let bound = reconciliation.bind(spec.as_ref(), &resolved, desired).await?;
            if !bound {
                ctx.capacity.release(&reconciliation.owner.uid);
                return Ok(Next::After(Duration::ZERO));
            }
        }
    }
    let policy = if reconciliation.moving.is_some() {
        // It was never Ready, so nobody can want it retained.
        Ok(DeletionPolicy::Delete)
    } else {
        authorize_deletion(deletion_policy, &resolved, &reconciliation.owner.namespace)
    };
    reconciliation
        .converge(
            spec.as_ref(),
            &resolved,
            desired.as_ref(),
            policy.as_ref().copied(),
            &region,
            &ec2,
        )
        .await
}

impl<'a> Reconciliation<'a> {
    pub(super) fn new(ctx: &'a Context, object: Arc<Endpoint>) -> Self {
        Self {
            ctx,
            owner: Owner {
                cluster: ctx.shared.clusters.clone(),
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
            },
            deleting: object.metadata.deletion_timestamp.is_some(),
            was_ready: status::was_ready(&object),
            serves: status::was_serving(&object.status),
            planned_changes: None,
            moving: None,
            agrees: false,
            object,
        }
    }

    /// Whether nothing is desired where the object is bound.
    pub(super) fn leaves(&self) -> bool {
        self.deleting || self.moving.is_some()
    }

    pub(super) fn resolve(&self, spec: Option<&VPCEndpointSpec>) -> Result<Resolved, Finding> {
        match self.moving {
            // What the spec says is not asked of where it leaves.
            Some(_) => self.resolve_as(None, As::Leaving),
            None => self.resolve_as(spec, As::Bound),
        }
    }

    pub(super) fn resolve_as(&self, spec: Option<&VPCEndpointSpec>, how: As) -> Result<Resolved, Finding> {
        let caches = &self.ctx.shared.caches;
        let labels = caches.labels_of(&self.owner.namespace);
        let binding = status::binding(&self.object.status).filter(|_| how != As::New);
        let subject = Subject {
            namespace: &self.owner.namespace,
            labels: labels.as_ref(),
            binding: binding.as_ref(),
            account: spec.and_then(|spec| spec.account.as_deref()),
            region: spec.and_then(|spec| spec.region.as_deref()),
            deleting: self.deleting || how == As::Leaving,
            read_only: self.ctx.shared.settings.mode == Mode::ReadOnly,
        };
        let accounts = match &binding {
            Some(binding) => caches.account(&binding.account).into_iter().collect(),
            None => {
                let mut mapping = caches.accounts_mapping(&self.owner.namespace);
                // One that is being deleted takes nobody new.
                mapping.retain(|account| account.metadata.deletion_timestamp.is_none());
                mapping
            }
        };
        let names: Vec<String> = accounts.iter().map(|account| account.name_any()).collect();
        let views: Vec<resolve::Account<'_>> = accounts
            .iter()
            .zip(&names)
            .map(|(account, name)| resolve::Account {
                name,
                spec: account.spec.as_ref().map_err(|unparsed| unparsed.error.as_str()),
            })
            .collect();
        resolve::resolve(subject, &views)
    }

    /// What the spec asks for, and whether the account and the operator's settings allow it.
    pub(super) fn desired(
        &self,
        spec: &VPCEndpointSpec,
        resolved: &Resolved,
    ) -> Result<(Desired, Result<(), Finding>), Finding> {
        let desired = desired::desired(spec, &self.owner, resolved)?;
        let keys = Allowed {
            labels: &self.ctx.shared.settings.service_labels,
            annotations: &self.ctx.shared.settings.service_annotations,
        };
        let allowed = authorize(spec, &desired, resolved, keys);
        Ok((desired, allowed))
    }

    /// A place among the few that talk to this AWS account at once; if there is none, the object is woken later.
    fn enter(&self, resolved: &Resolved) -> Option<Permit> {
        let account_id = resolved.binding.account_id.as_str();
        self.ctx
            .semaphore
            .enter(account_id, &self.owner.namespace, &self.owner.name)
    }

    /// What STS said lately, if it refused the role and is not to be asked again yet.
    async fn remembered_refusal(&self, resolved: &Resolved) -> Option<Refusal> {
        let role = self
            .ctx
            .shared
            .session_key(&resolved.binding.account, &resolved.role, &resolved.account);
        self.ctx.shared.sessions.refusal(&role).await
    }

    /// The session of the account's role, and the region.
    pub(super) async fn open(&self, resolved: &Resolved) -> Result<(Arc<Region>, Ec2), Refusal> {
        let binding = &resolved.binding;
        let role = self
            .ctx
            .shared
            .session_key(&binding.account, &resolved.role, &resolved.account);
        let session = self.ctx.shared.sessions.get(&role).await?;
        Ok(self.ctx.shared.in_region(&session, &binding.region))
    }

    /// Whether the account has room for an object that is not bound yet; `claim`: it is bound next.
    pub(super) fn admit(&self, resolved: &Resolved, claim: bool) -> Result<(), Finding> {
        match resolved.account.max_endpoints {
            Some(most) if status::binding(&self.object.status).is_none() => {
                let account = &resolved.binding.account;
                let account_id = &resolved.binding.account_id;
                let without_object = self.ctx.shared.regions.endpoints_without_object(account_id);
                self.ctx.capacity.admit(
                    &self.ctx.shared.caches,
                    &self.object,
                    account,
                    most,
                    without_object,
                    claim,
                )
            }
            _ => Ok(()),
        }
    }

    /// Whether the groups of others that the spec names may be used: asked once for a generation, and never at rest.
    pub(super) async fn check_groups(
        &self,
        region: &Region,
        ec2: &Ec2,
        desired: Option<&Desired>,
    ) -> Result<Result<(), Finding>, RefreshError> {
        let ids: Vec<GroupId> = desired
            .map(|desired| guardrails::named_groups(desired).into_iter().cloned().collect())
            .unwrap_or_default();
        let generation = self.object.metadata.generation;
        let checked = self.ctx.memories.with(&self.object, |memory| memory.groups_checked);
        if ids.is_empty() || checked == generation {
            return Ok(Ok(()));
        }
        // However often a spec is edited, AWS is asked once a poll interval for it.
        let now = Instant::now();
        let poll = self.ctx.shared.settings.poll_interval;
        let asked = self.ctx.memories.with(&self.object, |memory| memory.groups_asked);
        if let Some(left) = asked.and_then(|asked| (asked + poll).checked_duration_since(now)) {
            return Err(RefreshError::Busy(left));
        }
        self.ctx
            .memories
            .with(&self.object, |memory| memory.groups_asked = Some(now));
        let verdict = guardrails::check_groups(&self.owner, &region.read_groups(ec2, &ids).await?);
        if verdict.is_ok() {
            self.ctx
                .memories
                .with(&self.object, |memory| memory.groups_checked = generation);
        }
        Ok(verdict)
    }

    async fn see_before_binding(&self, region: &Region, ec2: &Ec2) -> Result<(), RefreshError> {
        let status = &self.object.status;
        if status::binding(status).is_some() {
            return Ok(());
        }
        let age = Age(self.ctx.shared.settings.resync_interval);
        observe(self.ctx, region, ec2, &self.owner, status, age).await
    }

    /// The AWS account is closed: what was made there is left to it.
    async fn abandon(&mut self, finding: &Finding) -> Result<Next, kube::Error> {
        self.tell_of_abandoned(finding);
        self.remove_finalizer().await
    }

    /// Tells what is left to an AWS account that is closed.
    fn tell_of_abandoned(&self, finding: &Finding) {
        let status = &self.object.status;
        let ids: Vec<&str> = [&status.vpc_endpoint_id, &status.security_group_id]
            .into_iter()
            .filter_map(|id| id.as_deref())
            .collect();
        let note = format!("{}; left as they are: {}", finding.message, ids.join(", "));
        self.ctx
            .shared
            .events
            .publish(&*self.object, EventKind::Warning, "Abandoned", "Abandon", &note);
    }

    /// Nothing is left, or nothing was made: the object may go.
    pub(super) async fn remove_finalizer(&mut self) -> Result<Next, kube::Error> {
        let account = self.object.status.account.as_ref().map(|account| account.name.clone());
        match remove_finalizer(self.ctx, &self.object).await {
            Ok(()) => {}
            Err(error) if crate::k8s::error::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account,
            "let go: nothing of it is left"
        );
        queues::leave(self.ctx, &self.object);
        if let Some(account) = account {
            self.ctx.shared.requeuer.account(&account);
        }
        Ok(Next::Gone)
    }
}

/// What an endpoint says of a role that has no session.
pub(super) fn not_ready(account: &str, refusal: &Refusal) -> Finding {
    Finding::bad(
        Reason::AccountNotReady,
        format!("ask your platform team: AWSAccount {account} is not ready: {refusal}"),
    )
}

/// Whether the Python operator left its marks on an object that has not been bound since.
pub(super) fn is_legacy(object: &Endpoint) -> bool {
    let marked = object.status.create_fn.is_some()
        || finalizer::has(object, KOPF_FINALIZER)
        || object
            .annotations()
            .keys()
            .any(|key| key.starts_with(KOPF_ANNOTATION_PREFIX));
    marked && status::binding(&object.status).is_none()
}
