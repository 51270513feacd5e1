//! The demo: everything started, a handful of endpoints in three AWS accounts, and what a person wants to see of it.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::aws::{Call, Config, Simulator};
use crate::child::last_lines;
use crate::control_plane::ControlPlane;
use crate::operator::{self, Aws, Operator, Options, project};
use crate::scenario;
use crate::tools::Tool;

const READY_WITHIN: Duration = Duration::from_secs(180);

/// In the order in which they are applied.
const MANIFESTS: [&str; 4] = [
    "examples/demo/namespaces.yaml",
    "examples/demo/awsaccounts.yaml",
    "examples/seed",
    "examples/demo/endpoints.yaml",
];

/// Everything that runs. The operator is first: it ends while what it talks to is still there.
struct Stage {
    operator: Operator,
    plane: ControlPlane,
    aws: Simulator,
}

/// Applies the demo's manifests, waits until every endpoint is ready and prints what came of it. At a terminal it then stays until Ctrl-C.
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
    stage.wait_until_ready(&progress)?;
    stage.show()?;
    stage.point_at()?;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        println!("\nIt all runs until you press Ctrl-C.");
        wait_for_interrupt()?;
    }
    stage.end()
}

/// Starts everything with nothing applied, and stays until Ctrl-C.
///
/// # Errors
/// When something does not start.
pub fn up() -> Result<()> {
    let stage = Stage::start(&Progress::begin())?;
    stage.point_at()?;
    println!("\nIt all runs until you press Ctrl-C.");
    wait_for_interrupt()?;
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
        progress.say("helm install charts/vpce-operator, and starting the operator as its Deployment says");
        let options = Options {
            binary,
            ..Options::default()
        };
        let operator = Operator::install(&plane, &Aws::from(&aws), options)?;
        Ok(Self { operator, plane, aws })
    }

    /// Prints what an endpoint says of itself whenever that changes.
    fn wait_until_ready(&self, progress: &Progress) -> Result<()> {
        progress.say("waiting until every endpoint is ready");
        let deadline = Instant::now() + READY_WITHIN;
        let mut seen = BTreeMap::new();
        loop {
            let list = self.plane.json(&["get", "vpcendpoints", "--all-namespaces"])?;
            let endpoints: BTreeMap<_, _> = list["items"].as_array().into_iter().flatten().map(told).collect();
            for (name, now) in &endpoints {
                if !now.summary.is_empty() && seen.get(name) != Some(now) {
                    progress.say(&format!("  {name}: {}", now.summary));
                }
            }
            if endpoints.values().all(|endpoint| endpoint.ready) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "not every endpoint is ready after {READY_WITHIN:?}; the end of the operator's log:\n{}",
                    last_lines(&self.operator.logs())
                );
            }
            seen = endpoints;
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn show(&self) -> Result<()> {
        let commands: [&[&str]; 3] = [
            &["get", "awsaccounts"],
            &["get", "vpce", "--all-namespaces", "--output", "wide"],
            &[
                "get",
                "services",
                "--all-namespaces",
                "--selector",
                "app.kubernetes.io/managed-by=vpce-operator",
            ],
        ];
        for command in commands {
            println!("\n$ kubectl {}", command.join(" "));
            print!("{}", self.plane.kubectl(command)?.success()?);
        }
        println!("\nAWS calls, as the simulator counted them:");
        print!("{}", table(&self.aws.calls()));
        Ok(())
    }

    fn point_at(&self) -> Result<()> {
        let log = self.operator.log();
        println!(
            "\nMetrics:       https://{}/metrics (curl --insecure --header \"Authorization: Bearer $(kubectl create token prometheus \\\n  \
             --namespace vpce-system)\")",
            self.operator.metrics_address()?
        );
        println!("Operator log:  {}", log.display());
        println!("AWS simulator: {} (EC2 and STS)", self.aws.url());
        println!("To look around yourself:");
        println!("  export KUBECONFIG={}", self.plane.kubeconfig().display());
        println!("  alias kubectl={}", Tool::Kubectl.path()?.display());
        std::io::stdout().flush()?;
        Ok(())
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

/// What an endpoint says of itself.
#[derive(PartialEq)]
struct Told {
    ready: bool,
    summary: String,
}

fn told(endpoint: &Value) -> (String, Told) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = format!(
        "{}/{}",
        text(&endpoint["metadata"]["namespace"]),
        text(&endpoint["metadata"]["name"])
    );
    let conditions = endpoint["status"]["conditions"].as_array().into_iter().flatten();
    let told = match conditions.into_iter().find(|condition| condition["type"] == "Ready") {
        None => Told {
            ready: false,
            summary: String::new(),
        },
        Some(condition) => Told {
            ready: condition["status"] == "True",
            summary: format!("{}: {}", text(&condition["reason"]), text(&condition["message"])),
        },
    };
    (name, told)
}

/// One line an account and action.
fn table(calls: &[Call]) -> String {
    let mut counts: BTreeMap<(&str, &str, &str), (usize, usize)> = BTreeMap::new();
    for call in calls {
        let (all, failed) = counts.entry((&call.account, &call.region, &call.action)).or_default();
        *all += 1;
        *failed += usize::from(!call.ok());
    }
    let mut table = format!(
        "{:14} {:14} {:32} {:>5} {:>6}\n",
        "ACCOUNT", "REGION", "ACTION", "CALLS", "ERRORS"
    );
    for ((account, region, action), (all, failed)) in counts {
        table += &format!("{account:14} {region:14} {action:32} {all:5} {failed:6}\n");
    }
    table
}

fn wait_for_interrupt() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
