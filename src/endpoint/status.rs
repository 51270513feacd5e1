//! What the object says of itself: findings become conditions, and are written only when something
//! changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use vpce_core::addresses::{self, SubnetAddresses};
use vpce_core::api::{AccountBinding, ENDPOINT_FINALIZER, NetworkStatus, VPCEndpointStatus};
use vpce_core::conditions::ConditionType;
use vpce_core::desired::{Desired, Existing, Groups};
use vpce_core::observed::State;
use vpce_core::ownership::Consent;
use vpce_core::resolve::Binding;
use vpce_core::target::Target;

use super::findings::Findings;
use super::memory::Own;
use crate::bound::conditions::Part;
use crate::bound::findings::{Parts as _, Standing};
use crate::bound::{self, Bound};
use crate::k8s::caches::{Caches, Endpoint};

/// What an object is bound to, if it is.
pub(crate) fn binding(status: &VPCEndpointStatus) -> Option<Binding> {
    Binding::of_status(status.account.as_ref(), status.region.as_deref())
}

/// Binds.
pub(crate) fn bind(status: &mut VPCEndpointStatus, binding: &Binding, desired: &Desired) {
    status.account = Some(binding.to_status());
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
    let parts = [
        (ConditionType::AccountResolved, findings.account.clone().into()),
        (ConditionType::EndpointAvailable, findings.endpoint.clone().into()),
        (ConditionType::ServicePublished, findings.service.clone().into()),
        (ConditionType::NamesPublished, Part::optional(findings.names.clone())),
        (
            ConditionType::ConfigMapPublished,
            Part::optional(findings.config_map.clone()),
        ),
    ];
    let summary = findings.summary(standing);
    let (all, is_news) = bound::conditions::of_parts(&status.conditions, &summary, &parts, generation);
    status.conditions = all;
    status.observed_generation = generation;
    is_news
}

/// Whether the endpoint was available when it was last seen.
pub(crate) fn was_serving(status: &VPCEndpointStatus) -> bool {
    let state = status.state.as_deref().map(State::parse);
    status.vpc_endpoint_id.is_some() && state == Some(State::Available)
}

impl Bound for Endpoint {
    type Status = VPCEndpointStatus;
    type Own = Own;

    const FINALIZER: &'static str = ENDPOINT_FINALIZER;

    fn status(&self) -> &VPCEndpointStatus {
        &self.status
    }

    fn cached(caches: &Caches, namespace: &str, name: &str) -> Option<Arc<Self>> {
        caches.endpoint(namespace, name)
    }

    fn account(status: &VPCEndpointStatus) -> Option<&AccountBinding> {
        status.account.as_ref()
    }

    fn conditions(status: &VPCEndpointStatus) -> &[Condition] {
        &status.conditions
    }

    fn written(status: &VPCEndpointStatus) -> VPCEndpointStatus {
        VPCEndpointStatus {
            create_fn: None,
            ..status.clone()
        }
    }

    fn differing(wanted: &VPCEndpointStatus, stored: &VPCEndpointStatus) -> Vec<&'static str> {
        let service = wanted.vpc_endpoint_service_id != stored.vpc_endpoint_service_id;
        bound::names_of([
            ("account", wanted.account != stored.account),
            ("region", wanted.region != stored.region),
            ("network", wanted.network != stored.network),
            ("vpc_endpoint_service_id", service),
            ("service_region", wanted.service_region != stored.service_region),
            ("incarnation", wanted.incarnation != stored.incarnation),
        ])
    }
}
