//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec, JSON, JSONSchemaProps,
};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{CustomResourceExt, Resource};
use serde_json::Value;

use super::{AWSAccount, EndpointType, VPCEndpoint, VPCEndpointService, bound, bound_service};

/// The definition of every kind. `preserveUnknownFields` is set to false by name: a cluster that
/// had the Python operator's definition has it true, and leaving it out would keep it so.
pub fn crds() -> [CustomResourceDefinition; 3] {
    [AWSAccount::crd(), endpoint(), endpoint_service()].map(installed)
}

fn endpoint() -> CustomResourceDefinition {
    let mut endpoint = VPCEndpoint::crd();
    for schema in schemas(&mut endpoint) {
        let rules = schema.x_kubernetes_validations.get_or_insert_default();
        rules.extend(bound::rules());
        // Of every new object that names a VPC, but a gateway; those that were stored without are
        // read, and say what they lack.
        let spec = schema.properties.as_mut().and_then(|parts| parts.get_mut("spec"));
        if let Some(spec) = spec {
            spec.any_of = Some(vec![has_subnets(), is_gateway(), exists(), is_in_network()]);
        }
    }
    endpoint
}

fn endpoint_service() -> CustomResourceDefinition {
    let mut service = VPCEndpointService::crd();
    for schema in schemas(&mut service) {
        let rules = schema.x_kubernetes_validations.get_or_insert_default();
        rules.extend(bound_service::rules());
    }
    service
}

/// The schema of each version.
fn schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let versions = crd.spec.versions.iter_mut();
    versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// A definition with what the types do not say.
fn installed(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.preserve_unknown_fields = Some(false);
    let mut crd = serde_json::to_value(crd).expect("a definition is JSON");
    join_lines(&mut crd);
    serde_json::from_value(crd).expect("other white space is a definition, too")
}

/// Has `subnet_ids`. Of alternatives of which none fits, the API server tells what the one
/// lacks that fits better, so this one names its types, too.
fn has_subnets() -> JSONSchemaProps {
    let others = EndpointType::ALL
        .into_iter()
        .filter(|type_| *type_ != EndpointType::Gateway);
    requiring("subnet_ids", others)
}

fn is_gateway() -> JSONSchemaProps {
    requiring("vpc_endpoint_type", [EndpointType::Gateway])
}

/// What exists already has its subnets.
fn exists() -> JSONSchemaProps {
    JSONSchemaProps {
        required: Some(vec!["vpc_endpoint_id".to_owned()]),
        ..JSONSchemaProps::default()
    }
}

/// The AWSAccount's network has VPC and subnets.
fn is_in_network() -> JSONSchemaProps {
    let names_vpc = JSONSchemaProps {
        required: Some(vec!["vpc_id".to_owned()]),
        ..JSONSchemaProps::default()
    };
    JSONSchemaProps {
        not: Some(Box::new(names_vpc)),
        ..JSONSchemaProps::default()
    }
}

fn requiring(field: &str, types: impl IntoIterator<Item = EndpointType>) -> JSONSchemaProps {
    let types = types.into_iter().map(|type_| JSON(type_.as_str().into()));
    let type_ = JSONSchemaProps {
        enum_: Some(types.collect()),
        ..JSONSchemaProps::default()
    };
    JSONSchemaProps {
        required: Some(vec![field.to_owned()]),
        properties: Some([("vpc_endpoint_type".to_owned(), type_)].into()),
        ..JSONSchemaProps::default()
    }
}

/// The kinds whose objects are bound to AWSAccounts, as `status.account` says: all but that one.
pub fn bound_kinds() -> Vec<ApiResource> {
    let specs = crds().map(|crd| crd.spec).into_iter();
    let specs = specs.filter(|spec| spec.names.kind != AWSAccount::kind(&()));
    let resource = |spec: CustomResourceDefinitionSpec| {
        let stored = spec.versions.into_iter().find(|version| version.storage);
        let version = stored.expect("a kind is stored in one version").name;
        let kind = GroupVersionKind::gvk(&spec.group, &version, &spec.names.kind);
        ApiResource::from_gvk_with_plural(&kind, &spec.names.plural)
    };
    specs.map(resource).collect()
}

/// Joins the lines of every description, which come as they stand in the source: `kubectl explain`
/// breaks lines itself, where the terminal ends. Paragraphs stay.
fn join_lines(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" => {
                        let paragraphs: Vec<String> = text
                            .split("\n\n")
                            .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
                            .collect();
                        *text = paragraphs.join("\n\n");
                    }
                    field => join_lines(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `kubectl explain` lacks below a field. It shows what a schema describes and which
    /// values it takes, and no defaults.
    fn lacking(path: &str, schema: &Value, all: &mut Vec<String>) {
        let text = schema["description"].as_str().unwrap_or_default();
        let mut lacks = |what: &str| all.push(format!("{path}: {what}"));
        if text.trim().is_empty() {
            lacks("no description");
        }
        for value in schema["enum"].as_array().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            if !text.contains(&format!("`{value}`")) {
                lacks(&format!("does not say what {value} means"));
            }
        }
        let default = match &schema["default"] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            // An empty list is what is not there; a status is not for users to leave out.
            _ => None,
        };
        if let Some(default) = default
            && !(text.contains("default") && text.contains(&default))
        {
            lacks(&format!("does not say that {default} is the default"));
        }
        for place in [schema, &schema["items"]] {
            for (name, field) in place["properties"].as_object().into_iter().flatten() {
                lacking(&format!("{path}.{name}"), field, all);
            }
        }
    }

    /// The descriptions below a place that have a line that ends within a paragraph.
    fn ragged(place: &Value, all: &mut Vec<String>) {
        match place {
            Value::Object(fields) => {
                if let Some(Value::String(text)) = fields.get("description")
                    && text.split("\n\n").any(|paragraph| paragraph.contains('\n'))
                {
                    all.push(text.clone());
                }
                fields.values().for_each(|field| ragged(field, all));
            }
            Value::Array(items) => items.iter().for_each(|item| ragged(item, all)),
            _ => {}
        }
    }

    #[test]
    fn every_kind_but_awsaccount_says_in_its_status_which_one_it_is_bound_to() {
        let bound = bound_kinds();
        assert_eq!(bound.len(), crds().len() - 1);
        for crd in crds().into_iter().filter(|crd| crd.spec.names.kind != "AWSAccount") {
            let names = &crd.spec.names;
            assert!(bound.iter().any(|kind| kind.plural == names.plural), "{}", names.kind);
            let crd = serde_json::to_value(&crd).expect("JSON");
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let account = &schema["properties"]["status"]["properties"]["account"]["properties"];
            for field in ["name", "account_id"] {
                assert_eq!(account[field]["type"], "string", "{}: {field}", names.kind);
            }
        }
    }

    #[test]
    fn descriptions_break_lines_nowhere_but_between_paragraphs() {
        let mut all = Vec::new();
        for crd in crds() {
            ragged(&serde_json::to_value(crd).expect("JSON"), &mut all);
        }
        assert!(all.is_empty(), "{all:#?}");
    }

    #[test]
    fn every_field_is_explained_with_its_values_and_its_default() {
        for crd in crds() {
            let crd = serde_json::to_value(crd).expect("JSON");
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            assert!(
                schema["properties"]["spec"]["properties"]
                    .as_object()
                    .is_some_and(|fields| fields.len() > 9)
            );
            let mut all = Vec::new();
            lacking(crd["spec"]["names"]["kind"].as_str().expect("a kind"), schema, &mut all);
            assert!(all.is_empty(), "{all:#?}");
        }
    }
}
