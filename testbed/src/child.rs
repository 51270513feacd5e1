//! Child processes that never outlive the process that started them, and scratch folders that go
//! with it.
//!
//! A `static` is never dropped and a killed process runs no destructor, so neither can be relied on
//! to end what was started. Each child therefore has a small shell beside it that holds the reading
//! end of a pipe: when the writing end closes, for whatever reason, it kills the child.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Becomes the program (same pid, its own exit status) after leaving a shell behind that sends it
/// the signals named on our stdin, and KILL at its end. `gone` says to that shell that the pid is
/// no longer the program's.
const LEASHED: &str = r#"
exec 3<&0 0</dev/null
{
    while read -r word <&3; do
        [ "$word" = gone ] && exit 0
        kill -s "$word" $$
    done
    kill -s KILL $$
} >/dev/null 2>&1 &
exec 3<&- "$@"
"#;

/// Removes a folder once its stdin ends; more than once, since what still writes there is being
/// killed at the same moment.
const JANITOR: &str = r#"
read -r _
for pause in 0.1 0.2 0.5 1 2 4; do
    rm -rf -- "$1" 2>/dev/null && exit 0
    sleep "$pause"
done
"#;

/// Set in our environment, folders stay, for their logs.
pub(crate) const KEEP: &str = "VPCE_TESTBED_KEEP";

/// How long a killed child may take to be gone.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// A running program.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    leash: Option<ChildStdin>,
    log: PathBuf,
    exited: Option<ExitStatus>,
}

impl Child {
    /// Starts `program`, its output appended to `log`, with no environment but `environment`.
    pub(crate) fn spawn<A: AsRef<OsStr>>(
        program: &Path,
        arguments: &[A],
        environment: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let name = program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy()
            .into_owned();
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut process = Command::new("/bin/sh")
            .args(["-c", LEASHED, "sh"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0) // Ctrl-C at a terminal is for us, who then end our children in order
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let leash = process.stdin.take();
        Ok(Self {
            name,
            process,
            leash,
            log: log.to_owned(),
            exited: None,
        })
    }

    /// The process id, which is the program's own.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.exited.is_none()
            && let Some(status) = self.process.try_wait()?
        {
            self.exited = Some(status);
            self.tell("gone");
            self.leash = None;
        }
        Ok(self.exited)
    }

    /// An error with the end of its log, if it has ended.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => bail!(
                "{} ended by itself ({status}); the end of its log:\n{}",
                self.name,
                self.log_end()
            ),
        }
    }

    /// The last lines of its log.
    pub(crate) fn log_end(&self) -> String {
        last_lines(&fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.tell("TERM");
        self.wait(within)
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        self.leash = None;
        self.wait(KILLED_WITHIN)
    }

    fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} (pid {}) has not ended within {within:?}; the end of its log:\n{}",
                    self.name,
                    self.pid(),
                    self.log_end()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Failing to reach the shell is no error: it is gone where the child is.
    fn tell(&mut self, word: &str) {
        if let Some(leash) = &mut self.leash {
            let _ = writeln!(leash, "{word}");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Looks until `holds`, and gives up when one of `children` ends or the time is over.
pub(crate) fn wait_until(
    what: &str,
    within: Duration,
    children: &mut [&mut Child],
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + within;
    while !holds()? {
        for child in children.iter_mut() {
            child.check_running()?;
        }
        if Instant::now() > deadline {
            let log = children.last().map(|child| child.log_end()).unwrap_or_default();
            bail!("waited {within:?} in vain until {what}; the end of the log:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// As much of a log as a person reads.
pub(crate) fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// A temporary folder that is removed at the end of this value or of this process, whichever comes
/// first. With `VPCE_TESTBED_KEEP` set it stays, for its logs.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    janitor: Option<std::process::Child>,
}

impl Scratch {
    /// A new, empty folder that only we may enter.
    pub(crate) fn new(purpose: &str) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let path = std::env::temp_dir().join(format!(
            "vpce-{purpose}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        let _ = fs::remove_dir_all(&path); // left by an earlier process of the same id
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let janitor = match std::env::var_os(KEEP) {
            Some(_) => None,
            None => Some(
                Command::new("/bin/sh")
                    .args(["-c", JANITOR, "sh"])
                    .arg(&path)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .process_group(0)
                    .spawn()
                    .context("cannot start /bin/sh")?,
            ),
        };
        Ok(Self { path, janitor })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file in the folder.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(janitor) = &mut self.janitor {
            let _ = janitor.wait(); // closes its stdin first
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_ENVIRONMENT: &[(String, String)] = &[];

    fn sleeper(scratch: &Scratch) -> Child {
        Child::spawn(
            Path::new("/bin/sleep"),
            &["600"],
            NO_ENVIRONMENT,
            &scratch.path().join("log"),
        )
        .expect("started")
    }

    #[test]
    fn a_child_ends_with_the_signal_it_was_sent() {
        use std::os::unix::process::ExitStatusExt as _;
        let scratch = Scratch::new("child").expect("folder");
        assert_eq!(
            sleeper(&scratch)
                .terminate(Duration::from_secs(5))
                .expect("ended")
                .signal(),
            Some(15)
        );
        assert_eq!(sleeper(&scratch).kill().expect("ended").signal(), Some(9));
    }

    #[test]
    fn a_child_that_ends_by_itself_says_so_with_its_log() {
        let scratch = Scratch::new("child").expect("folder");
        let mut child = Child::spawn(
            Path::new("/bin/sh"),
            &["-c", "echo no such flag; exit 3"],
            NO_ENVIRONMENT,
            &scratch.path().join("log"),
        )
        .expect("started");
        assert_eq!(child.wait(Duration::from_secs(5)).expect("ended").code(), Some(3));
        let error = child.check_running().expect_err("it has ended").to_string();
        assert!(error.contains("no such flag"), "{error}");
    }

    /// Runs itself as another process, since the one under test has to be killed.
    #[test]
    fn a_child_and_its_folder_go_when_the_process_that_started_them_is_killed() {
        const TOLD: &str = "VPCE_TESTBED_TEST_TELLS_ITS_CHILD";
        if let Some(told) = std::env::var_os(TOLD) {
            let scratch = Scratch::new("orphan").expect("folder");
            let child = sleeper(&scratch);
            fs::write(told, format!("{} {}", child.pid(), scratch.path().display())).expect("told");
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
        let scratch = Scratch::new("child").expect("folder");
        let told = scratch.path().join("told");
        let this = std::thread::current().name().expect("the test's name").to_owned();
        let mut killed = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", &this])
            .env(TOLD, &told)
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let read = || fs::read_to_string(&told).ok().filter(|told| told.contains(' '));
        assert!(
            within(Duration::from_secs(10), || read().is_some()),
            "the other process says what it started"
        );
        let told = read().expect("told");
        let (pid, folder) = told.split_once(' ').expect("pid and folder");
        assert!(runs(pid) && Path::new(folder).exists());

        killed.kill().expect("killed");
        killed.wait().expect("gone");
        assert!(within(Duration::from_secs(10), || !runs(pid)), "the child is gone");
        assert!(
            within(Duration::from_secs(10), || !Path::new(folder).exists()),
            "the folder is gone"
        );
    }

    /// Whether a process exists and is not a zombie.
    fn runs(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn within(time: Duration, holds: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + time;
        while !holds() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    #[test]
    fn a_scratch_folder_is_removed_with_its_value() {
        let scratch = Scratch::new("child").expect("folder");
        let file = scratch.write("file", "content").expect("written");
        assert!(file.exists());
        drop(scratch);
        assert!(!file.exists());
    }
}
