//! The DNS names that clients use for an endpoint (`dns_names`), and the DNSEndpoint that publishes
//! them for external-dns.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::allow_list::{advice, matches};
use crate::api::DnsName;
use crate::conditions::{Finding, Reason};
use crate::ids::EndpointId;
use crate::metadata::Metadata;

/// A DNS record: an alias (CNAME) of a name of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// The name that clients use.
    pub name: String,
    /// The endpoint's name that it leads to.
    pub target: String,
    /// How long it may be cached, in seconds; none: as external-dns decides.
    pub ttl: Option<i64>,
}

/// What a DNSEndpoint is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsEndpointContent {
    /// Its records.
    pub records: BTreeSet<Record>,
    /// Its labels and annotations, beside the operator's own: external-dns selects by them.
    pub metadata: Metadata,
}

/// A DNSEndpoint in the object's namespace that matters to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedDnsEndpoint {
    /// Its name.
    pub name: String,
    /// Whether our object is its controller.
    pub ours: bool,
    /// Whether it carries the managed-by label.
    pub labelled: bool,
    /// Its records; none where the operator would not write them so.
    pub records: Option<BTreeSet<Record>>,
    /// The labels and annotations that the operator set.
    pub metadata: Metadata,
    /// What the API server stores as this, also when it is corrected.
    pub written_as: Option<DnsEndpointContent>,
}

impl ObservedDnsEndpoint {
    /// What the API server stores where nothing changes it.
    pub fn published(name: &str, content: DnsEndpointContent) -> Self {
        Self {
            name: name.to_owned(),
            ours: true,
            labelled: true,
            records: Some(content.records),
            metadata: content.metadata,
            written_as: None,
        }
    }

    /// What differs from what it is to hold, in the words of its manifest.
    pub fn differences(&self, wanted: &DnsEndpointContent) -> Vec<&'static str> {
        [
            (self.records.as_ref() != Some(&wanted.records), "spec.endpoints"),
            (!self.labelled, "the label app.kubernetes.io/managed-by"),
            (!self.ours, "metadata.ownerReferences"),
            (
                self.metadata != wanted.metadata,
                "the labels and annotations of the operator's settings",
            ),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }
}

/// The names that an object asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredNames {
    /// Each once.
    pub names: Vec<DnsName>,
    /// Labels and annotations of the DNSEndpoint.
    pub metadata: Metadata,
}

/// What is known of the zonal names of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ZonalNames {
    /// Nothing: no name asks for them, or nothing was read yet.
    #[default]
    Unknown,
    /// By the id of the availability zone.
    Known(BTreeMap<String, String>),
    /// They could not be read, as this says.
    Unreadable(Finding),
}

/// What was found for the names of an object, beside its endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedNames {
    /// The object's own DNSEndpoints, and the one that has the name it wants.
    pub endpoints: Vec<ObservedDnsEndpoint>,
    /// Why no DNSEndpoint can be written, where that is so.
    pub unavailable: Option<Finding>,
    /// The names that other objects publish, and which.
    pub taken: BTreeMap<String, String>,
    /// The endpoint's zonal names.
    pub zonal: ZonalNames,
}

/// An object that has a name, or wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// When it was created, in seconds since 1970.
    pub created: Option<i64>,
    /// Whether it publishes the name.
    pub publishes: bool,
}

impl Claim<'_> {
    /// Whether it keeps the name against another: who publishes it does, and of two that do, the
    /// older.
    fn keeps_against(&self, other: &Self) -> bool {
        let age = |claim: &Self| (claim.created, claim.namespace.to_owned(), claim.name.to_owned());
        match (self.publishes, other.publishes) {
            (true, false) => true,
            (false, true | false) => false,
            (true, true) => age(self).cmp(&age(other)) == Ordering::Less,
        }
    }
}

/// By whom a name is taken that an object wants.
pub fn taken_by<'a>(own: &Claim<'_>, others: impl IntoIterator<Item = Claim<'a>>) -> Option<String> {
    let mut keepers = others.into_iter().filter(|other| other.keeps_against(own));
    keepers
        .next()
        .map(|other| format!("{}/{}", other.namespace, other.name))
}

/// Of an endpoint's DNS names those of single zones, by the zones' ids. `zones` has the names of
/// the zones in the endpoint's AWS account.
pub fn zonal(id: &EndpointId, dns_names: &[String], zones: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let of_zone = |zone: &str| {
        dns_names.iter().find(|name| {
            let label = name.split('.').next().unwrap_or_default();
            label.starts_with(id.as_str()) && label.strip_suffix(zone).is_some_and(|rest| rest.ends_with('-'))
        })
    };
    zones
        .iter()
        .filter_map(|(id, zone)| Some((id.clone(), of_zone(zone)?.clone())))
        .collect()
}

/// Checks whether an AWSAccount allows an object to publish these names.
///
/// # Errors
/// What the condition says of the first that it does not.
pub fn check(names: &[DnsName], account: &str, allowed: &[String], cluster_domain: &str) -> Result<(), Finding> {
    for DnsName { name, .. } in names {
        let is_of_cluster = name == cluster_domain || name.ends_with(&format!(".{cluster_domain}"));
        if is_of_cluster {
            return Err(Finding::bad(
                Reason::InvalidSpec,
                format!(
                    "dns_names: {name} is in the cluster's own domain {cluster_domain}, in which Services have their names"
                ),
            ));
        }
        if !is_allowed(name, allowed) {
            return Err(Finding::bad(
                Reason::NotAllowed,
                format!(
                    "dns_names: {name} is not allowed by the guardrails of AWSAccount {account} (allowed_dns_names): {}",
                    advice(allowed)
                ),
            ));
        }
    }
    Ok(())
}

/// Whether an AWSAccount allows a name.
pub(crate) fn is_allowed(name: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|pattern| allows(pattern, name))
}

/// A wildcard stands for any name, so only a wildcard allows it.
fn allows(pattern: &str, name: &str) -> bool {
    matches(pattern, name) && (pattern.starts_with('*') || !name.starts_with('*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> DnsName {
        DnsName {
            name: name.to_owned(),
            ..DnsName::default()
        }
    }

    #[test]
    fn a_name_is_allowed_by_its_whole_and_a_wildcard_by_a_wildcard_only() {
        for (pattern, asked, allowed) in [
            ("db.example.com", "db.example.com", true),
            ("db.example.com", "a.db.example.com", false),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "*.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("?.example.com", "*.example.com", false),
            ("?.example.com", "a.example.com", true),
            ("db-*.example.com", "*.example.com", false),
            ("*", "*.example.com", true),
        ] {
            let found = check(&[name(asked)], "one", &[pattern.to_owned()], "cluster.local");
            assert_eq!(found.is_ok(), allowed, "{pattern} {asked}");
        }
        let none = check(&[name("db.example.com")], "one", &[], "cluster.local");
        assert_eq!(none.expect_err("none is allowed").reason, Reason::NotAllowed);
    }

    #[test]
    fn names_of_the_cluster_are_never_published() {
        for asked in ["k8s.example.com", "db.blue.svc.k8s.example.com"] {
            let found = check(&[name(asked)], "one", &["*".to_owned()], "k8s.example.com");
            assert_eq!(found.expect_err(asked).reason, Reason::InvalidSpec);
        }
        let found = check(
            &[name("notk8s.example.com")],
            "one",
            &["*".to_owned()],
            "k8s.example.com",
        );
        assert_eq!(found, Ok(()));
    }

    #[test]
    fn of_two_that_want_a_name_exactly_one_has_it() {
        let claim = |name, created, publishes| Claim {
            namespace: "ns",
            name,
            created: Some(created),
            publishes,
        };
        for (one, two, keeper) in [
            (claim("a", 1, true), claim("b", 2, true), Some("ns/a")),
            (claim("a", 2, true), claim("b", 1, true), Some("ns/b")),
            (claim("a", 1, true), claim("b", 1, true), Some("ns/a")),
            (claim("a", 1, false), claim("b", 2, true), Some("ns/b")),
            (claim("a", 1, false), claim("b", 2, false), None),
        ] {
            let of_one = taken_by(&one, [two]);
            let of_two = taken_by(&two, [one]);
            let kept: Vec<&str> = [of_one.as_deref(), of_two.as_deref()].into_iter().flatten().collect();
            assert_eq!(kept, keeper.into_iter().collect::<Vec<_>>(), "{one:?} {two:?}");
        }
    }

    #[test]
    fn a_zonal_name_is_found_by_the_id_of_its_zone() {
        let names = [
            "vpce-0ab-x1y2.svc.us-west-2.vpce.amazonaws.com",
            "vpce-0ab-x1y2-us-west-2a.svc.us-west-2.vpce.amazonaws.com",
            "vpce-0ab-x1y2-us-west-2b.svc.us-west-2.vpce.amazonaws.com",
            "us-west-2a.example.com",
        ]
        .map(str::to_owned);
        let zones = [
            ("usw2-az2", "us-west-2a"),
            ("usw2-az1", "us-west-2b"),
            ("usw2-az3", "us-west-2c"),
        ];
        let zones = zones.map(|(id, name)| (id.to_owned(), name.to_owned())).into();
        let found = zonal(&"vpce-0ab".into(), &names, &zones);
        assert_eq!(found.len(), 2);
        assert_eq!((&found["usw2-az2"], &found["usw2-az1"]), (&names[1], &names[2]));
    }
}
