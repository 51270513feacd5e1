//! The calls to Elastic Load Balancing that the operator makes: it reads the load balancers of
//! Services, and changes none.

#[cfg(test)]
pub(in crate::aws) mod simulated;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{LoadBalancer, TagDescription};
use vpce_core::endpoint_service::{LoadBalancerState, ObservedLoadBalancer, is_proof};
use vpce_core::ids::{AccountId, Region};

use super::error::CallError;
use super::observer::{Call, Observer, observed};
use super::sessions::Session;

/// A client for one account and region.
#[derive(Clone)]
pub(crate) struct Elb {
    /// Signs with the current credentials of the account's session.
    pub(crate) client: aws_sdk_elasticloadbalancingv2::Client,
    /// The AWS account.
    pub(crate) account_id: AccountId,
    pub(crate) region: Region,
    /// Observes every call.
    pub(crate) observer: Observer,
}

impl Elb {
    /// One that acts by a session.
    pub(crate) fn of(session: &Session, region: &Region, observer: &Observer) -> Self {
        Self {
            client: session.elb(region.as_str()),
            account_id: session.account_id().clone(),
            region: region.clone(),
            observer: observer.clone(),
        }
    }

    fn call(&self, action: &'static str) -> Call<'_> {
        Call {
            account_id: self.account_id.as_str(),
            region: self.region.as_str(),
            service: "elasticloadbalancing",
            action,
        }
    }

    /// DescribeLoadBalancers by name, one page: all types, without tags. The whole call fails with
    /// `LoadBalancerNotFound` for one that is not there.
    pub(crate) async fn describe_load_balancers(
        &self,
        names: &[String],
        page: Option<String>,
    ) -> Result<(Vec<ObservedLoadBalancer>, Option<String>), CallError> {
        let request = self.client.describe_load_balancers();
        let request = request.set_names(Some(names.to_vec())).set_marker(page);
        let answer = observed(&self.observer, self.call("DescribeLoadBalancers"), request.send()).await?;
        let next = answer.next_marker.filter(|marker| !marker.is_empty());
        let found = answer.load_balancers.unwrap_or_default().into_iter();
        Ok((found.filter_map(observed_load_balancer).collect(), next))
    }

    /// DescribeTags, which has one page: those tags that can prove whose a load balancer is, by its
    /// ARN. The whole call fails with `LoadBalancerNotFound` for one that is not there.
    pub(crate) async fn describe_tags(&self, arns: &[String]) -> Result<Vec<(String, Tags)>, CallError> {
        let request = self.client.describe_tags().set_resource_arns(Some(arns.to_vec()));
        let answer = observed(&self.observer, self.call("DescribeTags"), request.send()).await?;
        let found = answer.tag_descriptions.unwrap_or_default().into_iter();
        Ok(found.filter_map(proofs).collect())
    }
}

/// By their keys.
pub(super) type Tags = BTreeMap<String, String>;

/// As Elastic Load Balancing describes it; none where it lacks what every load balancer has.
fn observed_load_balancer(load_balancer: LoadBalancer) -> Option<ObservedLoadBalancer> {
    let state = load_balancer.state.and_then(|state| state.code)?;
    Some(ObservedLoadBalancer {
        arn: load_balancer.load_balancer_arn?,
        name: load_balancer.load_balancer_name?,
        dns_name: load_balancer.dns_name.unwrap_or_default(),
        type_: load_balancer.r#type?.as_str().to_owned(),
        state: LoadBalancerState::parse(state.as_str()),
        tags: Tags::new(),
    })
}

fn proofs(described: TagDescription) -> Option<(String, Tags)> {
    let tags = described.tags.unwrap_or_default().into_iter();
    let tags = tags.filter(|tag| tag.key.as_deref().is_some_and(is_proof));
    let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())));
    Some((described.resource_arn?, tags.collect()))
}
