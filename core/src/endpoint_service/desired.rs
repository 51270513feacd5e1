//! What AWS should hold for a VPCEndpointService: its spec, completed by its account.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::load_balancer::LoadBalancerArn;
use super::observed::Connection;
use crate::api::{AddressType, LoadBalancer, LoadBalancerType, VPCEndpointServiceSpec};
use crate::conditions::{Finding, Reason};
use crate::desired::{Origin, all_tags};
use crate::ids::{AccountId, EndpointId};
use crate::resolve::Resolved;
use crate::tags::{Owner, hex};

/// The principal that stands for everyone.
pub(super) const EVERYONE: &str = "*";

/// What the cluster knows of what a spec names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    /// The load balancers of the Service that it names, if it names one.
    pub load_balancers: BTreeSet<String>,
    /// The AWS accounts of the VPCEndpoints that name the object and may.
    pub accounts: BTreeSet<AccountId>,
    /// The endpoints of these that are known to be theirs, and in which account.
    pub endpoints: BTreeMap<EndpointId, AccountId>,
    /// The endpoints of VPCEndpoints that name the object and may not, or not any more.
    pub revoked: BTreeSet<EndpointId>,
}

/// Everything that an object asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The type of the load balancers, which AWS fixes at creation.
    pub load_balancer_type: LoadBalancerType,
    /// The ARNs of the load balancers, at least one.
    pub load_balancers: BTreeSet<String>,
    /// Whether connections wait until they are accepted.
    pub acceptance_required: bool,
    /// Who may connect: the spec's principals, and the roots of the consumers' accounts.
    pub principals: BTreeSet<String>,
    /// The AWS accounts whose connections are accepted.
    pub consumers: BTreeSet<AccountId>,
    /// The endpoints whose connections are accepted, whatever others their accounts have.
    pub endpoints: BTreeMap<EndpointId, AccountId>,
    /// The endpoints whose connections are rejected.
    pub revoked: BTreeSet<EndpointId>,
    /// The families of addresses that endpoints may have, at least one.
    pub address_types: BTreeSet<AddressType>,
    /// The private DNS name, if there is to be one.
    pub private_dns_name: Option<String>,
    /// All tags: the account's, the user's, the owner's.
    pub tags: BTreeMap<String, String>,
    /// What is carried out but rarely meant.
    pub warnings: Vec<String>,
}

impl Desired {
    /// Whether all connections of this account may be accepted.
    pub fn vouches_for(&self, account: &str) -> bool {
        self.consumers.iter().any(|consumer| consumer.as_str() == account)
    }

    /// Whether a connection may be accepted.
    pub fn accepts(&self, connection: &Connection) -> bool {
        let Connection { endpoint, owner, .. } = connection;
        let is_known = || {
            self.endpoints
                .get(endpoint)
                .is_some_and(|account| account.as_str() == owner)
        };
        self.vouches_for(owner) || is_known()
    }

    /// Whether principals of this account may ask to connect.
    pub(super) fn allows(&self, account: &str) -> bool {
        let is_allowed = |principal: &String| principal == EVERYONE || principal.split(':').nth(4) == Some(account);
        self.principals.iter().any(is_allowed)
    }

    /// Whether AWS itself accepts connections of principals of this account.
    pub(super) fn lets_in_unasked(&self, account: &str) -> bool {
        !self.acceptance_required && self.allows(account)
    }
}

/// Completes a spec with what the cluster knows of what it names.
///
/// # Errors
/// Values that no call to AWS could make right; whether they are allowed,
/// [`authorize`](super::authorize()) says.
pub fn desired(
    spec: &VPCEndpointServiceSpec,
    owner: &Owner,
    resolved: &Resolved,
    discovered: &Discovered,
) -> Result<Desired, Finding> {
    let VPCEndpointServiceSpec {
        account: _,
        region: _,
        load_balancer,
        acceptance_required,
        allowed_principals,
        consumers,
        supported_ip_address_types,
        private_dns_name,
        tags,
        deletion_policy: _,
        on_delete: _,
    } = spec;
    let (load_balancer_type, arns) = load_balancers(load_balancer, resolved, &discovered.load_balancers)?;
    if private_dns_name.is_some() && load_balancer_type == LoadBalancerType::Gateway {
        return Err(invalid(
            "private_dns_name: services of Gateway Load Balancers have no DNS names",
        ));
    }
    let ids = consumers.iter().flat_map(|consumers| &consumers.account_ids);
    let consumers = ids.map(|id| id.parse());
    let consumers: BTreeSet<AccountId> = consumers
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(format!("consumers.account_ids: {error}")))?;
    let partition = resolved.role.partition();
    let roots = consumers
        .iter()
        .chain(&discovered.accounts)
        .map(|id| format!("arn:{partition}:iam::{id}:root"));
    let principals: BTreeSet<String> = allowed_principals.iter().cloned().chain(roots).collect();
    let address_types = match supported_ip_address_types {
        Some(types) if types.is_empty() => return Err(invalid("supported_ip_address_types must name at least one")),
        Some(types) => types.clone(),
        None => [AddressType::Ipv4].into(),
    };
    let is_open = !acceptance_required && principals.contains(EVERYONE);
    let warning = "acceptance_required is false and allowed_principals contains *: endpoints of any AWS account are \
                   connected at once, so that the load balancers are public in effect";
    Ok(Desired {
        load_balancer_type,
        load_balancers: arns,
        acceptance_required: *acceptance_required,
        principals,
        consumers,
        endpoints: discovered.endpoints.clone(),
        revoked: discovered.revoked.clone(),
        address_types,
        private_dns_name: private_dns_name.clone(),
        tags: all_tags(tags, owner, resolved, Origin::Created)?,
        warnings: is_open.then(|| warning.to_owned()).into_iter().collect(),
    })
}

/// The load balancers, all of one type, in the account and region that the object is bound to.
fn load_balancers(
    spec: &LoadBalancer,
    resolved: &Resolved,
    of_service: &BTreeSet<String>,
) -> Result<(LoadBalancerType, BTreeSet<String>), Finding> {
    let LoadBalancer {
        service,
        network_load_balancer_arns: network,
        gateway_load_balancer_arns: gateway,
    } = spec;
    let (type_, arns) = match (service, network.is_empty(), gateway.is_empty()) {
        (Some(_), true, true) => (LoadBalancerType::Network, of_service),
        (None, false, true) => (LoadBalancerType::Network, network),
        (None, true, false) => (LoadBalancerType::Gateway, gateway),
        (Some(_), ..) | (None, true, true) | (None, false, false) => {
            return Err(invalid(
                "load_balancer must have exactly one of service, network_load_balancer_arns and \
                 gateway_load_balancer_arns",
            ));
        }
    };
    let (binding, partition) = (&resolved.binding, resolved.role.partition());
    for given in arns {
        let refused = |why: String| invalid(format!("{}: {why}", type_.field()));
        let arn: LoadBalancerArn = given
            .parse()
            .map_err(|error: super::load_balancer::NotALoadBalancer| refused(error.to_string()))?;
        if arn.load_balancer_type() != type_ {
            return Err(refused(format!(
                "{arn} is a {} Load Balancer: a service has load balancers of one type",
                arn.load_balancer_type()
            )));
        }
        let place = (arn.partition(), arn.account(), arn.region());
        if place != (partition, &binding.account_id, &binding.region) {
            return Err(refused(format!(
                "{arn} is in account {} and region {}, and this object is bound to account {} and region {}: a service \
                 offers load balancers of its own account and region",
                arn.account(),
                arn.region(),
                binding.account_id,
                binding.region
            )));
        }
    }
    Ok((type_, arns.clone()))
}

fn invalid(message: impl Into<String>) -> Finding {
    Finding::bad(Reason::InvalidSpec, message)
}

/// The ClientToken of CreateVpcEndpointServiceConfiguration: the same for as long as the same
/// endpoint service is meant, whatever crashes when. Nothing of the spec is in it: a create that
/// follows an edit, while the answer to an earlier one is lost, is refused for its other parameters
/// (`IdempotentParameterMismatch`), and makes no second service.
pub fn client_token(owner: &Owner, resolved: &Resolved, incarnation: i64) -> String {
    let mut hash = Sha256::new();
    for part in [
        owner.cluster.own.as_str(),
        &owner.kind,
        &owner.uid,
        resolved.binding.account_id.as_str(),
        resolved.binding.region.as_str(),
        &incarnation.to_string(),
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())
}
