//! The way of the data, on one screen: resolve, desired, observe, plan, apply, status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;
use vpce_core::api::{DeletionPolicy, ENDPOINT_FINALIZER, KOPF_ANNOTATION_PREFIX, KOPF_FINALIZER, VPCEndpointSpec};
use vpce_core::conditions::{EventKind, Finding, Reason};
use vpce_core::desired::{self, Desired};
use vpce_core::ids::GroupId;
use vpce_core::metadata::Allowed;
use vpce_core::observed::{Observed, Sight};
use vpce_core::plan::{self, Farewell, Memory, Plan, Step, foresee};
use vpce_core::rails;
use vpce_core::resolve::{self, Resolved, Subject, Writes};
use vpce_core::tags::{self, Owner};

use super::apply::{Hands, Progress, apply};
use super::bind::Move;
use super::gate::Inside;
use super::memory::HeldBack;
use super::observe::{self, Age, observe};
use super::status::{self, Findings};
use crate::aws::ec2::Ec2;
use crate::aws::region::{LookError, Region, RegionKey};
use crate::aws::sessions::Refusal;
use crate::cli::Mode;
use crate::context::{Endpoint, Shared};
use crate::finalizer;

/// A pass plans anew after each change; one that still changes things after so many rounds goes on in the next.
const MOST_ROUNDS: usize = 8;
/// Who waits for room in an account is woken; should all before it in the queue be gone, it asks by itself.
const ASK_FOR_ROOM: Duration = Duration::from_secs(60);

/// A message that lists steps ends after so many characters: rules may be many.
const LONGEST_LIST: usize = 2000;

/// When to look at the object again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// After this time; watch events may bring it forward.
    After(Duration),
    /// After this time, and not earlier whatever the watch says.
    NotBefore(Duration),
    /// Never: it is gone.
    Gone,
}

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
pub(super) struct Pass<'a> {
    pub(super) ctx: &'a Shared,
    pub(super) object: Arc<Endpoint>,
    pub(super) owner: Owner,
    pub(super) deleting: bool,
    /// Ready, for this generation, when the pass began.
    pub(super) settled: bool,
    /// What would be done if anything might be changed.
    pub(super) held_back: Option<HeldBack>,
    /// The spec was edited before there was an endpoint: nothing is desired where the object is bound.
    pub(super) moving: Option<Move>,
    /// Whether the spec, in this generation, agrees with what the object is bound to.
    pub(super) agrees: bool,
}

/// Looks at an object and does what there is to do.
pub async fn reconcile(ctx: &Shared, object: Arc<Endpoint>) -> Result<Next, kube::Error> {
    let mut pass = Pass::new(ctx, object);
    if pass.deleting && !finalizer::has(&*pass.object, ENDPOINT_FINALIZER) && !is_legacy(&pass.object) {
        return Ok(Next::Gone);
    }
    if is_legacy(&pass.object) {
        return pass.report(Findings::account(status::legacy_unsettled())).await;
    }
    let (spec, deletion_policy) = match pass.object.spec.clone() {
        Ok(spec) => {
            let policy = spec.deletion_policy;
            (Some(spec), policy)
        }
        Err(unparsed) if pass.deleting => (None, unparsed.deletion_policy()),
        Err(unparsed) => {
            return pass
                .report(Findings::account(status::does_not_parse(&unparsed.error)))
                .await;
        }
    };
    let is_bound = status::binding(&pass.object.status).is_some();
    if let Err(findings) = pass.compare_binding(spec.as_ref()) {
        return pass.report(findings).await;
    }
    let resolved = pass.resolve(spec.as_ref());
    let account = resolved.as_ref().ok().map(|resolved| resolved.binding.account.clone());
    ctx.memories.with(&pass.object, |memory| memory.resolved_to = account);
    let resolved = match resolved {
        Ok(resolved) => resolved,
        // Nothing is made before it is bound. Should the status have been lost, it is looked for where it would be.
        Err(_) if pass.deleting && !is_bound => return pass.let_go().await,
        Err(finding) if pass.deleting && finding.reason == Reason::AccountDecommissioned => {
            return pass.abandon(&finding).await;
        }
        Err(finding) if pass.moving.is_some() && finding.reason == Reason::AccountDecommissioned => {
            pass.tell_of_abandoned(&finding);
            return pass.unbind().await;
        }
        Err(finding) => return pass.report(Findings::account(finding)).await,
    };
    let desired = match spec.as_ref().filter(|_| !pass.leaves()) {
        None => None,
        Some(spec) => match pass.desired(spec, &resolved) {
            Ok(desired) => Some(desired),
            Err(finding) => return pass.report_bad_spec(&resolved, finding).await,
        },
    };
    // Who is refused takes nobody's place.
    if let Some((finding, retry)) = pass.remembered_refusal(&resolved).await {
        return pass.refused(&resolved, finding, retry).await;
    }
    let Some(inside) = pass.enter(&resolved) else {
        return Ok(Next::After(ASK_FOR_ROOM));
    };
    let (region, ec2) = match pass.open(&resolved).await {
        Ok(opened) => opened,
        Err((finding, retry)) => return pass.refused(&resolved, finding, retry).await,
    };
    if let Some(desired) = &desired {
        if !is_bound && resolved.account.max_endpoints.is_some() {
            let age = ctx.settings.account_probe_interval;
            if let Err(error) = region.read_retained(&ec2, age).await {
                return pass.not_seen(&resolved, &ec2, error).await;
            }
        }
        if let Err(full) = pass.admit(&resolved) {
            crate::account::tell(ctx, &resolved.binding.account, &pass.object, &full, "");
            return pass.report(Findings::account(full)).await;
        }
        if !pass.settled && resolved.writes == Writes::Allowed {
            match pass.check_groups(&region, &ec2, Some(desired)).await {
                Ok(Ok(())) => {}
                Ok(Err(finding)) => return pass.report_bad_spec(&resolved, finding).await,
                Err(error) => return pass.not_seen(&resolved, &ec2, error).await,
            }
        }
        // A binding is for good: not to a region that cannot be read, where nothing could be made, nor the object deleted.
        if let Err(error) = pass.see_before_binding(&region, &ec2).await {
            return pass.not_seen(&resolved, &ec2, error).await;
        }
        if is_bound || resolved.writes == Writes::Allowed {
            let bound = pass.bind(spec.as_ref(), &resolved, desired).await?;
            if !bound {
                return Ok(Next::After(Duration::ZERO));
            }
        }
    }
    let refused;
    let farewell = match (
        pass.moving.is_some(),
        farewell(deletion_policy, &resolved, &pass.owner.namespace),
    ) {
        // It was never Ready, so nobody can want it retained.
        (true, _) => Farewell::Delete,
        (false, Ok(farewell)) => farewell,
        (false, Err(why)) => {
            refused = why;
            Farewell::Refused(&refused)
        }
    };
    pass.converge(&resolved, desired.as_ref(), farewell, &region, &ec2, inside)
        .await
}

impl<'a> Pass<'a> {
    pub(super) fn new(ctx: &'a Shared, object: Arc<Endpoint>) -> Self {
        Self {
            ctx,
            owner: Owner {
                cluster: ctx.clusters.clone(),
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
            },
            deleting: object.metadata.deletion_timestamp.is_some(),
            settled: status::was_ready(&object),
            held_back: None,
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
        let caches = &self.ctx.caches;
        let namespace = caches.namespaces.get(&ObjectRef::new(&self.owner.namespace));
        let labels: BTreeMap<String, String> = namespace
            .and_then(|namespace| namespace.metadata.labels.clone())
            .unwrap_or_default();
        let binding = status::binding(&self.object.status).filter(|_| how != As::New);
        let subject = Subject {
            namespace: &self.owner.namespace,
            labels: &labels,
            binding: binding.as_ref(),
            account: spec.and_then(|spec| spec.account.as_deref()),
            region: spec.and_then(|spec| spec.region.as_deref()),
            deleting: self.deleting || how == As::Leaving,
            read_only: self.ctx.settings.mode == Mode::ReadOnly,
        };
        let accounts = caches.accounts.state();
        let names: Vec<String> = accounts.iter().map(|account| account.name_any()).collect();
        let views: Vec<resolve::Account<'_>> = accounts
            .iter()
            .zip(&names)
            // One that is being deleted takes nobody new.
            .filter(|(account, name)| {
                let bound_here = binding.as_ref().is_some_and(|binding| binding.account == **name);
                account.metadata.deletion_timestamp.is_none() || bound_here
            })
            .map(|(account, name)| resolve::Account {
                name,
                spec: account.spec.as_ref().map_err(|unparsed| unparsed.error.as_str()),
            })
            .collect();
        resolve::resolve(subject, &views)
    }

    /// What the spec asks for, if the account and the operator's settings allow it.
    pub(super) fn desired(&self, spec: &VPCEndpointSpec, resolved: &Resolved) -> Result<Desired, Finding> {
        let desired = desired::desired(spec, &self.owner, resolved)?;
        let allowed = Allowed {
            labels: &self.ctx.settings.service_labels,
            annotations: &self.ctx.settings.service_annotations,
        };
        if let Some(service) = &desired.service {
            allowed.check(&service.metadata)?;
        }
        Ok(desired)
    }

    /// A place among the few that talk to this AWS account at once; if there is none, the object is woken later.
    fn enter(&self, resolved: &Resolved) -> Option<Inside> {
        let wakers = self.ctx.wakers.clone();
        let wake = Arc::new(move |namespace: &str, name: &str| wakers.endpoint(namespace, name));
        let account_id = resolved.binding.account_id.as_str();
        self.ctx
            .gates
            .enter(account_id, &self.owner.namespace, &self.owner.name, wake)
    }

    /// What STS said lately, if it refused the role and is not to be asked again yet.
    async fn remembered_refusal(&self, resolved: &Resolved) -> Option<(Finding, Duration)> {
        let binding = &resolved.binding;
        let role = self.ctx.role(&binding.account, &resolved.role, &resolved.account);
        let refusal = self.ctx.sessions.refusal(&role).await?;
        Some(not_ready(&binding.account, &refusal))
    }

    /// The session of the account's role, and the region.
    pub(super) async fn open(&self, resolved: &Resolved) -> Result<(Arc<Region>, Ec2), (Finding, Duration)> {
        let binding = &resolved.binding;
        let role = self.ctx.role(&binding.account, &resolved.role, &resolved.account);
        let session = self.ctx.sessions.get(&role).await;
        let session = session.map_err(|refusal| not_ready(&binding.account, &refusal))?;
        let region = self.ctx.regions.get(RegionKey {
            partition: resolved.role.partition().to_owned(),
            account_id: binding.account_id.to_string(),
            region: binding.region.to_string(),
        });
        let ec2 = Ec2 {
            client: session.ec2(binding.region.as_str()),
            account_id: binding.account_id.to_string(),
            region: binding.region.to_string(),
            observer: self.ctx.observer.clone(),
        };
        Ok((region, ec2))
    }

    /// Whether the account has room for an object that is not bound yet.
    pub(super) fn admit(&self, resolved: &Resolved) -> Result<(), Finding> {
        match resolved.account.max_endpoints {
            Some(most) if status::binding(&self.object.status).is_none() => {
                let account = &resolved.binding.account;
                let account_id = resolved.binding.account_id.as_str();
                let without_object = self.ctx.regions.endpoints_without_object(account_id);
                let claim = resolved.writes == Writes::Allowed;
                self.ctx
                    .admissions
                    .admit(&self.ctx.caches, &self.object, account, most, without_object, claim)
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
    ) -> Result<Result<(), Finding>, LookError> {
        let ids: Vec<GroupId> = desired
            .map(|desired| rails::named_groups(&desired.groups).into_iter().cloned().collect())
            .unwrap_or_default();
        let generation = self.object.metadata.generation;
        let checked = self.ctx.memories.with(&self.object, |memory| memory.groups_checked);
        if ids.is_empty() || checked == generation {
            return Ok(Ok(()));
        }
        let verdict = rails::check_groups(&self.owner, &region.read_groups(ec2, &ids).await?);
        if verdict.is_ok() {
            self.ctx
                .memories
                .with(&self.object, |memory| memory.groups_checked = generation);
        }
        Ok(verdict)
    }

    async fn see_before_binding(&self, region: &Region, ec2: &Ec2) -> Result<(), LookError> {
        let status = &self.object.status;
        if status::binding(status).is_some() {
            return Ok(());
        }
        let age = Age(self.ctx.settings.resync_interval);
        observe(self.ctx, region, ec2, &self.owner, status, age).await
    }

    /// Observes, plans and applies until there is nothing left to do now, then says how things stand.
    async fn converge(
        &mut self,
        resolved: &Resolved,
        desired: Option<&Desired>,
        farewell: Farewell<'_>,
        region: &Arc<Region>,
        ec2: &Ec2,
        _inside: Inside,
    ) -> Result<Next, kube::Error> {
        let (mut age, cut_off) = self.ctx.memories.with(&self.object, |memory| {
            // The caches do not show a stranger's Service, so it is asked for anew.
            memory.foreign_service = None;
            if desired.is_some() {
                // What was not there before may be made from here on.
                memory.absent_since = None;
            }
            let look_now = std::mem::take(&mut memory.look_now);
            let age = if look_now {
                Duration::ZERO
            } else {
                self.ctx.settings.resync_interval
            };
            (age, std::mem::take(&mut memory.cut_off))
        });
        if cut_off {
            region.distrust();
        }
        if let Some(service) = desired.and_then(|desired| desired.service.as_ref()) {
            let Owner { namespace, name, .. } = &self.owner;
            self.ctx.names.wait(namespace, name, &service.name);
        }
        let begun = Instant::now();
        let mut repaired = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let status = self.object.status.clone();
            if let Err(error) = observe(self.ctx, region, ec2, &self.owner, &status, Age(age)).await {
                return self.not_seen(resolved, ec2, error).await;
            }
            age = self.ctx.settings.resync_interval;
            let mut seen = observe::found(self.ctx, region, &self.owner, &self.object, &status, desired);
            if self.takes_over(&seen) {
                // What the snapshot says of it may be old news: another may own it by now, or have let go of it.
                if let Some(settled) = region.find(&self.owner, (None, None)).settles_at {
                    return Ok(Next::NotBefore(settled.saturating_duration_since(Instant::now())));
                }
                if region.read_at().is_none_or(|read| read < begun) {
                    region.distrust();
                    continue;
                }
            }
            let held = region.held(|hold| self.ctx.is_released(&resolved.binding.account_id, hold));
            if desired.is_some() && seen.endpoint == Sight::Gone && held.is_none() && resolved.writes == Writes::Allowed
            {
                self.count_deletion().await?;
                continue;
            }
            if seen.group == Sight::Gone {
                // Nothing remembers it; another is made where one is wanted.
                seen.group = Sight::Absent;
            }
            if desired.is_none()
                && self.may_be_unseen(&seen)
                && let Some(wait) = self.confirm_absence(region)
            {
                return self
                    .conclude(resolved, desired, &seen, absence_unconfirmed(), Next::After(wait))
                    .await;
            }
            let mut plan = self.plan(desired, farewell, &seen, held.as_deref());
            if let Writes::Frozen(finding) = &resolved.writes {
                let steps = foresee(&seen, desired, |seen| {
                    self.plan(desired, farewell, seen, held.as_deref())
                });
                self.hold_back(resolved, finding, &steps, &mut plan);
            }
            if held.is_some() {
                self.ctx.wakers.account(&resolved.binding.account);
            }
            // That it is Ready for this generation is only what its status says; nothing is done on the strength of that.
            if plan.steps.iter().any(Step::is_in_aws) {
                match self.check_groups(region, ec2, desired).await {
                    Ok(Ok(())) => {}
                    Ok(Err(finding)) => return self.report_bad_spec(resolved, finding).await,
                    Err(error) => return self.not_seen(resolved, ec2, error).await,
                }
            }
            let token = desired.map(|desired| {
                let incarnation = status.incarnation.unwrap_or(0);
                desired::client_token(&self.owner, desired, resolved, incarnation)
            });
            let hands = Hands {
                ctx: self.ctx,
                object: &self.object,
                owner: &self.owner,
                account: &resolved.binding.account,
                role: resolved.role.as_str(),
                region,
                ec2,
                client_token: token.as_deref(),
            };
            match apply(&hands, &plan.steps).await? {
                Progress::Nothing if desired.is_none() && plan.endpoint.ok && plan.service.ok => {
                    return match self.moving {
                        Some(_) => self.unbind().await,
                        None => self.let_go().await,
                    };
                }
                Progress::Nothing => {
                    if plan.endpoint.ok {
                        self.ctx
                            .memories
                            .with(&self.object, |memory| memory.swap_subnets_apart = false);
                    }
                    self.tell_of_repairs(&repaired);
                    let next = self.next(region, &seen, &plan, resolved);
                    return self.conclude(resolved, desired, &seen, plan, next).await;
                }
                Progress::Changed(done) => repaired.extend(done),
                Progress::Replayed => self.count_deletion().await?,
                Progress::Waiting { time, finding } => {
                    self.tell_of_repairs(&repaired);
                    if let Some(time) = time.filter(|time| *time <= self.ctx.settings.poll_interval) {
                        // Not worth a write to the API server.
                        return Ok(Next::NotBefore(time));
                    }
                    if let Some(finding) = finding {
                        plan.endpoint = finding;
                    }
                    let next = time.map_or(Next::After(self.ctx.settings.resync_interval), Next::NotBefore);
                    let seen = observe::found(self.ctx, region, &self.owner, &self.object, &status, desired);
                    return self.conclude(resolved, desired, &seen, plan, next).await;
                }
                Progress::Failed { finding, done } => {
                    repaired.extend(done);
                    self.tell_of_repairs(&repaired);
                    let seen = observe::found(self.ctx, region, &self.owner, &self.object, &status, desired);
                    match finding.reason {
                        Reason::ServiceRefused => plan.service = finding,
                        _ => plan.endpoint = finding,
                    }
                    let next = self.backoff(&plan.endpoint);
                    return self.conclude(resolved, desired, &seen, plan, next).await;
                }
            }
        }
        tracing::warn!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            "still changing things; going on in a moment"
        );
        Ok(Next::NotBefore(region.next_tick()))
    }

    /// Says in place of doing.
    fn hold_back(&mut self, resolved: &Resolved, why: &Finding, steps: &[Step], plan: &mut Plan) {
        plan.steps.clear();
        if steps.is_empty() {
            return;
        }
        self.held_back = Some(HeldBack {
            account: resolved.binding.account.clone(),
            actions: steps.iter().map(Step::action).collect(),
        });
        let (in_aws, of_services): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| step.is_in_aws());
        for (steps, finding) in [(in_aws, &mut plan.endpoint), (of_services, &mut plan.service)] {
            if !steps.is_empty() {
                let steps: Vec<String> = steps.into_iter().map(ToString::to_string).collect();
                let mut message = format!("{}; held back: {}", why.message, steps.join("; "));
                if let Some((end, _)) = message.char_indices().nth(LONGEST_LIST) {
                    message.truncate(end);
                    message.push_str("...");
                }
                *finding = Finding::bad(why.reason, message);
            }
        }
    }

    pub(super) fn plan(
        &self,
        desired: Option<&Desired>,
        farewell: Farewell<'_>,
        seen: &Observed,
        held: Option<&str>,
    ) -> Plan {
        let Some(desired) = desired else {
            return plan::plan_absence(&self.owner, seen, farewell);
        };
        let swap_subnets_apart = self.ctx.memories.with(&self.object, |memory| memory.swap_subnets_apart);
        let memory = Memory {
            tag_keys: &self.object.status.tag_keys,
            held,
            swap_subnets_apart,
        };
        plan::plan(&self.owner, desired, seen, memory)
    }

    /// Whether something was made for another object of this name, and this one finds it for the first time.
    fn takes_over(&self, seen: &Observed) -> bool {
        let status = &self.object.status;
        let is_found = |id: &str, known: &Option<String>, tags: &BTreeMap<String, String>| {
            tags.get(tags::UID) != Some(&self.owner.uid) && known.as_deref() != Some(id)
        };
        let endpoint = seen.endpoint.ours();
        let group = seen.group.ours();
        endpoint.is_some_and(|fact| is_found(fact.id.as_str(), &status.vpc_endpoint_id, &fact.tags))
            || group.is_some_and(|fact| is_found(fact.id.as_str(), &status.security_group_id, &fact.tags))
    }

    /// AWS has confirmed that the endpoint is gone: the next has another incarnation, persisted before it is used.
    async fn count_deletion(&mut self) -> Result<(), kube::Error> {
        let mut status = self.object.status.clone();
        let gone = status.vpc_endpoint_id.clone();
        status::next_incarnation(&mut status);
        self.object = status::write(self.ctx, &self.object, status).await?;
        if let Some(id) = gone {
            let note = format!(
                "endpoint {id} was deleted in AWS behind the operator's back; it is made again, under another DNS name"
            );
            self.ctx.events.publish(
                &*self.object,
                EventKind::Warning,
                Reason::DeletedInAWS.as_str(),
                "Recreate",
                &note,
            );
        }
        Ok(())
    }

    /// Whether something of the object may be in AWS that neither a look nor its status shows: an answer may have been
    /// lost, and EC2 is eventually consistent.
    fn may_be_unseen(&self, seen: &Observed) -> bool {
        let status = &self.object.status;
        let unknown = status.vpc_endpoint_id.is_none() && seen.endpoint == Sight::Absent;
        // Of an object that is only bound again, another leader may have made something.
        unknown && (self.moving.is_some() || !self.ctx.memories.with(&self.object, |memory| memory.nothing_made))
    }

    /// How long to wait until a further look has found nothing either; none when that has happened.
    fn confirm_absence(&self, region: &Region) -> Option<Duration> {
        let settle = self.ctx.settings.settle;
        let read = region.read_at();
        self.ctx.memories.with(&self.object, |memory| {
            let since = *memory.absent_since.get_or_insert_with(|| {
                region.distrust();
                Instant::now()
            });
            if read.is_some_and(|read| read >= since + settle) {
                return None;
            }
            if since.elapsed() >= settle {
                region.distrust();
                return Some(Duration::from_millis(10));
            }
            Some(settle.saturating_sub(since.elapsed()) + Duration::from_millis(10))
        })
    }

    /// The AWS account is closed: what was made there is left to it.
    async fn abandon(&mut self, finding: &Finding) -> Result<Next, kube::Error> {
        self.tell_of_abandoned(finding);
        self.let_go().await
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
            .events
            .publish(&*self.object, EventKind::Warning, "Released", "Release", &note);
    }

    /// Nothing is left, or nothing was made: the object may go.
    async fn let_go(&mut self) -> Result<Next, kube::Error> {
        let api: Api<Endpoint> = Api::namespaced(self.ctx.client.clone(), &self.owner.namespace);
        let account = self.object.status.account.as_ref().map(|account| account.name.clone());
        match finalizer::remove(&api, &*self.object, ENDPOINT_FINALIZER).await {
            Ok(_) => {}
            Err(error) if crate::service::is_status(&error, 404) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(
            namespace = self.owner.namespace,
            name = self.owner.name,
            account,
            "let go: nothing of it is left"
        );
        for region in self.ctx.regions.all() {
            region.leave(&self.owner.uid);
        }
        if let Some(account) = account {
            self.ctx.wakers.account(&account);
        }
        Ok(Next::Gone)
    }
}

/// What becomes of the AWS resources of an object that is deleted; or why that which it asks for is not done. Nobody walks away with an
/// endpoint: what is retained has to be allowed, and not while the mapping is gone.
pub(super) fn farewell(
    policy: Option<DeletionPolicy>,
    resolved: &Resolved,
    namespace: &str,
) -> Result<Farewell<'static>, Finding> {
    let account = &resolved.binding.account;
    let policy = DeletionPolicy::of(policy, &resolved.account);
    rails::check_deletion_policy(account, &resolved.account, policy)?;
    match policy {
        DeletionPolicy::Delete => Ok(Farewell::Delete),
        DeletionPolicy::Retain if resolved.mapped => Ok(Farewell::Retain),
        DeletionPolicy::Retain => Err(Finding::bad(
            Reason::MappingRevoked,
            format!(
                "AWSAccount {account} no longer maps the namespace {namespace}, and nothing is retained meanwhile: set \
                 deletion_policy to Delete, or ask your platform team to map it again; what is in AWS stays until then"
            ),
        )),
    }
}

fn not_ready(account: &str, refusal: &Refusal) -> (Finding, Duration) {
    let message = format!("AWSAccount {account} is not ready: {refusal}");
    (Finding::bad(Reason::AccountNotReady, message), refusal.retry_after())
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

fn absence_unconfirmed() -> Plan {
    Plan {
        steps: Vec::new(),
        endpoint: Finding::bad(
            Reason::Deleting,
            "nothing of the object is found in AWS; looking once more before it is let go, since AWS shows new things late",
        ),
        service: Finding::good(Reason::NotRequested, "the object is being deleted"),
    }
}
