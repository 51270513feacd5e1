//! What the labels of metrics mean, which values they can have, and how many.

use vpce_core::api::EndpointType;
use vpce_core::conditions::Reason;
use vpce_core::error::Class;
use vpce_core::orphans::ResourceKind;

use super::metrics::{MOST_REGIONS, OTHER_REGION, Outcome};
use super::objects::NOT_RECONCILED;
use super::objects::endpoint_services::CONNECTION_STATES;

/// A label of a metric.
pub(super) struct Label {
    /// What it tells.
    pub(super) meaning: &'static str,
    pub(super) values: Values,
}

/// Which values a label can have.
pub(super) enum Values {
    /// These, whatever objects contain.
    Closed(Vec<String>),
    /// As many as there are of something.
    Each(String),
}

/// A label; `None` for one without a description.
#[expect(clippy::too_many_lines, reason = "a table: one entry for each label")]
pub(super) fn label(metric: &str, name: &str) -> Option<Label> {
    let (meaning, values) = match (metric, name) {
        (_, "account") => (
            "the AWSAccount's name; empty for what belongs to no AWSAccount",
            each("one for each AWSAccount, and the empty one: names of AWSAccounts that do not exist do not count"),
        ),
        (_, "account_id") => (
            "the AWS account's id",
            each("one for each AWS account that an AWSAccount leads to"),
        ),
        ("vpce_aws_requests_total" | "vpce_aws_request_errors_total", "region") => (
            "the region that was called",
            each(&format!(
                "those that endpoints name: at most {MOST_REGIONS} for one AWS account, and `{OTHER_REGION}` for the rest"
            )),
        ),
        ("vpce_endpoint_info", "region") => (
            "the region that the endpoint is bound to, or else the one that it names",
            each("one for each VPCEndpoint"),
        ),
        ("vpce_endpoint_service_info", "region") => (
            "the region that the endpoint service is bound to, or else the one that it names",
            each("one for each VPCEndpointService"),
        ),
        ("vpce_endpoint_services" | "vpce_endpoint_services_not_ready", "region") => (
            "the region that the endpoint services are bound to; empty before",
            each("those that VPCEndpointServices are bound to, while there are any"),
        ),
        ("vpce_endpoints" | "vpce_endpoints_not_ready", "region") => (
            "the region that the endpoints are bound to; empty before",
            each("those that VPCEndpoints are bound to, while there are any"),
        ),
        (_, "region") => ("the region", each("the regions of AWS that could be read")),
        (metric, "namespace") if is_of_service(metric) => (
            "the VPCEndpointService's namespace",
            each("one for each namespace with a VPCEndpointService"),
        ),
        (metric, "name") if is_of_service(metric) => {
            ("the VPCEndpointService's name", each("one for each VPCEndpointService"))
        }
        (_, "namespace") => (
            "the VPCEndpoint's namespace",
            each("one for each namespace with a VPCEndpoint"),
        ),
        (_, "name") => ("the VPCEndpoint's name", each("one for each VPCEndpoint")),
        (_, "vpc_endpoint_id") => (
            "the endpoint's id in AWS; empty before it has one",
            each("one for each VPCEndpoint"),
        ),
        (_, "service_id") => (
            "the endpoint service's id in AWS; empty before it has one",
            each("one for each VPCEndpointService"),
        ),
        (_, "type") => (
            "the endpoint type",
            closed(&EndpointType::ALL.map(EndpointType::as_str)),
        ),
        ("vpce_endpoint_service_connections", "state") => (
            "the state of the connections, as `status.connections` counts them",
            closed(&CONNECTION_STATES),
        ),
        ("vpce_endpoint_services", "state") => (
            "the state of the endpoint service in AWS, or `none` where nothing is created yet",
            each("those that EC2 has: five are documented"),
        ),
        (_, "state") => (
            "the state of the endpoint in AWS, or `none` where nothing is created yet",
            each("those that EC2 has: nine are documented"),
        ),
        ("vpce_account_status_condition", "condition") => (
            "the condition's type",
            closed(&["CreationPaused", "PermissionsVerified", "Ready", "Stalled"]),
        ),
        (metric, "condition") if is_of_service(metric) => (
            "the condition's type",
            closed(&["LoadBalancerReady", "Ready", "ServiceAvailable", "Stalled"]),
        ),
        (_, "condition") => (
            "the condition's type",
            closed(&["EndpointAvailable", "Ready", "Stalled"]),
        ),
        (_, "status") => ("the condition's status", closed(&["True", "False", "Unknown"])),
        ("vpce_account_status_condition", "reason") => (
            "the condition's reason",
            each("one for each condition, of some dozen that are fixed in the code"),
        ),
        (_, "reason") => (
            "the condition's reason",
            each(&format!(
                "one for each condition, of {} that are fixed in the code and `{NOT_RECONCILED}`, before the first reconcile",
                Reason::ALL.len()
            )),
        ),
        (_, "service") => ("the AWS service", closed(&["ec2", "elasticloadbalancing", "sts"])),
        ("vpce_planned_changes", "action") => (
            "the planned EC2 action, or what is planned for Services, EndpointSlices, DNSEndpoints and ConfigMaps, such as `PublishService` or `DeleteService`",
            each("those that change something, which are fixed in the code"),
        ),
        (_, "action") => (
            "the action as AWS spells it",
            each("those that the operator calls, which are fixed in the code and are those of its IAM policies"),
        ),

        (_, "class") => ("the class of the error", closed(&Class::ALL.map(Class::as_str))),
        (_, "result") => (
            "how it ended; what a condition reports, such as a refusal of AWS, is `ok`",
            closed(&Outcome::ALL.map(Outcome::as_str)),
        ),
        (_, "controller") => (
            "the kind of object that is reconciled",
            Values::Closed(kinds().iter().map(|kind| kind.to_lowercase()).collect()),
        ),
        (_, "verb") => (
            "the verb as RBAC has it",
            closed(&["create", "delete", "get", "list", "other", "patch", "update", "watch"]),
        ),
        (_, "resource") => (
            "the plural of the kind, with `/status` for that; empty where it is none",
            each("those that the operator asks for, which its ClusterRole lists"),
        ),
        (_, "code") => (
            "the HTTP status, or `error` where there was no response",
            each("those that the API server gives"),
        ),
        ("vpce_orphans", "kind") => (
            "what it is in AWS",
            closed(&ResourceKind::ALL.map(ResourceKind::as_str)),
        ),
        ("vpce_unparseable_objects", "kind") => ("the kind of object", Values::Closed(kinds())),
        ("vpce_watch_errors_total", "kind") => (
            "the kind that is watched",
            each("those that the operator watches, which its ClusterRole lists"),
        ),
        (_, "retained") => (
            "whether it was retained on purpose, by `deletion_policy: Retain`",
            closed(&["true", "false"]),
        ),
        (_, "version") => ("the operator's version", each("one")),
        (_, "revision") => ("the revision of the sources", each("one")),
        _ => return None,
    };
    Some(Label { meaning, values })
}

/// Whether a metric is of single VPCEndpointServices.
fn is_of_service(metric: &str) -> bool {
    metric.starts_with("vpce_endpoint_service_")
}

/// The kinds that are reconciled.
fn kinds() -> Vec<String> {
    let mut kinds: Vec<String> = vpce_core::api::crds().map(|crd| crd.spec.names.kind).into();
    kinds.sort();
    kinds
}

fn each(of: &str) -> Values {
    Values::Each(of.to_owned())
}

fn closed(values: &[&'static str]) -> Values {
    Values::Closed(values.iter().map(|value| (*value).to_owned()).collect())
}

impl Values {
    /// How many, and which.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Each(of) => of.clone(),
            Self::Closed(values) => {
                let quoted: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
                format!("{}: {}", values.len(), quoted.join(", "))
            }
        }
    }
}
