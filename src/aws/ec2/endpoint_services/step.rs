//! A step of a plan as the call that carries it out.

use vpce_core::endpoint_service::{Outcome, Step};
use vpce_core::error::Class;
use vpce_core::ids::EndpointId;

use super::{NewEndpointService, Refused};
use crate::aws::ec2::{Done, Ec2};
use crate::aws::error::CallError;

impl Ec2 {
    /// Carries out a step. What is to be deleted and is gone is deleted. Of connections that are
    /// decided on together, AWS's refusal of some is no error while it decides on others.
    pub(crate) async fn carry_out(&self, step: &Step, client_token: &str) -> Result<Done<Outcome>, CallError> {
        let done = |answer: Done<()>| answer.map(|()| Outcome::Done);
        match step {
            Step::Create {
                load_balancer_type,
                load_balancers,
                acceptance_required,
                address_types,
                private_dns_name,
                tags,
            } => {
                let new = NewEndpointService {
                    load_balancer_type: *load_balancer_type,
                    load_balancers,
                    acceptance_required: *acceptance_required,
                    address_types,
                    private_dns_name: private_dns_name.as_deref(),
                    tags,
                    client_token,
                };
                let made = self.create_endpoint_service(&new).await?;
                Ok(made.map(Outcome::Created))
            }
            Step::Modify(id, change) => self.modify_endpoint_service(id, change).await.map(done),
            Step::ModifyPermissions { id, add, remove } => self.modify_principals(id, add, remove).await.map(done),
            Step::Accept(id, endpoints) => decided(self.accept_connections(id, endpoints).await?, endpoints.len()),
            Step::Reject(id, endpoints) => decided(self.reject_connections(id, endpoints).await?, endpoints.len()),
            Step::Tag(id, tags) => self.create_tags(id, tags).await.map(done),
            Step::Untag(id, keys) => self.delete_tags(id, keys).await.map(done),
            Step::VerifyPrivateDns(id) => self.verify_private_dns(id).await.map(done),
            Step::Delete(id) => {
                let mut answer = self.delete_endpoint_services(std::slice::from_ref(id)).await?;
                match answer.value.remove(id) {
                    Some(error) if error.class != Class::NotFound => Err(error),
                    Some(_) | None => Ok(answer.map(|_| Outcome::Done)),
                }
            }
        }
    }
}

/// What is known of connections that AWS decided on: an error where it did on none.
fn decided(answer: Done<Refused<EndpointId>>, asked: usize) -> Result<Done<Outcome>, CallError> {
    if answer.value.len() == asked
        && let Some(error) = answer.value.values().next()
    {
        return Err(error.clone());
    }
    Ok(answer.map(|refused| Outcome::DoneBut(refused.into_keys().collect())))
}
