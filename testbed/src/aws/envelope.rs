//! The envelope that the services of AWS's query protocol put around an answer; EC2 has one of its
//! own.

use super::error::ApiError;
use super::xml::Xml;

/// `<ErrorResponse>`
pub(crate) fn error_document(namespace: &str, error: &ApiError, request_id: &str) -> String {
    let mut xml = Xml::new();
    xml.element_with("ErrorResponse", &format!("xmlns=\"{namespace}\""), |xml| {
        xml.element("Error", |xml| {
            let sender = error.status < 500;
            xml.text("Type", if sender { "Sender" } else { "Receiver" });
            xml.text("Code", &error.code);
            xml.text("Message", &error.message);
        });
        xml.text("RequestId", request_id);
    });
    xml.document()
}

/// `<ActionResponse>` with `<ActionResult>`.
pub(crate) fn result_document(namespace: &str, action: &str, result: &Xml, request_id: &str) -> String {
    let mut xml = Xml::new();
    let namespace = format!("xmlns=\"{namespace}\"");
    xml.element_with(&format!("{action}Response"), &namespace, |xml| {
        xml.element(&format!("{action}Result"), |xml| xml.append(result));
        xml.element("ResponseMetadata", |xml| xml.text("RequestId", request_id));
    });
    xml.document()
}
