//! The chart in a real API server, by real helm: installed, upgraded, rolled back and uninstalled,
//! with the objects that are there meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use vpce_testbed::control_plane::ControlPlane;
use vpce_testbed::schemas;

use crate::{NAMESPACE, RELEASE, chart, project, succeed, template, text, values};

const CRDS: [&str; 3] = [
    "awsaccounts.silvermullet.com",
    "vpcendpoints.silvermullet.com",
    "vpcendpointservices.silvermullet.com",
];
const ROLE: &str = "arn:aws:iam::111122223333:role/vpce-operator";

#[track_caller]
fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = plane.kubectl(arguments).expect("kubectl runs");
    output
        .success()
        .unwrap_or_else(|error| panic!("{arguments:?}: {error:#}"))
}

/// Runs helm in the release's namespace.
#[track_caller]
fn helm(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = try_helm(plane, arguments);
    output.unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

fn try_helm(plane: &ControlPlane, arguments: &[&str]) -> Result<String, String> {
    let output = plane
        .helm(&[arguments, &["--namespace", NAMESPACE]].concat())
        .expect("helm runs");
    output.success().map_err(|error| format!("{error:#}"))
}

/// An object as it is, if it is there.
fn get(plane: &ControlPlane, kind: &str, name: &str, namespace: &str) -> Option<Value> {
    let arguments = [
        "get",
        kind,
        name,
        "--namespace",
        namespace,
        "--ignore-not-found",
        "--output",
        "json",
    ];
    let printed = kubectl(plane, &arguments);
    (!printed.trim().is_empty()).then(|| serde_json::from_str(&printed).expect("JSON"))
}

fn wait_for_crds(plane: &ControlPlane) {
    kubectl(
        plane,
        &["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"],
    );
}

/// The objects of a user.
fn make_objects(plane: &ControlPlane) -> [Value; 2] {
    kubectl(plane, &["create", "namespace", "payments"]);
    for example in ["awsaccount-one-account", "endpoint-generated"] {
        let path = project(&format!("examples/{example}.yaml"));
        kubectl(plane, &["apply", "--filename", text(&path)]);
    }
    objects(plane)
}

fn objects(plane: &ControlPlane) -> [Value; 2] {
    ["awsaccounts", "vpcendpoints"].map(|kind| {
        let list = plane.json(&["get", kind, "--all-namespaces"]).expect("a list");
        let objects = list["items"].as_array().expect("a list");
        assert_eq!(objects.len(), 1, "{list}");
        json!({"uid": objects[0]["metadata"]["uid"], "spec": objects[0]["spec"], "going": objects[0]["metadata"]["deletionTimestamp"]})
    })
}

/// The chart of the last commit that has another one than this checkout, and what it is called.
fn previous_chart(folder: &Path) -> (PathBuf, String) {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "safe.directory=*"])
            .args(arguments)
            .current_dir(project(""));
        git.output().ok()
    };
    let chart_path = "charts/vpce-operator";
    let commits = git(&["log", "--format=%H", "--", chart_path])
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let differs = |commit: &&str| {
        let diff = git(&["diff", "--quiet", commit, "--", chart_path]);
        diff.is_some_and(|output| output.status.code() == Some(1))
    };
    let Some(commit) = commits.as_deref().unwrap_or_default().lines().find(differs) else {
        return (chart(), "this checkout's own: git knows no earlier one".to_owned());
    };
    let archive = folder.join("previous.tar");
    let output = format!("--output={}", archive.display());
    let made = git(&["archive", &output, commit, chart_path]).expect("git runs");
    assert!(made.status.success(), "{made:?}");
    succeed(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(folder));
    (folder.join(chart_path), commit.to_owned())
}

/// The CRD's versions as the API server has them, as far as a chart says what they are.
fn versions_in(plane: &ControlPlane, crd: &str) -> Value {
    get(plane, "crd", crd, "default").expect("the CRD")["spec"]["versions"].clone()
}

#[test]
fn it_is_upgraded_from_the_previous_commits_rolled_back_and_uninstalled_and_crds_and_objects_stay() {
    let plane = ControlPlane::start().expect("started");
    let (previous, commit) = previous_chart(plane.folder());
    println!("the previous chart: {commit}");
    let chart = chart();
    helm(&plane, &["install", RELEASE, text(&previous), "--create-namespace"]);
    wait_for_crds(&plane);
    let made = make_objects(&plane);
    let first = helm(&plane, &["get", "manifest", RELEASE]);
    // Of those that it has.
    let crds_of_previous = CRDS.map(|crd| get(&plane, "crd", crd, "default").map(|_| crd));
    let versions = || -> Vec<Value> {
        let crds = crds_of_previous.iter().flatten();
        crds.map(|crd| versions_in(&plane, crd)).collect()
    };
    let versions_before = versions();

    helm(
        &plane,
        &[
            "upgrade",
            RELEASE,
            text(&chart),
            "--values",
            text(&values("confined")),
            "--set",
            "rbac.namespaces={payments}",
        ],
    );
    assert_eq!(objects(&plane), made);
    let deployment = || get(&plane, "deployment", RELEASE, NAMESPACE).expect("a Deployment");
    let mode = |deployment: &Value| {
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array()
            .cloned();
        env.into_iter()
            .flatten()
            .find(|variable| variable["name"] == "AWS_USE_FIPS_ENDPOINT")
    };
    assert!(mode(&deployment()).is_some(), "{}", deployment());
    assert!(get(&plane, "role", RELEASE, "payments").is_some());
    assert!(get(&plane, "networkpolicy", RELEASE, NAMESPACE).is_some());

    helm(&plane, &["rollback", RELEASE, "1"]);
    assert_eq!(objects(&plane), made);
    assert_eq!(helm(&plane, &["get", "manifest", RELEASE]), first);
    assert!(mode(&deployment()).is_none(), "{}", deployment());
    assert!(get(&plane, "role", RELEASE, "payments").is_none());
    assert!(get(&plane, "networkpolicy", RELEASE, NAMESPACE).is_none());
    assert_eq!(versions(), versions_before);

    helm(&plane, &["upgrade", RELEASE, text(&chart), "--reset-then-reuse-values"]);
    let history: Value = serde_json::from_str(&helm(&plane, &["history", RELEASE, "--output", "json"])).expect("JSON");
    let revisions = history.as_array().expect("a list");
    assert_eq!(
        (revisions.len(), &revisions[3]["status"]),
        (4, &json!("deployed")),
        "{history}"
    );

    helm(&plane, &["uninstall", RELEASE]);
    assert_eq!(objects(&plane), made, "what users made stays");
    for crd in CRDS {
        let crd = get(&plane, "crd", crd, "default").expect("it stays");
        assert!(crd["metadata"]["deletionTimestamp"].is_null(), "{crd}");
    }
    let left = kubectl(
        &plane,
        &[
            "get",
            "deployment,service,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,poddisruptionbudget,\
             validatingadmissionpolicy,validatingadmissionpolicybinding,networkpolicy",
            "--all-namespaces",
            "--selector",
            "app.kubernetes.io/instance=vpce-operator",
            "--output",
            "name",
        ],
    );
    assert_eq!(left, "", "nothing else stays");

    // And the next installation goes on from there.
    helm(&plane, &["install", RELEASE, text(&chart)]);
    assert_eq!(objects(&plane), made);
}

#[test]
fn what_helm_renders_can_be_applied_by_kubectl_again_and_again() {
    let plane = ControlPlane::start().expect("started");
    kubectl(&plane, &["create", "namespace", NAMESPACE]);
    let rendered = plane.folder().join("rendered.yaml");
    let render = || fs::write(&rendered, template(&chart(), &values("default"), &[])).expect("written");
    let apply = || {
        render();
        kubectl(&plane, &["apply", "--server-side", "--filename", text(&rendered)])
    };
    let applied = apply();
    for expected in [
        "deployment.apps/vpce-operator",
        "customresourcedefinition.apiextensions.k8s.io/vpcendpoints.silvermullet.com",
    ] {
        assert!(applied.contains(&format!("{expected} serverside-applied")), "{applied}");
    }
    wait_for_crds(&plane);
    make_objects(&plane);
    let version = |kind: &str, name: &str, namespace: &str| {
        get(&plane, kind, name, namespace).expect("there")["metadata"]["generation"].clone()
    };
    let versions = || {
        (
            version("deployment", RELEASE, NAMESPACE),
            CRDS.map(|crd| version("crd", crd, "default")),
        )
    };
    let before = versions();
    assert_eq!(apply().lines().count(), applied.lines().count());
    assert_eq!(versions(), before, "the second time changes nothing");

    // What a GitOps tool asks, each time it has rendered the chart.
    render();
    let diff = plane
        .kubectl(&["diff", "--server-side", "--filename", text(&rendered)])
        .expect("ran");
    assert!(diff.status.success(), "{}", diff.stdout);
}

/// Installs the chart with everything on, in a namespace where pod security is restricted.
fn install_everything(plane: &ControlPlane) {
    for crd in schemas::foreign_crds().expect("CRDs of other operators") {
        kubectl(plane, &["apply", "--server-side", "--filename", text(&crd)]);
    }
    for crd in ["awsaccounts", "vpcendpoints", "vpcendpointservices"] {
        let crd = project(&format!("crds/{crd}.yaml"));
        kubectl(plane, &["apply", "--server-side", "--filename", text(&crd)]);
    }
    wait_for_crds(plane);
    for namespace in [NAMESPACE, "monitoring"] {
        kubectl(plane, &["create", "namespace", namespace]);
    }
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(plane, &["label", "namespace", NAMESPACE, restricted]);
    helm(
        plane,
        &[
            "install",
            RELEASE,
            text(&chart()),
            "--values",
            text(&values("full")),
            "--set",
            "crds.enabled=false",
        ],
    );
}

/// The ServiceMonitor selects the Service, and names its port.
fn monitor_finds_the_service(plane: &ControlPlane) {
    let monitor = plane
        .json(&["get", "servicemonitor", "vpce", "--namespace", "monitoring"])
        .expect("there");
    let services = plane
        .json(&["get", "service", "--namespace", NAMESPACE])
        .expect("a list");
    let service = &services["items"][0];
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().expect("labels") {
        assert_eq!(
            &service["metadata"]["labels"][label], value,
            "the monitor selects the Service"
        );
    }
    assert_eq!(
        service["spec"]["ports"][0]["name"],
        monitor["spec"]["endpoints"][0]["port"]
    );
}

/// The pod of a Deployment is admitted; the same with more rights is not.
fn pod_is_admitted(plane: &ControlPlane, deployment: &Value) {
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "tried".into();
    admitted(plane, &pod).unwrap_or_else(|error| panic!("{error}"));
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refused = admitted(plane, &pod).expect_err("the namespace is restricted");
    assert!(
        refused.contains("violates PodSecurity \"restricted:latest\""),
        "{refused}"
    );
}

#[test]
fn everything_on_is_accepted_and_the_pod_is_admitted_where_pod_security_is_restricted() {
    let plane = ControlPlane::start().expect("started");
    install_everything(&plane);
    for (kind, name, namespace) in [
        ("awsaccount", "payments", "default"),
        ("awsaccount", "search", "default"),
        ("servicemonitor", "vpce", "monitoring"),
        ("prometheusrule", "vpce", "monitoring"),
        ("grafanadashboard", "vpce-platform", "monitoring"),
        ("configmap", "vpce-dashboard-platform", "monitoring"),
        ("networkpolicy", "vpce", NAMESPACE),
        ("poddisruptionbudget", "vpce", NAMESPACE),
    ] {
        assert!(get(&plane, kind, name, namespace).is_some(), "{kind} {name}");
    }
    monitor_finds_the_service(&plane);
    let deployment = |name: &str| get(&plane, "deployment", name, NAMESPACE).expect("a Deployment");
    pod_is_admitted(&plane, &deployment("vpce"));

    // The same with the default values.
    helm(&plane, &["uninstall", RELEASE]);
    helm(
        &plane,
        &["install", RELEASE, text(&chart()), "--set", "crds.enabled=false"],
    );
    pod_is_admitted(&plane, &deployment(RELEASE));
    let openshift = values("openshift");
    helm(
        &plane,
        &[
            "upgrade",
            RELEASE,
            text(&chart()),
            "--values",
            text(&openshift),
            "--set",
            "crds.enabled=false",
        ],
    );
    pod_is_admitted(&plane, &deployment(RELEASE));
}

/// Whether the API server would take the pod.
fn admitted(plane: &ControlPlane, pod: &Value) -> Result<String, String> {
    let path = plane.folder().join("pod.json");
    fs::write(&path, pod.to_string()).expect("written");
    let arguments = [
        "create",
        "--dry-run=server",
        "--namespace",
        NAMESPACE,
        "--filename",
        text(&path),
    ];
    let output = plane.kubectl(&arguments).expect("kubectl runs");
    output.success().map_err(|error| format!("{error:#}"))
}

#[test]
fn awsaccounts_of_the_values_need_their_crd_first_and_stay_when_they_are_taken_off() {
    let plane = ControlPlane::start().expect("started");
    let chart = chart();
    let account = |name: &str| format!("awsAccounts.{name}.role_arn={ROLE},awsAccounts.{name}.namespaces={{{name}}}");
    let (payments, search) = (account("payments"), account("search"));
    let in_cluster = |name: &str| get(&plane, "awsaccount", name, "default");

    let refused = try_helm(
        &plane,
        &[
            "install",
            RELEASE,
            text(&chart),
            "--create-namespace",
            "--set",
            &payments,
        ],
    );
    let refused = refused.expect_err("the cluster does not know the kind");
    assert!(refused.contains("ensure CRDs are installed first"), "{refused}");
    assert_eq!(
        kubectl(
            &plane,
            &[
                "get",
                "crd,deployment,clusterrole",
                "--all-namespaces",
                "--selector",
                "app.kubernetes.io/instance",
                "--output",
                "name"
            ]
        ),
        ""
    );

    // One way: first without, then with.
    helm(
        &plane,
        &["upgrade", "--install", RELEASE, text(&chart), "--create-namespace"],
    );
    wait_for_crds(&plane);
    helm(&plane, &["upgrade", RELEASE, text(&chart), "--set", &payments]);
    let there = in_cluster("payments").expect("made");
    assert_eq!(there["spec"]["role_arn"], ROLE);
    helm(&plane, &["upgrade", RELEASE, text(&chart), "--set", &search]);
    let kept = in_cluster("payments").expect("it stays");
    assert_eq!(kept["metadata"]["uid"], there["metadata"]["uid"]);
    helm(
        &plane,
        &["upgrade", RELEASE, text(&chart), "--set", &payments, "--set", &search],
    );
    helm(&plane, &["uninstall", RELEASE]);
    for name in ["payments", "search"] {
        let object = in_cluster(name).expect("it stays");
        assert!(object["metadata"]["deletionTimestamp"].is_null(), "{object}");
    }

    // What is written wrong gets the API server's own words.
    let wrong = "awsAccounts.bad.role_arn=arn:aws:iam::111122223333:role/x,awsAccounts.bad.default_tags.aws:a=b";
    let refused = try_helm(&plane, &["install", RELEASE, text(&chart), "--set", wrong]).expect_err("a reserved tag");
    assert!(refused.contains("which are reserved"), "{refused}");
    helm(&plane, &["uninstall", RELEASE]);

    // Under another name, helm takes over what stayed with `--take-ownership`.
    let other = ["install", "other", text(&chart), "--set", &payments];
    let refused = try_helm(&plane, &other).expect_err("it is the first release's");
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    helm(&plane, &[&other[..], &["--take-ownership"]].concat());
    let kept = in_cluster("payments").expect("it stays");
    assert_eq!(kept["metadata"]["uid"], there["metadata"]["uid"]);
    for crd in CRDS {
        let crd = get(&plane, "crd", crd, "default").expect("it stays");
        assert_eq!(
            crd["metadata"]["annotations"]["meta.helm.sh/release-name"], "other",
            "{crd}"
        );
    }
}

#[test]
fn crds_by_kubectl_and_awsaccounts_by_helm_take_one_installation() {
    let plane = ControlPlane::start().expect("started");
    kubectl(
        &plane,
        &["apply", "--server-side", "--filename", text(&project("crds"))],
    );
    wait_for_crds(&plane);
    let account = format!("awsAccounts.payments.role_arn={ROLE}");
    helm(
        &plane,
        &[
            "install",
            RELEASE,
            text(&chart()),
            "--create-namespace",
            "--set",
            "crds.enabled=false",
            "--set",
            &account,
        ],
    );
    assert!(get(&plane, "awsaccount", "payments", "default").is_some());

    // The values and the command line that the Python operator's README shows.
    let (chart, values) = (chart(), values("python-operator"));
    let arguments = [
        "upgrade",
        "--install",
        "python-values",
        text(&chart),
        "--values",
        text(&values),
        "--namespace",
        "default",
    ];
    let output = plane
        .helm(&[&arguments as &[&str], &["--set", "crds.enabled=false"]].concat())
        .expect("helm runs");
    output.success().expect("installed");
    let deployment = get(&plane, "deployment", "python-values-vpce-operator", "default").expect("where the values say");
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(
        annotations["iam.amazonaws.com/role"],
        "arn:aws:iam::999999999999:role/vpce-operator-base"
    );
}
