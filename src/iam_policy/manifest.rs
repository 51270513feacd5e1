//! What an AWSAccount says of its role, from a YAML file or from flags.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use vpce_core::api::{self, AWSAccountSpec, GROUP};
use vpce_core::iam;
use vpce_core::ids::RoleArn;

use super::{Error, TenantFlags, missing};

/// An AWSAccount, with its role read.
pub(super) struct Account {
    pub(super) name: String,
    pub(super) role: RoleArn,
    pub(super) spec: AWSAccountSpec,
}

impl Account {
    /// The AWSAccount that flags describe.
    pub(super) fn of_flags(flags: &TenantFlags) -> Result<Self, Error> {
        let role: RoleArn = match (&flags.role_arn, &flags.account_id) {
            (Some(role), _) => role.clone(),
            (None, Some(account)) => {
                let beside = flags.base_role_arn.as_ref().map_or("aws", |base| base.partition());
                let partition = flags.partition.as_deref().unwrap_or(beside);
                format!("arn:{partition}:iam::{account}:role/{}", iam::TENANT_ROLE).parse()?
            }
            (None, None) => return Err(missing("--account-id or --role-arn of the tenant's role, or --from")),
        };
        let list = |values: &Vec<String>| (!values.is_empty()).then(|| values.clone());
        let spec = AWSAccountSpec {
            role_arn: role.to_string(),
            external_id: flags.external_id.clone(),
            session_tags: flags.session_tags.iter().cloned().collect(),
            allowed_regions: list(&flags.regions),
            allowed_vpc_ids: list(&flags.vpc_ids),
            allowed_subnet_ids: list(&flags.subnet_ids),
            allowed_security_group_ids: list(&flags.security_group_ids),
            allowed_services: list(&flags.services),
            allow_private_dns: flags.allow_private_dns,
            ..AWSAccountSpec::default()
        };
        Ok(Self {
            name: String::new(),
            role,
            spec,
        })
    }
}

/// The AWSAccount of that name or, without a name, the only one.
pub(super) fn one(file: &Path, name: Option<&str>, input: impl Read) -> Result<Account, Error> {
    let mut accounts = all(file, name, input)?;
    match (accounts.pop(), accounts.as_slice()) {
        (Some(account), []) => Ok(account),
        (last, others) => {
            let names: Vec<&str> = others
                .iter()
                .chain(&last)
                .map(|account| account.name.as_str())
                .collect();
            Err(Error::Which {
                file: shown(file),
                problem: format!("holds several AWSAccounts: say which with --name: {}", names.join(", ")),
            })
        }
    }
}

/// All AWSAccounts of the file, or those of that name; at least one.
pub(super) fn all(file: &Path, name: Option<&str>, mut input: impl Read) -> Result<Vec<Account>, Error> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        input.read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|source| Error::Read {
        file: shown(file),
        source,
    })?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| Error::Yaml {
        file: shown(file),
        why: error.to_string(),
    })?;
    let found: Vec<Value> = documents.into_iter().flat_map(items).filter(is_account).collect();
    let names: Vec<&str> = found.iter().map(name_of).collect();
    let problem = match name {
        _ if found.is_empty() => format!("holds no AWSAccount (apiVersion {GROUP}/v1beta1)"),
        Some(name) if !names.contains(&name) => {
            format!("holds no AWSAccount {name}, but {}", names.join(", "))
        }
        _ => {
            let asked = found.iter().filter(|one| name.is_none_or(|name| name == name_of(one)));
            return asked.map(account).collect();
        }
    };
    Err(Error::Which {
        file: shown(file),
        problem,
    })
}

fn shown(file: &Path) -> String {
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

fn is_account(document: &Value) -> bool {
    document["apiVersion"] == format!("{GROUP}/v1beta1") && document["kind"] == "AWSAccount"
}

fn name_of(document: &Value) -> &str {
    document["metadata"]["name"].as_str().unwrap_or("without a name")
}

fn account(document: &Value) -> Result<Account, Error> {
    let refused = |problem: String| Error::Account {
        account: name_of(document).to_owned(),
        problem,
    };
    let spec = &document["spec"];
    // A misspelt rail that nobody notices would make a policy wider than what was meant.
    let known = known_fields();
    if let Some(field) = spec
        .as_object()
        .and_then(|spec| spec.keys().find(|key| !known.contains(key)))
    {
        return Err(refused(format!("there is no field spec.{field}")));
    }
    let spec: AWSAccountSpec = serde_json::from_value(spec.clone()).map_err(|error| refused(error.to_string()))?;
    Ok(Account {
        name: name_of(document).to_owned(),
        role: spec
            .role_arn
            .parse()
            .map_err(|error| refused(format!("role_arn: {error}")))?,
        spec,
    })
}

/// The fields of an AWSAccount's spec, from its schema.
fn known_fields() -> Vec<String> {
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
