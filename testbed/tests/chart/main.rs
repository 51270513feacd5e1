//! The chart: what it renders, what it refuses, and how it lives in a real API server.

mod lifecycle;
mod rendered;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vpce_testbed::tools::Tool;

/// The release's name and namespace, unless a test is about them.
const RELEASE: &str = "vpce-operator";
const NAMESPACE: &str = "vpce-system";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn chart() -> PathBuf {
    project("charts/vpce-operator")
}

/// The files of values that the chart is tried with.
fn all_values() -> Vec<PathBuf> {
    let entries = fs::read_dir(chart().join("ci")).expect("the chart's values");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "{paths:?}");
    paths
}

fn values(name: &str) -> PathBuf {
    let path = chart().join(format!("ci/{name}-values.yaml"));
    assert!(path.is_file(), "{}", path.display());
    path
}

fn helm() -> Command {
    let mut helm = Command::new(Tool::Helm.path().expect("helm"));
    helm.env_remove("KUBECONFIG");
    helm
}

/// Renders the chart in a folder with a file of values.
fn template(chart: &Path, values: &Path, more: &[&str]) -> String {
    let mut template = helm();
    template
        .args(["template", RELEASE, "--namespace", NAMESPACE])
        .arg(chart);
    succeed(template.arg("--values").arg(values).args(more))
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{text}{complaint}");
    text
}

/// What a command complains about, which has to fail.
#[track_caller]
fn refused(command: &mut Command) -> String {
    let output = command.output().expect("started");
    assert!(!output.status.success(), "{command:?} succeeds");
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
