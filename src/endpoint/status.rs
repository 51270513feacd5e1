//! What the object says of itself: findings become conditions, and are written only when something
//! changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Api, Patch};
use serde_json::json;
use vpce_core::addresses::{self, SubnetAddresses};
use vpce_core::api::{AccountBinding, NetworkStatus, VPCEndpointStatus};
use vpce_core::conditions::{ConditionType, EventKind, Finding, READY, Reason, STALLED};
use vpce_core::desired::{Desired, Existing, Groups};
use vpce_core::observed::State;
use vpce_core::ownership::Consent;
use vpce_core::resolve::Binding;
use vpce_core::target::Target;

use super::context::Context;
use super::findings::{Findings, Standing};
use crate::k8s::caches::Endpoint;
use crate::k8s::conditions::{self, Conditions};
use crate::k8s::patch::{replacing, version_of};
use crate::k8s::writes::{Refused, Write};

/// What a part says whose words are in Ready, so that they are read once.
const SEE_READY: &str = "see Ready";

/// What an object is bound to, if it is.
pub(crate) fn binding(status: &VPCEndpointStatus) -> Option<Binding> {
    let account = status.account.as_ref()?;
    Some(Binding {
        account: account.name.clone(),
        account_id: account.account_id.parse().ok()?,
        region: status.region.as_deref()?.into(),
    })
}

/// Binds.
pub(crate) fn bind(status: &mut VPCEndpointStatus, binding: &Binding, desired: &Desired) {
    status.account = Some(AccountBinding {
        name: binding.account.clone(),
        account_id: binding.account_id.to_string(),
    });
    status.region = Some(binding.region.to_string());
    status.network = Some(network(desired));
    status.vpc_endpoint_type = Some(desired.attachment.endpoint_type(&desired.target));
    set_target(status, &desired.target);
    status.incarnation.get_or_insert(0);
    status.provided_security_groups = has_provided_groups(desired);
    status.adopted = desired.adopted.is_some();
    if let Some(Existing {
        id,
        consent: Consent::Legacy(group),
        ..
    }) = &desired.existing
    {
        status.vpc_endpoint_id = Some(id.to_string());
        status.security_group_id = group.as_ref().map(ToString::to_string);
    }
    let created_with = desired.existing.is_none().then_some(&desired.options.addresses);
    status.subnet_configurations = created_with.map(addresses::to_status).unwrap_or_default();
    Applied::of(desired).write(status);
}

/// Says that AWS has accepted these addresses of network interfaces.
pub(crate) fn accept_addresses(status: &mut VPCEndpointStatus, accepted: SubnetAddresses) {
    let mut all = addresses::of_status(&status.subnet_configurations);
    all.extend(accepted);
    status.subnet_configurations = addresses::to_status(&all);
}

/// Says what the endpoint connects to.
pub(crate) fn set_target(status: &mut VPCEndpointStatus, target: &Target) {
    status.vpc_endpoint_service_id = Some(target.to_string());
    status.service_region = target.service_region().map(ToString::to_string);
}

/// Whether the endpoint is to have groups of the user's.
pub(crate) fn has_provided_groups(desired: &Desired) -> bool {
    matches!(desired.attachment.groups(), Some(Groups::Provided(_)))
}

/// What is applied to an endpoint and, once it is not desired any more, taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    route_tables: BTreeSet<String>,
    fields: BTreeSet<String>,
}

impl Applied {
    /// What is desired.
    pub(crate) fn of(desired: &Desired) -> Self {
        let tables = desired.attachment.route_tables().filter(|_| !desired.observes());
        let tables = tables.into_iter().flatten();
        let fields = desired.fields();
        Self {
            route_tables: tables.map(ToString::to_string).collect(),
            fields: fields.into_iter().map(str::to_owned).collect(),
        }
    }

    /// What a status says that was applied.
    pub(crate) fn known(status: &VPCEndpointStatus) -> Self {
        Self {
            route_tables: status.route_table_ids.iter().cloned().collect(),
            fields: status.applied_fields.iter().cloned().collect(),
        }
    }

    /// Both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.route_tables.extend(other.route_tables);
        self.fields.extend(other.fields);
        self
    }

    /// Writes it into a status.
    pub(crate) fn write(self, status: &mut VPCEndpointStatus) {
        status.route_table_ids = self.route_tables.into_iter().collect();
        status.applied_fields = self.fields.into_iter().collect();
    }
}

/// The network that is desired.
pub(crate) fn network(desired: &Desired) -> NetworkStatus {
    if let Some(chosen) = &desired.network {
        return chosen.to_status();
    }
    NetworkStatus {
        vpc_id: desired.vpc.to_string(),
        subnet_ids: desired
            .attachment
            .subnets()
            .into_iter()
            .map(ToString::to_string)
            .collect(),
        ..NetworkStatus::default()
    }
}

/// Unbinds, once nothing is left. What is made from now on is of another incarnation.
pub(crate) fn unbind(status: &mut VPCEndpointStatus) {
    status.account = None;
    status.region = None;
    status.network = None;
    status.vpc_endpoint_type = None;
    status.vpc_endpoint_service_id = None;
    status.service_region = None;
    status.bound_generation = None;
    status.security_group_id = None;
    Applied::default().write(status);
    status.dns_names.clear();
    status.config_map = None;
    status.subnet_configurations.clear();
    status.provided_security_groups = false;
    next_incarnation(status);
}

/// The next endpoint is another than the one before, which is gone.
pub(crate) fn next_incarnation(status: &mut VPCEndpointStatus) {
    status.vpc_endpoint_id = None;
    status.adopted = false;
    // It has only to differ from the one before, whatever that was.
    status.incarnation = Some(status.incarnation.unwrap_or(0).wrapping_add(1));
    status.state = None;
    status.dns_name = None;
    status.prefix_list_id = None;
    status.dns_entries.clear();
    status.network_interface_ids.clear();
    status.addresses.clear();
    status.zonal_dns_names.clear();
}

/// Puts the findings into the conditions; says whether Ready says something else than before:
/// another reason, or of what a person should know other words.
pub(crate) fn set_conditions(
    status: &mut VPCEndpointStatus,
    findings: &Findings,
    standing: Standing,
    generation: Option<i64>,
) -> bool {
    let before = std::mem::take(&mut status.conditions);
    let summary = findings.summary(standing);
    let conditions = Conditions {
        before: &before,
        generation,
    };
    let mut put = |type_: &str, finding: &Finding, message: &str, is_so: bool| {
        let condition = conditions.condition(type_, conditions::status(is_so), finding.reason.as_str(), message);
        status.conditions.push(condition);
    };
    put(READY, &summary, &summary.message, summary.ok);
    let asked_for = |finding: &Option<Finding>| finding.clone().filter(|found| found.reason != Reason::NotRequested);
    let (names, config_map) = (asked_for(&findings.names), asked_for(&findings.config_map));
    let drops = [
        (ConditionType::NamesPublished, findings.names.is_some()),
        (ConditionType::ConfigMapPublished, findings.config_map.is_some()),
    ];
    let parts = [
        (ConditionType::AccountResolved, &findings.account),
        (ConditionType::EndpointAvailable, &findings.endpoint),
        (ConditionType::ServicePublished, &findings.service),
        (ConditionType::NamesPublished, &names),
        (ConditionType::ConfigMapPublished, &config_map),
    ];
    for (aspect, finding) in &parts {
        if let Some(finding) = finding {
            let is_in_ready = finding.reason == summary.reason && summary.message.contains(&finding.message);
            let message = if is_in_ready { SEE_READY } else { &finding.message };
            put(&aspect.to_string(), finding, message, finding.ok);
        }
    }
    if !summary.ok && summary.reason.policy().stalled {
        // kstatus, and so Flux, show the words of this one.
        put(STALLED, &summary, &summary.message, true);
    }
    let ready = conditions::find(&before, READY);
    for (aspect, finding) in parts {
        let kept = conditions::find(&before, &aspect.to_string());
        let is_dropped = drops.contains(&(aspect, true));
        if let (None, Some(kept), false) = (finding, kept, is_dropped) {
            let mut kept = kept.clone();
            // Ready says something else now.
            if let Some(ready) = ready.filter(|ready| kept.message == SEE_READY && ready.message != summary.message) {
                kept.message.clone_from(&ready.message);
            }
            status.conditions.push(kept);
        }
    }
    // Ready first: for people, and for the column that shows what stands in the way.
    status
        .conditions
        .sort_by(|a, b| (a.type_ != READY, &a.type_).cmp(&(b.type_ != READY, &b.type_)));
    status.observed_generation = generation;
    let is_told = summary.reason.policy().event != EventKind::None;
    ready.is_none_or(|ready| ready.reason != summary.reason.as_str() || (is_told && ready.message != summary.message))
}

/// Whether the object was Ready for this generation.
pub(crate) fn was_ready(object: &Endpoint) -> bool {
    conditions::find(&object.status.conditions, READY)
        .is_some_and(|ready| ready.status == "True" && ready.observed_generation == object.metadata.generation)
}

/// Whether the endpoint was available when it was last seen.
pub(crate) fn was_serving(status: &VPCEndpointStatus) -> bool {
    let state = status.state.as_deref().map(State::parse);
    status.vpc_endpoint_id.is_some() && state == Some(State::Available)
}

/// Writes a status if it differs. Only if the object is still as we know it: a status that was made
/// from an older one must not undo a newer one. Where the API server refuses it, or would only
/// change it again, an event tells: the status cannot.
pub(crate) async fn write(
    ctx: &Context,
    object: &Arc<Endpoint>,
    status: VPCEndpointStatus,
) -> Result<Arc<Endpoint>, kube::Error> {
    if status == object.status
        || ctx
            .shared
            .writes
            .would_be_changed_again(&**object, &object.status, &status)
    {
        return Ok(object.clone());
    }
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let api: Api<Endpoint> = Api::namespaced(ctx.shared.client.clone(), &namespace);
    let ours = |status: &VPCEndpointStatus| VPCEndpointStatus {
        create_fn: None,
        ..status.clone()
    };
    let patch = json!({
        "metadata": {"uid": object.uid(), "resourceVersion": object.resource_version()},
        "status": replacing(&ours(&object.status), &ours(&status)),
    });
    let (params, patch) = (crate::k8s::patch::params(), Patch::Merge(patch));
    let write = api.patch_status(&name, &params, &patch);
    // What an object is bound to has to be stored before anything is done on the strength of it.
    let mismatch = |stored: &Endpoint| {
        let differing = [
            ("account", stored.status.account != status.account),
            ("region", stored.status.region != status.region),
            ("network", stored.status.network != status.network),
            (
                "vpc_endpoint_service_id",
                stored.status.vpc_endpoint_service_id != status.vpc_endpoint_service_id,
            ),
            ("service_region", stored.status.service_region != status.service_region),
            ("incarnation", stored.status.incarnation != status.incarnation),
        ];
        let fields: Vec<&str> = differing
            .iter()
            .filter_map(|(field, differs)| differs.then_some(*field))
            .collect();
        (!fields.is_empty()).then(|| {
            remember(ctx, stored.clone());
            format!("with another {}", fields.join(", "))
        })
    };
    let most = ctx.shared.settings.resync_interval;
    match ctx
        .shared
        .writes
        .acknowledged(&**object, Write::Status, most, write, mismatch)
        .await
    {
        Ok(stored) => {
            if let Some(fields) = ctx.shared.writes.compare(&**object, &status, &stored.status, most) {
                tell_of_change(ctx, object, &fields);
            }
            Ok(remember(ctx, stored))
        }
        Err(error) => {
            if let Some(refused) = Refused::of(&error).filter(|refused| refused.is_tried) {
                tell_of_refusal(ctx, object, &status, refused);
            }
            Err(error)
        }
    }
}

fn tell_of_change(ctx: &Context, object: &Endpoint, fields: &[String]) {
    let fields = fields.join(", ");
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    tracing::warn!(
        namespace,
        name,
        fields,
        "the status was stored differently from what was written"
    );
    let note = format!(
        "the API server stored a different status than the operator wrote, so it may be wrong ({fields}): an admission \
         controller \
         changes it"
    );
    ctx.shared
        .events
        .publish(object, EventKind::Warning, "StatusChanged", "Reconcile", &note);
}

fn tell_of_refusal(ctx: &Context, object: &Endpoint, status: &VPCEndpointStatus, refused: &Refused) {
    let ready = conditions::find(&status.conditions, READY);
    let (reason, message) = ready.map_or(("", ""), |ready| (ready.reason.as_str(), ready.message.as_str()));
    tracing::warn!(
        namespace = object.namespace().unwrap_or_default(),
        name = object.name_any(),
        error = refused.message,
        reason,
        condition_message = message,
        "the status was not written"
    );
    if refused.is_news {
        let note = format!(
            "the status cannot be written ({}), so it is out of date: {reason}: {message}",
            refused.message
        );
        ctx.shared
            .events
            .publish(object, EventKind::Warning, "StatusRefused", "Reconcile", &note);
    }
}

/// Remembers an object as our write left it, until the cache has it too.
pub(crate) fn remember(ctx: &Context, object: Endpoint) -> Arc<Endpoint> {
    let object = Arc::new(object);
    let namespace = object.namespace().unwrap_or_default();
    ctx.memories.with(&object, |memory| {
        let cached = ctx.shared.caches.endpoint(&namespace, &object.name_any());
        // The watch may be faster than the answer.
        let is_newer = cached.is_none_or(|cached| version_of(&*cached) < version_of(&*object));
        memory.writes.latest = is_newer.then(|| object.clone());
    });
    object
}
