//! Makes AWSAccounts for the AWS accounts of an organization.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use vpce_core::api::GROUP;
use vpce_core::ids::AccountId;

use super::iam_policy::manifest;

/// A Kubernetes name that is made from another is at most as long as a label.
const LONGEST_NAME: usize = 63;

/// From what they are made.
#[derive(Debug, Args)]
pub struct Accounts {
    /// What `aws organizations list-accounts` or `list-accounts-for-parent` printed as JSON; `-`:
    /// standard input.
    #[arg(long, value_name = "FILE")]
    pub from_organizations: PathBuf,

    /// An AWSAccount as YAML; in its values, {{id}} is replaced by the account's id, and {{name}}
    /// by its name, with - for what Kubernetes names cannot have.
    #[arg(long, value_name = "FILE")]
    pub template: PathBuf,

    /// Leave out this account, such as the management account; may be given several times.
    #[arg(long = "exclude", value_name = "ACCOUNT_ID", value_delimiter = ',')]
    pub excluded: Vec<AccountId>,
}

/// The answer of ListAccounts and ListAccountsForParent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    accounts: Vec<Listed>,
    next_token: Option<String>,
}

/// An account of it. Its state is called `State`, and was `Status` before.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: AccountId,
    #[serde(default)]
    name: String,
    state: Option<String>,
    status: Option<String>,
}

impl Listed {
    fn is_active(&self) -> bool {
        self.state.as_ref().or(self.status.as_ref()).map(String::as_str) == Some("ACTIVE")
    }

    /// Its name, as far as a Kubernetes name can have it; else its id.
    fn kubernetes_name(&self) -> String {
        let fits = |c: char| c.is_ascii_alphanumeric();
        let words = self.name.split(|c| !fits(c)).filter(|word| !word.is_empty());
        let joined = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
        let short = joined[..joined.len().min(LONGEST_NAME)].trim_end_matches('-');
        match short {
            "" => self.id.to_string(),
            name => name.to_owned(),
        }
    }

    /// A text with the account's values in place of what stands for them.
    fn fill(&self, text: &str) -> anyhow::Result<String> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (placeholder, behind) = after.split_once("}}").context("there is a {{ without }}")?;
            filled.push_str(before);
            match placeholder.trim() {
                "id" => filled.push_str(self.id.as_str()),
                "name" => filled.push_str(&self.kubernetes_name()),
                other => bail!(
                    "{{{{{}}}}} stands for nothing: there are {{{{id}}}} and {{{{name}}}}",
                    other.escape_debug()
                ),
            }
            rest = behind;
        }
        Ok(filled + rest)
    }

    fn fill_all(&self, template: &Value) -> anyhow::Result<Value> {
        Ok(match template {
            Value::String(text) => Value::String(self.fill(text)?),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.fill_all(item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), self.fill_all(value)?)));
                Value::Object(fields.collect::<anyhow::Result<_>>()?)
            }
            other => other.clone(),
        })
    }
}

/// Prints an AWSAccount for each active account to `out`, and what to know of them to `notes`.
/// `input` is read where an argument says `-`.
///
/// # Errors
/// When the files are not what they should be, or do not make AWSAccounts that the API server
/// would take.
pub(super) fn print(asked: &Accounts, mut input: impl Read, out: impl Write, notes: impl Write) -> anyhow::Result<()> {
    let is_input = |file: &Path| file == Path::new("-");
    ensure!(
        !(is_input(&asked.from_organizations) && is_input(&asked.template)),
        "only one of --from-organizations and --template can be standard input"
    );
    let list = manifest::read(&asked.from_organizations, &mut input)?;
    let template = manifest::read(&asked.template, &mut input)?;
    print_from(asked, &list, &template, out, notes)
}

/// The same, with what the files contain.
fn print_from(
    asked: &Accounts,
    list: &str,
    template: &str,
    mut out: impl Write,
    mut notes: impl Write,
) -> anyhow::Result<()> {
    let (active, others) = listed(asked, list)?;
    let template = parsed(&asked.template, template)?;
    let known = manifest::known_fields();
    let mut names: BTreeMap<String, &AccountId> = BTreeMap::new();
    let mut documents = Vec::new();
    for account in &active {
        let of = || format!("account {} ({})", account.id, account.name.escape_debug());
        let document = account.fill_all(&template).with_context(of)?;
        let made = manifest::account(&document, &known).with_context(of)?;
        ensure!(
            *made.role.account() == account.id,
            "{}: spec.role_arn is in account {}: write {{{{id}}}} for the account in the template",
            of(),
            made.role.account()
        );
        if let Some(other) = names.insert(made.name.clone(), &account.id) {
            bail!(
                "accounts {other} and {} both become AWSAccount {}: write {{{{id}}}} in metadata.name of the template",
                account.id,
                made.name
            );
        }
        documents.push(serde_saphyr::to_string(&document)?);
    }
    if !others.is_empty() {
        writeln!(
            notes,
            "vpce-operator: accounts that are not active are left out: {}",
            manifest::listed(&others)
        )?;
    }
    write!(out, "{}", documents.join("---\n"))?;
    Ok(())
}

/// The active accounts that are not excluded, and the others, in the order of the list.
fn listed(asked: &Accounts, text: &str) -> anyhow::Result<(Vec<Listed>, Vec<String>)> {
    let file = manifest::shown(&asked.from_organizations);
    let wrong = || format!("{file} is not what `aws organizations list-accounts` prints");
    let page: Page = serde_json::from_str(text).with_context(wrong)?;
    ensure!(
        page.next_token.is_none(),
        "{file} ends with a NextToken: it is not the whole list"
    );
    for account in &page.accounts {
        account.id.as_str().parse::<AccountId>().with_context(wrong)?;
    }
    let excluded: BTreeSet<&AccountId> = asked.excluded.iter().collect();
    let accounts = page.accounts.into_iter();
    let (active, others): (Vec<Listed>, Vec<Listed>) = accounts
        .filter(|account| !excluded.contains(&account.id))
        .partition(Listed::is_active);
    ensure!(!active.is_empty(), "{file} has no active account");
    Ok((active, others.iter().map(|account| account.id.to_string()).collect()))
}

fn parsed(file: &Path, template: &str) -> anyhow::Result<Value> {
    let documents =
        manifest::documents(file, template).context("values that begin with {{ have to be quoted in YAML")?;
    match <[Value; 1]>::try_from(documents) {
        Ok([document]) if manifest::is_account(&document) => Ok(document),
        _ => bail!(
            "{} has to be one AWSAccount (apiVersion {GROUP}/v1beta1)",
            manifest::shown(file)
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::cli::{Cli, Command};

    const TEMPLATE: &str = "
apiVersion: silvermullet.com/v1beta1
kind: AWSAccount
metadata:
  name: '{{name}}'
  labels: {account: '{{id}}'}
spec:
  role_arn: arn:aws:iam::{{ id }}:role/vpce-operator
  external_id: vpce-{{id}}
  namespace_selector: {matchLabels: {aws-account: '{{id}}'}}
  max_endpoints: 50
";

    fn account(id: &str, name: &str, state: &str) -> Value {
        json!({"Id": id, "Arn": format!("arn:aws:organizations::999999999999:account/o-1/{id}"), "Email": "a@example.com",
            "Name": name, "State": state, "JoinedMethod": "CREATED", "JoinedTimestamp": 1_700_000_000.5})
    }

    /// What it prints, with what it notes; or its error.
    fn run(list: &Value, template: &str, more: &[&str]) -> Result<(Vec<Value>, String), String> {
        let line = [
            "vpce-operator",
            "accounts",
            "--from-organizations",
            "list.json",
            "--template",
            "template.yaml",
        ];
        let line = line.iter().chain(more);
        let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
        let Command::Accounts(asked) = cli.command else {
            panic!("not accounts");
        };
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        print_from(&asked, &list.to_string(), template, &mut out, &mut notes).map_err(|error| format!("{error:#}"))?;
        let documents = serde_saphyr::from_multiple(&String::from_utf8(out).unwrap()).unwrap();
        Ok((documents, String::from_utf8(notes).unwrap()))
    }

    #[test]
    fn each_active_account_becomes_an_aws_account() {
        let list = json!({"Accounts": [
            account("000000000012", "Payments (prod)", "ACTIVE"),
            account("222222222222", "gone", "SUSPENDED"),
            // As older versions of the AWS CLI print it.
            {"Id": "333333333333", "Name": "--", "Status": "ACTIVE"},
            account("999999999999", "management", "ACTIVE"),
        ]});
        let (documents, notes) = run(&list, TEMPLATE, &["--exclude", "999999999999"]).unwrap();
        let names: Vec<&str> = documents
            .iter()
            .map(|document| document["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["payments-prod", "333333333333"]);
        assert_eq!(
            documents[0],
            json!({
                "apiVersion": "silvermullet.com/v1beta1", "kind": "AWSAccount",
                "metadata": {"name": "payments-prod", "labels": {"account": "000000000012"}},
                "spec": {
                    "role_arn": "arn:aws:iam::000000000012:role/vpce-operator",
                    "external_id": "vpce-000000000012",
                    "namespace_selector": {"matchLabels": {"aws-account": "000000000012"}},
                    "max_endpoints": 50,
                },
            })
        );
        assert_eq!(
            notes,
            "vpce-operator: accounts that are not active are left out: 222222222222\n"
        );
    }

    #[test]
    fn what_makes_no_aws_accounts_is_refused_with_the_reason() {
        let two =
            json!({"Accounts": [account("111111111111", "a b", "ACTIVE"), account("222222222222", "a.b", "ACTIVE")]});
        let with = |from: &str, to: &str| TEMPLATE.replace(from, to);
        for (list, template, says) in [
            (
                two.clone(),
                TEMPLATE.to_owned(),
                "111111111111 and 222222222222 both become AWSAccount a-b",
            ),
            (
                two.clone(),
                with("{{ id }}", "111111111111"),
                "account 222222222222 (a.b): spec.role_arn is in account 111111111111",
            ),
            (
                two.clone(),
                with("{{name}}", "{{email}}"),
                "{{email}} stands for nothing",
            ),
            (two.clone(), with("{{name}}", "{{name"), "{{ without }}"),
            (two.clone(), with("'{{name}}'", "{{name}}"), "have to be quoted"),
            (
                two.clone(),
                with("max_endpoints", "max_endpoint"),
                "there is no field spec.max_endpoint",
            ),
            (
                two.clone(),
                with("kind: AWSAccount", "kind: Namespace"),
                "has to be one AWSAccount",
            ),
            (
                two.clone(),
                format!("{TEMPLATE}---{TEMPLATE}"),
                "has to be one AWSAccount",
            ),
            (json!({"Accounts": []}), TEMPLATE.to_owned(), "has no active account"),
            (
                json!({"Accounts": [], "NextToken": "x"}),
                TEMPLATE.to_owned(),
                "not the whole list",
            ),
            (
                json!({"Accounts": [account("1", "a", "ACTIVE")]}),
                TEMPLATE.to_owned(),
                "list-accounts` prints",
            ),
            (json!({"Roots": []}), TEMPLATE.to_owned(), "list-accounts` prints"),
        ] {
            let error = run(&list, &template, &[]).expect_err(says);
            assert!(error.contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn names_are_as_kubernetes_takes_them() {
        let name = |name: &str| {
            let listed: Listed = serde_json::from_value(account("111111111111", name, "ACTIVE")).unwrap();
            listed.kubernetes_name()
        };
        assert_eq!(name("Zahlungen & Köln / 2"), "zahlungen-k-ln-2");
        assert_eq!(name("日本"), "111111111111");
        assert_eq!(name(&format!("{} b", "a".repeat(62))), "a".repeat(62));
        assert_eq!(name(&"a".repeat(70)).len(), 63);
    }
}
