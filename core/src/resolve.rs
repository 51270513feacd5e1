//! Which account an object may use, in which region, and whether we may write there.

use std::collections::BTreeMap;

use crate::api::{AWSAccountSpec, AccountBinding};
use crate::conditions::{Finding, Reason};
use crate::ids::{AccountId, Region, RoleArn};
use crate::network::{self, Place};
use crate::tenancy;

/// An AWSAccount, as resolving sees it.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its spec, or why that does not parse.
    pub spec: Result<&'a AWSAccountSpec, &'a str>,
}

/// What an object was bound to before anything was made for it; once there is an endpoint, it never
/// moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The AWSAccount's name.
    pub account: String,
    /// The AWS account.
    pub account_id: AccountId,
    /// The region.
    pub region: Region,
}

impl Binding {
    /// What a status says that its object is bound to, if it says so.
    pub fn of_status(account: Option<&AccountBinding>, region: Option<&str>) -> Option<Self> {
        let account = account?;
        Some(Self {
            account: account.name.clone(),
            account_id: account.account_id.parse().ok()?,
            region: region?.into(),
        })
    }

    /// The account, as a status says it.
    pub fn to_status(&self) -> AccountBinding {
        AccountBinding {
            name: self.account.clone(),
            account_id: self.account_id.to_string(),
        }
    }
}

/// The object that asks for an account.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The labels of its namespace; `None` while the operator does not know the Namespace, which
    /// then maps to nothing.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// What it is bound to, if it is.
    pub binding: Option<&'a Binding>,
    /// `spec.account`.
    pub account: Option<&'a str>,
    /// `spec.region`.
    pub region: Option<&'a str>,
    /// Where the spec says that it is.
    pub place: Place<'a>,
    /// Whether it is being deleted: a bound object is deleted even where the mapping is gone.
    pub deleting: bool,
    /// Whether the operator as a whole changes nothing.
    pub read_only: bool,
}

/// Whether anything may be changed in AWS for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// Yes.
    Allowed,
    /// No, and why; what exists stays as it is.
    Frozen(Finding),
}

/// The account and region of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Where the object is, or is about to be, bound to.
    pub binding: Binding,
    /// The role to assume: always the AWSAccount's, never a status's.
    pub role: RoleArn,
    /// The AWSAccount's spec, whose guardrails and defaults hold for the object.
    pub account: AWSAccountSpec,
    /// Tags that the account puts on everything, whatever the object says.
    pub forced_tags: BTreeMap<String, String>,
    /// Whether the account maps the namespace: what is bound and no longer mapped is frozen, and
    /// may only be deleted.
    pub mapped: bool,
    /// Whether anything may be changed in AWS.
    pub writes: Writes,
}

/// Finds the account of an object. Errors are what its `AccountResolved` condition says.
pub fn resolve(subject: Subject<'_>, accounts: &[Account<'_>]) -> Result<Resolved, Finding> {
    let mut resolved = match subject.binding {
        Some(binding) => resolve_bound(subject, binding, accounts)?,
        None => resolve_unbound(subject, accounts)?,
    };
    if subject.read_only && resolved.writes == Writes::Allowed {
        resolved.writes = Writes::Frozen(read_only());
    }
    Ok(resolved)
}

fn resolve_unbound(subject: Subject<'_>, accounts: &[Account<'_>]) -> Result<Resolved, Finding> {
    let namespace = subject.namespace;
    if subject.labels.is_none() {
        return Err(Finding::bad(Reason::NoAccount, unknown_namespace(namespace)));
    }
    let candidates: Vec<(&str, &AWSAccountSpec)> = accounts
        .iter()
        .filter_map(|account| Some((account.name, account.spec.ok()?)))
        .filter(|(_, spec)| tenancy::maps(spec, namespace, subject.labels))
        .collect();
    let (name, spec) = match (subject.account, candidates.as_slice()) {
        (Some(wanted), candidates) => *candidates.iter().find(|(name, _)| *name == wanted).ok_or_else(|| {
            Finding::bad(
                Reason::AccountNotMapped,
                format!(
                    "AWSAccount {wanted:?} of spec.account does not map the namespace {namespace}: \
                     ask your platform team to map it, or {}",
                    match candidates {
                        [] => "to name the account that does".to_owned(),
                        some => format!("set spec.account to one that does: {}", names(some)),
                    }
                ),
            )
        })?,
        (None, [only]) => *only,
        (None, []) => {
            return Err(Finding::bad(
                Reason::NoAccount,
                format!("no AWSAccount maps the namespace {namespace}: ask your platform team to map it"),
            ));
        }
        (None, several) => {
            return Err(Finding::bad(
                Reason::AmbiguousAccount,
                format!(
                    "several AWSAccounts map the namespace {namespace}: set spec.account to one of {}",
                    names(several)
                ),
            ));
        }
    };
    if spec.decommissioned {
        return Err(decommissioned(name));
    }
    let writes = if spec.suspended {
        Writes::Frozen(suspended(name))
    } else {
        Writes::Allowed
    };
    let role = parse_role(name, spec)?;
    let network = network::asked(subject.place, spec, name, None)?;
    let of_network = network.map(|network| network.region.as_str());
    let region = subject.region.or(of_network).or(spec.default_region.as_deref());
    let region = region.ok_or_else(|| {
        Finding::bad(
            Reason::RegionMissing,
            format!("set spec.region: neither it nor default_region of AWSAccount {name} is given"),
        )
    })?;
    Ok(resolved(
        Binding {
            account: name.to_owned(),
            account_id: role.account().clone(),
            region: Region::from(region),
        },
        role,
        spec,
        subject.labels,
        true,
        writes,
    ))
}

fn resolve_bound(subject: Subject<'_>, binding: &Binding, accounts: &[Account<'_>]) -> Result<Resolved, Finding> {
    let Binding {
        account: name,
        account_id,
        region,
    } = binding;
    let namespace = subject.namespace;
    let account = accounts.iter().find(|account| account.name == name).ok_or_else(|| {
        Finding::bad(
            Reason::AccountMissing,
            format!(
                "AWSAccount {name}, which this object is bound to, does not exist: its resources in AWS account \
                 {account_id} stay as they are until your platform team creates it again"
            ),
        )
    })?;
    let spec = account.spec.map_err(|error| {
        Finding::bad(
            Reason::AccountNotReady,
            format!("ask your platform team: the spec of AWSAccount {name} does not parse: {error}"),
        )
    })?;
    let role = parse_role(name, spec)?;
    if role.account() != account_id {
        return Err(Finding::bad(
            Reason::AccountReplaced,
            format!(
                "this object is bound to AWS account {account_id}, but AWSAccount {name} now leads to {}: nothing is \
                 changed; delete the object and apply it again once the AWSAccount for {account_id} is back",
                role.account()
            ),
        ));
    }
    if spec.decommissioned {
        return Err(decommissioned(name));
    }
    let mapped = tenancy::maps(spec, namespace, subject.labels);
    let writes = if spec.suspended {
        Writes::Frozen(suspended(name))
    } else if subject.deleting {
        Writes::Allowed
    } else if let Some(wanted) = subject.account.filter(|wanted| wanted != name) {
        Writes::Frozen(Finding::bad(
            Reason::BindingConflict,
            format!(
                "spec.account is {wanted:?}, but this object is bound to {name:?}, where its endpoint is: restore \
                 that value or omit the field; for another account apply another object and delete this one"
            ),
        ))
    } else if let Some(wanted) = subject.region.filter(|wanted| *wanted != region.as_str()) {
        Writes::Frozen(Finding::bad(
            Reason::BindingConflict,
            format!(
                "spec.region is {wanted:?}, but this object is bound to {:?}, where its endpoint is: restore that \
                 value or omit the field; for another region apply another object and delete this one",
                region.as_str()
            ),
        ))
    } else if subject.labels.is_none() {
        Writes::Frozen(Finding::bad(Reason::MappingRevoked, unknown_namespace(namespace)))
    } else if !mapped {
        Writes::Frozen(Finding::bad(
            Reason::MappingRevoked,
            format!(
                "AWSAccount {name} no longer maps the namespace {namespace}: nothing is changed in AWS until your \
                 platform team maps it again, or you delete this object"
            ),
        ))
    } else {
        Writes::Allowed
    };
    Ok(resolved(binding.clone(), role, spec, subject.labels, mapped, writes))
}

fn resolved(
    binding: Binding,
    role: RoleArn,
    spec: &AWSAccountSpec,
    labels: Option<&BTreeMap<String, String>>,
    mapped: bool,
    writes: Writes,
) -> Resolved {
    let from_labels = spec.tags_from_namespace_labels.iter();
    let mut forced_tags: BTreeMap<String, String> = from_labels
        .filter_map(|key| Some((key.clone(), labels?.get(key)?.clone())))
        .collect();
    forced_tags.extend(spec.required_tags.clone());
    Resolved {
        binding,
        role,
        account: spec.clone(),
        forced_tags,
        mapped,
        writes,
    }
}

fn unknown_namespace(namespace: &str) -> String {
    format!(
        "the Namespace {namespace} is not in the operator's cache yet, and is mapped to no AWSAccount until then: \
         the object is reconciled again when it is"
    )
}

fn suspended(account: &str) -> Finding {
    Finding::bad(
        Reason::AccountSuspended,
        format!("AWSAccount {account} is suspended: nothing is changed in AWS until your platform team resumes it"),
    )
}

fn read_only() -> Finding {
    Finding::bad(
        Reason::ReadOnly,
        "the operator is read-only (--mode ReadOnly): nothing is changed in AWS, nor any Service",
    )
}

fn decommissioned(account: &str) -> Finding {
    Finding::bad(
        Reason::AccountDecommissioned,
        format!(
            "AWSAccount {account} is decommissioned: its AWS account is closed, and no calls are made there; delete \
             this object"
        ),
    )
}

fn parse_role(account: &str, spec: &AWSAccountSpec) -> Result<RoleArn, Finding> {
    spec.role_arn.parse().map_err(|error| {
        Finding::bad(
            Reason::AccountNotReady,
            format!("ask your platform team: role_arn of AWSAccount {account}: {error}"),
        )
    })
}

fn names(candidates: &[(&str, &AWSAccountSpec)]) -> String {
    let mut names: Vec<&str> = candidates.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(account: &str, namespaces: &[&str]) -> AWSAccountSpec {
        serde_json::from_value(json!({
            "role_arn": format!("arn:aws:iam::{account}:role/vpce"),
            "namespaces": namespaces,
            "default_region": "us-west-2",
        }))
        .expect("a spec")
    }

    fn subject<'a>(labels: &'a BTreeMap<String, String>, binding: Option<&'a Binding>) -> Subject<'a> {
        Subject {
            namespace: "blue",
            labels: Some(labels),
            binding,
            account: None,
            region: None,
            place: Place::Vpc,
            deleting: false,
            read_only: false,
        }
    }

    fn bound() -> Binding {
        Binding {
            account: "one".into(),
            account_id: "111111111111".parse().expect("an id"),
            region: "us-west-2".into(),
        }
    }

    #[test]
    fn a_namespace_that_no_account_maps_reaches_nothing() {
        let labels = BTreeMap::new();
        let one = spec("111111111111", &["red"]);
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        let found = resolve(subject(&labels, None), &accounts).expect_err("not mapped");
        assert_eq!(found.reason, Reason::NoAccount);
        let named = Subject {
            account: Some("one"),
            ..subject(&labels, None)
        };
        assert_eq!(
            resolve(named, &accounts).expect_err("not mapped").reason,
            Reason::AccountNotMapped
        );
    }

    #[test]
    fn an_object_of_an_unknown_namespace_reaches_nothing_and_freezes_where_it_is_bound() {
        let labels = BTreeMap::new();
        let binding = bound();
        let mut one = spec("111111111111", &["blue"]);
        one.namespace_selector = serde_json::from_value(json!({
            "matchExpressions": [{"key": "sandbox", "operator": "DoesNotExist"}],
        }))
        .expect("a selector");
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        let unknown = |binding, account| Subject {
            labels: None,
            account,
            ..subject(&labels, binding)
        };
        for account in [None, Some("one")] {
            let found = resolve(unknown(None, account), &accounts).expect_err("not mapped");
            assert_eq!(found.reason, Reason::NoAccount);
        }
        assert!(
            resolve(subject(&labels, None), &accounts).is_ok(),
            "known, it is mapped"
        );
        let found = resolve(unknown(Some(&binding), None), &accounts).expect("bound");
        assert!(matches!(found.writes, Writes::Frozen(finding) if finding.reason == Reason::MappingRevoked));
        let deleted = Subject {
            deleting: true,
            ..unknown(Some(&binding), None)
        };
        let found = resolve(deleted, &accounts).expect("bound");
        assert_eq!(found.writes, Writes::Allowed, "what it has can go");
    }

    #[test]
    fn read_only_freezes_what_nothing_else_does() {
        let labels = BTreeMap::new();
        let one = spec("111111111111", &["blue"]);
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        let binding = bound();
        let frozen = |binding, region, deleting| {
            let asks = Subject {
                read_only: true,
                region,
                deleting,
                ..subject(&labels, binding)
            };
            match resolve(asks, &accounts).expect("resolved").writes {
                Writes::Frozen(finding) => finding.reason,
                Writes::Allowed => panic!("read-only"),
            }
        };
        assert_eq!(frozen(None, None, false), Reason::ReadOnly);
        assert_eq!(frozen(Some(&binding), None, false), Reason::ReadOnly);
        assert_eq!(frozen(Some(&binding), None, true), Reason::ReadOnly);
        // What has to be corrected whatever the mode is.
        assert_eq!(
            frozen(Some(&binding), Some("eu-west-1"), false),
            Reason::BindingConflict
        );
    }

    #[test]
    fn two_accounts_need_a_choice() {
        let labels = BTreeMap::new();
        let (one, two) = (spec("111111111111", &["blue"]), spec("222222222222", &["blue"]));
        let accounts = [
            Account {
                name: "two",
                spec: Ok(&two),
            },
            Account {
                name: "one",
                spec: Ok(&one),
            },
        ];
        let found = resolve(subject(&labels, None), &accounts).expect_err("ambiguous");
        assert_eq!(found.reason, Reason::AmbiguousAccount);
        assert!(found.message.ends_with("one, two"), "{}", found.message);
        let named = Subject {
            account: Some("two"),
            ..subject(&labels, None)
        };
        let chosen = resolve(named, &accounts).expect("chosen");
        assert_eq!(chosen.binding.account_id.as_str(), "222222222222");
    }

    #[test]
    fn a_bound_object_does_not_move() {
        let labels = BTreeMap::new();
        let binding = bound();
        let mut one = spec("111111111111", &["blue"]);
        one.default_region = Some("eu-central-1".into());
        let two = spec("222222222222", &["blue"]);
        let accounts = [
            Account {
                name: "one",
                spec: Ok(&one),
            },
            Account {
                name: "two",
                spec: Ok(&two),
            },
        ];
        let found = resolve(subject(&labels, Some(&binding)), &accounts).expect("bound");
        assert_eq!(found.binding, binding);
        assert_eq!(found.writes, Writes::Allowed);
    }

    #[test]
    fn what_no_longer_fits_the_binding_freezes() {
        let labels = BTreeMap::new();
        let binding = bound();
        let one = spec("111111111111", &["red"]);
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        let frozen = |subject| match resolve(subject, &accounts).expect("resolved").writes {
            Writes::Frozen(finding) => Some(finding.reason),
            Writes::Allowed => None,
        };
        let plain = subject(&labels, Some(&binding));
        assert_eq!(frozen(plain), Some(Reason::MappingRevoked));
        assert_eq!(
            frozen(Subject {
                deleting: true,
                ..plain
            }),
            None
        );
        assert_eq!(
            frozen(Subject {
                region: Some("eu-west-1"),
                ..plain
            }),
            Some(Reason::BindingConflict)
        );
        assert_eq!(
            frozen(Subject {
                account: Some("x"),
                ..plain
            }),
            Some(Reason::BindingConflict)
        );
    }

    #[test]
    fn another_aws_account_under_the_same_name_is_not_used() {
        let labels = BTreeMap::new();
        let binding = bound();
        let one = spec("999999999999", &["blue"]);
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        for deleting in [false, true] {
            let found = resolve(
                Subject {
                    deleting,
                    ..subject(&labels, Some(&binding))
                },
                &accounts,
            );
            assert_eq!(found.expect_err("another account").reason, Reason::AccountReplaced);
        }
    }

    #[test]
    fn without_a_region_nothing_is_guessed() {
        let labels = BTreeMap::new();
        let mut one = spec("111111111111", &["blue"]);
        one.default_region = None;
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        let found = resolve(subject(&labels, None), &accounts).expect_err("no region");
        assert_eq!(found.reason, Reason::RegionMissing);
    }

    #[test]
    fn a_suspended_account_freezes_what_is_new_what_is_there_and_what_is_deleted() {
        let labels = BTreeMap::new();
        let binding = bound();
        let mut one = spec("111111111111", &["blue"]);
        one.suspended = true;
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        for (binding, deleting) in [(None, false), (Some(&binding), false), (Some(&binding), true)] {
            let subject = Subject {
                deleting,
                ..subject(&labels, binding)
            };
            let writes = resolve(subject, &accounts).expect("resolved").writes;
            assert!(matches!(writes, Writes::Frozen(finding) if finding.reason == Reason::AccountSuspended));
        }
    }

    #[test]
    fn a_decommissioned_account_is_never_called() {
        let labels = BTreeMap::new();
        let binding = bound();
        let mut one = spec("111111111111", &["blue"]);
        one.decommissioned = true;
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        for binding in [None, Some(&binding)] {
            let found = resolve(subject(&labels, binding), &accounts).expect_err("decommissioned");
            assert_eq!(found.reason, Reason::AccountDecommissioned);
        }
    }

    #[test]
    fn labels_of_the_namespace_become_tags_and_required_tags_win() {
        let labels = BTreeMap::from([
            ("team".to_owned(), "blue".to_owned()),
            ("cost".to_owned(), "label".to_owned()),
        ]);
        let mut one = spec("111111111111", &["blue"]);
        one.tags_from_namespace_labels = vec!["team".into(), "cost".into(), "absent".into()];
        one.required_tags = BTreeMap::from([("cost".into(), "required".into())]);
        let accounts = [Account {
            name: "one",
            spec: Ok(&one),
        }];
        let tags = resolve(subject(&labels, None), &accounts)
            .expect("resolved")
            .forced_tags;
        let expected = [("cost", "required"), ("team", "blue")];
        assert_eq!(
            tags,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        );
    }
}
