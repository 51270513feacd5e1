//! The Dockerfile: linted with BuildKit's own rules, and held to what cargo says of the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vpce_testbed::tools::Tool;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lints a Dockerfile for both architectures that there is an image for.
fn lint(dockerfile: &Path) -> Output {
    Command::new(Tool::DockerfileLint.path().expect("the linter"))
        .arg(dockerfile)
        .args(["linux/amd64", "linux/arm64"])
        .output()
        .expect("started")
}

/// The value of `name = "value"` in a manifest.
fn value(manifest: &str, name: &str) -> String {
    let prefix = format!("{name} = \"");
    let value = manifest
        .lines()
        .find_map(|line| line.strip_prefix(&prefix)?.strip_suffix('"'));
    value.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

#[test]
fn the_dockerfile_passes_buildkits_checks_for_both_architectures() {
    let output = lint(&project("Dockerfile"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "");
}

#[test]
fn the_linter_finds_what_is_wrong() {
    let good = read("Dockerfile");
    let mut folder = std::env::temp_dir();
    folder.push(format!("vpce-dockerfile-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(".dockerignore"), read(".dockerignore")).expect("written");
    for (right, wrong, finding) in [
        ("FROM scratch AS sbom", "FROM scratch as sbom", "FromAsCasing"),
        (
            "ENTRYPOINT [\"/vpce-operator\"]",
            "ENTRYPOINT /vpce-operator",
            "JSONArgsRecommended",
        ),
        (
            "USER 65532:65532",
            "ENV AWS_SECRET_ACCESS_KEY=x",
            "SecretsUsedInArgOrEnv",
        ),
        (
            "ENV VPCE_REVISION=${REVISION}",
            "ENV VPCE_REVISION=${REVISON}",
            "UndefinedVar",
        ),
        ("COPY src src", "COPY docs docs", "docs is not in the build's context"),
    ] {
        assert!(good.contains(right), "{right}");
        let dockerfile = folder.join("Dockerfile");
        fs::write(&dockerfile, good.replace(right, wrong)).expect("written");
        let output = lint(&dockerfile);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success() && said.contains(finding),
            "{wrong}: {output:?}"
        );
    }
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn the_dockerfile_knows_the_workspace_its_version_and_its_compiler() {
    let (dockerfile, manifest) = (read("Dockerfile"), read("Cargo.toml"));
    let version = value(&manifest, "version");
    assert!(dockerfile.contains(&format!("ARG VERSION={version}\n")), "{version}");
    // cargo reads the manifest of every member, whichever is built.
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ["));
    let members: Vec<&str> = members.expect("members").trim_end_matches(']').split(", ").collect();
    assert!(members.len() > 1, "{members:?}");
    let ignore = read(".dockerignore");
    for member in members {
        let member = member.trim_matches('"');
        let copy = format!("COPY {member}/Cargo.toml {member}/\n");
        assert!(dockerfile.contains(&copy), "{copy}");
        let kept = [format!("!{member}\n"), format!("!{member}/Cargo.toml\n")];
        assert!(
            kept.iter().any(|line| ignore.contains(line)),
            "{member} is left out by .dockerignore"
        );
    }
    let numbers =
        |version: &str| -> Vec<u32> { version.split('.').map(|part| part.parse().expect("a number")).collect() };
    let compiler = dockerfile.split("ARG RUST_IMAGE=rust:").nth(1).expect("a compiler");
    let (compiler, debian) = compiler
        .lines()
        .next()
        .and_then(|tag| tag.split_once('-'))
        .expect("a tag");
    assert!(
        numbers(compiler) >= numbers(&value(&manifest, "rust-version")),
        "{compiler}"
    );
    // What is linked against one C library runs with the other.
    assert_eq!(debian, "bookworm");
    assert!(dockerfile.contains("ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot\n"));
}

#[test]
fn the_image_runs_as_the_user_that_the_chart_asks_for_and_serves_where_it_looks() {
    let dockerfile = read("Dockerfile");
    let values = read("charts/vpce-operator/values.yaml");
    assert!(dockerfile.contains("\nUSER 65532:65532\n"));
    assert!(values.contains("runAsUser: 65532\n") && values.contains("runAsGroup: 65532\n"));
    assert!(dockerfile.contains("\nEXPOSE 8080 8443\n"));
    for port in [8080, 8443] {
        assert!(read("src/settings.rs").contains(&format!("default_value = \"0.0.0.0:{port}\"")));
    }
}
