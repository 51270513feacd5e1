//! The series of VPCEndpointServices.

use std::collections::HashSet;
use std::sync::Arc;

use vpce_core::api::{ConnectionsStatus, VPCEndpointService, Watched};
use vpce_core::conditions::ConditionType;

use super::bound::{Each, account_of, labels, ready};
use super::{NOT_MADE, Samples, Series, TRUE};

pub(super) const STATES: Series<3> = Series {
    name: "vpce_endpoint_services",
    help: "Number of VPCEndpointServices, by the state of their endpoint service in AWS; none: not created yet.",
    labels: ["account", "region", "state"],
};
pub(super) const NOT_READY: Series<3> = Series {
    name: "vpce_endpoint_services_not_ready",
    help: "Number of VPCEndpointServices that are not Ready, by the reason of their condition; absent where there are none.",
    labels: ["account", "region", "reason"],
};
pub(super) const EACH: Each = Each {
    info: Series {
        name: "vpce_endpoint_service_info",
        help: "What a VPCEndpointService is in AWS; always 1.",
        labels: ["namespace", "name", "account", "region", "service_id"],
    },
    condition: Series {
        name: "vpce_endpoint_service_status_condition",
        help: "The conditions of a VPCEndpointService that need attention: Ready unless it is True with the reason Available, Stalled if True, and LoadBalancerReady and ServiceAvailable unless True; always 1.",
        labels: ["namespace", "name", "account", "condition", "status", "reason"],
    },
    not_ready: Series {
        name: "vpce_endpoint_service_not_ready_timestamp_seconds",
        help: "Unix time since which a VPCEndpointService has not been Ready; absent while it is.",
        labels: ["namespace", "name", "account"],
    },
    deletion: Series {
        name: "vpce_endpoint_service_deletion_timestamp_seconds",
        help: "Unix time at which the deletion of a VPCEndpointService was requested; absent otherwise.",
        labels: ["namespace", "name", "account"],
    },
    parts: &[ConditionType::LoadBalancerReady, ConditionType::ServiceAvailable],
};
pub(super) const CONNECTIONS: Series<4> = Series {
    name: "vpce_endpoint_service_connections",
    help: "Number of connections of a VPCEndpointService, by their state; absent where there are none.",
    labels: ["namespace", "name", "account", "state"],
};

/// The states of connections that are told apart, as the status has them.
pub(in crate::telemetry) const CONNECTION_STATES: [&str; 5] =
    ["available", "pending_acceptance", "pending", "rejected", "other"];

/// What counts all of them together.
pub(super) fn totals(text: &mut String, services: &[Arc<Watched<VPCEndpointService>>], names: &HashSet<&str>) {
    let (mut states, mut not_ready) = (Samples::new(), Samples::new());
    for service in services {
        let account = account_of(&**service, names);
        let state = service.status.state.as_deref().unwrap_or(NOT_MADE);
        let region = service.status.region.as_deref().unwrap_or_default();
        *states.entry([account, region, state]).or_default() += 1.0;
        let (status, reason) = ready(&**service);
        if status != TRUE {
            *not_ready.entry([account, region, reason]).or_default() += 1.0;
        }
    }
    STATES.write(text, states);
    NOT_READY.write(text, not_ready);
}

/// The connections of each.
pub(super) fn connections(text: &mut String, services: &[Arc<Watched<VPCEndpointService>>], names: &HashSet<&str>) {
    let counts = services.iter().flat_map(|service| {
        let [namespace, name, account] = labels(&**service, names);
        let counts = service.status.connections.iter().flat_map(by_state);
        let some = counts.filter(|(_, count)| *count > 0);
        some.map(move |(state, count)| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            ([namespace, name, account, state], f64::from(count))
        })
    });
    CONNECTIONS.write(text, counts);
}

fn by_state(connections: &ConnectionsStatus) -> impl Iterator<Item = (&'static str, i64)> + use<> {
    let ConnectionsStatus {
        available,
        pending_acceptance,
        pending,
        rejected,
        other,
        first: _,
    } = *connections;
    let counts = [available, pending_acceptance, pending, rejected, other];
    CONNECTION_STATES.into_iter().zip(counts)
}
