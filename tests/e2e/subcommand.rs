//! What a person runs in a terminal: the subcommands of the operator's binary, with an
//! administrator's way to the cluster and to AWS.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use vpce_testbed::control_plane::ControlPlane;
use vpce_testbed::operator::Aws;

/// The operator's binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_vpce-operator");

/// The operator's binary with an administrator's environment and nothing else in it; the caller
/// adds the subcommand.
pub(crate) fn subcommand(plane: &ControlPlane, aws: &Aws) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().envs(administrator(plane, aws));
    command
}

/// The environment of a person who administers the cluster and has the operator's AWS identity.
pub(crate) fn administrator(plane: &ControlPlane, aws: &Aws) -> [(&'static str, OsString); 5] {
    [
        ("KUBECONFIG", plane.kubeconfig().into()),
        ("AWS_ENDPOINT_URL", aws.url.clone().into()),
        ("AWS_REGION", aws.region.clone().into()),
        ("AWS_ACCESS_KEY_ID", aws.access_key_id.clone().into()),
        ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key.clone().into()),
    ]
}

/// Runs a command to its end, types this, and returns what it answers.
pub(crate) fn type_into(command: &mut Command, typed: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end before it reads.
    let _ = stdin.write_all(typed.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// All that a command answers: what it printed, then what it said on stderr.
pub(crate) fn words(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(all).expect("text")
}
