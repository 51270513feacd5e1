//! What the object says of itself: findings become conditions.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use vpce_core::api::{AccountBinding, ENDPOINT_SERVICE_FINALIZER, VPCEndpointServiceStatus};
use vpce_core::conditions::ConditionType;
use vpce_core::observed::State;

use super::context::Own;
use super::findings::Findings;
use crate::bound::conditions::Part;
use crate::bound::findings::{Parts as _, Standing};
use crate::bound::{self, Bound};
use crate::k8s::caches::{Caches, EndpointService};

/// Puts the findings into the conditions; says whether Ready says something else than before:
/// another reason, or of what a person should know other words.
pub(super) fn set_conditions(
    status: &mut VPCEndpointServiceStatus,
    findings: &Findings,
    standing: Standing,
    generation: Option<i64>,
) -> bool {
    let parts = [
        (ConditionType::AccountResolved, findings.account.clone().into()),
        (ConditionType::LoadBalancerReady, findings.load_balancers.clone().into()),
        (ConditionType::ServiceAvailable, findings.service.clone().into()),
        (
            ConditionType::PrivateDNSVerified,
            Part::optional(findings.private_dns.clone()),
        ),
    ];
    let summary = findings.summary(standing);
    let (all, is_news) = bound::conditions::of_parts(&status.conditions, &summary, &parts, generation);
    status.conditions = all;
    status.observed_generation = generation;
    is_news
}

/// Whether the endpoint service was available when it was last seen.
pub(super) fn was_serving(status: &VPCEndpointServiceStatus) -> bool {
    let state = status.state.as_deref().map(State::parse);
    status.service_id.is_some() && state == Some(State::Available)
}

impl Bound for EndpointService {
    type Status = VPCEndpointServiceStatus;
    type Own = Own;

    const FINALIZER: &'static str = ENDPOINT_SERVICE_FINALIZER;

    fn status(&self) -> &VPCEndpointServiceStatus {
        &self.status
    }

    fn cached(caches: &Caches, namespace: &str, name: &str) -> Option<Arc<Self>> {
        caches.endpoint_service(namespace, name)
    }

    fn account(status: &VPCEndpointServiceStatus) -> Option<&AccountBinding> {
        status.account.as_ref()
    }

    fn conditions(status: &VPCEndpointServiceStatus) -> &[Condition] {
        &status.conditions
    }

    fn differing(wanted: &VPCEndpointServiceStatus, stored: &VPCEndpointServiceStatus) -> Vec<&'static str> {
        let type_ = wanted.load_balancer_type != stored.load_balancer_type;
        let arns = wanted.load_balancer_arns != stored.load_balancer_arns;
        let accounts = wanted.consumer_account_ids != stored.consumer_account_ids;
        bound::names_of([
            ("account", wanted.account != stored.account),
            ("region", wanted.region != stored.region),
            ("incarnation", wanted.incarnation != stored.incarnation),
            ("load_balancer_type", type_),
            ("load_balancer_arns", arns),
            ("consumer_account_ids", accounts),
        ])
    }
}
