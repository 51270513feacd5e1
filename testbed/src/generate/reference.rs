//! The API reference: a page of Markdown with every field of the CRDs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

const HEAD: &str = "\
# API reference

Every field of all kinds, as `kubectl explain --recursive` knows them. `make generate` writes this page from [the CRDs](../crds); a test
fails when it is stale. [concepts.md](concepts.md) explains what the kinds are for, and [examples](../examples) has manifests to start from.
";

/// The page, from the CRDs as YAML documents.
///
/// # Errors
/// When a document is no CRD.
pub fn page(crds: &[String]) -> Result<String> {
    let mut page = HEAD.to_owned();
    for crd in crds {
        let crd: Value = serde_saphyr::from_str(crd).context("the operator printed a CRD that is no YAML")?;
        kind(&crd["spec"], &mut page).context("the operator printed a CRD without a schema")?;
    }
    Ok(page)
}

fn kind(spec: &Value, page: &mut String) -> Option<()> {
    let version = spec["versions"].get(0)?;
    let schema = &version["schema"]["openAPIV3Schema"];
    let name = spec["names"]["kind"].as_str()?;
    let version_name = version["name"].as_str()?;
    let group = spec["group"].as_str()?;
    let scope = match spec["scope"].as_str()? {
        "Cluster" => "cluster-scoped",
        _ => "namespaced",
    };
    let short: Vec<String> = list(&spec["names"]["shortNames"]).map(code).collect();
    let _ = write!(
        page,
        "\n## {name}\n\n`apiVersion: {group}/{version_name}`, {scope}, short: {}. {}\n",
        short.join(", "),
        words(schema)
    );
    columns(&version["additionalPrinterColumns"], page);
    rules(name, schema, page);
    let mut known = BTreeMap::new();
    for part in ["spec", "status"] {
        let part_schema = &schema["properties"][part];
        object(&format!("{name}.{part}"), part_schema, &mut known, page)?;
    }
    Some(())
}

fn columns(columns: &Value, page: &mut String) {
    let named = |wide: bool| -> Vec<&str> {
        let columns = columns.as_array().into_iter().flatten();
        let columns = columns.filter(|column| (column["priority"].as_i64().unwrap_or(0) > 0) == wide);
        columns.filter_map(|column| column["name"].as_str()).collect()
    };
    let _ = write!(page, "\n`kubectl get` shows {}", named(false).join(", "));
    match named(true).as_slice() {
        [] => page.push_str(".\n"),
        wide => {
            let _ = writeln!(page, "; with `--output wide` {} too.", wide.join(", "));
        }
    }
}

/// A section for an object: its fields, its rules, and the objects in it. One that was there
/// already is linked to.
fn object(path: &str, schema: &Value, known: &mut BTreeMap<String, String>, page: &mut String) -> Option<()> {
    let fields = schema["properties"].as_object()?;
    let _ = write!(page, "\n### {path}\n\n{}\n\n", words(schema));
    page.push_str("| field | type | required, default | meaning |\n|---|---|---|---|\n");
    let required: Vec<&str> = list(&schema["required"]).collect();
    let mut inner: Vec<(String, &Value)> = Vec::new();
    for (name, field) in fields {
        let of = part(field).map(|(suffix, schema)| (format!("{path}.{name}{suffix}"), schema));
        let mut meaning = sentence(&words(field));
        for limit in limits(field) {
            let _ = write!(meaning, "<br>{limit}");
        }
        if let Some((section, schema)) = of {
            let key = schema.to_string();
            let section = known.entry(key).or_insert_with(|| {
                inner.push((section.clone(), schema));
                section
            });
            let _ = write!(meaning, "<br>Its fields: [{section}](#{})", anchor(section));
        }
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} | {} |",
            type_of(field),
            presence(field, required.contains(&name.as_str())),
            cell(&meaning)
        );
    }
    rules(path, schema, page);
    for (name, field) in fields.iter().filter(|(_, field)| !is_plain(field)) {
        rules(&format!("{path}.{name}"), field, page);
    }
    for (section, schema) in inner {
        object(&section, schema, known, page)?;
    }
    Some(())
}

/// The object that a field is, or that the items of its list are, where it has fields of its own.
fn part(field: &Value) -> Option<(&'static str, &Value)> {
    let has_fields = |schema: &Value| schema["properties"].is_object();
    match field {
        field if has_fields(field) => Some(("", field)),
        field if has_fields(&field["items"]) => Some(("[]", &field["items"])),
        _ => None,
    }
}

/// The rules in CEL of one schema, by the messages that they are refused with.
fn rules(path: &str, schema: &Value, page: &mut String) {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let (fixed, plain): (Vec<&Value>, Vec<&Value>) =
        rules.partition(|rule| rule["rule"].as_str().is_some_and(|rule| rule.contains("oldSelf")));
    for (title, rules) in [("What an edit cannot change", fixed), ("What is refused", plain)] {
        if rules.is_empty() {
            continue;
        }
        let _ = write!(page, "\n{title} in `{path}`, with this message:\n\n");
        for rule in rules {
            let _ = writeln!(page, "- {}", text(rule.get("message")));
        }
    }
}

fn type_of(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "integer or string".to_owned();
    }
    match field["type"].as_str().unwrap_or("anything") {
        "array" => format!("list of {}", type_of(&field["items"])),
        "object" if field["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&field["additionalProperties"]))
        }
        "string" if field["format"] == "date-time" => "time".to_owned(),
        plain => plain.to_owned(),
    }
}

fn presence(field: &Value, is_required: bool) -> String {
    match (is_required, field.get("default")) {
        (true, _) => "required".to_owned(),
        (false, Some(default)) => format!("default `{default}`"),
        (false, None) => String::new(),
    }
}

/// Whether the rules of a field are about one value, so that they are listed beside it.
fn is_plain(field: &Value) -> bool {
    field["type"] == "string"
}

/// What values may be, in words.
fn limits(field: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|value| code(&text(Some(value)))).collect();
        limits.push(format!("One of {}.", values.join(", ")));
    }
    if let Some(pattern) = field["pattern"].as_str() {
        limits.push(format!("Matches {}.", code(pattern)));
    }
    let between = |low: &str, high: &str, of: &str| {
        let number = |name: &str| field[name].as_f64();
        match (number(low), number(high)) {
            (Some(low), Some(high)) => Some(format!("From {low} to {high}{of}.")),
            (Some(low), None) => Some(format!("At least {low}{of}.")),
            (None, Some(high)) => Some(format!("At most {high}{of}.")),
            (None, None) => None,
        }
    };
    limits.extend(between("minimum", "maximum", ""));
    limits.extend(between("minLength", "maxLength", " characters"));
    limits.extend(between("minItems", "maxItems", " items"));
    limits.extend(between("minProperties", "maxProperties", " keys"));
    if is_plain(field) {
        let rules = field["x-kubernetes-validations"].as_array().into_iter().flatten();
        limits.extend(rules.map(|rule| format!("{}.", sentence(&text(rule.get("message"))))));
    }
    let items = &field["items"];
    if items.is_object() && !items["properties"].is_object() {
        let of_items = self::limits(items);
        if !of_items.is_empty() {
            limits.push(format!("Each item: {}", of_items.join(" ")));
        }
    }
    limits
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn words(schema: &Value) -> String {
    text(schema.get("description"))
}

/// A description, of Kubernetes' own types too, which begin with the field's name in lower case.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A string in one line; other values as JSON.
fn text(value: Option<&Value>) -> String {
    let text = match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As it stands in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// As GitHub names a heading in links.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The names of all fields, however deep.
    fn fields(schema: &Value, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            found.push(name.clone());
            fields(field, found);
            fields(&field["items"], found);
        }
    }

    fn crd(spec: &Value) -> String {
        let schema = json!({"description": "A thing.", "properties": {"spec": spec, "status": {"properties": {}}}});
        json!({"spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"kind": "Thing", "shortNames": ["th"]},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}, "additionalPrinterColumns": [
                {"name": "Ready"}, {"name": "Id", "priority": 1},
            ]}],
        }})
        .to_string()
    }

    #[test]
    fn a_field_says_its_type_its_limits_its_default_and_its_rules() {
        let spec = json!({
            "required": ["name"],
            "x-kubernetes-validations": [{"rule": "self.name == oldSelf.name", "message": "name cannot change"}],
            "properties": {
                "name": {"type": "string", "description": "the name", "pattern": "^(a|b)$", "minLength": 1, "maxLength": 5.0},
                "ports": {"type": "array", "maxItems": 3, "items": {"type": "object", "properties": {
                    "port": {"type": "integer", "default": 80, "minimum": 1.0, "maximum": 65535.0},
                }}},
                "same": {"type": "array", "items": {"type": "object", "properties": {
                    "port": {"type": "integer", "default": 80, "minimum": 1.0, "maximum": 65535.0},
                }}},
                "kind": {"type": "string", "enum": ["a", "b"]},
                "region": {"type": "string", "x-kubernetes-validations": [{"rule": "self != ''", "message": "must be a region"}]},
                "ids": {"type": "array", "items": {"type": "string", "maxLength": 9,
                    "x-kubernetes-validations": [{"rule": "self != ''", "message": "must be an id"}]}},
                "tags": {"type": "object", "additionalProperties": {"type": "string"},
                    "x-kubernetes-validations": [{"rule": "self.all(k, k != '')", "message": "keys are not empty"}]},
            },
        });
        let page = page(&[crd(&spec)]).expect("a page");
        for expected in [
            "`apiVersion: example.com/v1`, namespaced, short: `th`. A thing.",
            "`kubectl get` shows Ready; with `--output wide` Id too.",
            "| `name` | string | required | The name<br>Matches `^(a\\|b)$`.<br>From 1 to 5 characters. |",
            "| `port` | integer | default `80` | <br>From 1 to 65535. |",
            "list of object |  | <br>At most 3 items.<br>Its fields: [Thing.spec.ports[]](#thingspecports) |",
            "| `same` | list of object |  | <br>Its fields: [Thing.spec.ports[]](#thingspecports) |",
            "One of `a`, `b`.",
            "| `region` | string |  | <br>Must be a region. |",
            "| `ids` | list of string |  | <br>Each item: At most 9 characters. Must be an id. |",
            "map of string",
            "What an edit cannot change in `Thing.spec`, with this message:\n\n- name cannot change\n",
            "What is refused in `Thing.spec.tags`, with this message:\n\n- keys are not empty\n",
        ] {
            assert!(page.contains(expected), "{expected}\nis not in\n{page}");
        }
        assert_eq!(page.matches("\n### Thing.spec.ports[]\n").count(), 1);
        let mut all = Vec::new();
        fields(&spec, &mut all);
        assert!(
            all.iter().all(|field| page.contains(&format!("| `{field}` |"))),
            "{page}"
        );
        assert!(super::page(&["kind: Service".to_owned()]).is_err());
    }
}
