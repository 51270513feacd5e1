//! What EC2 tells of endpoints by other actions than DescribeVpcEndpoints: the DNS names of those
//! of service networks, and the prefix lists of services that have gateway endpoints.
//!
//! Nothing else waits for it: where EC2 does not tell, the log says so, and it is asked again after
//! the resync interval.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_ec2::types::Filter;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use vpce_core::ids::EndpointId;

use super::refresh::FILTER_VALUES;
use super::{AccountRegion, RefreshError, turn_to_read};
use crate::aws::ec2::Ec2;
use crate::aws::error::CallError;
use crate::aws::observer::observed;

const ASSOCIATIONS: &str = "DescribeVpcEndpointAssociations";
/// EC2 gives no more associations in a page.
const PAGE: i32 = 100;
const PREFIX_LISTS: &str = "DescribePrefixLists";
/// What no reconcile has asked for in so many resync intervals is forgotten.
const FORGOTTEN_AFTER: u32 = 3;

/// What is known in a region.
#[derive(Default)]
pub(super) struct Names {
    networks: Mutex<HashMap<EndpointId, NetworkNames>>,
    /// By the service, and when EC2 was last asked.
    prefix_lists: Mutex<HashMap<String, (Option<String>, Instant)>>,
    reading: AsyncMutex<()>,
}

/// The DNS names of the endpoint of a service network.
struct NetworkNames {
    /// When a reconcile last asked for them.
    asked: Instant,
    /// When EC2 was last asked, whatever came of it.
    read: Option<Instant>,
    names: Vec<String>,
}

/// An association of an endpoint with something that it leads to.
struct Association {
    endpoint: EndpointId,
    names: Vec<String>,
}

impl AccountRegion {
    /// The DNS names of an endpoint of a service network, as they were last read.
    pub(crate) fn network_names(&self, id: &EndpointId) -> Vec<String> {
        let networks = self.names.networks.lock();
        networks.get(id).map(|known| known.names.clone()).unwrap_or_default()
    }

    /// The prefix list of a service, as it was last read.
    pub(crate) fn prefix_list(&self, service: &str) -> Option<String> {
        self.names.prefix_lists.lock().get(service)?.0.clone()
    }

    /// Makes sure that the names of an endpoint of a service network are no older than this. What
    /// has to be read is read together with those of all others that were asked for.
    ///
    /// # Errors
    /// Until when AWS allows no more reads.
    pub(crate) async fn refresh_network_names(
        &self,
        ec2: &Ec2,
        id: &EndpointId,
        max_age: Duration,
    ) -> Result<(), RefreshError> {
        let is_old = || {
            let now = Instant::now();
            let mut networks = self.names.networks.lock();
            let known = networks.entry(id.clone()).or_insert(NetworkNames {
                asked: now,
                read: None,
                names: Vec::new(),
            });
            known.asked = now;
            known.read.is_none_or(|at| at.elapsed() >= max_age)
        };
        let Some(_reading) = turn_to_read(&self.names.reading, is_old).await else {
            return Ok(());
        };
        let ids: Vec<EndpointId> = {
            let mut networks = self.names.networks.lock();
            networks.retain(|_, known| known.asked.elapsed() < max_age * FORGOTTEN_AFTER);
            networks.keys().cloned().collect()
        };
        for ids in ids.chunks(FILTER_VALUES) {
            let found = self.pages(ASSOCIATIONS, |page| associations(ec2, ids, page)).await;
            let found = self.unless_failed(found)?;
            let mut by_endpoint: HashMap<EndpointId, Vec<String>> = HashMap::new();
            for association in found.into_iter().flatten() {
                by_endpoint
                    .entry(association.endpoint)
                    .or_default()
                    .extend(association.names);
            }
            let mut networks = self.names.networks.lock();
            for id in ids {
                if let Some(known) = networks.get_mut(id) {
                    known.read = Some(Instant::now());
                    known.names = by_endpoint.remove(id).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// Makes sure that the prefix list of a service is known, which does not change; where it is
    /// not, it is asked for again after this time.
    ///
    /// # Errors
    /// Until when AWS allows no more reads.
    pub(crate) async fn refresh_prefix_list(
        &self,
        ec2: &Ec2,
        service: &str,
        max_age: Duration,
    ) -> Result<(), RefreshError> {
        let is_due = || {
            let prefix_lists = self.names.prefix_lists.lock();
            let known = prefix_lists.get(service);
            known.is_none_or(|(id, read)| id.is_none() && read.elapsed() >= max_age)
        };
        let Some(_reading) = turn_to_read(&self.names.reading, is_due).await else {
            return Ok(());
        };
        let found = self.pages(PREFIX_LISTS, |_| prefix_lists(ec2, service)).await;
        let found = self.unless_failed(found)?;
        let known = (found.into_iter().flatten().next(), Instant::now());
        self.names.prefix_lists.lock().insert(service.to_owned(), known);
        Ok(())
    }

    /// What was found; none where the call failed, which the log says.
    fn unless_failed<T>(&self, found: Result<Vec<T>, RefreshError>) -> Result<Option<Vec<T>>, RefreshError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(RefreshError::Failed(error)) => {
                tracing::warn!(
                    account_id = self.key.account_id.as_str(),
                    region = self.key.region.as_str(),
                    %error,
                    "the status lacks what this action tells"
                );
                Ok(None)
            }
            Err(busy) => Err(busy),
        }
    }
}

/// EC2 DescribeVpcEndpointAssociations, one page.
async fn associations(
    ec2: &Ec2,
    ids: &[EndpointId],
    page: Option<String>,
) -> Result<(Vec<Association>, Option<String>), CallError> {
    let values = ids.iter().map(ToString::to_string).collect();
    let filter = Filter::builder().name("vpc-endpoint-id").set_values(Some(values));
    let request = ec2.client.describe_vpc_endpoint_associations();
    let request = request.filters(filter.build()).max_results(PAGE).set_next_token(page);
    let answer = observed(&ec2.observer, ec2.call(ASSOCIATIONS), request.send()).await?;
    let next = answer.next_token.filter(|token| !token.is_empty());
    let found = answer.vpc_endpoint_associations.unwrap_or_default().into_iter();
    let found = found.filter_map(|association| {
        let entries = [association.dns_entry, association.private_dns_entry];
        Some(Association {
            endpoint: association.vpc_endpoint_id?.into(),
            names: entries
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.dns_name)
                .collect(),
        })
    });
    Ok((found.collect(), next))
}

/// EC2 DescribePrefixLists by the name of a service; no page follows.
async fn prefix_lists(ec2: &Ec2, service: &str) -> Result<(Vec<String>, Option<String>), CallError> {
    let filter = Filter::builder().name("prefix-list-name").values(service).build();
    let request = ec2.client.describe_prefix_lists().filters(filter);
    let answer = observed(&ec2.observer, ec2.call(PREFIX_LISTS), request.send()).await?;
    let found = answer.prefix_lists.unwrap_or_default().into_iter();
    Ok((found.filter_map(|list| list.prefix_list_id).collect(), None))
}
