//! What pages claim is there: the tests that they name, and the files that they link to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a folder that end so.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path, extension),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

/// The end-to-end tests, as `cargo test` names them: `escapes::tags::no_spelling`.
fn end_to_end_tests() -> BTreeSet<String> {
    let root = project("tests/e2e");
    let mut tests = BTreeSet::new();
    for file in files(&root, "rs") {
        let module = file.with_extension("");
        let module = module.strip_prefix(&root).expect("below it");
        let module = module.to_str().expect("UTF-8").replace('/', "::");
        let text = read(&file);
        let names = text.split("#[test]\nfn ").skip(1);
        let names = names.filter_map(|rest| rest.split_once('(')).map(|(name, _)| name);
        tests.extend(names.map(|name| format!("{module}::{name}")));
    }
    tests
}

/// What a page has between backticks and looks like the path of a test.
fn named(page: &str) -> BTreeSet<String> {
    let path = |text: &&str| text.contains("::") && text.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
    page.split('`')
        .skip(1)
        .step_by(2)
        .filter(path)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_test_that_a_page_names_is_there_and_every_escape_is_in_the_threat_model() {
    let tests = end_to_end_tests();
    let threat_model = named(&read(&project("docs/tenancy.md")));
    let named: BTreeSet<String> = named(&read(&project("SECURITY.md")))
        .union(&threat_model)
        .cloned()
        .collect();
    assert!(named.len() > 40, "the pages name their tests: {named:?}");
    let missing: Vec<&String> = named.difference(&tests).collect();
    assert!(missing.is_empty(), "named and not there: {missing:#?}");
    let untold: Vec<&String> = tests
        .difference(&threat_model)
        .filter(|test| test.starts_with("escapes::"))
        .collect();
    assert!(untold.is_empty(), "tried and not in docs/tenancy.md: {untold:#?}");
}

/// What links call the headings of a page, by GitHub's rule: in lower case, without punctuation,
/// with a hyphen for a space.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let headings = page.lines().filter(|line| {
        is_code ^= line.trim_start().starts_with("```");
        !is_code && line.starts_with('#')
    });
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// A page without its code, in which brackets are no links.
fn prose(page: &str) -> String {
    let mut is_code = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    // Code that is a link's text leaves its brackets behind.
    let lines = lines.map(|line| line.split('`').step_by(2).collect::<String>() + "\n");
    lines.collect()
}

#[test]
fn every_file_and_heading_that_a_page_links_to_is_there() {
    let mut pages = files(&project("docs"), "md");
    pages.extend(files(&project("charts"), "md"));
    pages.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(project));
    let mut broken = Vec::new();
    for page in pages {
        let text = prose(&read(&page));
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (target, _) in targets.filter(|(target, _)| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.clone(),
                file => page.parent().expect("a folder").join(file),
            };
            if !file.exists() || (!heading.is_empty() && !anchors(&read(&file)).contains(heading)) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_path_that_the_page_for_contributors_names_is_there() {
    let page = prose_and_paths(&read(&project("CONTRIBUTING.md")));
    let paths: BTreeSet<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| is_path(text))
        .collect();
    assert!(paths.len() > 40, "paths are not found: {paths:?}");
    let missing: Vec<&&str> = paths.iter().filter(|path| !project(path).exists()).collect();
    assert!(
        missing.is_empty(),
        "CONTRIBUTING.md names what is not there: {missing:?}"
    );
}

/// A page without its blocks of code.
fn prose_and_paths(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// Whether a piece of code is a path in the repository: `core/src`, `src/aws/ec2.rs`.
fn is_path(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    text.contains('/') && project(first).is_dir() && !text.contains(' ')
}

#[test]
fn every_page_is_in_the_index() {
    let index = read(&project("docs/README.md"));
    let root = project("docs");
    let below = |page: &PathBuf| page.strip_prefix(&root).expect("below it").to_str().map(str::to_owned);
    let missing: Vec<String> = files(&root, "md")
        .iter()
        .filter_map(below)
        // Of a folder of many pages the folder will do.
        .filter(|page| page != "README.md" && !page.starts_with("runbooks/"))
        .filter(|page| !["#", ")"].iter().any(|end| index.contains(&format!("]({page}{end}"))))
        .collect();
    assert!(missing.is_empty(), "docs/README.md does not lead to {missing:?}");
}

/// Pages, or folders of them, whose commands no test runs as a whole, and why. (That the operator
/// understands its own command lines in them, and the API server their manifests, is in
/// tests/e2e/pages.rs.)
const NOT_FOLLOWED: [(&str, &str); 6] = [
    (
        "README",
        "takes a registry, a cluster and IAM; getting-started-eks has the same steps and is followed; `make demo` and `make test` are what runs tests",
    ),
    ("docs/benchmarks", "`make bench` takes most of an hour"),
    (
        "docs/conformance",
        "installs Python packages, and asks AWS itself where it is told to",
    ),
    (
        "docs/iam",
        "takes an EKS cluster and CloudFormation; the files that its commands print are generated, and in force in tests",
    ),
    (
        "docs/runbooks",
        "their commands name what an alert names, which is not there before it fires",
    ),
    (
        "docs/tenancy",
        "one command, which operating has as well and is followed for",
    ),
];

#[test]
fn every_page_with_commands_has_a_test_that_follows_it_or_a_reason() {
    let mut tests = read(&project("tests/e2e/guides.rs"));
    for file in files(&project("tests/e2e/guides"), "rs") {
        tests += &read(&file);
    }
    let mut pages = files(&project("docs"), "md");
    pages.extend(["README.md", "SECURITY.md", "CHANGELOG.md"].map(project));
    let mut untried = Vec::new();
    for page in pages {
        let stem = page.file_stem().expect("a name").to_string_lossy().into_owned();
        let path = page.with_extension("");
        let is_excused = NOT_FOLLOWED
            .iter()
            .any(|(excused, _)| path.starts_with(project(excused)));
        let is_named = NOT_FOLLOWED.iter().any(|(excused, _)| path == project(excused));
        let has_commands = read(&page).lines().any(|line| line.trim_start() == "```sh");
        if has_commands && !is_excused && !tests.contains(&format!("\"{stem}\")")) {
            untried.push(path);
        }
        assert!(has_commands || !is_named, "{stem} has no commands, and needs no excuse");
    }
    assert!(untried.is_empty(), "no test runs the commands of {untried:?}");
}

/// Words that must not come back in what users see, and what to say instead.
const WORDS: [(&[&str], &str); 21] = [
    (&["rail", "rails"], "guardrail, guardrails"),
    (
        &["somebody", "nobody", "anybody", "everybody", "whoever", "whomever"],
        "the subject: the user, the operator, no client",
    ),
    (&["anew", "made again", "made anew"], "again; recreated"),
    (
        &["behind our back", "behind the operator's back"],
        "out-of-band change, drift",
    ),
    (
        &["put right", "puts right", "mend", "mends", "mended"],
        "corrected, fixed",
    ),
    (
        &["in line", "wait in line", "turns go round"],
        "the rate limiter's queue, fair by namespace",
    ),
    (
        &["release a hold", "the hold", "mutations held"],
        "creation is paused; resume creation",
    ),
    (&["held back", "steps held back"], "planned changes"),
    (
        &["let go", "lets go", "let it go", "letting go"],
        "the finalizer is removed without calling AWS; abandoned",
    ),
    (&["leftover", "leftovers"], "orphan, orphans"),
    (
        &["look anew", "next look", "looked at", "look whole"],
        "resync, reconcile, read",
    ),
    (&["wake", "wakes", "woken"], "requeue; page"),
    (
        &["who works", "nobody works", "one that works"],
        "leader, standby replica",
    ),
    (&["brought over", "bring over"], "migrated"),
    (&["trouble", "troubles"], "problem"),
    (&["stranger", "strangers", "stranger's"], "another owner"),
    (&["told", "tells of"], "reported; has the reason, the event"),
    (&["held up", "holds up", "hold up"], "blocked"),
    (&["confine", "confines", "confined"], "restricts"),
    (&["in the clear"], "over HTTP, without TLS"),
    (
        &["put back", "puts back", "brought back", "taken back"],
        "restored, corrected, adopted",
    ),
];

/// Where a text has one of the words, whatever the case, also where a line ends within it: the
/// number of the line, the word, what to use.
fn habits(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let lines: Vec<String> = text.lines().map(|line| line.trim().to_lowercase()).collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let next = lines
            .get(number + 1)
            .map_or("", String::as_str)
            .trim_start_matches(['/', '#', ' ']);
        let joined = format!("{line} {next}");
        for (words, instead) in WORDS {
            for word in words {
                let is_there = joined.match_indices(word).any(|(at, _)| {
                    at <= line.len()
                        && !joined[..at].ends_with(is_word)
                        && !joined[at + word.len()..].starts_with(is_word)
                });
                if is_there {
                    found.push((number + 1, *word, instead));
                }
            }
        }
    }
    found
}

/// The string literals of a Rust file outside of its tests, each with the number of the line that
/// it begins in.
fn literals(source: &str) -> Vec<(usize, String)> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let (mut found, mut line, mut rest) = (Vec::new(), 1, source);
    while let Some(c) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|hashes| hashes.trim_start_matches('#'));
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(text) = raw.filter(|text| text.starts_with('"')) {
            let opening = rest.len() - text.len() + 1;
            let closing = format!("\"{}", "#".repeat(opening - 2));
            let end = rest[opening..].find(&closing).unwrap_or(0);
            found.push((line, rest[opening..opening + end].to_owned()));
            opening + end + closing.len()
        } else if c == '"' {
            let mut is_escaped = false;
            let end = rest[1..].find(|c| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            });
            let end = end.unwrap_or(0) + 1;
            found.push((line, rest[1..end].replace("\\\n", "\n")));
            end + 1
        } else {
            c.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

#[test]
fn what_users_see_speaks_the_words_of_kubernetes_aws_and_prometheus() {
    let mut pages = files(&project("docs"), "md");
    pages.extend(files(&project("crds"), "yaml"));
    pages.extend(files(&project("examples"), "yaml"));
    pages.extend(files(&project("grafana"), "json"));
    for folder in ["prometheus", "rbac", "charts/vpce-operator/templates"] {
        pages.extend(files(&project(folder), "yaml"));
    }
    pages.extend(["README.md", "SECURITY.md", "CHANGELOG.md"].map(project));
    let chart = [
        "README.md.gotmpl",
        "values.yaml",
        "values.schema.json",
        "templates/NOTES.txt",
    ];
    pages.extend(chart.map(|file| project("charts/vpce-operator").join(file)));
    let mut complaints = Vec::new();
    let mut complain = |page: &Path, line: usize, word: &str, instead: &str| {
        complaints.push(format!("{}:{line}: {word:?}: use {instead}", page.display()));
    };
    for page in &pages {
        for (line, word, instead) in habits(&read(page)) {
            complain(page, line, word, instead);
        }
    }
    let mut sources = files(&project("src"), "rs");
    sources.extend(files(&project("core/src"), "rs"));
    for source in sources
        .iter()
        .filter(|path| path.file_stem().is_none_or(|stem| stem != "tests"))
    {
        for (begin, literal) in literals(&read(source)) {
            for (line, word, instead) in habits(&literal) {
                complain(source, begin + line - 1, word, instead);
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Where rustfmt's `comment_width` ends comments.
const COMMENT_WIDTH: usize = 100;

#[test]
fn comments_end_at_100_columns() {
    let sources = [
        ("//", "rs", ["src", "core", "testbed", "tests"].as_slice()),
        ("//", "go", &["testbed/tools"]),
        ("#", "py", &["grafana", "testbed"]),
        ("#", "yaml", &["charts", "examples", "prometheus", "rbac", "tests"]),
    ];
    let with_marker = |marker: &'static str, paths: Vec<PathBuf>| paths.into_iter().map(move |path| (marker, path));
    let mut all: Vec<(&str, PathBuf)> = Vec::new();
    for (marker, extension, folders) in sources {
        for folder in folders {
            all.extend(with_marker(marker, files(&project(folder), extension)));
        }
    }
    let single = [
        "Cargo.toml",
        "core/Cargo.toml",
        "testbed/Cargo.toml",
        "Dockerfile",
        "Makefile",
    ]
    .map(project);
    all.extend(with_marker("#", single.into()));
    let mut long = Vec::new();
    for (marker, path) in &all {
        for (number, line) in read(path).lines().enumerate() {
            let Some(text) = line.trim_start().strip_prefix(marker) else {
                continue;
            };
            // A row of a table cannot be wrapped, nor can what has no spaces, such as a link.
            let text = text.trim_start_matches(['/', '!', '#']).trim();
            let can_be_wrapped = !text.starts_with('|') && text.contains(' ');
            if line.chars().count() > COMMENT_WIDTH && can_be_wrapped {
                long.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(all.len() > 400, "the sources are not found: {}", all.len());
    assert!(long.is_empty(), "comments end at {COMMENT_WIDTH} columns: {long:#?}");
}
