//! The testbed's command line.

use std::process::ExitCode;

use vpce_testbed::{bench, demo, generate, operator, pictures, tools};

const USAGE: &str = "\
usage: testbed COMMAND

  demo               start everything, apply the example manifests and show what comes of them
  up                 start everything and leave it running until Ctrl-C
  bench [SCENARIO]   measure, and fail where a bound is missed: limits, sessions, repair, crowd, deletions, failover, weather, hour; all of them if none is named;
                     and churn, shared and scale, which take half an hour each or longer
  pictures           draw the dashboards again, after an hour of scripted trouble, into docs/dashboards
  tools              build (or find) the programs of the control plane, and print where they are
  generate           write the files that are generated: CRDs, RBAC, the API reference, examples of IAM policies, dashboards, what the chart carries
  generate --check   fail if one of them is stale

environment:

  KUBEBUILDER_ASSETS   a folder with etcd, kube-apiserver, kubectl and so on: what it has is not built
  VPCE_OPERATOR_BIN    the operator's binary; without it, cargo builds it
  VPCE_TESTBED_KEEP    set: temporary folders stay, for their logs
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["demo"] => demo::demo(),
        ["up"] => demo::up(),
        ["bench", ref scenarios @ ..] => bench::bench(scenarios),
        ["pictures"] => pictures::draw(),
        ["tools"] => print_tools(),
        ["generate"] => operator::binary().and_then(|operator| generate::write(&operator)),
        ["generate", "--check"] => operator::binary().and_then(|operator| generate::check(&operator)),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_tools() -> anyhow::Result<()> {
    for (tool, path) in tools::build_all()? {
        println!("{:24} {}", tool.name(), path.display());
    }
    Ok(())
}
