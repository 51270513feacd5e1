//! Sharing: an object with `vpc_endpoint_ref` publishes the endpoint of another object, where that
//! one allows it.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{EndpointType, OnDelete, ServiceType, VPCEndpointSpec, VPCEndpointStatus};
use crate::conditions::{Finding, READY, Reason};
use crate::desired::{DesiredService, desired_service};
use crate::observed::State;
use crate::tags::Owner;
use crate::tenancy;

/// A message names so many of those that share an endpoint.
const LISTED: usize = 8;

/// An object that refers to another.
#[derive(Debug, Clone, Copy)]
pub struct Referrer<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The labels of its namespace, where the operator knows that.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The endpoint that it shares, by its status.
    pub endpoint: Option<&'a str>,
}

/// The object that is referred to.
#[derive(Debug, Clone, Copy)]
pub struct Referent<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its spec, where that parses.
    pub spec: Option<&'a VPCEndpointSpec>,
    /// Its status.
    pub status: &'a VPCEndpointStatus,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// What becomes of what an object publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It follows the endpoint.
    Follows,
    /// It stays as it is.
    Stays,
    /// It goes.
    Goes,
}

/// How an object that refers to another stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// How the endpoint stands for it.
    pub finding: Finding,
    /// What becomes of its Service.
    pub publication: Publication,
}

impl Reference {
    fn bad(reason: Reason, message: impl Into<String>, publication: Publication) -> Self {
        Self {
            finding: Finding::bad(reason, message),
            publication,
        }
    }
}

impl Referent<'_> {
    /// Whether an object of this namespace may refer to it.
    pub fn allows(&self, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let share = self.spec.and_then(|spec| spec.share.as_ref());
        self.namespace == namespace || share.is_some_and(|share| tenancy::shares(share, namespace, labels))
    }

    /// Whether an object has its endpoint, and did not only ask for it.
    fn is_shared_by(&self, referrer: &Referrer<'_>) -> bool {
        self.status.vpc_endpoint_id.is_some() && self.status.vpc_endpoint_id.as_deref() == referrer.endpoint
    }
}

/// How an object stands that refers to another by this namespace and name. `referent`: what there
/// is of that name.
pub fn resolve(referrer: &Referrer<'_>, (namespace, name): (&str, &str), referent: Option<&Referent<'_>>) -> Reference {
    if (namespace, name) == (referrer.namespace, referrer.name) {
        return Reference::bad(
            Reason::InvalidSpec,
            "vpc_endpoint_ref names the object itself: name the VPCEndpoint whose endpoint is shared",
            Publication::Goes,
        );
    }
    let Some(referent) = referent.filter(|referent| referent.allows(referrer.namespace, referrer.labels)) else {
        let serves = referent.is_some_and(|referent| referent.is_shared_by(referrer));
        return Reference::bad(
            Reason::NotShared,
            not_shared(referrer.namespace, namespace, name),
            if serves { Publication::Stays } else { Publication::Goes },
        );
    };
    let spec = referent.spec;
    if let Some(next) = spec.and_then(|spec| spec.vpc_endpoint_ref.as_ref()) {
        let next_namespace = next.namespace.as_deref().unwrap_or(namespace);
        return Reference::bad(
            Reason::InvalidSpec,
            format!(
                "VPCEndpoint {namespace}/{name} has no endpoint of its own, but shares that of {next_namespace}/{}: \
                 refer to that one",
                next.name
            ),
            Publication::Goes,
        );
    }
    let is_shared = referent.is_shared_by(referrer);
    if referent.deleting && !is_shared {
        return Reference::bad(
            Reason::SharedEndpointDeleting,
            format!("VPCEndpoint {namespace}/{name} is being deleted: refer to another"),
            Publication::Goes,
        );
    }
    let state = referent.status.state.as_deref().map(State::parse);
    let is_available = referent.status.vpc_endpoint_id.is_some() && state == Some(State::Available);
    let finding = match &referent.status.vpc_endpoint_id {
        Some(id) if is_available && referent.deleting => Finding::good(
            Reason::SharedEndpointDeleting,
            format!(
                "endpoint {id} of VPCEndpoint {namespace}/{name} still serves, but is to be deleted, which waits for \
                 this object: refer to another, or delete this object"
            ),
        ),
        Some(id) if is_available => Finding::good(
            Reason::Available,
            format!("shares endpoint {id} of VPCEndpoint {namespace}/{name}"),
        ),
        _ => Finding::bad(
            Reason::SharedEndpointNotReady,
            format!(
                "waits for the endpoint of VPCEndpoint {namespace}/{name}{}",
                why_not_ready(referent.status)
            ),
        ),
    };
    Reference {
        finding,
        publication: Publication::Follows,
    }
}

/// Whether it exists is nobody's business who may not refer to it.
fn not_shared(from: &str, namespace: &str, name: &str) -> String {
    if from == namespace {
        return format!("there is no VPCEndpoint {name} in this namespace: correct vpc_endpoint_ref");
    }
    format!(
        "VPCEndpoint {namespace}/{name} does not exist, or does not share its endpoint with the namespace {from}: correct \
         vpc_endpoint_ref, or ask who owns {namespace} to add the namespace to spec.share"
    )
}

/// The reason of its condition, without the message, which is for its owner.
fn why_not_ready(status: &VPCEndpointStatus) -> String {
    let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
    let reason = ready.map(|ready| ready.reason.as_str());
    let reason = reason.filter(|reason| *reason != Reason::Available.as_str());
    reason.map_or_else(String::new, |reason| format!(", whose condition Ready says {reason}"))
}

/// The Service that an object asks for that shares an endpoint of this type.
///
/// # Errors
/// What the condition says where endpoints of the type have no such Service, or the spec gives what
/// only an endpoint of its own could have.
pub fn service(type_: EndpointType, spec: &VPCEndpointSpec, owner: &Owner) -> Result<Option<DesiredService>, Finding> {
    if spec.policy_document.is_some() {
        // No rule of the schema sees it.
        return Err(Finding::bad(
            Reason::InvalidSpec,
            "policy_document: an object with vpc_endpoint_ref shares the endpoint of another, which has its own policy",
        ));
    }
    let service = spec.service.as_ref();
    let desired = desired_service(type_, service, owner);
    let asked = service.map(|service| service.type_);
    match asked {
        Some(asked @ (ServiceType::ExternalName | ServiceType::Headless)) if desired.is_none() => Err(Finding::bad(
            Reason::InvalidSpec,
            format!("service.type {asked:?}: endpoints of type {type_} have no such Service: leave out service"),
        )),
        _ => Ok(desired),
    }
}

/// Why an object is not deleted yet: others share its endpoint, which it has to wait for. Of what
/// refers to it, only what it allows counts, and has the endpoint.
///
/// # Errors
/// What the condition says.
pub fn check_deletion<'a>(
    referent: &Referent<'_>,
    referrers: impl IntoIterator<Item = Referrer<'a>>,
) -> Result<(), Finding> {
    let share = referent.spec.and_then(|spec| spec.share.as_ref());
    if share.is_some_and(|share| share.on_delete == OnDelete::Delete) {
        return Ok(());
    }
    let waits_for = referrers.into_iter().filter(|referrer| {
        // Whom a spec allows that does not parse, nobody knows.
        let is_allowed = referent.spec.is_none() || referent.allows(referrer.namespace, referrer.labels);
        is_allowed && referent.is_shared_by(referrer)
    });
    let names: BTreeSet<String> = waits_for
        .map(|referrer| format!("{}/{}", referrer.namespace, referrer.name))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut listed: Vec<String> = names.iter().take(LISTED).cloned().collect();
    if names.len() > LISTED {
        listed.push(format!("{} more", names.len() - LISTED));
    }
    Err(Finding::bad(
        Reason::InUse,
        format!(
            "the endpoint is shared by {}, and stays until these objects are deleted or refer to another; to delete it \
             all the same, set spec.share.on_delete to Delete",
            listed.join(", ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const OTHER: (&str, &str) = ("net", "db");

    fn spec(value: Value) -> VPCEndpointSpec {
        serde_json::from_value(value).expect("a spec")
    }

    fn status(id: Option<&str>, state: &str) -> VPCEndpointStatus {
        VPCEndpointStatus {
            vpc_endpoint_id: id.map(str::to_owned),
            state: Some(state.to_owned()),
            ..VPCEndpointStatus::default()
        }
    }

    fn referrer<'a>(
        namespace: &'a str,
        labels: &'a BTreeMap<String, String>,
        endpoint: Option<&'a str>,
    ) -> Referrer<'a> {
        Referrer {
            namespace,
            name: "mine",
            labels: Some(labels),
            endpoint,
        }
    }

    #[test]
    fn who_is_let_in_and_what_becomes_of_what_is_published() {
        let none = BTreeMap::new();
        let blue = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let by_name = json!({"share": {"namespaces": ["app"]}});
        let by_label = json!({"share": {"namespace_selector": {"matchLabels": {"team": "blue"}}}});
        let empty = json!({"share": {"namespace_selector": {}}});
        let (there, gone) = (Some("vpce-1"), Some("vpce-0"));
        let (good, bad) = (true, false);
        let cases = [
            // spec of the other, namespace and labels, endpoint by status; what follows
            (
                &by_name,
                "app",
                &none,
                None,
                Reason::Available,
                good,
                Publication::Follows,
            ),
            (
                &by_label,
                "app",
                &blue,
                None,
                Reason::Available,
                good,
                Publication::Follows,
            ),
            (
                &json!({}),
                "net",
                &none,
                None,
                Reason::Available,
                good,
                Publication::Follows,
            ),
            (&by_label, "app", &none, None, Reason::NotShared, bad, Publication::Goes),
            (&empty, "app", &none, None, Reason::NotShared, bad, Publication::Goes),
            (
                &json!({}),
                "app",
                &none,
                there,
                Reason::NotShared,
                bad,
                Publication::Stays,
            ),
            (
                &json!({}),
                "app",
                &none,
                gone,
                Reason::NotShared,
                bad,
                Publication::Goes,
            ),
        ];
        let status = status(Some("vpce-1"), "available");
        for (other, namespace, labels, endpoint, reason, ok, publication) in cases {
            let spec = spec(other.clone());
            let referent = Referent {
                namespace: OTHER.0,
                name: OTHER.1,
                spec: Some(&spec),
                status: &status,
                deleting: false,
            };
            let found = resolve(&referrer(namespace, labels, endpoint), OTHER, Some(&referent));
            let said = (found.finding.reason, found.finding.ok, found.publication);
            assert_eq!(said, (reason, ok, publication), "{other} {namespace} {endpoint:?}");
        }
    }

    #[test]
    fn whether_there_is_an_object_is_not_told_to_who_may_not_share_it() {
        let none = BTreeMap::new();
        let asks = referrer("app", &none, None);
        let (private, status) = (spec(json!({})), status(Some("vpce-1"), "available"));
        let referent = Referent {
            namespace: OTHER.0,
            name: OTHER.1,
            spec: Some(&private),
            status: &status,
            deleting: false,
        };
        assert_eq!(resolve(&asks, OTHER, None), resolve(&asks, OTHER, Some(&referent)));
    }

    #[test]
    fn a_deletion_waits_for_those_that_have_the_endpoint_and_may() {
        let none = BTreeMap::new();
        let status = status(Some("vpce-1"), "available");
        let waits = |share: Value, referrers: &[Referrer<'_>]| {
            let spec = spec(json!({"share": share}));
            let referent = Referent {
                namespace: OTHER.0,
                name: OTHER.1,
                spec: Some(&spec),
                status: &status,
                deleting: true,
            };
            check_deletion(&referent, referrers.iter().copied()).is_err()
        };
        let shares = referrer("app", &none, Some("vpce-1"));
        assert!(waits(json!({"namespaces": ["app"]}), &[shares]));
        assert!(
            waits(json!({}), &[referrer("net", &none, Some("vpce-1"))]),
            "its own namespace"
        );
        assert!(!waits(json!({"namespaces": ["app"], "on_delete": "Delete"}), &[shares]));
        assert!(!waits(json!({"namespaces": ["another"]}), &[shares]), "it may not");
        for endpoint in [None, Some("vpce-0")] {
            let asks = referrer("app", &none, endpoint);
            assert!(!waits(json!({"namespaces": ["app"]}), &[asks]), "it only asks");
        }
    }
}
