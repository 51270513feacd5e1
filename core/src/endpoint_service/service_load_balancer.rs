//! From a Service of type LoadBalancer to its Network Load Balancer, with the proof that it is the
//! Service's own.
//!
//! The status of a Service says which host name its load balancer has, and proves nothing: with the
//! right to write `services/status` in a namespace, any host name can be put there. So a load
//! balancer is offered only where the tags of the controller that created it name this Service.
//! Messages tell nothing of a load balancer that is another's but that it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::Service;

use crate::conditions::{Finding, Reason};
use crate::resolve::Binding;

/// The tags by which a controller says which Service a load balancer is for, as
/// `<namespace>/<name>`: those of the AWS Load Balancer Controller, of EKS Auto Mode and of the
/// in-tree provider.
const SERVICE_TAGS: [&str; 3] = [
    "service.k8s.aws/stack",
    "service.eks.amazonaws.com/stack",
    "kubernetes.io/service-name",
];
/// The tags whose value is the name of the cluster: of the AWS Load Balancer Controller and of EKS
/// Auto Mode.
const CLUSTER_TAGS: [&str; 2] = ["elbv2.k8s.aws/cluster", "eks:eks-cluster-name"];
/// The tag of the in-tree provider has the name of the cluster in its key.
const CLUSTER_TAG_PREFIX: &str = "kubernetes.io/cluster/";

/// The longest name of a load balancer.
const LONGEST_NAME: usize = 32;
/// So many host names of a Service are read at most; the controllers write one.
const MOST_HOST_NAMES: usize = 4;

/// Whether a tag can prove whose a load balancer is. No other tags are kept.
pub fn is_proof(key: &str) -> bool {
    SERVICE_TAGS.contains(&key) || CLUSTER_TAGS.contains(&key) || key.starts_with(CLUSTER_TAG_PREFIX)
}

/// The state of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadBalancerState {
    /// Being created.
    Provisioning,
    /// Routes traffic.
    Active,
    /// Routes traffic, and lacks what it needs to scale.
    ActiveImpaired,
    /// AWS could not create it.
    Failed,
    /// A state that the reference did not list when this was written.
    Other(String),
}

impl LoadBalancerState {
    /// Reads what Elastic Load Balancing says.
    pub fn parse(text: &str) -> Self {
        match text {
            "provisioning" => Self::Provisioning,
            "active" => Self::Active,
            "active_impaired" => Self::ActiveImpaired,
            "failed" => Self::Failed,
            _ => Self::Other(text.to_owned()),
        }
    }
}

impl fmt::Display for LoadBalancerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::ActiveImpaired => "active_impaired",
            Self::Failed => "failed",
            Self::Other(text) => text,
        })
    }
}

/// A load balancer as Elastic Load Balancing describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLoadBalancer {
    /// Its ARN.
    pub arn: String,
    /// Its name, which is unique in an account and region.
    pub name: String,
    /// Its DNS name; empty where it has none.
    pub dns_name: String,
    /// Its type as the API spells it, such as `network`.
    pub type_: String,
    /// Its state.
    pub state: LoadBalancerState,
    /// Those of its tags that [can prove](is_proof) whose it is; none of other types than
    /// [`NETWORK`].
    pub tags: BTreeMap<String, String>,
}

/// The type of Network Load Balancers.
pub const NETWORK: &str = "network";

/// What a Service says of its load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancerService {
    /// `spec.type`.
    pub type_: String,
    /// The host names of `status.loadBalancer.ingress`.
    pub host_names: Vec<String>,
}

impl From<&Service> for LoadBalancerService {
    fn from(service: &Service) -> Self {
        let type_ = service.spec.as_ref().and_then(|spec| spec.type_.clone());
        let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|status| status.ingress.as_ref());
        let host_names = ingress.into_iter().flatten().filter_map(|one| one.hostname.clone());
        Self {
            type_: type_.unwrap_or_else(|| "ClusterIP".to_owned()),
            host_names: host_names
                .filter(|name| !name.is_empty())
                .take(MOST_HOST_NAMES + 1)
                .collect(),
        }
    }
}

/// What the host name of a load balancer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostName {
    dns_name: String,
    /// The name of the load balancer.
    name: String,
    region: String,
    /// Whether it has the form that those of Network Load Balancers have.
    is_network: bool,
}

impl HostName {
    /// `<name>-<id>.elb.<region>.<domain>` of a Network Load Balancer, and
    /// `<name>-<id>.<region>.elb.<domain>` of others, where internal ones have `internal-` before
    /// the name: no name may begin so. None of what is no such name.
    fn parse(text: &str) -> Option<Self> {
        let dns_name = text.strip_suffix('.').unwrap_or(text);
        let labels: Vec<&str> = dns_name.split('.').collect();
        let (first, region, is_network) = match labels.as_slice() {
            [first, "elb", region, _, ..] => (first, region, true),
            [first, region, "elb", _, ..] => (first, region, false),
            _ => return None,
        };
        let (name, _) = first.rsplit_once('-')?;
        let name = name.strip_prefix("internal-").unwrap_or(name);
        let is_name = (1..=LONGEST_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        is_name.then(|| Self {
            dns_name: dns_name.to_owned(),
            name: name.to_owned(),
            region: (*region).to_owned(),
            is_network,
        })
    }
}

/// The load balancers that the status of a Service names, before any was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLoadBalancers<'a> {
    binding: &'a Binding,
    /// `<namespace>/<name>`, as the tags have it.
    service: String,
    host_names: Vec<HostName>,
}

impl<'a> ServiceLoadBalancers<'a> {
    /// Those of the Service of this namespace and name, for an object that is bound.
    ///
    /// # Errors
    /// What the Service lacks, and what to do.
    pub fn of(
        namespace: &str,
        name: &str,
        service: Option<&LoadBalancerService>,
        binding: &'a Binding,
    ) -> Result<Self, Finding> {
        let key = format!("{namespace}/{name}");
        let Some(service) = service else {
            return Err(not_found(format!(
                "there is no Service {key}: create it with spec.type LoadBalancer, or correct spec.load_balancer.service"
            )));
        };
        if service.type_ != "LoadBalancer" {
            return Err(not_found(format!(
                "the Service {key} is of type {}: set its spec.type to LoadBalancer, or name another Service in \
                 spec.load_balancer.service",
                service.type_
            )));
        }
        if service.host_names.is_empty() {
            return Err(not_ready(format!(
                "the status of the Service {key} has no host name yet: the AWS Load Balancer Controller, EKS Auto Mode \
                 or the cloud provider has to create its load balancer; if that lasts, see the events of the Service"
            )));
        }
        if service.host_names.len() > MOST_HOST_NAMES {
            return Err(refused(format!(
                "the status of the Service {key} has more than {MOST_HOST_NAMES} host names, which no controller of AWS \
                 load balancers writes: correct it"
            )));
        }
        let host_names = service.host_names.iter().map(|text| {
            let host_name = HostName::parse(text).ok_or_else(|| {
                refused(format!(
                    "{text:?} in the status of the Service {key} is not the DNS name of an AWS load balancer: only a \
                     Network Load Balancer that the AWS Load Balancer Controller, EKS Auto Mode or the cloud provider \
                     created for the Service can be offered"
                ))
            })?;
            if host_name.region != binding.region.as_str() {
                return Err(refused(format!(
                    "the load balancer of the Service {key} is in region {}, and this object is bound to region {}: a \
                     service offers load balancers of its own account and region; apply an object whose spec.region is \
                     that of the load balancer",
                    host_name.region, binding.region
                )));
            }
            Ok(host_name)
        });
        Ok(Self {
            binding,
            host_names: host_names.collect::<Result<_, _>>()?,
            service: key,
        })
    }

    /// The names of the load balancers, which have to be read.
    pub fn names(&self) -> BTreeSet<String> {
        self.host_names.iter().map(|host_name| host_name.name.clone()).collect()
    }

    /// The ARNs of the load balancers, where each is active and proven to be the Service's. `read`
    /// is what Elastic Load Balancing has of these names. `cluster` is the name of the cluster by
    /// which the controller tags load balancers, if it is set: without it, a Service of the same
    /// namespace and name in another cluster passes for this one.
    ///
    /// # Errors
    /// Why one of them cannot be offered, and what to do.
    pub fn prove(&self, read: &[ObservedLoadBalancer], cluster: Option<&str>) -> Result<BTreeSet<String>, Finding> {
        let arns = self.host_names.iter().map(|host_name| {
            let load_balancer = self.find(host_name, read)?;
            self.check_type(load_balancer)?;
            self.check_owner(load_balancer, cluster)?;
            self.check_state(load_balancer)?;
            Ok(load_balancer.arn.clone())
        });
        arns.collect()
    }

    /// The load balancer that has this DNS name.
    fn find<'r>(
        &self,
        host_name: &HostName,
        read: &'r [ObservedLoadBalancer],
    ) -> Result<&'r ObservedLoadBalancer, Finding> {
        let HostName { dns_name, name, .. } = host_name;
        let (service, account, region) = (&self.service, &self.binding.account_id, &self.binding.region);
        let found = read.iter().find(|one| one.name.eq_ignore_ascii_case(name));
        match found {
            Some(found) if found.dns_name.eq_ignore_ascii_case(dns_name) => Ok(found),
            None if !host_name.is_network => Err(self.not_network("a Classic or Application Load Balancer")),
            Some(_) | None => Err(not_found(format!(
                "account {account} has no load balancer {dns_name} in region {region}, which the status of the Service \
                 {service} names: it is in another account, so that spec.account has to name the AWSAccount of that; \
                 or it is gone, and its controller has to correct the status of the Service"
            ))),
        }
    }

    fn check_type(&self, load_balancer: &ObservedLoadBalancer) -> Result<(), Finding> {
        match load_balancer.type_.as_str() {
            NETWORK => Ok(()),
            "application" => Err(self.not_network("an Application Load Balancer")),
            "gateway" => Err(self.not_network("a Gateway Load Balancer")),
            other => Err(self.not_network(&format!("a load balancer of type {other}"))),
        }
    }

    fn not_network(&self, what: &str) -> Finding {
        refused(format!(
            "the Service {} has {what}, and only a Network Load Balancer can be offered: create the Service again with \
             spec.loadBalancerClass service.k8s.aws/nlb (AWS Load Balancer Controller) or eks.amazonaws.com/nlb (EKS Auto \
             Mode), or with the annotation service.beta.kubernetes.io/aws-load-balancer-type: nlb (cloud provider)",
            self.service
        ))
    }

    /// Whether the tags name this Service, and this cluster where its name is set.
    fn check_owner(&self, load_balancer: &ObservedLoadBalancer, cluster: Option<&str>) -> Result<(), Finding> {
        let (service, tags) = (&self.service, &load_balancer.tags);
        let name = &load_balancer.name;
        let services: Vec<_> = SERVICE_TAGS.iter().filter_map(|key| tags.get_key_value(*key)).collect();
        if let Some((key, _)) = services.iter().find(|(_, value)| *value != service) {
            return Err(refused(format!(
                "the tag {key} of the load balancer {name}, which the status of the Service {service} names, is that of \
                 another Service: only its own load balancer can be offered; find out what has written the status"
            )));
        }
        if services.is_empty() {
            return Err(refused(format!(
                "the load balancer {name}, which the status of the Service {service} names, has none of the tags {}, by \
                 which a controller says that it created it for this Service: restore the tag, or name the load balancer \
                 in spec.load_balancer.network_load_balancer_arns instead",
                SERVICE_TAGS.join(", ")
            )));
        }
        let Some(cluster) = cluster else {
            return Ok(());
        };
        let mut clusters = CLUSTER_TAGS.iter().filter_map(|key| tags.get(*key)).peekable();
        let is_own = match clusters.peek() {
            Some(_) => clusters.all(|value| value == cluster),
            None => tags.contains_key(&format!("{CLUSTER_TAG_PREFIX}{cluster}")),
        };
        if is_own {
            return Ok(());
        }
        Err(refused(format!(
            "the load balancer {name}, which the status of the Service {service} names, is not tagged with the name of \
             this cluster, {cluster} (tag {}, {} or {CLUSTER_TAG_PREFIX}{cluster}): it is for a Service of another \
             cluster, or the operator is set to another name than the controller",
            CLUSTER_TAGS[0], CLUSTER_TAGS[1]
        )))
    }

    fn check_state(&self, load_balancer: &ObservedLoadBalancer) -> Result<(), Finding> {
        let ObservedLoadBalancer { name, state, .. } = load_balancer;
        let service = &self.service;
        match state {
            LoadBalancerState::Active | LoadBalancerState::ActiveImpaired => Ok(()),
            LoadBalancerState::Provisioning | LoadBalancerState::Other(_) => Err(not_ready(format!(
                "the load balancer {name} of the Service {service} is {state}: AWS takes some minutes to create it"
            ))),
            LoadBalancerState::Failed => Err(refused(format!(
                "AWS could not create the load balancer {name} of the Service {service}: see the events of the Service, \
                 and create it again"
            ))),
        }
    }
}

fn not_found(message: String) -> Finding {
    Finding::bad(Reason::LoadBalancerNotFound, message)
}

fn not_ready(message: String) -> Finding {
    Finding::bad(Reason::LoadBalancerNotReady, message)
}

fn refused(message: String) -> Finding {
    Finding::bad(Reason::LoadBalancerRefused, message)
}

#[cfg(test)]
mod tests;
