//! What an AWSAccount says of its role, from a YAML file or from flags.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use vpce_core::api::{self, AWSAccountSpec, GROUP};
use vpce_core::iam::{self, IdentityArn};
use vpce_core::ids::{Partition, RoleArn};

use super::{Error, TenantFlags, missing};

/// More than all AWSAccounts of a cluster have; what is longer was not meant, or never ends.
const LONGEST: u64 = 16 * 1024 * 1024;

/// An error names so many AWSAccounts.
const NAMED: usize = 20;

/// An AWSAccount, with its role read.
pub(in crate::cli) struct Account {
    pub(in crate::cli) name: String,
    pub(in crate::cli) role: RoleArn,
    pub(super) spec: AWSAccountSpec,
}

impl Account {
    /// The AWSAccount that flags describe.
    pub(super) fn of_flags(flags: &TenantFlags) -> Result<Self, Error> {
        let role: RoleArn = match (&flags.role_arn, &flags.account_id) {
            (Some(role), _) => role.clone(),
            (None, Some(account)) => {
                let beside = flags
                    .base_role_arn
                    .as_ref()
                    .map_or(Partition::Aws, IdentityArn::partition);
                let partition = flags.partition.unwrap_or(beside);
                format!("arn:{partition}:iam::{account}:role/{}", iam::TENANT_ROLE).parse()?
            }
            (None, None) => return Err(missing("--account-id or --role-arn of the tenant's role, or --from")),
        };
        let spec = AWSAccountSpec {
            role_arn: role.to_string(),
            ..spec_of_flags(flags)
        };
        Ok(Self {
            name: String::new(),
            role,
            spec,
        })
    }
}

/// The spec that flags describe, but for the role.
pub(super) fn spec_of_flags(flags: &TenantFlags) -> AWSAccountSpec {
    let list = |values: &Vec<String>| (!values.is_empty()).then(|| values.clone());
    AWSAccountSpec {
        external_id: flags.external_id.clone(),
        session_tags: flags.session_tags.iter().cloned().collect(),
        allowed_regions: list(&flags.regions),
        allowed_vpc_ids: list(&flags.vpc_ids),
        allowed_subnet_ids: list(&flags.subnet_ids),
        allowed_security_group_ids: list(&flags.security_group_ids),
        allowed_services: list(&flags.services),
        allowed_vpc_endpoint_types: Some(flags.types.clone()),
        allowed_service_regions: flags.service_regions.clone(),
        allowed_route_table_ids: list(&flags.route_table_ids),
        allowed_tag_keys: list(&flags.tag_keys),
        allow_private_dns: flags.allow_private_dns,
        adopt_legacy: flags.adopt_legacy,
        ..AWSAccountSpec::default()
    }
}

/// The AWSAccount of that name or, without a name, the only one.
pub(super) fn one(file: &Path, name: Option<&str>, input: impl Read) -> Result<Account, Error> {
    let mut accounts = all(file, name, input)?;
    match (accounts.pop(), accounts.as_slice()) {
        (Some(account), []) => Ok(account),
        (last, others) => {
            let names: Vec<String> = others.iter().chain(&last).map(|account| account.name.clone()).collect();
            Err(Error::Which {
                file: shown(file),
                problem: format!(
                    "contains several AWSAccounts: say which with --name: {}",
                    listed(&names)
                ),
            })
        }
    }
}

/// All AWSAccounts of the file, or those of that name; at least one.
pub(super) fn all(file: &Path, name: Option<&str>, input: impl Read) -> Result<Vec<Account>, Error> {
    let text = read(file, input)?;
    let found: Vec<Value> = documents(file, &text)?
        .into_iter()
        .flat_map(items)
        .filter(is_account)
        .collect();
    let names: Vec<String> = found.iter().map(name_of).collect();
    let asked: Vec<(&Value, &String)> = found
        .iter()
        .zip(&names)
        .filter(|(_, own)| name.is_none_or(|name| name == *own))
        .collect();
    // In a cluster the last one that is applied would count, and nobody knows which that is.
    let twice = asked
        .iter()
        .find(|(_, own)| names.iter().filter(|other| other == own).count() > 1);
    let problem = match (name, twice) {
        _ if found.is_empty() => format!("contains no AWSAccount (apiVersion {GROUP}/v1beta1)"),
        (_, Some((_, name))) => format!("contains several AWSAccounts named {name}: keep only one of them"),
        (Some(name), None) if asked.is_empty() => {
            format!("contains no AWSAccount {}, but {}", name.escape_debug(), listed(&names))
        }
        _ => {
            let known = known_fields();
            return asked
                .into_iter()
                .map(|(document, _)| account(document, &known))
                .collect();
        }
    };
    Err(Error::Which {
        file: shown(file),
        problem,
    })
}

/// What a file or, where it is `-`, the standard input has.
pub(in crate::cli) fn read(file: &Path, mut input: impl Read) -> Result<String, Error> {
    let mut text = String::new();
    let mut read = |input: &mut dyn Read| input.take(LONGEST + 1).read_to_string(&mut text);
    let length = if file == Path::new("-") {
        read(&mut input)
    } else {
        fs::File::open(file).and_then(|mut file| read(&mut file))
    };
    let length = length.map_err(|source| Error::Read {
        file: shown(file),
        source,
    })?;
    if length as u64 > LONGEST {
        return Err(Error::TooLong {
            file: shown(file),
            limit: LONGEST,
        });
    }
    Ok(text)
}

/// The YAML documents of a file's text.
pub(in crate::cli) fn documents(file: &Path, text: &str) -> Result<Vec<Value>, Error> {
    serde_saphyr::from_multiple(text).map_err(|error| Error::Yaml {
        file: shown(file),
        why: error.to_string(),
    })
}

/// A file, as messages name it.
pub(in crate::cli) fn shown(file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// `kubectl get -o yaml` wraps several objects into a List.
fn items(mut document: Value) -> Vec<Value> {
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        _ => vec![document],
    }
}

pub(in crate::cli) fn is_account(document: &Value) -> bool {
    document["apiVersion"] == format!("{GROUP}/v1beta1") && document["kind"] == "AWSAccount"
}

/// Fit to be shown: a file may hold what a terminal takes for a command.
fn name_of(document: &Value) -> String {
    let name = document["metadata"]["name"].as_str().unwrap_or("without a name");
    name.escape_debug().to_string()
}

/// The first few, since a file may hold thousands.
pub(in crate::cli) fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first = names[..names.len() - more].join(", ");
    if more == 0 {
        first
    } else {
        format!("{first} and {more} more")
    }
}

/// Reads an AWSAccount, of whose spec these fields are known.
pub(in crate::cli) fn account(document: &Value, known: &BTreeSet<String>) -> Result<Account, Error> {
    let refused = |problem: String| Error::Account {
        account: name_of(document),
        problem,
    };
    let spec = &document["spec"];
    // A misspelt guardrail that nobody notices would make a policy wider than what was meant.
    if let Some(field) = spec
        .as_object()
        .and_then(|spec| spec.keys().find(|key| !known.contains(*key)))
    {
        return Err(refused(format!("there is no field spec.{}", field.escape_debug())));
    }
    let spec: AWSAccountSpec = serde_json::from_value(spec.clone()).map_err(|error| refused(error.to_string()))?;
    Ok(Account {
        name: name_of(document),
        role: spec
            .role_arn
            .parse()
            .map_err(|error| refused(format!("role_arn: {error}")))?,
        spec,
    })
}

/// The fields of an AWSAccount's spec, from its schema.
pub(in crate::cli) fn known_fields() -> BTreeSet<String> {
    let schemas = api::crds()
        .into_iter()
        .filter(|crd| crd.spec.names.kind == "AWSAccount")
        .flat_map(|crd| crd.spec.versions)
        .filter_map(|version| {
            version
                .schema?
                .open_api_v3_schema?
                .properties?
                .remove("spec")?
                .properties
        });
    schemas.flat_map(|fields| fields.into_keys()).collect()
}
