//! Looks what the networks of an AWSAccount consist of, before any app team meets what is wrong
//! with them.

use std::time::Duration;

use vpce_core::api::{AWSAccountSpec, AccountNetworkStatus, Network};
use vpce_core::network;

use crate::aws::region::{LOOK_AGAIN, RefreshError, Wanted};
use crate::aws::sessions::{Session, SessionKey};
use crate::shared::Shared;

/// What the networks consist of, and when there is more to look at.
pub(super) struct Looked {
    pub(super) found: Vec<AccountNetworkStatus>,
    /// When to look again, where something is wrong.
    pub(super) next: Option<Duration>,
}

/// Reads what the networks consist of, where no other reconcile has lately.
pub(super) async fn look(
    shared: &Shared,
    before: &[AccountNetworkStatus],
    spec: &AWSAccountSpec,
    session: &Session,
    role: &SessionKey,
) -> Looked {
    let resync = shared.resync_interval();
    let mut found = Vec::new();
    for network in &spec.networks {
        let mut status = read(shared, network, session, role, resync).await;
        if status.message.is_some() {
            status = read(shared, network, session, role, LOOK_AGAIN.min(resync)).await;
        }
        found.push(network::steadied(before, status));
    }
    let is_wrong = found.iter().any(|status| status.message.is_some());
    Looked {
        next: is_wrong.then_some(LOOK_AGAIN.min(resync)),
        found,
    }
}

async fn read(
    shared: &Shared,
    network: &Network,
    session: &Session,
    role: &SessionKey,
    max_age: Duration,
) -> AccountNetworkStatus {
    let (region, ec2) = shared.in_region(session, &network.region.as_str().into());
    let wanted = Wanted {
        network: Some(network),
        vpc: None,
        service: None,
        max_age,
    };
    let read = region.refresh_networks(&ec2, &wanted).await;
    if let Err(RefreshError::Failed(error)) = &read
        && error.is_expired_session()
    {
        shared.sessions.forget(role).await;
    }
    let seen = region.networks();
    let unread = |message: String| AccountNetworkStatus {
        name: network.name.clone(),
        message: Some(message),
        ..AccountNetworkStatus::default()
    };
    match (seen.vpcs, seen.failed) {
        (_, Some(error)) => unread(format!("it cannot be read: {error}")),
        (None, None) => unread("it has not been read yet".to_owned()),
        (Some(vpcs), None) => {
            let subnets = seen.subnets.as_ref().map(|subnets| &subnets[..]);
            network::describe(network, &vpcs, subnets.unwrap_or_default())
        }
    }
}

/// Whether an endpoint may find what it did not find before: how many addresses are free counts
/// where there were none.
pub(super) fn changed(before: &[AccountNetworkStatus], after: &[AccountNetworkStatus]) -> bool {
    let essence = |networks: &[AccountNetworkStatus]| {
        let of = |network: &AccountNetworkStatus| {
            let subnets = network.subnets.iter();
            let subnets = subnets.map(|subnet| (subnet.subnet_id.clone(), subnet.available_ip_address_count > 0));
            let subnets: Vec<(String, bool)> = subnets.collect();
            (
                network.name.clone(),
                network.vpc_id.clone(),
                subnets,
                network.message.clone(),
            )
        };
        networks.iter().map(of).collect::<Vec<_>>()
    };
    essence(before) != essence(after)
}
