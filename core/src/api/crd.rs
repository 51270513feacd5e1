//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{AWSAccount, VPCEndpoint};

/// Both definitions. `preserveUnknownFields` is set to false by name: a cluster that had the Python operator's
/// definition has it true, and leaving it out would keep it so.
pub fn crds() -> [CustomResourceDefinition; 2] {
    [AWSAccount::crd(), VPCEndpoint::crd()].map(|mut crd| {
        crd.spec.preserve_unknown_fields = Some(false);
        crd
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    /// The paths of the fields below a schema that `kubectl explain` has no words for.
    fn without_words(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            without_words(&path, field, found);
            without_words(&format!("{path}[]"), &field["items"], found);
        }
    }

    #[test]
    fn every_field_is_explained() {
        let mut found = Vec::new();
        for crd in super::crds() {
            let crd = serde_json::to_value(&crd).expect("JSON");
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            assert!(
                schema["properties"]["spec"]["properties"]
                    .as_object()
                    .is_some_and(|fields| fields.len() > 5)
            );
            without_words(
                crd["spec"]["names"]["kind"].as_str().expect("a kind"),
                schema,
                &mut found,
            );
        }
        assert_eq!(found, Vec::<String>::new());
    }
}
