//! What the object says of itself: findings become conditions, and are written only when something
//! changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Api, Patch};
use serde_json::json;
use vpce_core::addresses::{self, SubnetAddresses};
use vpce_core::api::{AccountBinding, DnsName, EndpointAddress, NetworkStatus, PublishedService, VPCEndpointStatus};
use vpce_core::conditions::{ConditionType, EventKind, Finding, READY, Reason, STALLED};
use vpce_core::desired::{Desired, DesiredService, Existing, Groups};
use vpce_core::names::ZonalNames;
use vpce_core::observed::{Lookup, Observed, State};
use vpce_core::ownership::Consent;
use vpce_core::resolve::Binding;
use vpce_core::slices::{InterfaceAddress, KnownAddresses};
use vpce_core::tags::{DISPLAY_NAME, RESERVED_PREFIX};
use vpce_core::target::Target;

use super::context::Context;
use crate::k8s::caches::Endpoint;
use crate::k8s::conditions::{self, Conditions};
use crate::k8s::patch::{replacing, version_of};
use crate::k8s::writes::{Refused, Write};

/// What a part says whose words are in Ready, so that they are read once.
const SEE_READY: &str = "see Ready";

/// How the parts of an object stand. A part that was not observed keeps what it said before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    /// The account.
    pub account: Option<Finding>,
    /// The endpoint.
    pub endpoint: Option<Finding>,
    /// The Service.
    pub service: Option<Finding>,
    /// The DNS names. Where none are asked for, there is no condition.
    pub names: Option<Finding>,
    /// The ConfigMap, likewise.
    pub config_map: Option<Finding>,
}

impl Findings {
    /// Only this about the account.
    pub(crate) fn account(finding: Finding) -> Self {
        Self {
            account: Some(finding),
            ..Self::default()
        }
    }

    /// What Ready says: the first part that is not as it should be; else how to connect. What only
    /// pauses changes does not take away that the endpoint serves as the spec says: Ready stays
    /// true then, and says until when. docs/concepts.md has the rule.
    pub(crate) fn summary(&self, standing: Standing) -> Finding {
        let parts = [
            &self.account,
            &self.endpoint,
            &self.service,
            &self.names,
            &self.config_map,
        ];
        let Some(bad) = parts.into_iter().flatten().find(|finding| !finding.ok) else {
            let good = self.endpoint.as_ref().or(self.account.as_ref()).cloned();
            return good.unwrap_or_else(|| Finding::bad(Reason::InternalError, "nothing was observed"));
        };
        // Planned changes are in the message of the part that they are for.
        let planned_changes = self
            .endpoint
            .as_ref()
            .filter(|finding| !finding.ok && finding.reason == bad.reason);
        let said = planned_changes.unwrap_or(bad);
        let Some(until) = bad
            .reason
            .paused_until()
            .filter(|_| standing.serves && !standing.deleting)
        else {
            return said.clone();
        };
        let is_of_account = self.account.as_ref().is_some_and(|account| !account.ok);
        let mut others = parts.into_iter().skip(1).flatten().peekable();
        let is_carried_out = match others.peek() {
            None => standing.was_ready,
            Some(_) => others.all(|finding| finding.ok),
        };
        // Guardrails that were tightened pause changes; an edit that they do not allow is not
        // carried out, whatever it would change in AWS.
        let is_edit = bad.reason == Reason::NotAllowed && !standing.was_ready;
        Finding {
            ok: is_of_account && bad.reason.only_pauses() && is_carried_out && !is_edit,
            reason: bad.reason,
            message: format!(
                "the endpoint keeps serving; changes are paused until {until}: {}",
                said.message
            ),
        }
    }
}

/// How an object stood before its parts were observed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Whether it was Ready, for this generation.
    pub was_ready: bool,
    /// Whether its endpoint is available, as far as was seen.
    pub serves: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

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

/// Takes over what was observed; `was_ready` says whether the object was Ready, for this
/// generation, before.
pub(crate) fn take_over(
    status: &mut VPCEndpointStatus,
    observed: &Observed,
    desired: Option<&Desired>,
    namespace: &str,
    findings: &Findings,
    was_ready: bool,
) {
    // The status has nothing of what is not the object's own: another may have written the id into
    // it.
    if let Lookup::Owned(resource) = &observed.endpoint {
        let mut names = resource.dns_names.clone();
        names.sort();
        let mut interfaces = resource.interfaces.clone();
        interfaces.sort();
        status.vpc_endpoint_id = Some(resource.id.to_string());
        status.state = Some(resource.state.to_string());
        status.dns_name = resource.publishable_dns_name();
        status.dns_entries = names;
        status.prefix_list_id.clone_from(&observed.prefix_list_id);
        status.network_interface_ids = interfaces;
        // An interface keeps its addresses for as long as it is there.
        if let KnownAddresses::All(all) = &observed.addresses {
            let address = |known: &InterfaceAddress| EndpointAddress {
                address: known.address.clone(),
                zone: known.zone.clone(),
            };
            status.addresses = all.iter().map(address).collect();
        }
        // What AWS has fixed is what the schema holds the spec to from now on.
        let subnets_there = || {
            let attachment = resource.attachment.known().into_iter();
            let subnets = attachment.flat_map(|attachment| attachment.subnets());
            subnets.map(ToString::to_string).collect()
        };
        let network = match desired {
            Some(desired) if !desired.adopted.is_some_and(|kept| kept.subnets) => network(desired),
            _ => NetworkStatus {
                subnet_ids: subnets_there(),
                ..desired
                    .map(network)
                    .or_else(|| status.network.take())
                    .unwrap_or_default()
            },
        };
        status.network = Some(NetworkStatus {
            vpc_id: resource.vpc.to_string(),
            ..network
        });
        if let Some(target) = &resource.target {
            set_target(status, target);
        }
        status.vpc_endpoint_type = resource.endpoint_type().or(status.vpc_endpoint_type);
    }
    match &observed.group {
        Lookup::Owned(resource) => status.security_group_id = Some(resource.id.to_string()),
        Lookup::Absent | Lookup::Deleted => status.security_group_id = None,
        Lookup::Unowned(_) | Lookup::Unproven(..) | Lookup::Unconfirmed => {}
    }
    let Some(desired) = desired else {
        return;
    };
    // What is not desired any more is forgotten: should it be desired again, it is sent again.
    let mut accepted = addresses::of_status(&status.subnet_configurations);
    accepted.retain(|subnet, addresses| desired.options.addresses.get(subnet) == Some(addresses));
    status.subnet_configurations = addresses::to_status(&accepted);
    if observed.endpoint.owned().is_some() {
        // From here on its id is the proof.
        status.provided_security_groups = has_provided_groups(desired);
    }
    // A key that is no longer wanted is forgotten when no tag has it any more: taking it away may
    // have failed, or waits. What is not in sight may have it, and what was tagged just now may be
    // shown without.
    let own_group = matches!(desired.attachment.groups(), Some(Groups::Own(_)));
    let in_sight = observed.endpoint.owned().is_some() && (observed.group.owned().is_some() || !own_group);
    let mut keys = tag_keys(desired);
    let is_left = |key: &&String| {
        if !was_ready || !in_sight {
            return true;
        }
        let endpoint = matches!(&observed.endpoint, Lookup::Owned(resource) if resource.tags.contains_key(*key));
        endpoint || matches!(&observed.group, Lookup::Owned(resource) if resource.tags.contains_key(*key))
    };
    keys.extend(status.tag_keys.iter().filter(is_left).cloned());
    status.tag_keys = keys.into_iter().collect();
    let mut applied = Applied::of(desired);
    let is_done = was_ready && findings.endpoint.as_ref().is_some_and(|finding| finding.ok);
    if !is_done {
        // What is not desired any more may not have been taken back yet.
        applied = applied.and(Applied::known(status));
    }
    applied.write(status);
    take_over_service(status, observed, desired.service.as_ref(), namespace, findings);
    take_over_names(status, observed, &desired.names);
    take_over_config_map(status, observed);
}

/// Takes over the DNS names that are published. Where that cannot be seen, those stay that are
/// still wanted: they are not given up.
pub(crate) fn take_over_names(status: &mut VPCEndpointStatus, observed: &Observed, wanted: &[DnsName]) {
    if let ZonalNames::Known(zonal) = &observed.names.zonal {
        status.zonal_dns_names.clone_from(zonal);
    }
    if observed.names.unavailable.is_some() {
        let is_wanted = |name: &String| wanted.iter().any(|wanted| wanted.name == *name);
        status.dns_names.retain(is_wanted);
        return;
    }
    let own = observed.names.endpoints.iter().filter(|found| found.ours);
    let records = own.filter_map(|found| found.records.as_ref()).flatten();
    let names: BTreeSet<&String> = records.map(|record| &record.name).collect();
    status.dns_names = names.into_iter().cloned().collect();
}

/// Takes over the ConfigMap that is published.
pub(crate) fn take_over_config_map(status: &mut VPCEndpointStatus, observed: &Observed) {
    let own = observed.config_map.as_ref().filter(|found| found.ours);
    if own.is_some() || observed.config_map_unavailable.is_none() {
        status.config_map = own.map(|found| found.name.clone());
    }
}

/// Takes over the Service that was observed.
pub(crate) fn take_over_service(
    status: &mut VPCEndpointStatus,
    observed: &Observed,
    desired: Option<&DesiredService>,
    namespace: &str,
    findings: &Findings,
) {
    let published = findings.service.as_ref().is_some_and(|finding| finding.ok);
    status.service = match desired {
        Some(service) if published => Some(PublishedService {
            name: service.name.clone(),
            host: format!("{}.{namespace}.svc", service.name),
        }),
        // Kept until its Service is deleted: it may have another name than the one that is wanted
        // now.
        _ if observed.services.iter().any(|service| service.ours) => status.service.take(),
        _ => None,
    };
}

/// Takes over what another object's status says of the endpoint that the object shares; none:
/// there is none.
pub(crate) fn mirror(status: &mut VPCEndpointStatus, shared: Option<&VPCEndpointStatus>) {
    let none = VPCEndpointStatus::default();
    let shared = shared
        .filter(|shared| shared.vpc_endpoint_id.is_some())
        .unwrap_or(&none);
    status.region.clone_from(&shared.region);
    status.vpc_endpoint_type = shared.vpc_endpoint_type;
    status
        .vpc_endpoint_service_id
        .clone_from(&shared.vpc_endpoint_service_id);
    status.service_region.clone_from(&shared.service_region);
    status.vpc_endpoint_id.clone_from(&shared.vpc_endpoint_id);
    status.state.clone_from(&shared.state);
    status.dns_name.clone_from(&shared.dns_name);
    status.dns_entries.clone_from(&shared.dns_entries);
}

/// The keys of the tags that we set for the user.
pub(crate) fn tag_keys(desired: &Desired) -> BTreeSet<String> {
    let users = |key: &&String| !key.starts_with(RESERVED_PREFIX) && key.as_str() != DISPLAY_NAME;
    let set = desired.tags.keys().filter(|_| !desired.observes());
    set.filter(users).cloned().collect()
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

/// What an object says whose spec does not parse.
pub(crate) fn does_not_parse(error: &str) -> Finding {
    Finding::bad(
        Reason::InvalidSpec,
        format!("the spec does not parse: {error}; correct it, or delete the object"),
    )
}

/// What a bound object says of its account.
pub(crate) fn account_resolved(binding: &Binding) -> Finding {
    Finding::good(
        Reason::Resolved,
        format!(
            "AWSAccount {}: AWS account {} in {}",
            binding.account, binding.account_id, binding.region
        ),
    )
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
