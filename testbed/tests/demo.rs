//! What `testbed up` and `testbed demo` print can be done as it stands there, and is true.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vpce_testbed::python;

/// It may have to build the operator first, and the machine may be busy.
const WITHIN: Duration = Duration::from_secs(240);
const LAST_LINE: &str = "It all runs until you press Ctrl-C.";

/// A testbed that is up, and what it printed until it was.
struct Up {
    process: Child,
    said: String,
}

impl Up {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_testbed"))
            .arg("up")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = String::new();
        for line in BufReader::new(process.stdout.take().expect("piped")).lines() {
            let line = line.expect("UTF-8");
            if line == LAST_LINE {
                break;
            }
            said += &line;
            said.push('\n');
        }
        Self { process, said }
    }

    /// The lines that start so, without that start.
    fn after<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        self.said.lines().filter_map(move |line| line.strip_prefix(start))
    }

    fn one<'a>(&'a self, start: &'a str) -> &'a str {
        let found = self.after(start).next();
        found.unwrap_or_else(|| panic!("no line starts with {start:?}:\n{}", self.said))
    }

    /// Runs the printed kubectl on the printed kubeconfig.
    fn kubectl(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut process = Command::new(self.one("alias kubectl="))
            .args(arguments)
            .env("KUBECONFIG", self.one("export KUBECONFIG="))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let stdin = process.stdin.take();
        stdin.expect("piped").write_all(input.as_bytes()).expect("it reads");
        let output = process.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str], input: &str) -> String {
        let (ok, said) = self.kubectl(arguments, input);
        assert!(ok, "kubectl {}: {said}", arguments.join(" "));
        said
    }

    fn signal(pid: &str, signal: &str) {
        let status = Command::new("/bin/kill").args([signal, pid]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Ends it as Ctrl-C does.
    fn end(mut self) -> bool {
        Self::signal(&self.process.id().to_string(), "-INT");
        self.process.wait().expect("it ends").success()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill(); // where the test has failed; what it started ends with it
    }
}

fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !probe() {
        assert!(Instant::now() < deadline, "not within {WITHIN:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// boto3 in place of the AWS CLI, which is made of the same parts: endpoints as `id state`.
fn endpoints(url: &str, region: &str, keys: &BTreeMap<&str, &str>) -> String {
    const SCRIPT: &str = "
import boto3, sys
ec2 = boto3.client('ec2', endpoint_url=sys.argv[1], region_name=sys.argv[2])
print(boto3.client('sts', endpoint_url=sys.argv[1], region_name=sys.argv[2]).get_caller_identity()['Account'])
for endpoint in ec2.describe_vpc_endpoints()['VpcEndpoints']:
    print(endpoint['VpcEndpointId'], endpoint['State'])
";
    let output = Command::new(python::interpreter().expect("Python"))
        .args(["-c", SCRIPT, url, region])
        .envs(keys)
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What `curl --insecure` gets.
fn metrics(url: &str, token: &str) -> String {
    const SCRIPT: &str = "
import ssl, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={'Authorization': f'Bearer {sys.argv[2]}'})
print(urllib.request.urlopen(request, context=ssl._create_unverified_context()).read().decode())
";
    let output = Command::new(python::interpreter().expect("Python"))
        .args(["-c", SCRIPT, url, token])
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// `A=1 B=2  # a comment`
fn keys(line: &str) -> (BTreeMap<&str, &str>, Option<&str>) {
    let (pairs, account) = match line.split_once("  # ") {
        Some((pairs, account)) => (pairs, Some(account)),
        None => (line, None),
    };
    let pairs = pairs.split(' ').map(|pair| pair.split_once('=').expect("KEY=VALUE"));
    (pairs.collect(), account)
}

#[test]
fn the_commands_that_up_prints_work() {
    let up = Up::start();

    // The Deployment is what it says it is.
    let deployment = ["deployment/vpce-operator", "--namespace", "vpce-system"];
    up.succeeds(&[&["rollout", "status", "--timeout=30s"], &deployment[..]].concat(), "");
    let pods = || up.succeeds(&["get", "pods", "--namespace", "vpce-system", "--no-headers"], "");
    let words: Vec<String> = pods().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[1..3], ["1/1", "Running"], "{words:?}");

    // The manifest, between the two lines that a shell takes for it.
    let (_, manifest) = up
        .said
        .split_once("kubectl apply --filename - <<'EOF'\n")
        .expect("a manifest");
    let (manifest, wait) = manifest.split_once("\nEOF\n").expect("its end");
    up.succeeds(
        &["apply", "--validate=strict", "--filename", "-"],
        &format!("{manifest}\n"),
    );
    let wait: Vec<&str> = wait.lines().next().expect("a line").split(' ').collect();
    up.succeeds(&wait[1..], "");
    let endpoint = up.succeeds(
        &[
            "get",
            "vpce",
            "--all-namespaces",
            "--output",
            "jsonpath={.items[*].status.vpc_endpoint_id}",
        ],
        "",
    );

    // The keys, each of its own account.
    let aws: Vec<&str> = up.one("aws --endpoint-url ").split(' ').collect();
    let [url, "--region", region, ..] = aws[..] else {
        panic!("{aws:?}");
    };
    let mut lines = up.after("export AWS_ACCESS_KEY_ID=");
    let first = format!("AWS_ACCESS_KEY_ID={}", lines.next().expect("keys"));
    let seen = endpoints(url, region, &keys(&first).0);
    assert_eq!(seen, format!("333333333333\n{endpoint} available\n"));
    let mut others = 0;
    for line in lines {
        let line = format!("AWS_ACCESS_KEY_ID={line}");
        let (keys, account) = keys(&line);
        assert_eq!(endpoints(url, region, &keys), format!("{}\n", account.expect("named")));
        others += 1;
    }
    assert_eq!(others, 2);

    // Its metrics, with a token as the command makes one.
    let curl: Vec<&str> = up.one("Metrics:       curl ").split_whitespace().collect();
    let token = up.succeeds(&["create", "token", "prometheus", "--namespace", "vpce-system"], "");
    assert!(metrics(curl[curl.len() - 1], token.trim()).contains("vpce_build_info"));

    // Where its log is, and that it runs beside the cluster: when it ends, its Pod says so.
    let log = Path::new(up.one("Operator log:  ")).to_owned();
    assert!(std::fs::read_to_string(&log).expect("a log").contains("team-a"));
    let (_, process) = up
        .said
        .split_once("outside the cluster, as process ")
        .expect("it says where");
    let (process, _) = process.split_once('.').expect("a number");
    Up::signal(process, "-KILL");
    eventually("its Pod is not ready any more", || pods().contains("0/1"));
    let available = "jsonpath={.status.availableReplicas}";
    let get = [&["get", "--output", available], &deployment[..]].concat();
    eventually("nor its Deployment", || up.succeeds(&get, "").is_empty());

    up.end(); // says that the operator ended before it
    eventually("what it made is gone", || !log.exists());
}

#[test]
fn the_demo_prints_nothing_that_is_gone_by_then() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg("demo")
        .env_remove("VPCE_TESTBED_KEEP")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = String::new();
    let stdout = process.stdout.take();
    stdout.expect("piped").read_to_string(&mut said).expect("UTF-8");
    assert!(process.wait().expect("it ends").success(), "{said}");

    for gone in ["KUBECONFIG", "http://127.0.0.1", "https://127.0.0.1"] {
        assert!(!said.contains(gone), "{gone}:\n{said}");
    }
    let temporary = std::env::temp_dir();
    assert!(!said.contains(&format!("{}/vpce-", temporary.display())), "{said}");

    // What the teams wrote, and what they got: one endpoint for two of them, and a name.
    for wanted in [
        r#"blue/ecr-api  spec: {"vpc_endpoint_ref":{"name":"ecr-api","namespace":"green"}}"#,
        r#""dns_names":[{"name":"xy12345.privatelink.example.com"}]"#,
    ] {
        assert!(said.contains(wanted), "{wanted}:\n{said}");
    }
    let of = |start: &str| said.lines().find(|line| line.starts_with(start)).unwrap_or_default();
    let service = |namespace: &str| {
        let mut lines = said.lines().filter(|line| line.starts_with(namespace));
        let line = lines.find(|line| line.contains("ecr-api") && line.contains("ExternalName"));
        line.and_then(|line| line.split_whitespace().nth(4)).map(str::to_owned)
    };
    assert!(
        service("blue ").is_some() && service("blue ") == service("green "),
        "{said}"
    );
    assert!(
        of("green       xy12345.privatelink.example.com").contains("vpce-"),
        "{said}"
    );

    let (_, table) = said
        .split_once("AWS calls, as the simulator counted them:\n")
        .expect("a table");
    let lines: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        words[0],
        ["ACCOUNT", "REGION", "ACTION", "CALLS", "ERRORS", "DRY", "RUNS"]
    );
    assert!(
        words.len() > 10 && lines.iter().all(|line| line.len() == lines[0].len()),
        "{table}"
    );
    // The operator asks for every permission by dry runs; that is no error.
    let dry: usize = words[1..]
        .iter()
        .map(|row| row[5].parse::<usize>().expect("a number"))
        .sum();
    let tags = words.iter().find(|row| row[2] == "CreateTags").expect("asked for");
    assert!(dry > 10 && tags[4] == "0", "{table}");
}
