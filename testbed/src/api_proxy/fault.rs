//! What goes wrong with single requests.

use std::time::Duration;

use serde_json::{Value, json};

use super::request::Asked;

/// Something that shall go wrong with the requests it matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Only requests of this verb, in RBAC's words: `list`, `watch`, `create`, `update`, `patch`,
    /// `delete`.
    pub verb: &'static str,
    /// Only requests for this resource: the plural, and `/status` or another subresource.
    pub resource: &'static str,
    /// Only requests within this namespace; `None`: anywhere.
    pub namespace: Option<String>,
    /// What happens to them.
    pub kind: FaultKind,
    /// How many matching requests pass unharmed first.
    pub after: usize,
    /// How many requests it happens to.
    pub times: usize,
}

/// The way in which a request goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultKind {
    /// Answered with this HTTP status; nothing is carried out.
    Refuse {
        /// HTTP status.
        code: u16,
        /// Seconds, for the header `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Carried out so much later.
    Delay(Duration),
    /// Carried out, but the connection is closed before a byte of the answer.
    LoseAnswer,
}

impl Fault {
    /// The next request of a verb for a resource goes wrong.
    pub fn once(verb: &'static str, resource: &'static str, kind: FaultKind) -> Self {
        Self {
            verb,
            resource,
            namespace: None,
            kind,
            after: 0,
            times: 1,
        }
    }
}

impl FaultKind {
    /// [`FaultKind::Refuse`] without `Retry-After`.
    pub fn refuse(code: u16) -> Self {
        Self::Refuse {
            code,
            retry_after: None,
        }
    }
}

/// All that is to go wrong; the oldest matching one strikes.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn left(&self) -> Vec<Fault> {
        self.0.clone()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn strike(&mut self, asked: &Asked) -> Option<FaultKind> {
        let matches = |fault: &Fault| {
            let here = fault.namespace.as_ref().is_none_or(|only| *only == asked.namespace);
            here && fault.verb == asked.verb && fault.resource == asked.resource
        };
        let at = self.0.iter().position(matches)?;
        let fault = &mut self.0[at];
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times = fault.times.saturating_sub(1);
        let kind = fault.kind.clone();
        if fault.times == 0 {
            self.0.remove(at);
        }
        Some(kind)
    }
}

/// What the API server says when it refuses.
pub(super) fn refusal(code: u16) -> Value {
    let (reason, message) = match code {
        409 => (
            "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        410 => ("Expired", "The resourceVersion for the provided watch is too old."),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        _ => (
            "InternalError",
            "an error on the server has prevented the request from succeeding",
        ),
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;

    #[test]
    fn a_fault_strikes_what_it_names_and_as_often_as_it_says() {
        let mut faults = Faults::default();
        faults.add(Fault {
            namespace: Some("team".to_owned()),
            after: 1,
            times: 2,
            ..Fault::once("patch", "vpcendpoints/status", FaultKind::refuse(500))
        });
        let status = "/apis/silvermullet.com/v1beta1/namespaces/team/vpcendpoints/api/status";
        for other in [status.replace("/status", ""), status.replace("/team", "/others")] {
            assert_eq!(faults.strike(&Asked::of(&Method::PATCH, &other, None)), None);
        }
        let asked = Asked::of(&Method::PATCH, status, None);
        let struck: Vec<bool> = (0..4).map(|_| faults.strike(&asked).is_some()).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.left(), []);
    }
}
