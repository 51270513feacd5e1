//! What a request asks for, in the words of RBAC.

use std::time::Instant;

use hyper::Method;

/// A request that has passed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'static str,
    /// The plural, and `/status` or another subresource; empty where the path is none of a
    /// resource.
    pub resource: String,
    /// The namespace, if the path has one.
    pub namespace: String,
    /// The object's name, if the path has one.
    pub name: String,
    /// What follows the path's `?`.
    pub query: String,
    /// The HTTP status; none where the answer was lost.
    pub code: Option<u16>,
    /// When it was answered.
    pub at: Instant,
}

impl Seen {
    /// Whether it is to change something.
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) verb: &'static str,
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Asked {
    /// Reads `/api/v1/...` and `/apis/<group>/<version>/...`, each with or without
    /// `namespaces/<namespace>/`.
    pub(super) fn of(method: &Method, path: &str, query: Option<&str>) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name) = match rest {
            [] => (String::new(), ""),
            [plural] => ((*plural).to_owned(), ""),
            [plural, name] => ((*plural).to_owned(), *name),
            [plural, name, subresource, ..] => (format!("{plural}/{subresource}"), *name),
        };
        let watches = query.is_some_and(|query| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.any(|(name, value)| name == "watch" && matches!(&*value, "true" | "1"))
        });
        let verb = match *method {
            Method::GET if watches => "watch",
            Method::GET if !name.is_empty() || resource.is_empty() => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self {
            verb,
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_rbac_reads_it() {
        let asked = |method: Method, uri: &str| {
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let asked = Asked::of(&method, path, Some(query));
            format!("{} {} {}/{}", asked.verb, asked.resource, asked.namespace, asked.name)
        };
        let ours = "/apis/silvermullet.com/v1beta1";
        for (method, uri, expected) in [
            (
                Method::GET,
                format!("{ours}/vpcendpoints?&limit=500"),
                "list vpcendpoints /",
            ),
            (
                Method::GET,
                format!("{ours}/vpcendpoints?&watch=true"),
                "watch vpcendpoints /",
            ),
            (
                Method::PATCH,
                format!("{ours}/namespaces/team/vpcendpoints/api/status?"),
                "patch vpcendpoints/status team/api",
            ),
            (
                Method::POST,
                "/api/v1/namespaces/team/services?".to_owned(),
                "create services team/",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/kube-system".to_owned(),
                "get namespaces /kube-system",
            ),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/b".to_owned(),
                "update leases a/b",
            ),
        ] {
            assert_eq!(asked(method, &uri), expected);
        }
    }
}
