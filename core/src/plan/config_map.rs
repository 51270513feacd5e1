//! The ConfigMap that says what an endpoint has.

use super::Step;
use super::service::waits;
use crate::api::VPCEndpointStatus;
use crate::conditions::{Finding, Reason};
use crate::config_map::{ConfigMapContent, ObservedConfigMap};
use crate::desired::Desired;
use crate::observed::ObservedEndpoint;
use crate::slices::KnownAddresses;
use crate::tags::Owner;

/// What an endpoint of the object's own has.
pub(super) fn content(endpoint: &ObservedEndpoint, desired: &Desired, addresses: &KnownAddresses) -> ConfigMapContent {
    let addresses: Vec<&str> = match addresses {
        KnownAddresses::All(all) => all.iter().map(|address| address.address.as_str()).collect(),
        KnownAddresses::Some(_) | KnownAddresses::Unknown | KnownAddresses::Unreadable(_) => Vec::new(),
    };
    let mut names: Vec<&str> = endpoint.dns_names.iter().map(String::as_str).collect();
    names.sort_unstable();
    ConfigMapContent::new([
        ("vpc_endpoint_id", endpoint.id.as_str()),
        ("account_id", desired.account_id.as_str()),
        ("region", desired.region.as_str()),
        ("vpc_endpoint_service_id", &desired.target.to_string()),
        ("dns_name", &endpoint.publishable_dns_name().unwrap_or_default()),
        ("dns_entries", &names.join(",")),
        ("addresses", &addresses.join(",")),
    ])
}

/// What an endpoint of another object has, by its status.
pub(super) fn content_of_status(status: &VPCEndpointStatus) -> Option<ConfigMapContent> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let account = status.account.as_ref();
    let addresses: Vec<&str> = status.addresses.iter().map(|known| known.address.as_str()).collect();
    Some(ConfigMapContent::new([
        ("vpc_endpoint_id", status.vpc_endpoint_id.as_deref()?),
        ("account_id", account.map_or("", |account| &account.account_id)),
        ("region", &text(&status.region)),
        ("vpc_endpoint_service_id", &text(&status.vpc_endpoint_service_id)),
        ("dns_name", &text(&status.dns_name)),
        ("dns_entries", &status.dns_entries.join(",")),
        ("addresses", &addresses.join(",")),
    ]))
}

/// Plans the ConfigMap, which has the object's name. `content`: none where it is not asked for;
/// none in it while there is no endpoint.
pub(super) fn plan_config_map(
    owner: &Owner,
    wanted: Option<Option<ConfigMapContent>>,
    observed: Option<&ObservedConfigMap>,
    unavailable: Option<&Finding>,
    steps: &mut Vec<Step>,
) -> Finding {
    let own = observed.filter(|found| found.ours);
    let Some(content) = wanted else {
        steps.extend(own.map(|found| Step::DeleteConfigMap(found.name.clone())));
        return Finding::good(Reason::NotRequested, "spec.publish_config_map is false");
    };
    if let Some(why) = unavailable {
        return why.clone();
    }
    if observed.is_some_and(|found| !found.ours) {
        return config_map_conflict(owner);
    }
    let Some(content) = content else {
        return waits();
    };
    match observed {
        Some(found) if found.written_as.as_ref() == Some(&content) => return changed(owner, found, &content),
        Some(found) if found.differences(&content).is_empty() => {}
        _ => steps.push(Step::PublishConfigMap {
            name: owner.name.clone(),
            content,
            exists: observed.is_some(),
        }),
    }
    Finding::good(
        Reason::Published,
        format!(
            "ConfigMap {}/{} says what the endpoint has",
            owner.namespace, owner.name
        ),
    )
}

/// What the condition says where a ConfigMap of that name is another's.
pub fn config_map_conflict(owner: &Owner) -> Finding {
    let Owner { namespace, name, .. } = owner;
    Finding::bad(
        Reason::ConfigMapConflict,
        format!(
            "a ConfigMap {namespace}/{name} exists that this object does not own; it is not changed: delete it, or give \
             this object another name"
        ),
    )
}

/// What the condition says of a ConfigMap that the API server stores otherwise than it is written.
fn changed(owner: &Owner, found: &ObservedConfigMap, content: &ConfigMapContent) -> Finding {
    Finding::bad(
        Reason::ConfigMapChanged,
        format!(
            "something changes ConfigMap {}/{} when the operator writes it, or right after, so it does not say what the \
             endpoint has ({}); the correction is retried with backoff. Ask your platform team: an admission controller, or \
             another controller",
            owner.namespace,
            found.name,
            found.differences(content).join(", ")
        ),
    )
}
