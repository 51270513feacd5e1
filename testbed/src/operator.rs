//! The operator as its chart deploys it: helm installs the chart, and the real binary runs with
//! what the Deployment says.
//!
//! There is no kubelet, so this does a kubelet's part: arguments, environment and probes come from
//! the Deployment as the API server has it, and the operator gets a token of the Deployment's
//! ServiceAccount and nothing else to talk to Kubernetes with.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use crate::api_proxy::ApiProxy;
use crate::child::{Child, Scratch, wait_until};
use crate::control_plane::ControlPlane;
use crate::{http, ports};

/// Where the chart is installed; also the release's and so the Deployment's name.
pub(crate) const NAMESPACE: &str = "vpce-system";
pub(crate) const RELEASE: &str = "vpce-operator";
/// The ServiceAccount that scrapes the metrics, by the value `metrics.readers`.
const READER: &str = "prometheus";
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The Deployment's `terminationGracePeriodSeconds`.
const TERMINATED_WITHIN: Duration = Duration::from_secs(30);

/// The operator's binary: what `VPCE_OPERATOR_BIN` names, or else built here with cargo, like the
/// testbed that runs.
///
/// # Errors
/// When it does not build.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("VPCE_OPERATOR_BIN") {
        return Ok(path.into());
    }
    // <target>/<profile>/testbed
    let path = std::env::current_exe()?.with_file_name("vpce-operator");
    let profile = path.parent().context("the testbed has no folder")?;
    let mut cargo = Command::new("cargo");
    // The whole workspace is selected, since one package alone selects other features of its
    // dependencies.
    cargo.args([
        "build",
        "--quiet",
        "--workspace",
        "--bin",
        "vpce-operator",
        "--target-dir",
    ]);
    cargo.arg(profile.parent().context("the testbed is in no target folder")?);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(project("")).status().context("cannot start cargo")?;
    ensure!(status.success(), "the operator does not build");
    Ok(path)
}

/// Where the operator finds AWS, and as whom it begins there.
#[derive(Clone, Debug)]
pub struct Aws {
    /// Answers EC2 and STS, for all regions.
    pub url: String,
    /// The region whose STS is called.
    pub region: String,
    /// Key id of the operator's own identity.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
}

/// How to install and run the operator.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The operator's binary; `VPCE_OPERATOR_BIN` in our own environment comes first.
    pub binary: PathBuf,
    /// Values of the chart, for `helm --set`.
    pub values: Vec<(String, String)>,
    /// Set on top of the Deployment's environment.
    pub env: Vec<(String, String)>,
}

/// An installed operator, running or not. It ends with this value, or with this process however
/// that ends.
#[derive(Debug)]
pub struct Operator {
    running: Mutex<Option<Running>>,
    binary: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    readiness: String,
    liveness: String,
    /// A token of the ServiceAccount that may read the metrics.
    reader: String,
    /// What its Deployment allows it, in bytes.
    memory: Option<u64>,
    /// Whether it ends where it takes more.
    is_limited: bool,
    scratch: Scratch,
}

#[derive(Debug)]
struct Running {
    child: Child,
    health: SocketAddr,
    metrics: SocketAddr,
    admin: SocketAddr,
}

impl Operator {
    /// Installs the chart with helm (or upgrades what is installed), starts the operator and waits
    /// until it is ready.
    ///
    /// # Errors
    /// When helm refuses the chart or its values, the Deployment asks for what a process cannot
    /// have, or the operator does not become ready.
    pub fn install(plane: &ControlPlane, aws: &Aws, options: Options) -> Result<Self> {
        install_chart(plane, &options.values)?;
        let deployment = plane.json(&["get", "deployment", RELEASE, "--namespace", NAMESPACE])?;
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        ensure!(
            container["command"].is_null(),
            "the Deployment replaces the image's entrypoint, which is the operator"
        );
        let service_account = pod["serviceAccountName"]
            .as_str()
            .context("the Deployment names no ServiceAccount")?;
        let kubeconfig = plane.kubeconfig_of(NAMESPACE, service_account)?;
        let reader = plane.token_of(NAMESPACE, READER)?;

        let mut environment = environment(container, service_account)?;
        let arguments = arguments(container, &environment);
        let scratch = Scratch::new("operator")?;
        environment.extend(
            [
                ("HOME", path_text(scratch.path())?),
                ("KUBECONFIG", path_text(&kubeconfig)?),
                ("AWS_ENDPOINT_URL_EC2", aws.url.as_str()),
                ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", aws.url.as_str()),
                ("AWS_ENDPOINT_URL_STS", aws.url.as_str()),
                ("AWS_REGION", aws.region.as_str()),
                ("AWS_ACCESS_KEY_ID", aws.access_key_id.as_str()),
                ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key.as_str()),
                ("RUST_BACKTRACE", "1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        environment.extend(options.env);
        let operator = Self {
            running: Mutex::new(None),
            binary: std::env::var_os("VPCE_OPERATOR_BIN").map_or(options.binary, PathBuf::from),
            arguments,
            environment,
            readiness: probe_path(container, "readinessProbe")?,
            liveness: probe_path(container, "livenessProbe")?,
            reader,
            memory: container["resources"]["limits"]["memory"].as_str().and_then(bytes),
            is_limited: false,
            scratch,
        };
        operator.start()?;
        Ok(operator)
    }

    /// Starts a further replica of the same Deployment, with a pod name of its own, and waits until
    /// it is ready. Of the environment an empty value takes a variable away.
    ///
    /// # Errors
    /// When it ends by itself or does not become ready.
    pub fn replica(&self, pod: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let mut all = self.environment.clone();
        let own = [("VPCE_POD_NAME", pod)];
        for (name, value) in own.iter().chain(environment) {
            all.retain(|(other, _)| other != name);
            if !value.is_empty() {
                all.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let replica = Self {
            running: Mutex::new(None),
            binary: self.binary.clone(),
            arguments: self.arguments.clone(),
            environment: all,
            readiness: self.readiness.clone(),
            liveness: self.liveness.clone(),
            reader: self.reader.clone(),
            memory: self.memory,
            is_limited: self.is_limited,
            scratch: Scratch::new("operator")?,
        };
        replica.start()?;
        Ok(replica)
    }

    /// Has it reach the API server through a proxy from its next start on; also replicas made after
    /// this.
    ///
    /// # Errors
    /// When its kubeconfig cannot be read or written.
    pub fn go_through(&mut self, proxy: &ApiProxy) -> Result<()> {
        let kubeconfig = self.environment.iter_mut().find(|(name, _)| name == "KUBECONFIG");
        let (_, path) = kubeconfig.context("the operator has no kubeconfig")?;
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&*path)?)?;
        config["clusters"][0]["cluster"] = json!({"server": format!("http://{}", proxy.address())});
        let proxied = self.scratch.write("proxied.kubeconfig", config.to_string())?;
        *path = path_text(&proxied)?.to_owned();
        Ok(())
    }

    /// Has it end, from its next start on, where it takes more memory than its Deployment allows. A
    /// kubelet sets a limit on a cgroup, which takes rights that a test need not have. This is
    /// `RLIMIT_DATA`: all that is writable and private, touched or not, and so a little less room;
    /// the program's own pages, which a kernel that is short of memory drops, do not count in
    /// either.
    ///
    /// # Errors
    /// When the Deployment has no limit.
    pub fn limit_memory(&mut self) -> Result<()> {
        self.memory.context("the Deployment does not limit its memory")?;
        self.is_limited = true;
        Ok(())
    }

    /// Sets a variable of its environment from its next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// How it has ended by itself, if it has.
    ///
    /// # Errors
    /// When it was not started, or the system does not say.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        let mut running = self.running();
        let child = &mut running.as_mut().context("the operator is not running")?.child;
        child.exited()
    }

    /// Starts the operator, which must not be running, and waits until its readiness probe
    /// succeeds.
    ///
    /// # Errors
    /// When it ends by itself or does not become ready.
    pub fn start(&self) -> Result<()> {
        ports::start(|| self.start_once()).context("the operator did not start")
    }

    fn start_once(&self) -> Result<()> {
        let mut running = self.running();
        ensure!(running.is_none(), "it is running already");
        let addresses = ports::free()?.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut environment = self.environment.clone();
        let names = ["VPCE_HEALTH_ADDRESS", "VPCE_METRICS_ADDRESS", "VPCE_ADMIN_ADDRESS"];
        for (name, address) in names.iter().zip(addresses) {
            environment.push(((*name).to_owned(), address.to_string()));
        }
        let [health, metrics, admin] = addresses;
        let mut child = match self.memory.filter(|_| self.is_limited) {
            None => Child::spawn(&self.binary, &self.arguments, &environment, &self.log())?,
            Some(bytes) => {
                let limited = format!("ulimit -d {} && exec \"$@\"", bytes / 1024);
                let mut arguments = vec!["-c".to_owned(), limited, "sh".to_owned()];
                arguments.push(path_text(&self.binary)?.to_owned());
                arguments.extend(self.arguments.clone());
                Child::spawn(Path::new("/bin/sh"), &arguments, &environment, &self.log())?
            }
        };
        let what = format!("{} answers 200", self.readiness);
        wait_until(&what, READY_WITHIN, &mut [&mut child], || {
            Ok(http::get(health, &self.readiness).is_ok_and(|(status, _)| status == 200))
        })?;
        *running = Some(Running {
            child,
            health,
            metrics,
            admin,
        });
        Ok(())
    }

    /// Ends it with SIGKILL, as a lost node would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.running()
            .take()
            .context("the operator is not running")?
            .child
            .kill()
    }

    /// Ends it with SIGTERM, as a kubelet does, and says how it ended.
    ///
    /// # Errors
    /// When it is not running, or has not ended within the grace period.
    pub fn terminate(&self) -> Result<ExitStatus> {
        self.running()
            .take()
            .context("the operator is not running")?
            .child
            .terminate(TERMINATED_WITHIN)
    }

    /// Where it serves its probes.
    ///
    /// # Errors
    /// When it is not running.
    pub fn health_address(&self) -> Result<SocketAddr> {
        Ok(self.running().as_ref().context("the operator is not running")?.health)
    }

    /// Where it serves its metrics, over HTTPS.
    ///
    /// # Errors
    /// When it is not running.
    pub fn metrics_address(&self) -> Result<SocketAddr> {
        Ok(self.running().as_ref().context("the operator is not running")?.metrics)
    }

    /// A token that may read its metrics.
    #[must_use]
    pub fn metrics_token(&self) -> &str {
        &self.reader
    }

    /// Where its log level is changed.
    ///
    /// # Errors
    /// When it is not running.
    pub fn admin_address(&self) -> Result<SocketAddr> {
        Ok(self.running().as_ref().context("the operator is not running")?.admin)
    }

    /// Its metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When it is not running or refuses.
    pub fn metrics(&self) -> Result<String> {
        let (status, body) = http::get_secure(self.metrics_address()?, "/metrics", Some(&self.reader))?;
        ensure!(status == 200, "/metrics answers {status}: {body}");
        Ok(body)
    }

    /// Whether its readiness probe succeeds.
    ///
    /// # Errors
    /// When it is not running or does not answer.
    pub fn is_ready(&self) -> Result<bool> {
        Ok(http::get(self.health_address()?, &self.readiness)?.0 == 200)
    }

    /// Whether its liveness probe succeeds.
    ///
    /// # Errors
    /// When it is not running or does not answer.
    pub fn is_live(&self) -> Result<bool> {
        Ok(http::get(self.health_address()?, &self.liveness)?.0 == 200)
    }

    /// All that it has logged since it was installed, over all its starts.
    #[must_use]
    pub fn logs(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pid(&self) -> Result<u32> {
        Ok(self
            .running()
            .as_ref()
            .context("the operator is not running")?
            .child
            .pid())
    }

    /// Its resident memory in bytes, where there is a `/proc`.
    ///
    /// # Errors
    /// When it is not running.
    pub fn rss_bytes(&self) -> Result<u64> {
        Ok(self.memory_bytes()?.0)
    }

    /// Its resident memory in bytes, now and at most since it was started, where there is a
    /// `/proc`.
    ///
    /// # Errors
    /// When it is not running.
    pub fn memory_bytes(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))
            .context("the operator's memory is not known")?;
        let of = |name: &str| {
            let kilobytes = status.lines().find_map(|line| {
                let value = line.strip_prefix(name)?.trim().strip_suffix(" kB")?;
                value.parse::<u64>().ok()
            });
            Ok::<u64, anyhow::Error>(kilobytes.context("the operator's memory is not known")? * 1024)
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }

    /// The processor time that it has taken, where there is a `/proc`; finer than the whole seconds
    /// of its metrics.
    ///
    /// # Errors
    /// When it is not running.
    pub fn cpu_seconds(&self) -> Result<f64> {
        // Linux always reports hundredths, whatever the kernel's own ticks are.
        const TICKS: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?)).context("its CPU time is not known")?;
        // The name may have spaces; it ends with the last parenthesis. After it come the state, and
        // eleventh and twelfth user and system time.
        let (_, rest) = stat.rsplit_once(')').context("its CPU time is not known")?;
        let times = rest.split_whitespace().skip(11).take(2);
        let ticks: f64 = times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Ok(ticks / TICKS)
    }

    /// The file that it logs to.
    pub(crate) fn log(&self) -> PathBuf {
        self.scratch.path().join("operator.log")
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock()
    }
}

/// A quantity of memory as Kubernetes writes it, such as `256Mi`.
fn bytes(quantity: &str) -> Option<u64> {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];
    let unit = units
        .into_iter()
        .find_map(|(unit, bytes)| Some((quantity.strip_suffix(unit)?, bytes)));
    let (number, unit) = unit.unwrap_or((quantity, 1));
    Some(number.parse::<u64>().ok()? * unit)
}

/// The folder of a part of the project, by its path in the repository.
pub(crate) fn project(path: &str) -> PathBuf {
    let testbed = Path::new(env!("CARGO_MANIFEST_DIR"));
    testbed.parent().unwrap_or(testbed).join(path)
}

fn install_chart(plane: &ControlPlane, values: &[(String, String)]) -> Result<()> {
    let chart = project("charts/vpce-operator");
    let reader = [("namespace", NAMESPACE), ("name", READER)];
    let reader = reader.map(|(field, value)| format!("metrics.readers[0].{field}={value}"));
    let given = values.iter().map(|(name, value)| format!("{name}={value}"));
    let values: Vec<String> = reader.into_iter().chain(given).collect();
    let mut arguments = vec![
        "upgrade",
        "--install",
        RELEASE,
        path_text(&chart)?,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
    ];
    arguments.extend(values.iter().flat_map(|value| ["--set", value.as_str()]));
    plane
        .helm(&arguments)?
        .success()
        .context("helm does not install the chart")?;
    let there = plane.kubectl(&["get", "serviceaccount", READER, "--namespace", NAMESPACE])?;
    if !there.status.success() {
        let create = ["create", "serviceaccount", READER, "--namespace", NAMESPACE];
        plane.kubectl(&create)?.success()?;
    }
    // Its objects are not served before they are established.
    let kinds = ["awsaccounts", "vpcendpoints", "vpcendpointservices"];
    let crds = kinds.map(|kind| format!("crd/{kind}.silvermullet.com"));
    let wait = ["wait", "--for=condition=Established", "--timeout=30s"];
    plane
        .kubectl(&[&wait[..], &crds.each_ref().map(String::as_str)].concat())?
        .success()?;
    Ok(())
}

/// The container's environment, with what a kubelet would fill in.
fn environment(container: &Value, service_account: &str) -> Result<Vec<(String, String)>> {
    let mut environment = Vec::new();
    for variable in container["env"].as_array().unwrap_or(&Vec::new()) {
        let name = variable["name"].as_str().unwrap_or_default();
        let value = match (
            &variable["value"],
            variable["valueFrom"]["fieldRef"]["fieldPath"].as_str(),
        ) {
            (Value::String(value), _) => expand(value, &environment),
            (_, Some("metadata.namespace")) => NAMESPACE.to_owned(),
            (_, Some("metadata.name")) => format!("{RELEASE}-0"),
            (_, Some("spec.nodeName")) => "testbed".to_owned(),
            (_, Some("spec.serviceAccountName")) => service_account.to_owned(),
            (_, Some("status.podIP" | "status.hostIP")) => Ipv4Addr::LOCALHOST.to_string(),
            (Value::Null, None) if variable["valueFrom"].is_null() => String::new(),
            _ => bail!("the testbed cannot fill in the environment variable {variable}"),
        };
        environment.push((name.to_owned(), value));
    }
    Ok(environment)
}

/// The container's arguments, but for the addresses, which have to be some that are free here.
fn arguments(container: &Value, environment: &[(String, String)]) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut given = container["args"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    while let Some(argument) = given.next() {
        let (name, value) = argument.split_once('=').unzip();
        match name.unwrap_or(argument) {
            "--health-address" | "--metrics-address" | "--admin-address" if value.is_none() => _ = given.next(),
            "--health-address" | "--metrics-address" | "--admin-address" => {}
            _ => arguments.push(expand(argument, environment)),
        }
    }
    arguments
}

/// Replaces `$(NAME)` as a kubelet does: what is not known stays.
fn expand(text: &str, environment: &[(String, String)]) -> String {
    environment.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("$({name})"), value)
    })
}

/// The path that a probe asks for, if a kubelet could ask for it.
fn probe_path(container: &Value, probe: &str) -> Result<String> {
    let get = &container[probe]["httpGet"];
    let path = get["path"]
        .as_str()
        .with_context(|| format!("the Deployment has no HTTP {probe}"))?;
    let ports = container["ports"].as_array().context("the Deployment names no port")?;
    let declared = ports
        .iter()
        .any(|port| port["name"] == get["port"] || port["containerPort"] == get["port"]);
    ensure!(
        declared,
        "{probe} asks port {}, which the container does not have",
        get["port"]
    );
    Ok(path.to_owned())
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_filled_in_as_a_kubelet_would() {
        let container = json!({
            "args": ["run", "--cluster-id=$(CLUSTER)-$(UNKNOWN)", "--health-address", "0.0.0.0:8080", "--admin-address=127.0.0.1:8081", "--log-level=debug"],
            "env": [
                {"name": "CLUSTER", "value": "blue"},
                {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                {"name": "BOTH", "value": "$(POD_NAMESPACE)/$(CLUSTER)"},
            ],
        });
        let environment = environment(&container, "account").expect("all can be filled in");
        let values: Vec<&str> = environment.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["blue", "vpce-system", "vpce-system/blue"]);
        assert_eq!(
            arguments(&container, &environment),
            ["run", "--cluster-id=blue-$(UNKNOWN)", "--log-level=debug"]
        );
    }

    #[test]
    fn an_unsupported_environment_variable_is_an_error() {
        let container =
            json!({"env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]});
        assert!(environment(&container, "account").is_err());
    }

    #[test]
    fn a_probe_of_a_port_that_is_not_there_is_an_error() {
        let container = |port: Value| json!({"ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": {"httpGet": {"path": "/readyz", "port": port}}});
        assert_eq!(
            probe_path(&container(json!("http")), "readinessProbe").expect("a path"),
            "/readyz"
        );
        assert_eq!(
            probe_path(&container(json!(8080)), "readinessProbe").expect("a path"),
            "/readyz"
        );
        assert!(probe_path(&container(json!("metrics")), "readinessProbe").is_err());
        assert!(probe_path(&container(json!("http")), "livenessProbe").is_err());
    }
}
