//! The demo: everything started, a handful of endpoints in three AWS accounts, and what a person
//! wants to see of it.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::aws::{Config, Simulator};
use crate::child::{KEEP, last_lines};
use crate::control_plane::ControlPlane;
use crate::operator::{self, Aws, Operator, Options, project};
use crate::scenario;
use crate::schemas;
use crate::tools::Tool;

mod calls;
mod introduction;
mod pods;
mod provider;

const READY_WITHIN: Duration = Duration::from_secs(180);
/// How often the Pod's status is brought up to date while everything runs.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// In the order in which they are applied.
const MANIFESTS: [&str; 5] = [
    "examples/demo/namespaces.yaml",
    "examples/demo/awsaccounts.yaml",
    "examples/seed",
    ENDPOINTS,
    ENDPOINT_SERVICE,
];
const ENDPOINT_SERVICE: &str = "examples/demo/endpoint-service.yaml";
const ENDPOINTS: &str = "examples/demo/endpoints.yaml";

/// Replicas: as many as there are processes.
const VALUES: [(&str, &str); 2] = [("replicas", "1"), ("dnsEndpoints.enabled", "true")];

/// Of these endpoints it is shown what their teams wrote.
const SHOWN: [(&str, &str); 3] = [("green", "ecr-api"), ("blue", "ecr-api"), ("green", "warehouse")];

/// Everything that runs. The operator is first: it ends while what it talks to is still there.
struct Stage {
    operator: Operator,
    plane: ControlPlane,
    aws: Simulator,
}

/// Applies the demo's manifests, waits until every endpoint is ready and prints what came of it. At
/// a terminal it then stays until Ctrl-C.
///
/// # Errors
/// When something does not start, or an endpoint does not become ready.
pub fn demo() -> Result<()> {
    let progress = Progress::begin();
    let stage = Stage::start(&progress)?;
    for manifest in MANIFESTS {
        progress.say(&format!("kubectl apply -f {manifest}"));
        let path = project(manifest);
        let path = path.to_str().context("the project's path is no UTF-8")?;
        stage
            .plane
            .kubectl(&["apply", "--validate=strict", "--filename", path])?
            .success()?;
    }
    progress.say("creating the load balancer of Service external/reports, as its controller would");
    stage.create_load_balancer()?;
    stage.wait_until_ready(&progress)?;
    stage.show()?;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        println!("\n{}", stage.introduction()?);
        stage.stay()?;
    } else if let Some(kept) = stage.kept() {
        // All else ends with this process.
        println!("\nKept for you:\n{kept}");
    }
    stage.end()
}

/// Starts everything with nothing applied, and stays until Ctrl-C.
///
/// # Errors
/// When something does not start.
pub fn up() -> Result<()> {
    let stage = Stage::start(&Progress::begin())?;
    println!("\n{}", stage.introduction()?);
    stage.stay()?;
    stage.end()
}

impl Stage {
    fn start(progress: &Progress) -> Result<Self> {
        let binary = operator::binary()?;
        for tool in [
            Tool::Etcd,
            Tool::KubeApiserver,
            Tool::KubeControllerManager,
            Tool::Kubectl,
            Tool::Helm,
        ] {
            tool.path()?; // says so where it has to be built first
        }
        progress.say("starting a Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager");
        let plane = ControlPlane::start()?;
        progress.say("starting an AWS simulator with three accounts");
        let aws = Simulator::start(Config::default())?;
        scenario::seed(&aws)?;
        progress.say("installing external-dns' CRD, for DNS names");
        plane
            .apply(&std::fs::read_to_string(schemas::dns_endpoint_crd()?)?)?
            .success()?;
        progress.say("helm install charts/vpce-operator, and starting the operator as its Deployment says");
        let options = Options {
            binary,
            values: VALUES.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..Options::default()
        };
        let operator = Operator::install(&plane, &Aws::from(&aws), options)?;
        pods::roll_out(&plane, &operator)?;
        Ok(Self { operator, plane, aws })
    }

    /// Prints what an endpoint says of itself whenever that changes. An AWSAccount is as it should
    /// be once the permissions of its role are verified, too.
    fn wait_until_ready(&self, progress: &Progress) -> Result<()> {
        progress.say("waiting until every endpoint is ready and every account is verified");
        let deadline = Instant::now() + READY_WITHIN;
        let mut before = BTreeMap::new();
        loop {
            let endpoints = self.list("vpcendpoints")?;
            let summaries: BTreeMap<String, String> = endpoints.iter().filter_map(summary).collect();
            for (name, summary) in &summaries {
                if before.get(name) != Some(summary) {
                    progress.say(&format!("  {name}: {summary}"));
                }
            }
            let are_ready = endpoints.iter().all(|endpoint| is_true(endpoint, "Ready"));
            let services = self.list("vpcendpointservices")?;
            let are_connected = services
                .iter()
                .all(|service| is_true(service, "Ready") && service["status"]["connections"]["available"] == 1);
            if are_ready
                && are_connected
                && self
                    .list("awsaccounts")?
                    .iter()
                    .all(|account| is_true(account, "PermissionsVerified"))
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "not everything is ready after {READY_WITHIN:?}; the end of the operator's log:\n{}",
                    last_lines(&self.operator.logs())
                );
            }
            before = summaries;
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn list(&self, resource: &str) -> Result<Vec<Value>> {
        let mut list = self.plane.json(&["get", resource, "--all-namespaces"])?;
        match list["items"].take() {
            Value::Array(objects) => Ok(objects),
            other => bail!("a list of {resource} has the items {other}"),
        }
    }

    fn show(&self) -> Result<()> {
        println!("\nWhat each team wrote, beside the name:");
        for (namespace, name) in SHOWN {
            println!("  {namespace}/{name}  spec: {}", written(ENDPOINTS, namespace, name)?);
        }
        self.tell_of_provider()?;
        let commands: [&[&str]; 5] = [
            &["get", "awsaccounts"],
            &["get", "vpcesvc", "--all-namespaces"],
            &["get", "vpce", "--all-namespaces", "--output", "wide"],
            &[
                "get",
                "services",
                "--all-namespaces",
                "--selector",
                "app.kubernetes.io/managed-by=vpce-operator",
            ],
            &[
                "get",
                "dnsendpoints",
                "--all-namespaces",
                "--output",
                "custom-columns=NAMESPACE:.metadata.namespace,NAME:.spec.endpoints[*].dnsName,TARGET:.spec.endpoints[*].targets[*]",
            ],
        ];
        for command in commands {
            println!("\n$ kubectl {}", command.join(" "));
            print!("{}", self.plane.kubectl(command)?.success()?);
        }
        println!("\nAWS calls, as the simulator counted them:");
        print!("{}", calls::table(&self.aws.calls()));
        Ok(())
    }

    /// Stays until Ctrl-C, and keeps the status of the operator's Pod true meanwhile.
    fn stay(&self) -> Result<()> {
        println!("\nIt all runs until you press Ctrl-C.");
        let mut complained = false;
        until_interrupted(|| {
            let reported = pods::report(&self.plane, &self.operator);
            if let (Err(error), false) = (&reported, complained) {
                eprintln!("testbed: the status of the operator's Pod is not kept up to date: {error:#}");
            }
            complained = reported.is_err();
        })
    }

    /// What is still there when this process has ended.
    fn kept(&self) -> Option<String> {
        std::env::var_os(KEEP)?;
        let (log, folder) = (self.operator.log(), self.plane.folder());
        Some(format!(
            "Operator log:   {}\nControl plane:  {}",
            log.display(),
            folder.display()
        ))
    }

    fn end(self) -> Result<()> {
        let status = self.operator.terminate()?;
        if !status.success() {
            bail!(
                "the operator ended with {status}; the end of its log:\n{}",
                last_lines(&self.operator.logs())
            );
        }
        Ok(())
    }
}

impl From<&Simulator> for Aws {
    fn from(simulator: &Simulator) -> Self {
        let (access_key_id, secret_access_key) = simulator.base_credentials();
        Self {
            url: simulator.url(),
            region: "us-east-1".to_owned(),
            access_key_id,
            secret_access_key,
        }
    }
}

/// Says what happens, and when.
struct Progress {
    begun: Instant,
}

impl Progress {
    fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    fn say(&self, line: &str) {
        println!("{:6.1} s  {line}", self.begun.elapsed().as_secs_f64());
    }
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == type_)
}

fn is_true(object: &Value, type_: &str) -> bool {
    condition(object, type_).is_some_and(|condition| condition["status"] == "True")
}

/// The spec of an object of the demo, as it stands in its manifest: the last one of that name.
fn written(manifest: &str, namespace: &str, name: &str) -> Result<Value> {
    let manifests = std::fs::read_to_string(project(manifest))?;
    for document in manifests.split("\n---\n").collect::<Vec<_>>().into_iter().rev() {
        let mut object: Value = serde_saphyr::from_str(document)?;
        let metadata = &object["metadata"];
        if metadata["namespace"] == namespace && metadata["name"] == name {
            return Ok(object["spec"].take());
        }
    }
    bail!("{manifest} has no object {namespace}/{name}")
}

/// Which object it is, and what its condition Ready says.
fn summary(endpoint: &Value) -> Option<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (metadata, ready) = (&endpoint["metadata"], condition(endpoint, "Ready")?);
    Some((
        format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"])),
        format!("{}: {}", text(&ready["reason"]), text(&ready["message"])),
    ))
}

fn until_interrupted(mut meanwhile: impl FnMut()) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(REPORT_EVERY) => meanwhile(),
            }
        }
    })
}
