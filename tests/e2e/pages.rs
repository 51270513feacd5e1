//! What the pages show: the manifests, which a real API server takes; the chart's values, which
//! helm takes; the operator's command lines, which it understands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use serde_json::Value;
use vpce_operator::cli::Cli;
use vpce_testbed::control_plane::ControlPlane;
use vpce_testbed::tools::Tool;

/// Kinds that the API server of the testbed does not have, since their CRDs belong to others.
const KINDS_OF_OTHERS: [&str; 13] = [
    "Alertmanager",
    "AlertmanagerConfig",
    "Application",
    "Certificate",
    "GitRepository",
    "GrafanaDashboard",
    "HelmRelease",
    "HelmRepository",
    "Kustomization",
    "OCIRepository",
    "PodMonitor",
    "PrometheusRule",
    "ServiceMonitor",
];

/// Blocks of YAML that are neither manifests nor values of the chart: page, first line, and why
/// nothing checks them here.
const UNCHECKED: [(&str, &str, &str); 1] = [(
    "docs/guides/register-an-organization.md",
    "# template.yaml",
    "a template: the guide's own test applies what is made from it",
)];

/// A block of code of a page.
struct Block {
    page: String,
    language: String,
    text: String,
}

impl Block {
    fn place(&self) -> String {
        format!("{}:\n{}", self.page, self.text)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => below(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|found| found == "md"))
        .collect()
}

/// The blocks of code of all pages, those in lists too.
fn blocks() -> Vec<Block> {
    let mut pages: Vec<PathBuf> = ["docs", "charts"]
        .iter()
        .flat_map(|folder| below(&root().join(folder)))
        .collect();
    pages.extend(["README.md", "SECURITY.md", "CHANGELOG.md"].map(|page| root().join(page)));
    let mut blocks = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("the page");
        let page = page
            .strip_prefix(root())
            .expect("below it")
            .to_string_lossy()
            .into_owned();
        let mut open: Option<(usize, Block)> = None;
        for line in text.lines() {
            let indent = line.len() - line.trim_start().len();
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
                (Some(language), None) => {
                    let block = Block {
                        page: page.clone(),
                        language: language.to_owned(),
                        text: String::new(),
                    };
                    open = Some((indent, block));
                }
                (None, Some((indent, block))) => {
                    block.text += line.get(*indent..).unwrap_or_default();
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{page}: a block of code is not closed");
    }
    blocks
}

#[test]
fn every_manifest_in_a_page_is_taken_by_the_api_server_and_every_value_by_the_chart() {
    let plane = ControlPlane::start().expect("started");
    let kubectl = |arguments: &[&str]| plane.kubectl(arguments).expect("ran").success();
    kubectl(&["create", "--filename", root().join("crds").to_str().expect("text")]).expect("CRDs");
    kubectl(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=2m"]).expect("established");
    let file = plane.folder().join("block.yaml");
    let path = file.to_str().expect("text");
    let taken = |text: &str| {
        fs::write(&file, text).expect("written");
        kubectl(&["apply", "--dry-run=server", "--validate=strict", "--filename", path])
    };
    let rendered = |text: &str| {
        fs::write(&file, text).expect("written");
        let mut helm = Command::new(Tool::Helm.path().expect("helm"));
        helm.args(["template", "vpce-operator"])
            .arg(root().join("charts/vpce-operator"));
        let output = helm.arg("--values").arg(&file).output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    };

    let mut namespaces = BTreeSet::from(["default".to_owned()]);
    let mut counts = (0, 0);
    let mut refused = Vec::new();
    for block in blocks()
        .iter()
        .filter(|block| ["yaml", "yml"].contains(&block.language.as_str()))
    {
        let first = block.text.lines().next().unwrap_or_default();
        if UNCHECKED
            .iter()
            .any(|(page, line, _)| *page == block.page && *line == first)
        {
            continue;
        }
        for text in block.text.split("\n---\n") {
            let value: Value = match serde_saphyr::from_str(text) {
                Ok(value) => value,
                Err(error) => {
                    refused.push(format!("{} is no YAML: {error}", block.place()));
                    continue;
                }
            };
            let Some(kind) = value["kind"].as_str() else {
                counts.1 += 1;
                refused.extend(rendered(text).err().map(|error| format!("{}{error}", block.place())));
                continue;
            };
            if KINDS_OF_OTHERS.contains(&kind) {
                continue;
            }
            counts.0 += 1;
            let namespace = value["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
            if namespaces.insert(namespace.clone()) {
                kubectl(&["create", "namespace", &namespace]).expect("a namespace");
            }
            refused.extend(taken(text).err().map(|error| format!("{}{error:#}", block.place())));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
    assert!(
        counts.0 > 5 && counts.1 > 3,
        "manifests and values were found: {counts:?}"
    );
    println!("{} manifests, {} blocks of values", counts.0, counts.1);

    // It would say so if something were wrong.
    let wrong = "apiVersion: silvermullet.com/v1beta1\nkind: VPCEndpoint\nmetadata: {name: a}\nspec: {vpc: vpc-1}\n";
    assert!(taken(wrong).is_err_and(|error| format!("{error:#}").contains("spec.vpc")));
    assert!(rendered("settings: {resync: 5}\n").is_err_and(|error| error.contains("resync")));
}

/// The command lines of a block, without the prompt and with what was continued on one line. Of
/// `console`, what is not after a prompt was printed.
fn command_lines(block: &Block) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    let lines = joined.lines();
    match block.language.as_str() {
        "sh" => lines.map(str::to_owned).collect(),
        "console" => lines
            .filter_map(|line| line.strip_prefix("$ "))
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// The words of a command line, as far as pages go: quotes, and something in place of what another
/// command prints.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('$', _) if quote != Some('\'') && letters.peek() == Some(&'(') => {
                let mut depth = 0;
                for inner in letters.by_ref() {
                    depth += i32::from(inner == '(') - i32::from(inner == ')');
                    if depth == 0 {
                        break;
                    }
                }
                word.get_or_insert_default().push_str("printed-by-another");
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            ('#', None) if word.is_none() => break,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The operator's own command in a command line, if there is one: what stands after its name.
fn own_command(words: &[String]) -> Option<&[String]> {
    const ENDS: [&str; 7] = ["|", ">", ">>", "<", "&&", "||", ";"];
    let is_first = |at: usize| at == 0 || ["|", "&&", "||", ";", "--"].contains(&words[at - 1].as_str());
    let begins = |at: &usize| {
        let word = words[*at].as_str();
        let by_name = ["vpce-operator", "/vpce-operator"].contains(&word) && is_first(*at);
        // `cargo run --release -- run`
        by_name || (word == "--" && words.starts_with(&["cargo".to_owned(), "run".to_owned()]))
    };
    let at = (0..words.len()).find(begins)?;
    let rest = &words[at + 1..];
    let end = rest.iter().position(|word| ENDS.contains(&word.as_str()));
    Some(&rest[..end.unwrap_or(rest.len())])
}

#[test]
fn every_command_line_of_the_operator_in_a_page_is_understood() {
    let mut count = 0;
    for block in blocks() {
        for line in command_lines(&block) {
            let words = words(&line);
            let Some(own) = own_command(&words) else {
                continue;
            };
            count += 1;
            let arguments = std::iter::once("vpce-operator").chain(own.iter().map(String::as_str));
            match Cli::try_parse_from(arguments) {
                Err(error) if !["DisplayHelp", "DisplayVersion"].contains(&format!("{:?}", error.kind()).as_str()) => {
                    panic!("{}: {line}\n{error}", block.page)
                }
                _ => {}
            }
        }
    }
    assert!(count > 20, "only {count} were found");
    println!("{count} command lines");
}

#[test]
fn a_command_line_is_found_and_split() {
    let own = |line: &str| own_command(&words(line)).map(<[String]>::to_vec);
    let expected = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    assert_eq!(own("vpce-operator run --help"), expected(&["run", "--help"]));
    let line = r#"vpce-operator iam-policy base --role-arn 'a b' --id "$(cat $(echo x))" > file"#;
    assert_eq!(
        own(line),
        expected(&["iam-policy", "base", "--role-arn", "a b", "--id", "printed-by-another"])
    );
    assert_eq!(
        own("kubectl exec pod -- /vpce-operator orphans # why"),
        expected(&["orphans"])
    );
    assert_eq!(own("cargo run --release -- run"), expected(&["run"]));
    assert_eq!(own("helm upgrade vpce-operator charts/vpce-operator"), None);
}
