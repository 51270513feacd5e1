//! A model of EC2's endpoint services, written from its documentation: it shares no code with the
//! planning that it is asked about.

use std::collections::{BTreeMap, BTreeSet};

use vpce_core::api::{AddressType, VPCEndpointServiceStatus};
use vpce_core::endpoint_service::status::{self, Acknowledged};
use vpce_core::endpoint_service::{
    Claimant, Connection, Desired, Observed, ObservedEndpointService, PrivateDns, ServiceChange, Step, Verification,
    classify,
};
use vpce_core::ids::EndpointServiceId;
use vpce_core::observed::{Lookup, State};
use vpce_core::ownership::LookupById;

use crate::scenario::owner;

/// Why EC2 does not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `ExistingVpcEndpointConnections`.
    Connected,
    /// `InvalidParameter`: another service has the load balancer.
    Taken,
    /// `IdempotentParameterMismatch`.
    Mismatch,
}

/// An endpoint service, its principals and the endpoints that connect to it.
#[derive(Debug, Clone)]
pub struct Service {
    pub described: ObservedEndpointService,
    pub principals: BTreeSet<String>,
    pub connections: Vec<Connection>,
}

/// The endpoint services of a region, and what the status of the object says of them.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub services: BTreeMap<EndpointServiceId, Service>,
    /// How many were created in all.
    pub created: usize,
    /// What each ClientToken made, with its other parameters.
    pub tokens: BTreeMap<String, (EndpointServiceId, Step)>,
    /// Whether load balancers can be removed while endpoints are connected.
    pub removable: bool,
    /// What the object says of itself.
    pub status: VPCEndpointServiceStatus,
}

fn blocks(connection: &Connection) -> bool {
    matches!(
        connection.state,
        State::PendingAcceptance | State::Pending | State::Available
    )
}

impl World {
    /// What the operator observes.
    pub fn look(&self) -> Observed {
        let owner = owner();
        let acknowledged = Acknowledged::of(&self.status);
        let by_id = match &acknowledged.service {
            None => LookupById::NoId,
            Some(id) => match self.services.get(id) {
                Some(service) => LookupById::Found(service.described.clone()),
                None => LookupById::Deleted,
            },
        };
        let is_tagged = |service: &&Service| {
            let tag = |key: &str| service.described.tags.get(key);
            tag("silvermullet.com/namespace") == Some(&owner.namespace)
                && tag("silvermullet.com/name") == Some(&owner.name)
        };
        let by_tags = self.services.values().filter(is_tagged);
        let claimant = Claimant {
            owner: &owner,
            service: acknowledged.service.as_ref(),
            load_balancers: acknowledged.load_balancers.as_ref().map(|(type_, arns)| (*type_, arns)),
        };
        let service = classify(
            &claimant,
            by_id,
            by_tags.map(|service| service.described.clone()).collect(),
        );
        let own = service.owned().and_then(|service| self.services.get(&service.id));
        Observed {
            principals: own.map(|own| own.principals.clone()),
            connections: own.map(|own| own.connections.clone()),
            service,
        }
    }

    /// What the object says of itself after a look.
    pub fn remember(&mut self, seen: &Observed, desired: Option<&Desired>, was_ready: bool) {
        match (&seen.service, desired) {
            (Lookup::Deleted, Some(desired)) => status::next_incarnation(&mut self.status, desired),
            _ => status::take_over(&mut self.status, seen, desired, was_ready),
        }
    }

    /// The endpoint service that the status names.
    pub fn own(&mut self) -> &mut Service {
        let id = Acknowledged::of(&self.status).service.expect("it is acknowledged");
        self.services.get_mut(&id).expect("it is there")
    }

    /// Carries out a step.
    pub fn apply(&mut self, step: &Step, token: &str) -> Result<(), Refusal> {
        match step {
            Step::Create { .. } => return self.create(step, token),
            Step::Modify(id, change) => {
                if let ServiceChange::AddLoadBalancers(_, arns) = change {
                    self.check_free(arns, Some(id))?;
                }
                let removable = self.removable;
                let service = self.services.get_mut(id).expect("it exists");
                return modify(service, change, removable);
            }
            Step::ModifyPermissions { id, add, remove } => {
                assert!(!add.is_empty() || !remove.is_empty(), "EC2 wants one of them");
                let service = self.services.get_mut(id).expect("it exists");
                service.principals.retain(|principal| !remove.contains(principal));
                service.principals.extend(add.iter().cloned());
            }
            Step::Accept(id, endpoints) => {
                for connection in self.connections(id, endpoints) {
                    assert_eq!(connection.state, State::PendingAcceptance, "InvalidState");
                    connection.state = State::Pending;
                }
            }
            Step::Reject(id, endpoints) => {
                for connection in self.connections(id, endpoints) {
                    assert!(blocks(connection), "InvalidState: {connection:?}");
                    connection.state = State::Rejected;
                }
            }
            Step::Tag(id, tags) => {
                let service = self.services.get_mut(id).expect("it exists");
                service.described.tags.extend(tags.clone());
                assert!(service.described.tags.len() <= 50, "TagLimitExceeded");
            }
            Step::Untag(id, keys) => {
                let service = self.services.get_mut(id).expect("it exists");
                service.described.tags.retain(|key, _| !keys.contains(key));
            }
            Step::VerifyPrivateDns(id) => {
                let service = self.services.get_mut(id).expect("it exists");
                let private = service.described.private_dns.as_mut();
                private.expect("InvalidParameter").state = Verification::Verified;
            }
            Step::Delete(id) => {
                let service = self.services.get_mut(id).expect("it exists");
                if service.connections.iter().any(blocks) {
                    return Err(Refusal::Connected);
                }
                service.described.state = State::Deleting;
            }
        }
        Ok(())
    }

    fn create(&mut self, step: &Step, token: &str) -> Result<(), Refusal> {
        let Step::Create {
            load_balancer_type,
            load_balancers,
            acceptance_required,
            address_types,
            private_dns_name,
            tags,
        } = step
        else {
            panic!("not a create: {step}");
        };
        assert!(!load_balancers.is_empty() && !address_types.is_empty());
        if let Some((_, earlier)) = self.tokens.get(token) {
            return if earlier == step {
                Ok(())
            } else {
                Err(Refusal::Mismatch)
            };
        }
        self.check_free(load_balancers, None)?;
        self.created += 1;
        let id: EndpointServiceId = format!("vpce-svc-{}", self.created).as_str().into();
        let described = ObservedEndpointService {
            name: format!("com.amazonaws.vpce.eu-west-1.{id}"),
            id: id.clone(),
            state: State::Pending,
            load_balancer_type: *load_balancer_type,
            load_balancers: load_balancers.clone(),
            acceptance_required: *acceptance_required,
            address_types: address_types.clone(),
            zone_ids: vec!["euw1-az1".to_owned()],
            dns_names: Vec::new(),
            private_dns: private_dns_name.as_deref().map(PrivateDns::unverified).map(Box::new),
            tags: tags.clone(),
        };
        self.tokens.insert(token.to_owned(), (id.clone(), step.clone()));
        let service = Service {
            described,
            principals: BTreeSet::new(),
            connections: Vec::new(),
        };
        self.services.insert(id, service);
        Ok(())
    }

    fn check_free(&self, arns: &BTreeSet<String>, except: Option<&EndpointServiceId>) -> Result<(), Refusal> {
        let others = self.services.iter().filter(|(id, _)| Some(*id) != except);
        let mut taken = others.flat_map(|(_, service)| &service.described.load_balancers);
        match taken.any(|arn| arns.contains(arn)) {
            true => Err(Refusal::Taken),
            false => Ok(()),
        }
    }

    fn connections<'a>(
        &'a mut self,
        id: &EndpointServiceId,
        endpoints: &'a BTreeSet<vpce_core::ids::EndpointId>,
    ) -> impl Iterator<Item = &'a mut Connection> {
        let service = self.services.get_mut(id).expect("it exists");
        let all = service.connections.iter_mut();
        all.filter(|connection| endpoints.contains(&connection.endpoint))
    }

    /// Time passes; says whether anything moved.
    pub fn tick(&mut self) -> bool {
        let before = self.services.len();
        self.services
            .retain(|_, service| service.described.state != State::Deleting);
        let mut moved = self.services.len() < before;
        for service in self.services.values_mut() {
            let connections = service.connections.iter_mut().map(|connection| &mut connection.state);
            let states = [&mut service.described.state].into_iter().chain(connections);
            for state in states.filter(|state| **state == State::Pending) {
                *state = State::Available;
                moved = true;
            }
        }
        moved
    }
}

fn modify(service: &mut Service, change: &ServiceChange, removable: bool) -> Result<(), Refusal> {
    let is_connected = service.connections.iter().any(blocks);
    let described = &mut service.described;
    assert_eq!(described.state, State::Available, "IncorrectState");
    match change {
        ServiceChange::AddLoadBalancers(type_, arns) => {
            assert_eq!(*type_, described.load_balancer_type);
            assert!(described.load_balancers.is_disjoint(arns) && !arns.is_empty());
            described.load_balancers.extend(arns.iter().cloned());
        }
        ServiceChange::RemoveLoadBalancers(type_, arns) => {
            assert_eq!(*type_, described.load_balancer_type);
            assert!(arns.is_subset(&described.load_balancers) && !arns.is_empty());
            assert!(arns.len() < described.load_balancers.len(), "one must remain");
            if is_connected && !removable {
                return Err(Refusal::Connected);
            }
            described.load_balancers.retain(|arn| !arns.contains(arn));
        }
        ServiceChange::AcceptanceRequired(required) => {
            assert_ne!(*required, described.acceptance_required);
            described.acceptance_required = *required;
        }
        ServiceChange::AddAddressTypes(types) => described.address_types.extend(types),
        ServiceChange::RemoveAddressTypes(types) => {
            let left: BTreeSet<AddressType> = &described.address_types - types;
            assert!(!left.is_empty(), "one must remain");
            described.address_types = left;
        }
        ServiceChange::PrivateDnsName(name) => {
            let there = described.private_dns.as_ref().map(|private| &private.name);
            assert_ne!(name.as_ref(), there);
            described.private_dns = name.as_deref().map(PrivateDns::unverified).map(Box::new);
        }
    }
    Ok(())
}
