//! The chart and every manifest that users are handed, checked against what a real API server says
//! of its kinds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use vpce_testbed::control_plane::ControlPlane;
use vpce_testbed::schemas;
use vpce_testbed::tools::Tool;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}

#[test]
fn the_chart_lints_and_every_manifest_conforms() {
    let plane = ControlPlane::start().expect("started");
    let helm = || Command::new(Tool::Helm.path().expect("helm"));
    let chart = project("charts/vpce-operator");
    succeed(helm().arg("lint").arg("--strict").arg(&chart));
    let rendered = plane.folder().join("chart.yaml");
    let template = |values: &[&str]| {
        succeed(
            helm()
                .args(["template", "vpce-operator"])
                .arg(&chart)
                .args(["--namespace", "vpce-system"])
                .args(values.iter().flat_map(|value| ["--set", value])),
        )
    };
    let chart_text = template(&[]);
    fs::write(&rendered, &chart_text).expect("written");
    // What is off by default.
    let optional = plane.folder().join("optional.yaml");
    let optional_text = template(&["rbac.namespaces={a,b}", "protect.enabled=true", "crds.enabled=false"]);
    for namespace in ["a", "b"] {
        let placed = optional_text.matches(&format!("\n  namespace: {namespace}\n")).count();
        assert_eq!(placed, 2, "a Role and its RoleBinding: {optional_text}");
    }
    fs::write(&optional, optional_text).expect("written");

    plane
        .kubectl(&["create", "--filename", project("crds").to_str().expect("text")])
        .expect("ran")
        .success()
        .expect("CRDs");
    let folder = plane.folder().join("schemas");
    schemas::write_openapi(&openapi(&plane), &folder).expect("schemas");
    let conform = |paths: &[PathBuf]| {
        let mut kubeconform = Command::new(Tool::Kubeconform.path().expect("kubeconform"));
        kubeconform.args(["-strict", "-summary", "-output", "text"]);
        // The API server does not know Flux's kinds: the end-to-end tests read these with Flux's
        // own types.
        kubeconform.args(["-ignore-filename-pattern", "examples/flux/", "-schema-location"]);
        kubeconform.arg(schemas::location(&folder)).args(paths);
        kubeconform
    };
    let manifests = ["crds", "rbac", "examples"].map(project);
    let said = succeed(&mut conform(&[manifests.as_slice(), &[rendered, optional]].concat()));
    assert!(said.contains("Invalid: 0, Errors: 0, Skipped: 0"), "{said}");
    println!("{said}");

    // What schemas cannot say: rules in CEL, of the CRDs and of the policies themselves.
    let mut examples: Vec<PathBuf> = fs::read_dir(project("examples"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("awsaccount-") || name.starts_with("namespace-")
        })
        .collect();
    examples.push(project("rbac/admissionpolicy.yaml"));
    examples.push(project("rbac/admissionpolicy-endpointslices.yaml"));
    examples.push(project("rbac/admissionpolicy-objects.yaml"));
    assert!(examples.len() > 6, "{examples:?}");
    for example in examples {
        let path = example.to_str().expect("text");
        let created = plane.kubectl(&["create", "--dry-run=server", "--validate=strict", "--filename", path]);
        created
            .expect("ran")
            .success()
            .unwrap_or_else(|error| panic!("{path}: {error:#}"));
    }

    // It would say so if something were wrong, in the chart or in an object of our own kinds.
    let endpoint = fs::read_to_string(project("examples/endpoint-generated.yaml")).expect("an example");
    for (right, wrong) in [
        (&chart_text, ("verbs:", "words:")),
        (&endpoint, ("vpc_id:", "vpc_name:")),
    ] {
        assert!(right.contains(wrong.0), "{}", wrong.0);
        let manifest = plane.folder().join("wrong.yaml");
        fs::write(&manifest, right.replace(wrong.0, wrong.1)).expect("written");
        let refused = conform(&[manifest]).output().expect("started");
        assert!(
            String::from_utf8_lossy(&refused.stdout).contains(wrong.1.trim_end_matches(':')),
            "{refused:?}"
        );
        assert!(!refused.status.success());
    }
}

/// What the API server says of its kinds, ours included: they appear a moment after their CRDs.
fn openapi(plane: &ControlPlane) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = plane
            .kubectl(&["get", "--raw", "/openapi/v2"])
            .expect("ran")
            .success()
            .expect("schemas");
        let kinds = ["AWSAccount", "VPCEndpoint", "VPCEndpointService"];
        if kinds
            .map(|kind| format!("com.silvermullet.v1beta1.{kind}\""))
            .iter()
            .all(|kind| text.contains(kind))
        {
            return serde_json::from_str(&text).expect("JSON");
        }
        assert!(
            Instant::now() < deadline,
            "the API server does not publish our kinds' schemas"
        );
        std::thread::sleep(Duration::from_millis(250));
    }
}
