//! What the chart renders: its unit tests, the same bytes twice, and objects that three versions of
//! Kubernetes know.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use vpce_testbed::schemas;
use vpce_testbed::tools::Tool;

use crate::{all_values, chart, helm, project, refused, succeed, template, text, values};

/// The documents of a stream of manifests.
fn objects(rendered: &str) -> Vec<Value> {
    let documents = format!("\n{rendered}");
    let documents = documents.split("\n---").filter(|document| {
        let mut lines = document.lines();
        lines.any(|line| !line.trim().is_empty() && !line.starts_with('#'))
    });
    documents
        .map(|document| serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}")))
        .collect()
}

#[test]
fn its_unit_tests_pass() {
    let mut unittest = Command::new(Tool::HelmUnittest.path().expect("helm-unittest"));
    let said = succeed(unittest.arg(chart()));
    println!("{said}");
    let line = said.lines().find(|line| line.starts_with("Tests:")).expect("a summary");
    let passed = line
        .split([' ', ','])
        .filter_map(|word| word.parse::<u32>().ok())
        .next();
    assert!(passed >= Some(110), "{line}");
}

#[test]
fn it_lints_with_every_file_of_values() {
    for values in all_values() {
        succeed(helm().args(["lint", "--strict", "--values"]).arg(values).arg(chart()));
    }
}

#[test]
fn rendering_twice_gives_the_same_bytes_whatever_the_cluster_knows() {
    let knows = [
        "--api-versions",
        "monitoring.coreos.com/v1",
        "--api-versions",
        "silvermullet.com/v1beta1/AWSAccount",
    ];
    for values in all_values() {
        let first = template(&chart(), &values, &[]);
        assert!(!first.is_empty());
        for more in [&[] as &[&str], &knows, &["--is-upgrade"], &["--kube-version", "1.40.0"]] {
            assert!(
                first == template(&chart(), &values, more),
                "{} {more:?}",
                values.display()
            );
        }
    }
}

#[test]
fn the_package_renders_the_same_and_carries_what_users_read_and_nothing_else() {
    let folder = std::env::temp_dir().join(format!("vpce-package-{}", std::process::id()));
    succeed(helm().arg("package").arg(chart()).arg("--destination").arg(&folder));
    let entries: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let [package] = &entries[..] else { panic!("{entries:?}") };
    let listed = succeed(Command::new("tar").arg("-tzf").arg(package));
    let folders: BTreeSet<&str> = listed.lines().filter_map(|path| path.split('/').nth(1)).collect();
    let expected = [
        ".helmignore",
        "Chart.yaml",
        "README.md",
        "files",
        "templates",
        "values.schema.json",
        "values.yaml",
    ];
    assert_eq!(folders, BTreeSet::from(expected));
    for values in all_values() {
        assert!(
            template(package, &values, &[]) == template(&chart(), &values, &[]),
            "{}",
            values.display()
        );
    }
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn every_object_has_the_common_labels_and_annotations_and_the_release_s_own_come_first() {
    let more = [
        "--set",
        "commonLabels.app\\.kubernetes\\.io/managed-by=stranger,rbac.namespaces={payments}",
    ];
    let objects = objects(&template(&chart(), &values("full"), &more));
    assert!(objects.len() > 25, "{}", objects.len());
    for object in objects {
        let metadata = &object["metadata"];
        assert_eq!(metadata["labels"]["team"], "platform", "{metadata}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "Helm", "{metadata}");
        assert_eq!(
            metadata["annotations"]["example.com/contact"], "platform@example.com",
            "{metadata}"
        );
    }
}

#[test]
fn every_alert_of_the_rules_file_is_in_the_prometheusrule_as_it_stands_there() {
    let file = fs::read_to_string(project("prometheus/alerts.yaml")).expect("the rules");
    let mut expected: Value = serde_saphyr::from_str(&file).expect("YAML");
    let rendered = template(
        &chart(),
        &values("default"),
        &[
            "--set",
            "prometheusRule.enabled=true",
            "--set",
            "prometheusRule.runbookBaseUrl=https://example.com/runbooks",
        ],
    );
    let rule = objects(&rendered)
        .into_iter()
        .find(|object| object["kind"] == "PrometheusRule");
    let rule = rule.expect("a PrometheusRule");
    let mut alerts = 0;
    for group in expected["groups"].as_array_mut().expect("groups") {
        for rule in group["rules"].as_array_mut().expect("rules") {
            let name = rule["alert"].as_str().expect("an alert").to_owned();
            rule["annotations"]["runbook_url"] = format!("https://example.com/runbooks/{name}.md").into();
            alerts += 1;
        }
    }
    assert!(alerts >= 3);
    assert_eq!(rule["spec"]["groups"], expected["groups"]);
    assert!(rendered.contains("{{ $labels."), "Prometheus' own templates");
}

#[test]
fn a_chart_of_a_release_links_the_runbooks_of_its_version() {
    let folder = std::env::temp_dir().join(format!("vpce-released-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let copied = folder.join("vpce-operator");
    succeed(Command::new("cp").arg("-R").arg(chart()).arg(&copied));
    let manifest = copied.join("Chart.yaml");
    let released = fs::read_to_string(&manifest).expect("readable") + "home: https://git.example.com/team/operator\n";
    fs::write(&manifest, released).expect("written");
    let link = |chart: &Path| {
        let rendered = template(chart, &values("default"), &["--set", "prometheusRule.enabled=true"]);
        let mut objects = objects(&rendered).into_iter();
        let rule = objects
            .find(|object| object["kind"] == "PrometheusRule")
            .expect("there");
        let first = &rule["spec"]["groups"][0]["rules"][0];
        let name = first["alert"].as_str().expect("an alert").to_owned();
        (name, first["annotations"]["runbook_url"].clone())
    };
    let version = env!("CARGO_PKG_VERSION");
    let (name, url) = link(&copied);
    let page = format!("docs/runbooks/{name}.md");
    assert_eq!(
        url,
        format!("https://git.example.com/team/operator/blob/v{version}/{page}")
    );
    assert!(project(&page).is_file(), "{page}");
    assert!(
        link(&chart()).1.is_null(),
        "a checkout does not know where it is published"
    );
    fs::remove_dir_all(&folder).expect("removed");
}

/// What OpenShift's SecurityContextConstraints `restricted-v2` refuse in a pod. They choose user,
/// fsGroup and SELinux labels from the namespace's ranges, so a pod may not choose its own.
fn refused_by_restricted_v2(pod: &Value) -> Vec<&'static str> {
    let of_pod = &pod["securityContext"];
    let mut refused = Vec::new();
    let mut check = |is_right: bool, what: &'static str| {
        if !is_right {
            refused.push(what);
        }
    };
    check(of_pod["fsGroup"].is_null(), "fsGroup");
    check(of_pod["supplementalGroups"].is_null(), "supplementalGroups");
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        check(pod[host] != true, host);
    }
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    check(volumes.clone().all(|volume| volume["hostPath"].is_null()), "hostPath");
    let containers = ["initContainers", "containers"].map(|kind| pod[kind].as_array());
    for container in containers.into_iter().flatten().flatten() {
        let own = &container["securityContext"];
        for context in [of_pod, own] {
            check(context["runAsUser"].is_null(), "runAsUser");
            check(context["seLinuxOptions"].is_null(), "seLinuxOptions");
            let profile = &context["seccompProfile"]["type"];
            check(profile.is_null() || profile == "RuntimeDefault", "seccompProfile");
        }
        check(own["privileged"] != true, "privileged");
        check(own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
        check(own["capabilities"]["drop"][0] == "ALL", "capabilities");
        check(own["capabilities"]["add"].is_null(), "capabilities");
        let ports = container["ports"].as_array().into_iter().flatten();
        check(ports.clone().all(|port| port["hostPort"].is_null()), "hostPort");
    }
    refused
}

#[test]
fn with_the_values_for_openshift_the_pod_leaves_to_restricted_v2_what_that_assigns() {
    let pod = |values_file: &str| {
        let rendered = template(&chart(), &values(values_file), &[]);
        let mut objects = objects(&rendered).into_iter();
        let deployment = objects.find(|object| object["kind"] == "Deployment").expect("there");
        deployment["spec"]["template"]["spec"].clone()
    };
    assert_eq!(refused_by_restricted_v2(&pod("openshift")), [] as [&str; 0]);
    assert_eq!(refused_by_restricted_v2(&pod("default")), ["fsGroup", "runAsUser"]);
    // The README shows the same values.
    let readme = fs::read_to_string(chart().join("README.md")).expect("the README");
    let profile = "podSecurityContext:\n  runAsUser: null\n  runAsGroup: null\n  fsGroup: null\n";
    let file = fs::read_to_string(values("openshift")).expect("the values");
    assert!(readme.contains(profile) && file.contains(profile));
}

#[test]
fn every_dashboard_is_brought_as_it_stands() {
    let objects = objects(&template(&chart(), &values("full"), &[]));
    let mut dashboards = 0;
    for entry in fs::read_dir(project("grafana")).expect("the dashboards") {
        let path = entry.expect("an entry").path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else {
            continue;
        };
        let expected: Value = serde_json::from_str(&fs::read_to_string(&path).expect("readable")).expect("JSON");
        let of = |kind: &str, name: String| {
            let object = objects
                .iter()
                .find(|object| object["kind"] == kind && object["metadata"]["name"] == name.as_str());
            object.unwrap_or_else(|| panic!("no {kind} {name}"))
        };
        let config_map = &of("ConfigMap", format!("vpce-dashboard-{name}"))["data"][format!("vpce-{name}.json")];
        let resource = &of("GrafanaDashboard", format!("vpce-{name}"))["spec"]["json"];
        for text in [config_map, resource] {
            let found: Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
            assert_eq!(found, expected, "{name}");
        }
        dashboards += 1;
    }
    assert!(dashboards > 0);
}

#[test]
fn every_manifest_conforms_to_three_versions_of_kubernetes() {
    let folder = std::env::temp_dir().join(format!("vpce-conform-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let ours = folder.join("schemas");
    fs::create_dir_all(&ours).expect("a folder");
    for crd in ["awsaccounts", "vpcendpoints", "vpcendpointservices"] {
        schemas::write_crd(&project(&format!("crds/{crd}.yaml")), &ours).expect("our schemas");
    }
    let foreign = schemas::of_foreign_kinds().expect("schemas of other operators");
    let mut manifests: Vec<PathBuf> = ["crds", "rbac", "examples"].map(project).into();
    for values in all_values() {
        let rendered = folder.join(values.file_name().expect("a name"));
        fs::write(&rendered, template(&chart(), &values, &[])).expect("written");
        manifests.push(rendered);
    }
    let releases = schemas::of_releases().expect("schemas of Kubernetes");
    assert_eq!(releases.len(), 3);
    for (version, kubernetes) in releases {
        let conform = |paths: &[PathBuf]| {
            let mut kubeconform = Command::new(Tool::Kubeconform.path().expect("kubeconform"));
            kubeconform.args(["-strict", "-summary", "-output", "text"]);
            // Flux's kinds are read with Flux's own types, by the end-to-end tests.
            kubeconform.args(["-ignore-filename-pattern", "examples/flux/"]);
            for folder in [&kubernetes, &ours, &foreign] {
                kubeconform.arg("-schema-location").arg(schemas::location(folder));
            }
            kubeconform.args(paths);
            kubeconform
        };
        let said = succeed(&mut conform(&manifests));
        assert!(said.contains("Invalid: 0, Errors: 0, Skipped: 0"), "{version}: {said}");
        println!("Kubernetes {version}: {said}");

        // It would say so if something were wrong, whosever kind it is.
        let mut wrong = fs::read_to_string(folder.join("full-values.yaml")).expect("rendered");
        let mistakes = [
            ("replicas: 3", "replicaz: 3"),
            ("\n  role_arn: ", "\n  role_urn: "),
            ("honorLabels:", "honourLabels:"),
            ("instanceSelector:", "instanceChooser:"),
            ("  groups:\n", "  groupz:\n"),
            ("podSelector:", "podChooser:"),
        ];
        for (right, mistake) in mistakes {
            assert!(wrong.contains(right), "{right}");
            wrong = wrong.replacen(right, mistake, 1);
        }
        let manifest = folder.join("wrong.yaml");
        fs::write(&manifest, wrong).expect("written");
        let complaint = refused(&mut conform(std::slice::from_ref(&manifest)));
        assert!(complaint.contains("Invalid: 6, Errors: 0"), "{version}: {complaint}");
        for (_, mistake) in mistakes {
            let name = mistake.trim().split(':').next().expect("a name");
            assert!(
                complaint.contains(&format!("'{name}'")),
                "{version}, {name}: {complaint}"
            );
        }
    }
    fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", text(&folder)));
}
