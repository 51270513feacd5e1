//! A real Kubernetes control plane on loopback: etcd, kube-apiserver and kube-controller-manager,
//! with RBAC on and any number side by side.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::encoding::AsDer as _;
use base64::engine::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::config::{KubeConfigOptions, Kubeconfig};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::child::{Child, Scratch, wait_until};
use crate::tools::Tool;
use crate::{http, ports};

/// A cold machine that builds at the same time needs most of it; alone it takes about 4 s.
const READY_WITHIN: Duration = Duration::from_secs(120);
const ISSUER: &str = "https://kubernetes.default.svc";

/// A running control plane. It ends with this value, or with this process however that ends.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: each one's clients end before it does.
    controller_manager: Child,
    api_server: Mutex<Child>,
    etcd: Mutex<Child>,
    ports: Ports,
    client: Client,
    scratch: Scratch,
}

/// Where its programs listen, also after a restart.
#[derive(Clone, Copy, Debug)]
struct Ports {
    etcd_client: u16,
    etcd_peer: u16,
    api: u16,
}

/// What it takes to talk to a control plane as its administrator.
#[derive(Clone, Debug)]
struct Client {
    url: String,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// What a program that has ended left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// What it printed, if it succeeded.
    ///
    /// # Errors
    /// When it did not, with what it complained about.
    pub fn success(self) -> Result<String> {
        ensure!(self.status.success(), "{}\n{}", self.stdout.trim(), self.stderr.trim());
        Ok(self.stdout)
    }
}

impl ControlPlane {
    /// Starts one and waits until namespaces get their default ServiceAccount, which needs all
    /// three programs.
    ///
    /// # Errors
    /// When a program cannot be found or built, ends by itself or does not become ready.
    pub fn start() -> Result<Self> {
        ports::start(Self::start_once).context("the control plane did not start")
    }

    fn start_once() -> Result<Self> {
        let scratch = Scratch::new("control-plane")?;
        let [etcd_client, etcd_peer, api] = ports::free()?;
        let ports = Ports {
            etcd_client,
            etcd_peer,
            api,
        };
        let mut etcd = start_etcd(&scratch, ports)?;
        let admin = random_token()?;
        let controller_manager_token = random_token()?;
        scratch.write(
            "tokens.csv",
            format!("{admin},admin,admin,system:masters\n{controller_manager_token},system:kube-controller-manager,system:kube-controller-manager\n"),
        )?;
        scratch.write("service-accounts.key", rsa_key_pem()?)?;
        let mut api_server = start_api_server(&scratch, ports)?;

        let url = format!("https://127.0.0.1:{api}");
        let certificate = certificate(&scratch);
        let kubeconfig = scratch.write("admin.kubeconfig", kubeconfig(&url, &certificate, "admin", &admin))?;
        let client = Client {
            url,
            kubeconfig,
            home: scratch.path().to_owned(),
        };
        wait_until(
            "kube-apiserver is ready",
            READY_WITHIN,
            &mut [&mut etcd, &mut api_server],
            || {
                // Its certificate comes with it, and kubectl refuses to start without.
                Ok(certificate.is_file()
                    && is_open(ports.api)
                    && client.kubectl(&["get", "--raw", "/readyz"], None)?.status.success())
            },
        )?;

        let manager_kubeconfig =
            kubeconfig_for_manager(&scratch, &client.url, &certificate, &controller_manager_token)?;
        let mut controller_manager = start_controller_manager(&scratch, &manager_kubeconfig, &certificate)?;
        wait_until(
            "the default ServiceAccount is there",
            READY_WITHIN,
            &mut [&mut etcd, &mut api_server, &mut controller_manager],
            || {
                Ok(client
                    .kubectl(&["get", "serviceaccount", "default", "--namespace", "default"], None)?
                    .status
                    .success())
            },
        )?;
        Ok(Self {
            controller_manager,
            api_server: Mutex::new(api_server),
            etcd: Mutex::new(etcd),
            ports,
            client,
            scratch,
        })
    }

    /// The API server's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.client.url
    }

    /// An administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.client.kubeconfig
    }

    /// An administrator's client, and the runtime that drives it.
    ///
    /// # Errors
    /// When the runtime does not start.
    pub fn connect(&self) -> Result<(Runtime, kube::Client)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            anyhow::Ok(kube::Client::try_from(config)?)
        })?;
        Ok((runtime, client))
    }

    /// Where everything of it lies, the logs of its programs included.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The API server's certificate, which it signs itself.
    pub(crate) fn certificate(&self) -> PathBuf {
        certificate(&self.scratch)
    }

    /// The process ids of etcd, kube-apiserver and kube-controller-manager.
    #[must_use]
    pub fn pids(&self) -> [u32; 3] {
        let [etcd, api_server] = [&self.etcd, &self.api_server].map(|child| child.lock().pid());
        [etcd, api_server, self.controller_manager.pid()]
    }

    /// Ends etcd with SIGKILL. The API server runs on and can neither read nor write.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill_etcd(&self) -> Result<()> {
        self.etcd.lock().kill().map(drop)
    }

    /// Changes an object as it is stored in etcd, past the API server: into what only older
    /// versions of Kubernetes let in. Of use for what is stored as JSON, which CRDs and custom
    /// resources are.
    ///
    /// # Errors
    /// When it is not there, is no JSON, or etcd does not answer.
    pub fn change_stored(&self, key: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.etcd_client));
        let ask = |what: &str, body: &Value| -> Result<Value> {
            let (status, answer) = http::post(address, &format!("/v3/kv/{what}"), &body.to_string())?;
            ensure!(status == 200, "etcd answers {status}: {answer}");
            Ok(serde_json::from_str(&answer)?)
        };
        let key = BASE64.encode(key);
        let found = ask("range", &json!({"key": key}))?;
        let stored = found["kvs"][0]["value"].as_str().context("etcd has nothing there")?;
        let mut object = serde_json::from_slice(&BASE64.decode(stored)?).context("it is not stored as JSON")?;
        change(&mut object);
        ask("put", &json!({"key": key, "value": BASE64.encode(object.to_string())})).map(drop)
    }

    /// Starts etcd again, with what it had stored, and waits until the API server is ready with it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_etcd(&self) -> Result<()> {
        self.start_again(&self.etcd, || start_etcd(&self.scratch, self.ports))
    }

    /// Ends the API server with SIGKILL. etcd runs on.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill_api_server(&self) -> Result<()> {
        self.api_server.lock().kill().map(drop)
    }

    /// Starts the API server again, under its old address and certificate, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_api_server(&self) -> Result<()> {
        self.start_again(&self.api_server, || start_api_server(&self.scratch, self.ports))
    }

    /// Another process may have taken its port meanwhile, mostly for a moment.
    fn start_again(&self, program: &Mutex<Child>, start: impl Fn() -> Result<Child>) -> Result<()> {
        ports::start(|| {
            let mut child = program.lock();
            *child = start()?;
            wait_until("kube-apiserver is ready again", READY_WITHIN, &mut [&mut child], || {
                Ok(is_open(self.ports.api) && self.kubectl(&["get", "--raw", "/readyz"])?.status.success())
            })
        })
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// When it cannot be started; what it says itself is in the output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.client.kubectl(arguments, None)
    }

    /// Runs kubectl with `--output json` and reads what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.kubectl(&[arguments, &["--output", "json"]].concat())?.success()?;
        serde_json::from_str(&output).with_context(|| format!("kubectl {} printed no JSON", arguments.join(" ")))
    }

    /// Applies manifests as a person would, refusing unknown fields.
    ///
    /// # Errors
    /// When kubectl cannot be started; what it says itself is in the output.
    pub fn apply(&self, yaml: &str) -> Result<Output> {
        self.client
            .kubectl(&["apply", "--filename", "-", "--validate=strict"], Some(yaml))
    }

    /// Runs helm as the administrator.
    ///
    /// # Errors
    /// When it cannot be started; what it says itself is in the output.
    pub fn helm(&self, arguments: &[&str]) -> Result<Output> {
        self.client.run(Tool::Helm, arguments, None)
    }

    /// Writes a kubeconfig that holds a token of a ServiceAccount, and so may do what its roles
    /// allow and nothing more.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub fn kubeconfig_of(&self, namespace: &str, service_account: &str) -> Result<PathBuf> {
        let token = self.token_of(namespace, service_account)?;
        self.scratch.write(
            &format!("{namespace}-{service_account}.kubeconfig"),
            kubeconfig(&self.client.url, &self.certificate(), service_account, &token),
        )
    }

    /// A token of a ServiceAccount, for a day.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub fn token_of(&self, namespace: &str, service_account: &str) -> Result<String> {
        let create = ["create", "token", service_account, "--namespace", namespace];
        let token = self
            .kubectl(&[&create[..], &["--duration", "24h"]].concat())?
            .success()?;
        Ok(token.trim().to_owned())
    }
}

impl Client {
    fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        self.run(Tool::Kubectl, arguments, input)
    }

    fn run(&self, tool: Tool, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        run(
            tool,
            arguments,
            input,
            &[("KUBECONFIG", &self.kubeconfig), ("HOME", &self.home)],
        )
    }
}

/// Runs a tool to its end with nothing in its environment but PATH and what is given.
pub(crate) fn run(
    tool: Tool,
    arguments: &[&str],
    input: Option<&str>,
    environment: &[(&str, &Path)],
) -> Result<Output> {
    let mut process = Command::new(tool.path()?)
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(environment.iter().copied())
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", tool.name()))?;
    let written = match (process.stdin.take(), input) {
        (Some(mut stdin), Some(input)) => stdin.write_all(input.as_bytes()),
        _ => Ok(()),
    };
    let output = process.wait_with_output()?;
    let output = Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    if output.status.success() {
        written.with_context(|| format!("{} did not read its input", tool.name()))?;
    }
    Ok(output)
}

/// Whether something listens. It is asked before kubectl is, which takes much of what a program
/// needs that is starting.
fn is_open(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn certificate(scratch: &Scratch) -> PathBuf {
    scratch.path().join("certificates/apiserver.crt")
}

fn etcd_url(ports: Ports) -> String {
    format!("http://127.0.0.1:{}", ports.etcd_client)
}

fn start_etcd(scratch: &Scratch, ports: Ports) -> Result<Child> {
    let url = etcd_url(ports);
    let peer = format!("http://127.0.0.1:{}", ports.etcd_peer);
    let arguments = [
        format!("--data-dir={}", scratch.path().join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(), // what is lost with the machine is not missed
        "--log-level=warn".to_owned(),
    ];
    Child::spawn(&Tool::Etcd.path()?, &arguments, &[], &scratch.path().join("etcd.log"))
}

fn start_api_server(scratch: &Scratch, ports: Ports) -> Result<Child> {
    let key = scratch.path().join("service-accounts.key");
    let arguments = [
        format!("--etcd-servers={}", etcd_url(ports)),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.api),
        format!("--cert-dir={}", scratch.path().join("certificates").display()),
        format!("--token-auth-file={}", scratch.path().join("tokens.csv").display()),
        "--authorization-mode=RBAC".to_owned(),
        format!("--service-account-issuer={ISSUER}"),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
    ];
    Child::spawn(
        &Tool::KubeApiserver.path()?,
        &arguments,
        &[],
        &scratch.path().join("kube-apiserver.log"),
    )
}

fn start_controller_manager(scratch: &Scratch, kubeconfig: &Path, certificate: &Path) -> Result<Child> {
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        "--secure-port=0".to_owned(),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials".to_owned(),
        // Asking for one ServiceAccount after the other, it would take 5 s longer to start at the
        // default of 20.
        "--kube-api-qps=1000".to_owned(),
        "--kube-api-burst=1000".to_owned(),
        format!(
            "--service-account-private-key-file={}",
            scratch.path().join("service-accounts.key").display()
        ),
        format!("--root-ca-file={}", certificate.display()),
    ];
    Child::spawn(
        &Tool::KubeControllerManager.path()?,
        &arguments,
        &[],
        &scratch.path().join("kube-controller-manager.log"),
    )
}

fn kubeconfig_for_manager(scratch: &Scratch, url: &str, certificate: &Path, token: &str) -> Result<PathBuf> {
    scratch.write(
        "kube-controller-manager.kubeconfig",
        kubeconfig(url, certificate, "kube-controller-manager", token),
    )
}

/// JSON is YAML.
fn kubeconfig(url: &str, certificate: &Path, user: &str, token: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": {"server": url, "certificate-authority": certificate}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
        "current-context": "testbed",
    })
    .to_string()
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The key that signs the tokens of ServiceAccounts.
fn rsa_key_pem() -> Result<String> {
    use aws_lc_rs::encoding::Pkcs8V1Der;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048)
        .ok()
        .context("cannot make an RSA key")?;
    let der: Pkcs8V1Der<'_> = pair.as_der().ok().context("cannot write an RSA key")?;
    Ok(pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref())))
}
