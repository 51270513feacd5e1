//! What the owner of an endpoint service does about its consumers' endpoints, and AWS services
//! about their own.

use anyhow::{Context as _, bail};

use super::Simulator;
use super::ec2::endpoint::{Endpoint, EndpointState, EndpointType, LastError};
use super::ec2::endpoints::new_endpoint;
use super::ec2::tags::Tags;

use EndpointState::{Available, Expired, Failed, Partial, Pending, PendingAcceptance};

/// Each fails where there is no such endpoint, or where its state does not allow it.
impl Simulator {
    /// The service's owner accepts the endpoint, which becomes available some time later.
    pub fn accept(&self, account: &str, region: &str, endpoint_id: &str) -> anyhow::Result<()> {
        self.decide(account, region, endpoint_id, Endpoint::accept)
    }

    /// The service's owner rejects the endpoint, which may have been in use.
    pub fn reject(&self, account: &str, region: &str, endpoint_id: &str) -> anyhow::Result<()> {
        self.decide(account, region, endpoint_id, |endpoint, _| endpoint.reject())
    }

    fn decide(
        &self,
        account: &str,
        region: &str,
        endpoint_id: &str,
        decision: fn(&mut Endpoint, f64) -> bool,
    ) -> anyhow::Result<()> {
        let mut world = self.world();
        let due = world.clock.now() + world.config.pending_seconds;
        let endpoint = world.region(account, region).endpoints.get_mut(endpoint_id);
        let endpoint = endpoint.with_context(|| format!("no endpoint {endpoint_id}"))?;
        check_connection(endpoint)?;
        if !decision(endpoint, due) {
            bail!("{endpoint_id} is {}", endpoint.state.wire());
        }
        Ok(())
    }

    /// The endpoint is not accepted in time.
    pub fn expire(&self, account: &str, region: &str, endpoint_id: &str) -> anyhow::Result<()> {
        self.end_up(account, region, endpoint_id, &[PendingAcceptance], Expired, None)
    }

    /// The endpoint cannot be made, or not be changed.
    pub fn fail(&self, account: &str, region: &str, endpoint_id: &str, error: LastError) -> anyhow::Result<()> {
        self.end_up(
            account,
            region,
            endpoint_id,
            &[Pending, Available, Partial],
            Failed,
            Some(error),
        )
    }

    /// The endpoint works in some of its zones only.
    pub fn fail_in_part(&self, account: &str, region: &str, endpoint_id: &str, error: LastError) -> anyhow::Result<()> {
        self.end_up(
            account,
            region,
            endpoint_id,
            &[Pending, Available],
            Partial,
            Some(error),
        )
    }

    fn end_up(
        &self,
        account: &str,
        region: &str,
        endpoint_id: &str,
        from: &[EndpointState],
        to: EndpointState,
        error: Option<LastError>,
    ) -> anyhow::Result<()> {
        check(self.world().endpoint(account, region, endpoint_id)?, from)?;
        self.set_endpoint_state(account, region, endpoint_id, to, error)
    }

    /// An AWS service makes an endpoint for itself in the account, without a call: available,
    /// requester-managed, so that the account can see and tag but neither change nor delete it.
    /// Gives its id.
    pub fn add_requester_managed_endpoint(
        &self,
        account: &str,
        region: &str,
        vpc_id: &str,
        service_name: &str,
        tags: Tags,
    ) -> anyhow::Result<String> {
        let mut world = self.world();
        let now = world.clock.now();
        let state = world.region(account, region);
        state.vpcs.get(vpc_id).with_context(|| format!("no VPC {vpc_id}"))?;
        let endpoint = Endpoint {
            requester_managed: true,
            named_at: Some(now),
            tags,
            ..new_endpoint(EndpointType::Interface, region, vpc_id, service_name, now)
        };
        let id = endpoint.id.clone();
        state.endpoints.insert(id.clone(), endpoint);
        Ok(id)
    }
}

/// Only endpoints for a service behind a load balancer, or for one of AWS's, are connections that
/// their service's owner accepts or rejects.
fn check_connection(endpoint: &Endpoint) -> anyhow::Result<()> {
    if !matches!(
        endpoint.kind,
        EndpointType::Interface | EndpointType::GatewayLoadBalancer
    ) {
        bail!("{} is of type {}", endpoint.id, endpoint.kind.wire());
    }
    Ok(())
}

fn check(endpoint: &Endpoint, from: &[EndpointState]) -> anyhow::Result<()> {
    if !from.contains(&endpoint.state) {
        bail!("{} is {}", endpoint.id, endpoint.state.wire());
    }
    Ok(())
}
