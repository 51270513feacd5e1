//! A kubelet's part for the operator's Deployment: there is no node, so the operator runs beside
//! the cluster, and the status of its Pod is written here. Kubernetes' own controllers make the
//! status of ReplicaSet and Deployment from it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::operator::{NAMESPACE, Operator, RELEASE};

const ROLLED_OUT_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Reports until the Deployment has rolled out.
///
/// # Errors
/// When it does not.
pub(super) fn roll_out(plane: &ControlPlane, operator: &Operator) -> Result<()> {
    let deadline = Instant::now() + ROLLED_OUT_WITHIN;
    loop {
        report(plane, operator)?;
        let deployment = plane.json(&["get", "deployment", RELEASE, "--namespace", NAMESPACE])?;
        if deployment["status"]["availableReplicas"] == deployment["spec"]["replicas"] {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the Deployment has not rolled out after {ROLLED_OUT_WITHIN:?}: {}",
                deployment["status"]
            );
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Writes how the operator is into the status of its Pod. There is one process, so one Pod runs,
/// the newest: further replicas wait for a node, as they would.
///
/// # Errors
/// When the API server does not answer or refuses.
pub(super) fn report(plane: &ControlPlane, operator: &Operator) -> Result<()> {
    let selector = format!("app.kubernetes.io/instance={RELEASE}");
    let pods = plane.json(&["get", "pods", "--namespace", NAMESPACE, "--selector", &selector])?;
    let living = pods["items"].as_array().into_iter().flatten();
    let living = living.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let age = |pod: &&Value| {
        let metadata = &pod["metadata"];
        (metadata["creationTimestamp"].to_string(), metadata["name"].to_string())
    };
    let Some(pod) = living.max_by_key(age) else {
        return Ok(());
    };
    let ready = operator.is_ready().unwrap_or(false);
    if is_told(pod, ready) {
        return Ok(());
    }
    let status = json!({"status": status(pod, ready, operator)}).to_string();
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let patch = [
        "patch",
        "pod",
        name,
        "--namespace",
        NAMESPACE,
        "--subresource=status",
        "--patch",
        &status,
    ];
    plane.kubectl(&patch)?.success().map(drop)
}

fn is_told(pod: &Value, ready: bool) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut told = conditions.filter(|condition| condition["type"] == "Ready");
    pod["status"]["phase"] == "Running" && told.next_back().is_some_and(|told| told["status"] == word(ready))
}

fn word(yes: bool) -> &'static str {
    if yes { "True" } else { "False" }
}

fn status(pod: &Value, ready: bool, operator: &Operator) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let started = pod["status"]["startTime"].as_str().unwrap_or(&now);
    let condition = |kind: &str, yes: bool| json!({"type": kind, "status": word(yes), "lastTransitionTime": now});
    let ended = operator.exited().ok().flatten();
    let state = match ended {
        None => json!({"running": {"startedAt": started}, "terminated": null}),
        Some(ended) => json!({"running": null, "terminated": {
            "exitCode": ended.code().unwrap_or(1), "reason": "Error", "startedAt": started, "finishedAt": now,
        }}),
    };
    let container = &pod["spec"]["containers"][0];
    json!({
        "phase": "Running",
        "message": format!(
            "The operator runs outside the cluster, beside the testbed, and logs to {}", operator.log().display()
        ),
        "startTime": started,
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", ready), condition("Ready", ready),
        ],
        "containerStatuses": [{
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": ready, "started": ended.is_none(), "restartCount": 0, "state": state,
        }],
    })
}
