//! An object that shares the endpoint of another (`vpc_endpoint_ref`): the same stages, without
//! AWS. What it knows of the endpoint is what the other object's status says.

use std::sync::Arc;

use kube::ResourceExt;
use vpce_core::api::{DnsName, EndpointRef, ServiceType, VPCEndpointSpec, VPCEndpointStatus};
use vpce_core::conditions::{Finding, Reason, Retry};
use vpce_core::desired::DesiredService;
use vpce_core::metadata::Allowed;
use vpce_core::names::{self, DesiredNames};
use vpce_core::object_key::ObjectKey;
use vpce_core::observed::{Lookup, Observed, State};
use vpce_core::plan::{Part, Plan, Step, plan_reference, simulate};
use vpce_core::sharing::{self, Publication, Reference, Referent, Referrer};
use vpce_core::slices::KnownAddresses;

use super::apply::{Applied, Applier, apply};
use super::context::Context;
use super::dns_endpoint;
use super::findings::Findings;
use super::observe;
use super::reconcile::{MOST_ROUNDS, Next, Reconciliation};
use super::stop::Stop;
use super::take_over;
use crate::k8s::caches::{Caches, Endpoint};
use crate::settings::Mode;

/// What is known of an object that refers to another, before its Services are observed.
pub(super) struct Following {
    /// The object that it refers to.
    referent: ObjectKey,
    /// What there is of that name.
    shared: Option<Arc<Endpoint>>,
    reference: Reference,
    service: Result<Option<DesiredService>, Finding>,
    names: Result<DesiredNames, Finding>,
    /// Whether a ConfigMap is asked for.
    pub(super) config_map: bool,
}

impl Following {
    /// The status of the endpoint that it publishes.
    fn endpoint(&self) -> Option<&VPCEndpointStatus> {
        let shared = self.shared.as_ref()?;
        (self.reference.publication == Publication::Follows).then_some(&shared.status)
    }

    fn names(&self) -> &[DnsName] {
        self.names.as_ref().map_or(&[], |names| &names.names)
    }

    fn desired(&self) -> Option<&DesiredService> {
        self.service.as_ref().ok()?.as_ref()
    }
}

/// The object whose endpoint this one shares, where it does.
fn referent(object: &Endpoint) -> Option<ObjectKey> {
    let EndpointRef { namespace, name } = object.spec.as_ref().ok()?.vpc_endpoint_ref.as_deref()?;
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    Some(ObjectKey::new::<Endpoint>(namespace.as_deref().unwrap_or(own), name))
}

/// What an object is to those that refer to it.
pub(super) fn as_referent(object: &Endpoint) -> Referent<'_> {
    Referent {
        namespace: object.metadata.namespace.as_deref().unwrap_or_default(),
        name: object.metadata.name.as_deref().unwrap_or_default(),
        spec: object.spec.as_ref().ok(),
        status: &object.status,
        deleting: object.metadata.deletion_timestamp.is_some(),
    }
}

/// The objects that share the endpoint of this one.
fn sharing(caches: &Caches, object: &Endpoint) -> Vec<Arc<Endpoint>> {
    let mut referrers = caches.referring_to(&ObjectKey::of(object));
    referrers.retain(|other| {
        other.status.vpc_endpoint_id.is_some() && other.status.vpc_endpoint_id == object.status.vpc_endpoint_id
    });
    referrers
}

/// Whether the addresses of the endpoint's network interfaces are published: by a headless Service
/// or a ConfigMap, of the object or of one that shares its endpoint.
pub(crate) fn publishes_addresses(caches: &Caches, object: &Endpoint) -> bool {
    let publishes = |object: &Endpoint| {
        object.spec.as_ref().is_ok_and(|spec| {
            let service = spec.service.as_ref();
            spec.publish_config_map || service.is_some_and(|service| service.type_ == ServiceType::Headless)
        })
    };
    publishes(object) || sharing(caches, object).iter().any(|other| publishes(other))
}

/// An object has changed, or is gone: those that share its endpoint are reconciled, and the one
/// whose endpoint it shares, if that waits for it.
pub(crate) fn changed(ctx: &Context, object: &Endpoint) {
    let requeuer = &ctx.shared.requeuer;
    for referrer in ctx.shared.caches.referring_to(&ObjectKey::of(object)) {
        requeuer.requeue(ObjectKey::of(&*referrer));
    }
    if let Some(referent) = referent(object) {
        requeue_if_deleting(ctx, referent);
    }
}

fn requeue_if_deleting(ctx: &Context, key: ObjectKey) {
    let object = ctx.shared.caches.endpoint(&key.namespace, &key.name);
    if object.is_some_and(|object| object.metadata.deletion_timestamp.is_some()) {
        ctx.shared.requeuer.requeue(key);
    }
}

impl Reconciliation<'_> {
    /// The objects that share its endpoint.
    pub(super) fn sharing(&self) -> Vec<Arc<Endpoint>> {
        sharing(&self.ctx.shared.caches, &self.object)
    }

    /// Why the object's endpoint stays though it is being deleted: others share it.
    pub(super) fn check_referrers(&self) -> Result<(), Finding> {
        let caches = &self.ctx.shared.caches;
        let objects = caches.referring_to(&ObjectKey::of(&*self.object));
        let namespaces: Vec<_> = objects
            .iter()
            .map(|object| caches.namespace(object.metadata.namespace.as_deref().unwrap_or_default()))
            .collect();
        let referrers = objects.iter().zip(&namespaces).map(|(object, namespace)| Referrer {
            namespace: object.metadata.namespace.as_deref().unwrap_or_default(),
            name: object.metadata.name.as_deref().unwrap_or_default(),
            labels: namespace.as_deref().map(ResourceExt::labels),
            endpoint: object.status.vpc_endpoint_id.as_deref(),
        });
        sharing::check_deletion(&as_referent(&self.object), referrers)
    }

    /// What there is to know of an object that shares the endpoint of another; none for one with an
    /// endpoint of its own.
    pub(super) fn following(&self) -> Option<Following> {
        let referent = referent(&self.object)?;
        let spec = self.object.spec.as_ref().ok()?;
        let caches = &self.ctx.shared.caches;
        let namespace = caches.namespace(&self.owner.namespace);
        let shared = caches.endpoint(&referent.namespace, &referent.name);
        let referrer = Referrer {
            namespace: &self.owner.namespace,
            name: &self.owner.name,
            labels: namespace.as_deref().map(ResourceExt::labels),
            endpoint: self.object.status.vpc_endpoint_id.as_deref(),
        };
        let there = shared.as_deref().map(as_referent);
        let reference = sharing::resolve(&referrer, (&referent.namespace, &referent.name), there.as_ref());
        let type_ = shared.as_ref().and_then(|shared| shared.status.vpc_endpoint_type);
        let type_ = type_.unwrap_or_default();
        let service = sharing::service(type_, spec, &self.owner).and_then(|service| {
            let keys = Allowed {
                labels: &self.ctx.shared.settings.service_labels,
                annotations: &self.ctx.shared.settings.service_annotations,
            };
            let checked = service.as_ref().map_or(Ok(()), |service| keys.check(&service.metadata));
            checked.map(|()| service)
        });
        let names = self.names_of_reference(spec, shared.as_deref());
        Some(Following {
            referent,
            shared,
            reference,
            service,
            names,
            config_map: spec.publish_config_map,
        })
    }

    /// The names that an object asks for that shares an endpoint: within the guardrails of the
    /// account that the endpoint is in.
    fn names_of_reference(&self, spec: &VPCEndpointSpec, shared: Option<&Endpoint>) -> Result<DesiredNames, Finding> {
        let binding = shared.and_then(|shared| shared.status.account.as_ref());
        let account = binding.map(|binding| binding.name.as_str()).unwrap_or_default();
        let found = self.ctx.shared.caches.account(account);
        let allowed = found.as_deref().and_then(|account| account.spec.as_ref().ok());
        let allowed = allowed.map_or(&[][..], |spec| &spec.allowed_dns_names);
        // Before it is known in which account the endpoint is, there is nothing to publish.
        if binding.is_some() {
            names::check(
                &spec.dns_names,
                account,
                allowed,
                &self.ctx.shared.settings.cluster_domain,
            )?;
        }
        Ok(DesiredNames {
            names: spec.dns_names.clone(),
            metadata: dns_endpoint::metadata(self.ctx),
        })
    }

    /// Publishes the endpoint of the other object.
    pub(super) async fn follow(&mut self, following: &Following) -> Result<Next, Stop> {
        if self.deleting {
            // Nothing of it is in AWS; what it published has it as its owner, and goes with it.
            return Ok(Next::Gone);
        }
        let before = self.ctx.memories.with(&self.object, |memory| {
            memory.own.refers_to.replace(Box::new(following.referent.clone()))
        });
        if let Some(before) = before.filter(|before| **before != following.referent) {
            requeue_if_deleting(self.ctx, *before);
        }
        if let Some(service) = following.desired() {
            self.ctx.names.wait(self.owner.key(), &service.name);
        }
        let mut done = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let mut observed = self.published(following);
            self.add_config_map(following.config_map, &mut observed).await?;
            let plan = self.plan_following(following, &observed);
            let applier = Applier {
                ctx: self.ctx,
                object: &self.object,
                owner: &self.owner,
                aws: None,
            };
            let applied = apply(&applier, &plan.steps).await;
            done.extend(applied.done.iter().cloned());
            if applied.learned || !applied.done.is_empty() {
                continue;
            }
            self.record_repairs(&done);
            return Ok(self.conclude_following(following, &observed, &plan, applied).await?);
        }
        Ok(Next::NotBefore(self.ctx.shared.settings.poll_interval))
    }

    /// What the object publishes.
    pub(super) fn published(&self, following: &Following) -> Observed {
        let wanted = following.desired();
        Observed {
            endpoint: Lookup::Absent,
            spare_endpoints: Vec::new(),
            group: Lookup::Absent,
            services: observe::services(self.ctx, &self.object, &self.object.status, wanted),
            prefix_list_id: None,
            slices: observe::slices(self.ctx, &self.object, wanted),
            addresses: KnownAddresses::Unknown,
            names: dns_endpoint::observe(self.ctx, &self.object, following.names()),
            config_map: None,
            config_map_unavailable: None,
        }
    }

    fn plan_following(&mut self, following: &Following, observed: &Observed) -> Plan {
        let mut plan = self.steps_of(following, observed);
        if self.ctx.shared.settings.mode == Mode::ReadOnly {
            let why = Finding::bad(Reason::ReadOnly, "the operator is read-only (--mode ReadOnly)");
            let steps = self.all_steps_of(following, observed);
            self.report_planned_changes("", &why, &steps, &mut plan);
        }
        plan
    }

    /// All steps until nothing is left to be done.
    pub(super) fn all_steps_of(&self, following: &Following, observed: &Observed) -> Vec<Step> {
        simulate(observed, None, |seen| self.steps_of(following, seen)).steps
    }

    pub(super) fn steps_of(&self, following: &Following, observed: &Observed) -> Plan {
        let service = following.service.as_ref().map(Option::as_ref);
        plan_reference(
            &self.owner,
            &following.reference,
            service,
            following.names.as_ref(),
            following.config_map,
            following.endpoint(),
            observed,
        )
    }

    /// Says how things stand.
    async fn conclude_following(
        &mut self,
        following: &Following,
        observed: &Observed,
        plan: &Plan,
        applied: Applied<'_>,
    ) -> Result<Next, kube::Error> {
        let next = self.next_following(following, plan, applied.retry);
        let mut told = plan.clone();
        applied.progress.report(&mut told);
        // What stays says what it said before.
        let is_planned = following.reference.publication != Publication::Stays;
        let findings = Findings {
            account: None,
            endpoint: Some(told.endpoint),
            service: is_planned.then_some(told.service),
            names: is_planned.then_some(told.names),
            config_map: is_planned.then_some(told.config_map),
        };
        let is_published = |finding: &Finding| matches!(finding.reason, Reason::Published | Reason::NotRequested);
        if findings.service.as_ref().is_some_and(is_published) {
            self.ctx.names.end(&self.owner.key());
        }
        let mut status = self.object.status.clone();
        match following.reference.publication {
            Publication::Follows => take_over::shared_endpoint(&mut status, following.endpoint()),
            Publication::Goes => take_over::shared_endpoint(&mut status, None),
            Publication::Stays => {}
        }
        if is_planned {
            take_over::service(
                &mut status,
                observed,
                following.desired(),
                &self.owner.namespace,
                &findings,
            );
            take_over::names(&mut status, observed, following.names());
            take_over::config_map(&mut status, observed);
        }
        let is_available = status.state.as_deref().map(State::parse) == Some(State::Available);
        self.serves = is_available && status.service.is_some();
        self.write(status, &findings).await?;
        self.ctx.memories.succeeded(&self.object);
        Ok(next)
    }

    fn next_following(&self, following: &Following, plan: &Plan, retry: Option<std::time::Duration>) -> Next {
        let resync = self.ctx.shared.resync_interval();
        let rest = Next::After(resync + resync.mul_f64(0.1 * fastrand::f64()));
        let waits = [&plan.service, &plan.names].map(|finding| finding.reason);
        let shared = following.endpoint();
        let lacks_addresses = following.config_map && shared.is_some_and(|shared| shared.addresses.is_empty());
        if lacks_addresses || waits.contains(&Reason::WaitingForAddresses) || waits.contains(&Reason::WaitingForDNS) {
            // It has them read once others publish them.
            self.ctx.shared.requeuer.requeue(following.referent.clone());
        }
        let mut next = rest;
        for (part, finding) in [
            (Part::Service, &plan.service),
            (Part::Names, &plan.names),
            (Part::ConfigMap, &plan.config_map),
        ] {
            next = match finding.reason.policy().retry {
                _ if finding.ok || !plan.steps.is_empty() => next,
                Retry::Backoff => Next::NotBefore(self.part_backoff(part, finding)),
                Retry::Poll => next.not_after(self.ctx.shared.settings.poll_interval),
                Retry::Resync | Retry::RateLimit => next,
            };
        }
        retry.map_or(next, |retry| next.not_after(retry))
    }
}
