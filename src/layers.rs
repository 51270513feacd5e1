//! No folder of `src/` imports from one above it, and none of `core/src/` from one that imports it.
//! (`cargo-modules` would tell the same, but is a tool that everyone would have to install.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders and files of `src/`, each above those that it may import from.
const LAYERS: &[&str] = &[
    "backoff",
    "telemetry",
    "settings",
    "k8s",
    "aws",
    "shared",
    "account",
    "bound",
    "endpoint",
    "endpoint_service",
    "operator",
    "cli",
];
/// What belongs to no layer: the roots of the crates, and this.
const ROOTS: &[&str] = &["lib", "main", "layers"];

/// What each folder or file right below a source folder imports, and the lines where it does.
type Imports = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a source folder can be read");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let mut files: Vec<PathBuf> = paths
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

fn imports(root: &Path) -> Imports {
    let mut all = Imports::new();
    for file in rust_files(root) {
        let relative = file
            .strip_prefix(root)
            .expect("it is below its root")
            .with_extension("");
        let module: Vec<&str> = relative.iter().filter_map(|part| part.to_str()).collect();
        if ROOTS.contains(&module[0]) {
            continue;
        }
        let of_module = all.entry(module[0].to_owned()).or_default();
        let text = fs::read_to_string(&file).expect("a source file can be read");
        for (number, target) in targets(&text, &module) {
            let place = format!("{}:{number}", file.display());
            of_module.entry(target).or_default().push(place);
        }
    }
    all
}

/// The names right below the crate's root that a module names, by line.
fn targets(text: &str, module: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // In a module within the file, `super` is the file's own.
    let mut inner = 0;
    for (number, line) in (1..).zip(text.lines()) {
        match line.split_whitespace().next() {
            Some(comment) if comment.starts_with("//") => continue,
            Some("mod") if line.ends_with('{') => inner = 1,
            _ if line == "}" => inner = 0,
            _ => {}
        }
        for (at, _) in line.match_indices("crate::") {
            let is_path = !line[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before));
            let names = names(&line[at + "crate::".len()..]);
            found.extend(names.into_iter().filter(|_| is_path).map(|name| (number, name)));
        }
        let mut rest = line;
        while let Some(at) = rest.find("super::") {
            rest = &rest[at..];
            let mut up = 0_usize;
            while let Some(after) = rest.strip_prefix("super::") {
                (rest, up) = (after, up + 1);
            }
            if up.saturating_sub(inner) == module.len() {
                found.extend(names(rest).into_iter().map(|name| (number, name)));
            }
        }
    }
    found.retain(|(_, name)| name != module[0]);
    found
}

/// The first name of each path that begins here: `a::b`, or `{a::b, c}`.
fn names(text: &str) -> Vec<String> {
    let first = |path: &str| -> String {
        path.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let paths = match text.strip_prefix('{') {
        Some(group) => group.split([',', '}']).map(first).collect(),
        None => vec![first(text)],
    };
    paths.into_iter().filter(|name| !name.is_empty()).collect()
}

fn operator() -> Imports {
    imports(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")))
}

#[test]
fn no_folder_imports_from_one_above_it() {
    let place = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let imports = operator();
    assert!(
        imports.len() > 5 && imports["cli"].len() > 3,
        "imports are not found: {imports:?}"
    );
    let mut wrong = Vec::new();
    for (from, targets) in &imports {
        let Some(own) = place(from) else {
            wrong.push(format!(
                "src/{from} has no place in LAYERS (src/layers.rs): add it above all that it imports from"
            ));
            continue;
        };
        for (to, lines) in targets {
            if place(to).is_some_and(|other| other > own) {
                wrong.push(format!(
                    "{from} imports from {to}, which is above it: {}",
                    lines.join(", ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_part_of_the_core_imports_from_one_that_imports_it() {
    let imports = imports(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/core/src")));
    let mut left: BTreeSet<&String> = imports.keys().collect();
    // What imports from nothing that is left, or is imported by nothing that is left, is in no
    // circle.
    loop {
        let is_free = |name: &&&String| {
            let imports_none = !imports[**name].keys().any(|target| left.contains(target));
            imports_none || !left.iter().any(|other| imports[*other].contains_key(**name))
        };
        let free: Vec<&String> = left.iter().filter(is_free).copied().collect();
        if free.is_empty() {
            break;
        }
        left.retain(|name| !free.contains(name));
    }
    let lines = |name: &String| -> Vec<String> {
        let within = imports[name].iter().filter(|(target, _)| left.contains(target));
        within
            .map(|(target, lines)| format!("{name} imports from {target}: {}", lines.join(", ")))
            .collect()
    };
    let circle: Vec<String> = left.iter().flat_map(|name| lines(name)).collect();
    assert!(circle.is_empty(), "a circle in core/src:\n{}", circle.join("\n"));
}

#[test]
fn paths_are_found_however_they_are_written() {
    let text = "use crate::{aws, k8s::caches};\n    crate::cli::run();\nuse super::super::shared::Shared;\n\
                use super::status;\n// crate::operator\nuse vpce_crate::not;\nmod tests {\n    \
                use super::super::super::telemetry;\n    use super::super::near;\n}\n";
    let found = targets(text, &["endpoint", "reconcile"]);
    let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["aws", "k8s", "cli", "shared", "telemetry"]);
}
