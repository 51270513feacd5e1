//! The schemas that kubeconform checks manifests against: of a running API server, of released
//! versions of Kubernetes, and of CRDs.
//!
//! Those of releases come out of Go modules, which are pinned by their checksums:
//! `k8s.io/kubernetes` holds the OpenAPI document of its API server, and the modules of other
//! operators hold their CRDs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::cache::{self, digest};
use crate::tools::say;

/// Where kubeconform finds a kind's schema below the schemas' folder: `deployment-apps-v1.json`.
const LOCATION: &str = "{{.ResourceKind}}{{.KindSuffix}}.json";

/// A Go module that holds something which is not Go.
struct Module {
    path: &'static str,
    version: &'static str,
    /// As `go.sum` would have it.
    sum: &'static str,
}

/// The versions of Kubernetes that manifests are checked against: the oldest that the chart allows,
/// the newest, and one between.
const KUBERNETES: [Module; 3] = [
    Module {
        path: "k8s.io/kubernetes",
        version: "v1.33.13",
        sum: "h1:bmH31xUdSzeA5vk0wZAK9MZp11mdLuzUSeKk0qN3hPQ=",
    },
    Module {
        path: "k8s.io/kubernetes",
        version: "v1.35.4",
        sum: "h1:o/8dBC/pHVpYoGV4OAIytAlNPZbdYVTXJHoYvXC4qzM=",
    },
    Module {
        path: "k8s.io/kubernetes",
        version: "v1.37.2",
        sum: "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE=",
    },
];
const OPENAPI: &str = "api/openapi-spec/swagger.json";

/// Where the CRDs of other operators are: of what the chart can bring for them.
const FOREIGN: [(Module, &[&str]); 2] = [
    (
        Module {
            path: "github.com/prometheus-operator/prometheus-operator",
            version: "v0.85.0",
            sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        },
        &[
            "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ],
    ),
    (
        Module {
            path: "github.com/grafana/grafana-operator/v5",
            version: "v5.18.0",
            sum: "h1:ei7N2VfjsRjY8iprenH1IDV783WeV7CP5VNp//sB4hI=",
        },
        &["config/crd/bases/grafana.integreatly.org_grafanadashboards.yaml"],
    ),
];

/// external-dns' definition of DNSEndpoint.
const EXTERNAL_DNS: Module = Module {
    path: "sigs.k8s.io/external-dns",
    version: "v0.22.0",
    sum: "h1:+ASJ3KF7DLqHo2LsG8Qinuh2J389MS86I19i/r8ewUc=",
};
const DNS_ENDPOINT: &str = "config/crd/standard/dnsendpoints.externaldns.k8s.io.yaml";

/// The file with external-dns' definition of DNSEndpoint.
///
/// # Errors
/// When Go is missing, or the module cannot be had or is not the one that is pinned.
pub fn dns_endpoint_crd() -> Result<PathBuf> {
    let folder = cached(&[&EXTERNAL_DNS], |folder| {
        let file = EXTERNAL_DNS.download()?.join(DNS_ENDPOINT);
        fs::write(folder.join("dnsendpoint.yaml"), fs::read(&file)?)?;
        Ok(())
    })?;
    Ok(folder.join("dnsendpoint.yaml"))
}

/// What kubeconform takes as `-schema-location` for the schemas in a folder.
#[must_use]
pub fn location(folder: &Path) -> PathBuf {
    folder.join(LOCATION)
}

/// The folders with the schemas of three versions of Kubernetes, by their versions. The first time
/// they are downloaded.
///
/// # Errors
/// When Go is missing, or the module cannot be had or is not the one that is pinned.
pub fn of_releases() -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = |module: &Module| {
        cached(&[module], |folder| {
            let openapi = fs::read(module.download()?.join(OPENAPI))?;
            write_openapi(&serde_json::from_slice(&openapi)?, folder)
        })
    };
    KUBERNETES
        .iter()
        .map(|module| Ok((module.version, folder(module)?)))
        .collect()
}

/// The versions of Kubernetes, and of the modules that foreign CRDs come from.
pub fn versions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let foreign = FOREIGN.iter().map(|(module, _)| module);
    KUBERNETES
        .iter()
        .chain(foreign)
        .chain([&EXTERNAL_DNS])
        .map(|module| (module.path, module.version))
}

/// The folder with the schemas of PodMonitor, ServiceMonitor, PrometheusRule and GrafanaDashboard,
/// and with the CRDs that they come from.
///
/// # Errors
/// The same.
pub fn of_foreign_kinds() -> Result<PathBuf> {
    let modules: Vec<&Module> = FOREIGN.iter().map(|(module, _)| module).collect();
    cached(&modules, |folder| {
        for (module, files) in &FOREIGN {
            let module = module.download()?;
            for file in files.iter().map(|file| module.join(file)) {
                write_crd(&file, folder)?;
                let name = file.file_name().context("a CRD without a name")?;
                fs::write(folder.join(name), fs::read(&file)?)?;
            }
        }
        Ok(())
    })
}

/// The files with their CRDs.
///
/// # Errors
/// The same.
pub fn foreign_crds() -> Result<Vec<PathBuf>> {
    let folder = of_foreign_kinds()?;
    let files = FOREIGN.iter().flat_map(|(_, files)| files.iter());
    let names = files.filter_map(|file| Path::new(file).file_name());
    Ok(names.map(|name| folder.join(name)).collect())
}

/// Writes the schemas of the versions of a CRD.
///
/// # Errors
/// When the file holds no CRD.
pub fn write_crd(path: &Path, folder: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let crd = parse_crd(&text).with_context(|| format!("{} is no CRD", path.display()))?;
    let part = |pointer: &str| {
        crd.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        let name = version["name"].as_str().unwrap_or_default();
        tighten("", &mut schema);
        keep_patterns(&mut schema);
        // The API server adds them to every kind.
        for field in ["apiVersion", "kind"] {
            schema["properties"][field] = json!({"type": "string"});
        }
        schema["properties"]["metadata"] = json!({"type": "object"});
        let file = file_of(&part("/spec/names/kind"), &part("/spec/group"), name);
        fs::write(folder.join(file), schema.to_string())?;
    }
    Ok(())
}

/// The schema of the spec of a CRD's first version, as draft 7 of JSON Schema has it.
pub(crate) fn spec_of_crd(crd: &str) -> Result<Value> {
    let crd = parse_crd(crd)?;
    let mut spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    ensure!(spec["properties"].is_object(), "the CRD's spec has no schema");
    tighten("", &mut spec);
    keep_patterns(&mut spec);
    drop_extensions(&mut spec);
    Ok(spec)
}

/// What is a rule in CEL for the sake of its message is a plain pattern for JSON Schema, which
/// knows no CEL.
fn keep_patterns(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let rules = fields.get("x-kubernetes-validations").and_then(Value::as_array);
            let pattern = rules.into_iter().flatten().find_map(|rule| {
                let pattern = rule["rule"].as_str()?.strip_prefix("self.matches(r'")?;
                pattern.strip_suffix("')").map(Value::from)
            });
            if let Some(pattern) = pattern {
                fields.insert("pattern".to_owned(), pattern);
            }
            fields.values_mut().for_each(keep_patterns);
        }
        Value::Array(values) => values.iter_mut().for_each(keep_patterns),
        _ => {}
    }
}

/// Takes away what Kubernetes says beyond JSON Schema.
fn drop_extensions(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.starts_with("x-kubernetes-"));
            fields.values_mut().for_each(drop_extensions);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_extensions),
        _ => {}
    }
}

fn parse_crd(text: &str) -> Result<Value> {
    let crd: Value = serde_saphyr::from_str(text)?;
    ensure!(crd["kind"] == "CustomResourceDefinition", "it is a {}", crd["kind"]);
    Ok(crd)
}

impl Module {
    /// The folder of its files.
    fn download(&self) -> Result<PathBuf> {
        say(&format!(
            "downloading {}@{} with Go, unless it is there",
            self.path, self.version
        ));
        let output = Command::new("go")
            .args(["mod", "download", "-json", &format!("{}@{}", self.path, self.version)])
            .current_dir(std::env::temp_dir()) // in no module, whose replacements would count
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .output()
            .context("cannot run go, which downloads modules: install Go 1.26 or newer")?;
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "go cannot download {}@{}: {}{errors}",
                self.path,
                self.version,
                told["Error"]
            );
        }
        ensure!(
            told["Sum"] == self.sum,
            "{}@{} has the checksum {}, not {}",
            self.path,
            self.version,
            told["Sum"],
            self.sum
        );
        Ok(told["Dir"]
            .as_str()
            .context("go does not say where the module is")?
            .into())
    }
}

/// The folder in the cache for what is written from these modules; filled where it is missing.
fn cached(modules: &[&Module], fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let pins: String = modules.iter().map(|module| module.sum).collect();
    // What this file does decides what is written, too.
    let hash = digest([pins.into_bytes(), include_bytes!("schemas.rs").to_vec()]);
    let base = cache::folder()?.join("schemas");
    let folder = base.join(hash);
    let write = || {
        let partial = folder.with_extension("partial");
        if partial.is_dir() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir(&partial)?;
        fill(&partial)?;
        fs::rename(&partial, &folder)?;
        Ok(())
    };
    cache::make_once(&base.join("lock"), || folder.is_dir(), write)?;
    Ok(folder)
}

/// Writes the schemas of all kinds of an OpenAPI 2 document, strict ones: an unknown field is an
/// error.
///
/// # Errors
/// When it has no definitions, or a file cannot be written.
pub fn write_openapi(openapi: &Value, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut definitions = openapi["definitions"].as_object().context("no definitions")?.clone();
    for (name, definition) in &mut definitions {
        tighten(name, definition);
    }
    fs::write(
        folder.join("definitions.json"),
        json!({ "definitions": definitions }).to_string(),
    )?;
    for (name, definition) in &definitions {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        for kind in kinds.into_iter().flatten() {
            let part = |part: &str| kind[part].as_str().unwrap_or_default();
            let file = file_of(part("kind"), part("group"), part("version"));
            let schema = json!({ "$ref": format!("definitions.json#/definitions/{name}") });
            fs::write(folder.join(file), schema.to_string())?;
        }
    }
    Ok(())
}

/// The name by which kubeconform looks for a kind: it uses what stands before the group's first
/// dot.
fn file_of(kind: &str, group: &str, version: &str) -> String {
    let group = group.split('.').next().unwrap_or_default();
    let parts = [kind, group, version].map(str::to_lowercase);
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("-") + ".json"
}

/// From what OpenAPI can say to what holds: no unknown fields, null where it is allowed, and the
/// types that OpenAPI 2 calls strings and are not only that.
fn tighten(name: &str, schema: &mut Value) {
    if name.ends_with("intstr.IntOrString") || name.ends_with("api.resource.Quantity") {
        *schema = json!({ "type": ["string", "number"] });
        return;
    }
    let Value::Object(fields) = schema else { return };
    for key in ["properties", "definitions"] {
        for property in fields
            .get_mut(key)
            .and_then(Value::as_object_mut)
            .into_iter()
            .flat_map(Map::values_mut)
        {
            tighten("", property);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(key) {
            tighten("", inner);
        }
    }
    let open =
        fields.contains_key("additionalProperties") || fields.contains_key("x-kubernetes-preserve-unknown-fields");
    if fields.contains_key("properties") && !open && !name.ends_with("JSONSchemaProps") {
        fields.insert("additionalProperties".to_owned(), json!(false));
    }
    if fields.remove("nullable") == Some(json!(true)) {
        if let Some(kind) = fields.get("type").cloned() {
            fields.insert("type".to_owned(), json!([kind, "null"]));
        }
        if let Some(Value::Array(values)) = fields.get_mut("enum") {
            values.push(Value::Null);
        }
    }
}
