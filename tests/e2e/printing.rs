//! The subcommands that print do so into a pipe as other tools do.

use std::io;
use std::process::{Command, Stdio};

use crate::subcommand::BINARY;

#[test]
fn printing_to_a_closed_pipe_ends_silently() {
    for arguments in [
        &["crds"][..],
        &["metrics"],
        &[
            "iam-policy",
            "base",
            "--only",
            "permissions",
            "--role-arn",
            "arn:aws:iam::*:role/vpce-operator",
        ],
        &[
            "iam-policy",
            "tenant",
            "--account-id",
            "111122223333",
            "--cluster-id",
            "blue",
            "--base-role-arn",
            "arn:aws:iam::999999999999:role/base",
            "--external-id",
            "agreed",
        ],
    ] {
        // As after `| head -1`: the reader is gone.
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let child = Command::new(BINARY)
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    }
}
