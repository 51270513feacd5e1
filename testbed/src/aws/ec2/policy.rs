//! Endpoint policies: what EC2 checks of a policy document.

use serde_json::{Map, Value};

use crate::aws::error::ApiError;
use crate::aws::query::Form;

/// The most characters of a policy, white space included ("AWS PrivateLink quotas").
const MAX_CHARACTERS: usize = 20_480;

/// The policy of an endpoint that was given none.
pub(super) const FULL_ACCESS: &str =
    r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

/// Takes `PolicyDocument`; an empty one counts as none.
pub(super) fn take(form: &mut Form) -> Result<Option<String>, ApiError> {
    let policy = form.take("PolicyDocument").filter(|text| !text.is_empty());
    if let Some(text) = &policy {
        check(text)?;
    }
    Ok(policy)
}

fn check(text: &str) -> Result<(), ApiError> {
    if text.chars().count() > MAX_CHARACTERS {
        return Err(malformed(&format!(
            "The policy document is longer than {MAX_CHARACTERS} characters"
        )));
    }
    let document: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| malformed("The policy document is not valid JSON"))?;
    let statements = match document.get("Statement") {
        Some(Value::Array(statements)) if !statements.is_empty() => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => return Err(malformed("The policy document has no statement")),
    };
    if statements.iter().all(is_statement) {
        Ok(())
    } else {
        Err(malformed("The policy document has a statement that is malformed"))
    }
}

/// A resource policy's statement has an effect, a principal, actions and resources.
fn is_statement(statement: &Value) -> bool {
    let has = |names: [&str; 2]| names.iter().any(|name| statement.get(*name).is_some());
    let effect = statement.get("Effect").and_then(Value::as_str);
    matches!(effect, Some("Allow" | "Deny"))
        && has(["Principal", "NotPrincipal"])
        && has(["Action", "NotAction"])
        && has(["Resource", "NotResource"])
}

fn malformed(message: &str) -> ApiError {
    ApiError::new("InvalidPolicyDocument", message)
}

/// What EC2 says to a policy for a service that takes none, the default one included.
pub(super) fn unsupported(service_name: &str) -> ApiError {
    ApiError::invalid(format!(
        "The service {service_name} only supports the full-access endpoint policy."
    ))
}
