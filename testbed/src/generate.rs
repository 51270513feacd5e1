//! The files that are generated from the operator's types and metrics, from its chart and from the
//! dashboards' source: written, or compared with what is there.

mod reference;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::operator::{self, project};
use crate::schemas;
use crate::tools::Tool;

const CHART: &str = "charts/vpce-operator";
/// The chart carries the CRDs in it: helm packages what is below its folder.
const CRD_FOLDERS: [&str; 2] = ["crds", "charts/vpce-operator/files/crds"];
/// What the chart carries in it beside them.
const ALERTS: [&str; 2] = ["prometheus/alerts.yaml", "charts/vpce-operator/files/alerts.yaml"];
const DASHBOARD_FOLDERS: [&str; 2] = ["grafana", "charts/vpce-operator/files/dashboards"];
/// Those that the package `grafana/dashboards` prints.
const DASHBOARDS: [&str; 3] = ["account", "operator", "platform"];
/// What values of the chart may be; the part that says what AWSAccounts among them may be comes
/// from their CRD.
const VALUES_SCHEMA: &str = "charts/vpce-operator/values.schema.json";
const VALUES_SCHEMA_MARK: &str = "\n    \"AWSAccountSpec\": ";
/// It shows the commands that print the examples of IAM policies.
const IAM: &str = "docs/iam.md";
/// Every field of the CRDs, for people.
const REFERENCE: &str = "docs/api.md";
/// What the operator says of its metrics.
const METRICS: &str = "docs/metrics.md";
/// Templates of the chart that render one document each.
const RBAC: [&str; 21] = [
    "admissionpolicy-endpointslices.yaml",
    "admissionpolicy-events.yaml",
    "admissionpolicy-finalizers.yaml",
    "admissionpolicy-leases.yaml",
    "admissionpolicy-objects.yaml",
    "admissionpolicy.yaml",
    "admissionpolicybinding-endpointslices.yaml",
    "admissionpolicybinding-events.yaml",
    "admissionpolicybinding-finalizers.yaml",
    "admissionpolicybinding-leases.yaml",
    "admissionpolicybinding-objects.yaml",
    "admissionpolicybinding.yaml",
    "clusterrole-edit.yaml",
    "clusterrole-metrics-reader.yaml",
    "clusterrole-platform.yaml",
    "clusterrole-view.yaml",
    "clusterrole.yaml",
    "clusterrolebinding.yaml",
    "role-lease.yaml",
    "rolebinding-lease.yaml",
    "serviceaccount.yaml",
];

/// Writes the files.
///
/// # Errors
/// When the operator does not print its CRDs or helm does not render the chart.
pub fn write(operator: &Path) -> Result<()> {
    for (path, content) in files(operator)? {
        let path = project(&path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Compares the files with what they would be.
///
/// # Errors
/// When some are stale, with their names.
pub fn check(operator: &Path) -> Result<()> {
    let stale: Vec<String> = files(operator)?
        .into_iter()
        .filter(|(path, content)| fs::read_to_string(project(path)).ok().as_ref() != Some(content))
        .map(|(path, _)| path)
        .collect();
    ensure!(
        stale.is_empty(),
        "stale, and `make generate` writes them again: {}",
        stale.join(", ")
    );
    Ok(())
}

/// The files' paths in the repository and their contents.
fn files(operator: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let crds = documents(&output(Command::new(operator).arg("crds"))?);
    files.push((REFERENCE.to_owned(), reference::page(&crds)?));
    for crd in crds {
        let plural = crd_plural(&crd).context("the operator printed a document that is no CRD")?;
        files.extend(CRD_FOLDERS.map(|folder| (format!("{folder}/{plural}.yaml"), crd.clone())));
    }
    ensure!(files.len() > 1, "the operator printed no CRDs");
    files.push((METRICS.to_owned(), output(Command::new(operator).arg("metrics"))?));
    for (path, arguments) in documented(&fs::read_to_string(project(IAM))?) {
        files.push((path, output(Command::new(operator).args(arguments))?));
    }
    for name in DASHBOARDS {
        let mut python = Command::new("python3");
        python
            .current_dir(project("grafana"))
            .args(["-B", "-m", "dashboards", name]);
        let dashboard = output(&mut python)?;
        files.extend(DASHBOARD_FOLDERS.map(|folder| (format!("{folder}/{name}.json"), dashboard.clone())));
    }
    for name in RBAC {
        let mut helm = Command::new(Tool::Helm.path()?);
        helm.args(["template", operator::RELEASE])
            .arg(project(CHART))
            .args(["--namespace", operator::NAMESPACE]);
        helm.args(["--show-only", &format!("templates/{name}")]);
        let rendered = output(&mut helm)?;
        let document = documents(&rendered)
            .pop()
            .with_context(|| format!("helm rendered nothing for {name}"))?;
        files.push((format!("rbac/{name}"), document));
    }
    files.push((ALERTS[1].to_owned(), fs::read_to_string(project(ALERTS[0]))?));
    files.push((VALUES_SCHEMA.to_owned(), values_schema(&files)?));
    files.push((format!("{CHART}/README.md"), chart_readme()?));
    Ok(files)
}

/// What the chart's schema of values is with the AWSAccount's CRD among these files.
fn values_schema(files: &[(String, String)]) -> Result<String> {
    let (_, crd) = files
        .iter()
        .find(|(path, _)| path == "crds/awsaccounts.yaml")
        .context("the operator printed no CRD of AWSAccounts")?;
    let schema = fs::read_to_string(project(VALUES_SCHEMA))?;
    let (ours, _) = schema
        .split_once(VALUES_SCHEMA_MARK)
        .with_context(|| format!("{VALUES_SCHEMA} has no definition of AWSAccountSpec at its end"))?;
    let spec = serde_json::to_string_pretty(&schemas::spec_of_crd(crd)?)?.replace('\n', "\n    ");
    Ok(format!("{ours}{VALUES_SCHEMA_MARK}{spec}\n  }}\n}}\n"))
}

/// The chart's README, with its values.
fn chart_readme() -> Result<String> {
    let mut helm_docs = Command::new(Tool::HelmDocs.path()?);
    helm_docs.args(["--dry-run", "--sort-values-order", "file", "--log-level", "warning"]);
    helm_docs.arg("--chart-search-root").arg(project(CHART));
    let readme = output(&mut helm_docs)?;
    // It leaves gaps where a part of its templates is empty.
    let mut tidy = String::new();
    for line in readme.lines().map(str::trim_end) {
        if !(line.is_empty() && (tidy.is_empty() || tidy.ends_with("\n\n"))) {
            tidy += line;
            tidy.push('\n');
        }
    }
    Ok(format!("{}\n", tidy.trim_end()))
}

/// The operator's command lines in a page of docs that print a file, without the program: the file
/// and the arguments.
pub fn documented(page: &str) -> Vec<(String, Vec<String>)> {
    let line = |line: &str| {
        let (arguments, file) = line.strip_prefix("vpce-operator ")?.split_once(" > docs/")?;
        let arguments = arguments
            .split(' ')
            .map(|argument| argument.trim_matches('\'').to_owned());
        Some((format!("docs/{file}"), arguments.collect()))
    };
    page.lines().filter_map(line).collect()
}

fn output(command: &mut Command) -> Result<String> {
    let program = PathBuf::from(command.get_program());
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The documents of a YAML stream, each with one newline at its end.
fn documents(stream: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in stream.lines() {
        match documents.last_mut() {
            Some(document) if line != "---" => *document += &format!("{line}\n"),
            _ => documents.push(String::new()),
        }
    }
    documents
        .iter()
        .map(|document| document.trim())
        .filter(|document| !document.is_empty())
        .map(|document| format!("{document}\n"))
        .collect()
}

/// `vpcendpoints` of a CRD named `vpcendpoints.silvermullet.com`.
fn crd_plural(crd: &str) -> Option<&str> {
    let name = crd.lines().find_map(|line| line.strip_prefix("  name: "))?;
    name.split_once('.').map(|(plural, _)| plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_split_into_its_documents() {
        let stream = "---\nkind: A\nmetadata:\n  name: as.example.com\n---\n\nkind: B\nspec: |\n  --- \n\n";
        let parts = documents(stream);
        assert_eq!(
            parts,
            [
                "kind: A\nmetadata:\n  name: as.example.com\n",
                "kind: B\nspec: |\n  ---\n"
            ]
        );
        assert_eq!(crd_plural(&parts[0]), Some("as"));
        assert_eq!(crd_plural(&parts[1]), None);
    }
}
