//! What `status` shows of a VPCEndpointService beside what it shows of all kinds.

use vpce_core::api::{ConnectionsStatus, VPCEndpointServiceSpec, VPCEndpointServiceStatus};

use super::Lines;

/// What it is in AWS.
pub(super) fn configuration(spec: &VPCEndpointServiceSpec, status: &VPCEndpointServiceStatus, lines: &mut Lines) {
    lines.account(status.account.as_ref(), status.region.as_deref());
    lines.all("Load balancers", status.load_balancer_arns.iter().cloned());
    let id = status.service_id.as_deref().unwrap_or("none");
    let state = status.state.as_deref().unwrap_or("not created yet");
    lines.add("Endpoint service", &format!("{id} ({state})"));
    lines.add("Service name", status.service_name.as_deref().unwrap_or_default());
    lines.all("DNS names", status.dns_names.iter().cloned());
    lines.add("Zones", &status.zone_ids.join(", "));
    lines.all("Principals", spec.allowed_principals.iter().map(ToString::to_string));
    lines.add("Consumers", &status.consumer_account_ids.join(", "));
    if let Some(found) = &status.connections {
        connections(found, lines);
    }
}

/// How many there are in each state, and the first.
fn connections(found: &ConnectionsStatus, lines: &mut Lines) {
    let counts = [
        (found.available, "available"),
        (found.pending_acceptance, "pending acceptance"),
        (found.pending, "pending"),
        (found.rejected, "rejected"),
        (found.other, "in other states"),
    ];
    let all: i64 = counts.iter().map(|(count, _)| count).sum();
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, state)| format!("{count} {state}")).collect();
    let counts = if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    };
    lines.add("Connections", &counts);
    let first = found.first.iter();
    let first = first.map(|one| format!("{} of account {}: {}", one.vpc_endpoint_id, one.owner, one.state));
    lines.all("", first);
    let unnamed = usize::try_from(all)
        .unwrap_or_default()
        .saturating_sub(found.first.len());
    if unnamed > 0 {
        lines.add("", &format!("and {unnamed} more"));
    }
}
