//! Objects that the Python operator created, which was written with kopf: what it made for them is
//! claimed once everything fits, and from then on they are as others are.
//!
//! Nothing is created for one before it is settled. The ids of what is claimed are written together
//! with the binding, in one write: there is no moment at which the object is bound and has no
//! endpoint. Then the resources get the owner's tags, and when the object is Ready kopf's finalizer
//! goes. Kopf's annotation stays as long as the AWSAccount has `adopt_legacy`: by it a Python
//! operator that is started again takes the object for one that it has created already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::{Client, ResourceExt};
use vpce_core::api::{AWSAccountSpec, KOPF_ANNOTATION_PREFIX, KOPF_FINALIZER, SecurityGroupType, VPCEndpointSpec};
use vpce_core::conditions::{EventKind, Finding, Reason};
use vpce_core::desired::{Desired, Existing};
use vpce_core::observed::{ObservedEndpoint, State};
use vpce_core::ownership::Consent;
use vpce_core::plan;
use vpce_core::resolve::{Binding, Resolved};
use vpce_core::tags::DISPLAY_NAME;

use super::acknowledged::{remove_kopf_annotations, remove_kopf_finalizer};
use super::context::Context;
use super::observe::{self, Age};
use super::reconcile::Reconciliation;
use super::service;
use super::status;
use super::stop::Stop;
use crate::aws::region::RefreshError;
use crate::bound::access::Access;
use crate::k8s::caches::Endpoint;
use crate::k8s::finalizer;
use crate::k8s::pages;

/// The start of the name by which kopf writes, in `managedFields`.
const KOPF_MANAGER: &str = "kopf";

/// Whether the Python operator left its marks on an object.
pub(crate) fn is_marked(object: &Endpoint) -> bool {
    object.status.create_fn.is_some() || finalizer::has(object, KOPF_FINALIZER) || has_kopf_annotation(object)
}

/// Whether it has marks, and was not bound since.
pub(super) fn is_unsettled(object: &Endpoint) -> bool {
    is_marked(object) && status::binding(&object.status).is_none()
}

/// What would become of an object of the Python operator.
#[derive(Debug)]
pub(crate) struct Migration {
    /// Where it is, or would be, bound.
    pub(crate) binding: Binding,
    /// What it has, or would be its own.
    pub(crate) resources: Vec<String>,
    /// The tags that these get, as arguments of the AWS CLI.
    pub(crate) tags: String,
    /// Whether it is migrated already.
    pub(crate) is_settled: bool,
}

/// Looks at AWS and Kubernetes, and changes nothing.
///
/// # Errors
/// What the object's condition would say where it cannot be migrated, and the endpoints that may be
/// its own.
pub(crate) async fn preview(ctx: &Context, object: Arc<Endpoint>) -> Result<Migration, (Finding, Vec<String>)> {
    let mut reconciliation = Reconciliation::new(ctx, object);
    let begun = Instant::now();
    loop {
        // What was read since will do: reading everything again for each token that is waited for
        // would spend it.
        match reconciliation.migration(Age(begun.elapsed())).boxed_local().await {
            Ok(migration) => return Ok(migration),
            Err(Stop::Unread(unread)) if let RefreshError::Busy(time) = unread.error => {
                tokio::time::sleep(time).await;
            }
            Err(stop) => return Err((stop.finding(), reconciliation.candidates().boxed_local().await)),
        }
    }
}

fn has_kopf_annotation(object: &Endpoint) -> bool {
    let mut keys = object.annotations().keys();
    keys.any(|key| key.starts_with(KOPF_ANNOTATION_PREFIX))
}

/// What the Python operator made for an object and that is its own, or is to be claimed; none where
/// the AWSAccount does not have it claimed.
pub(super) fn existing(object: &Endpoint, spec: &VPCEndpointSpec, account: &AWSAccountSpec) -> Option<Existing> {
    if spec.vpc_endpoint_id.is_some() || !account.adopt_legacy {
        return None;
    }
    let status = &object.status;
    let created = status.create_fn.as_ref()?;
    let id = created.endpoint()?;
    let is_its_own = match &status.vpc_endpoint_id {
        Some(known) => status.adopted && known == id.as_str(),
        None => is_unsettled(object),
    };
    let group = match spec.security_group_type.unwrap_or_default() {
        SecurityGroupType::Generated => Some(created.group()?),
        SecurityGroupType::Provided | SecurityGroupType::Custom => None,
    };
    is_its_own.then_some(Existing {
        id,
        consent: Consent::Legacy(group),
        observes: false,
    })
}

/// What an unsettled object says that is not to be claimed.
pub(super) fn unsettled(object: &Endpoint, account: &str, adopts: bool) -> Finding {
    let next = if object.metadata.deletion_timestamp.is_some() {
        "it is being deleted, which the Python operator has to do; without one, remove its finalizer \
         kopf.zalando.org/KopfFinalizerMarker and what it has in AWS by hand"
            .to_owned()
    } else if adopts {
        "its status.create_fn does not name an endpoint, and a security group where the spec has one generated: set \
         vpc_endpoint_id to its endpoint (vpce-operator migrate lists candidates)"
            .to_owned()
    } else {
        format!(
            "to have it migrated without a change to its traffic, ask your platform team to set adopt_legacy of \
             AWSAccount {account} (docs/guides/migrate-from-the-python-operator.md)"
        )
    };
    Finding::bad(
        Reason::LegacyUnsettled,
        format!(
            "the Python operator created this object: nothing is created, changed or deleted for it, and its status is kept; {next}"
        ),
    )
}

impl Reconciliation<'_> {
    async fn migration(&mut self, age: Age) -> Result<Migration, Stop> {
        let is_settled = !is_unsettled(&self.object);
        let prepared = self.prepare()?;
        let binding = prepared.resolved.binding.clone();
        let access = self.open(&prepared.resolved).await?;
        let Some(desired) = &prepared.desired else {
            let leaving = Finding::bad(Reason::Deleting, "the object is being deleted");
            return Err(Stop::bad_spec(&binding, leaving));
        };
        let (ctx, owner, status) = (self.ctx, &self.owner, &self.object.status);
        let read = observe::observe(ctx, &access.region, &access.ec2, owner, status, Some(desired), age).await;
        read.map_err(|error| access.unread(error))?;
        let seen = observe::found(ctx, &access.region, owner, &self.object, status, Some(desired));
        if let Some(finding) = plan::not_adoptable(owner, desired, &seen) {
            return Err(Stop::bad_spec(&binding, finding));
        }
        if !is_settled {
            self.check_claim(&prepared.resolved, &access, desired)
                .boxed_local()
                .await?;
        }
        let endpoint = seen.endpoint.owned().map(|endpoint| endpoint.id.to_string());
        let group = seen.group.owned().map(|group| group.id.to_string());
        Ok(Migration {
            binding,
            resources: endpoint.into_iter().chain(group).collect(),
            tags: owner.as_arguments(),
            is_settled,
        })
    }

    /// The endpoints of its account and region with the name that the Python operator gives its
    /// endpoint; none where that cannot be asked.
    async fn candidates(&self) -> Vec<String> {
        let spec = self.object.spec.as_ref().ok();
        let Ok(resolved) = self.resolve(spec) else {
            return Vec::new();
        };
        let Ok(access) = self.open(&resolved).await else {
            return Vec::new();
        };
        let name = self.owner.tags().remove(DISPLAY_NAME).unwrap_or_default();
        let found = loop {
            match access.region.named(&access.ec2, &name).await {
                Err(RefreshError::Busy(time)) => tokio::time::sleep(time).await,
                found => break found.unwrap_or_default(),
            }
        };
        let found = found.into_iter().filter(|endpoint| endpoint.state != State::Deleted);
        let described = found.map(|endpoint| {
            let target = endpoint
                .target
                .map(|target| format!(" for {target}"))
                .unwrap_or_default();
            format!("{} in {}{target} ({})", endpoint.id, endpoint.vpc, endpoint.state)
        });
        described.collect()
    }

    /// Whether what is to be claimed fits, in AWS and in Kubernetes. Asked before the object is
    /// bound, and never again.
    pub(super) async fn check_claim(
        &self,
        resolved: &Resolved,
        access: &Access,
        desired: &Desired,
    ) -> Result<(), Stop> {
        let Self { ctx, object, owner, .. } = self;
        let Some(Existing {
            id,
            consent: Consent::Legacy(group),
            ..
        }) = &desired.existing
        else {
            return Ok(());
        };
        let refused = |finding| Stop::bad_spec(&resolved.binding, finding);
        let not_adoptable = |why: String| {
            let message = format!("endpoint {id}, which the Python operator created, is not claimed: {why}");
            refused(Finding::bad(Reason::NotAdoptable, message))
        };
        let seen = observe::found(ctx, &access.region, owner, object, &object.status, Some(desired));
        if let Some(finding) = plan::not_adoptable(owner, desired, &seen) {
            return Err(refused(finding));
        }
        let Some(endpoint) = seen.endpoint.owned() else {
            return Err(not_adoptable("it was not found".to_owned()));
        };
        let others = ctx.shared.caches.created_by_python(id.as_str());
        let others: Vec<String> = others
            .iter()
            .filter(|other| other.uid() != object.uid())
            .map(|other| format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any()))
            .collect();
        if !others.is_empty() {
            let others = others.join(", ");
            return Err(not_adoptable(format!(
                "it is named by {others} as well: delete the objects that it does not belong to"
            )));
        }
        if let Some(group) = group {
            let users = access
                .region
                .users_beside(&access.ec2, group, &endpoint.interfaces)
                .await;
            let users = users.map_err(|error| access.unread(error))?;
            if !users.is_empty() {
                let users = users.join(", ");
                return Err(not_adoptable(format!(
                    "its security group {group} is used by others: {users}"
                )));
            }
        }
        if let Some(elsewhere) = self.service_that_leads_elsewhere(desired, endpoint).await? {
            return Err(not_adoptable(elsewhere));
        }
        if let Some(age) = last_written_by_kopf(&ctx.shared.client, object).await?
            && age < ctx.shared.settings.resync_interval
        {
            let message = format!(
                "the Python operator wrote this object {} s ago: scale it to zero; it is claimed once there was no such \
                 write for {} s",
                age.as_secs(),
                ctx.shared.settings.resync_interval.as_secs()
            );
            return Err(refused(Finding::bad(Reason::LegacyUnsettled, message)));
        }
        Ok(())
    }

    /// The Service of the name that the object wants, where it does not lead to the endpoint.
    async fn service_that_leads_elsewhere(
        &self,
        desired: &Desired,
        endpoint: &ObservedEndpoint,
    ) -> Result<Option<String>, kube::Error> {
        let Some(wanted) = &desired.service else {
            return Ok(None);
        };
        let namespace = &self.owner.namespace;
        let api: Api<Service> = Api::namespaced(self.ctx.shared.client.clone(), namespace);
        let Some(found) = api.get_opt(&wanted.name).await? else {
            return Ok(None);
        };
        let found = service::observed(&found, &self.owner.uid);
        let fits = found.ours || (found.unowned && found.leads_to(&endpoint.id));
        let leads = found.external_name.unwrap_or_else(|| "something else".to_owned());
        Ok((!fits).then(|| {
            format!(
                "the Service {namespace}/{} leads to {leads}: delete it, or set spec.service.name to another name",
                wanted.name
            )
        }))
    }

    /// The object is as its spec says: what kopf keeps of it goes, as far as it may.
    pub(super) async fn settle(&mut self, account: &AWSAccountSpec) -> Result<(), kube::Error> {
        if status::binding(&self.object.status).is_none() || self.object.status.vpc_endpoint_id.is_none() {
            return Ok(());
        }
        if finalizer::has(&*self.object, KOPF_FINALIZER) {
            let was_removed = |removed: &mut bool| std::mem::replace(removed, true);
            let memories = &self.ctx.memories;
            if !memories.with(&self.object, |memory| {
                was_removed(&mut memory.own.kopf_finalizer_removed)
            }) {
                self.object = remove_kopf_finalizer(self.ctx, &self.object).await?;
            } else if !memories.with(&self.object, |memory| was_removed(&mut memory.own.kopf_is_alive)) {
                let note = "the finalizer of the Python operator was removed and is back: a Python operator is running; scale it \
                            to zero, since it deletes what it created when the object is deleted";
                let events = &self.ctx.shared.events;
                events.publish(
                    &*self.object,
                    EventKind::Warning,
                    "PythonOperatorRunning",
                    "Migrate",
                    note,
                );
            }
        }
        if !account.adopt_legacy && has_kopf_annotation(&self.object) {
            self.object = remove_kopf_annotations(self.ctx, &self.object).await?;
        }
        Ok(())
    }
}

/// How long ago kopf last wrote an object, as far as the API server knows.
async fn last_written_by_kopf(client: &Client, object: &Endpoint) -> Result<Option<Duration>, kube::Error> {
    let api: Api<Endpoint> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let found = pages::metadata(&api, &object.name_any()).await?;
    let fields = found.and_then(|found| found.managed_fields).unwrap_or_default();
    let by_kopf = fields.into_iter().filter(|field| {
        field
            .manager
            .as_deref()
            .is_some_and(|name| name.starts_with(KOPF_MANAGER))
    });
    let last = by_kopf.filter_map(|field| field.time).map(|time| time.0).max();
    Ok(last.map(|last| Duration::try_from(Timestamp::now().duration_since(last)).unwrap_or_default()))
}
