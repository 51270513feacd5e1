//! A control plane that tests read and write without a process for each request: kubectl takes a
//! tenth of a second of CPU every time.

use http::{Method, Request};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use vpce_testbed::control_plane::ControlPlane;

/// Where the AWSAccounts are.
pub(crate) const ACCOUNTS: &str = "/apis/silvermullet.com/v1beta1/awsaccounts";
/// Where the Namespaces are.
pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";

/// Where a namespace's VPCEndpoints are.
pub(crate) fn endpoints(namespace: &str) -> String {
    format!("/apis/silvermullet.com/v1beta1/namespaces/{namespace}/vpcendpoints")
}

/// Where a namespace's VPCEndpointServices are.
pub(crate) fn endpoint_services(namespace: &str) -> String {
    format!("/apis/silvermullet.com/v1beta1/namespaces/{namespace}/vpcendpointservices")
}

/// Where a namespace's Services are.
pub(crate) fn services(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services")
}

/// Where a namespace's EndpointSlices are.
pub(crate) fn slices(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
}

/// Where a namespace's Events are.
pub(crate) fn events(namespace: &str) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")
}

/// A running control plane, and an administrator's connection to it.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    client: kube::Client,
    runtime: Runtime,
}

/// What the API server says to a request that it does not carry out.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) code: u16,
    /// What `kubectl apply` prints.
    pub(crate) message: String,
}

/// Whether a write is kept.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Run {
    /// It is.
    Real,
    /// It is only checked.
    Dry,
}

impl Cluster {
    /// Starts a control plane in which nothing of ours is installed.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let plane = ControlPlane::start()?;
        let (runtime, client) = plane.connect()?;
        Ok(Self { plane, client, runtime })
    }

    /// What is at a path, if something is.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        match self.send(Method::GET, path, "application/json", &Value::Null) {
            Ok(object) => Some(object),
            Err(refusal) if refusal.code == 404 => None,
            Err(refusal) => panic!("GET {path}: {}", refusal.message),
        }
    }

    /// What a collection holds.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let mut list = self.get(path).unwrap_or_else(|| panic!("{path} is not served"));
        serde_json::from_value(list["items"].take()).expect("a list has items")
    }

    /// Creates an object in a collection, refusing unknown fields as kubectl does.
    pub(crate) fn create(&self, collection: &str, object: &Value, run: Run) -> Result<Value, Refusal> {
        self.send(Method::POST, &write(collection, run), "application/json", object)
    }

    /// Replaces the spec of an object that is there, refusing unknown fields as kubectl does.
    pub(crate) fn set_spec(&self, path: &str, spec: &Value, run: Run) -> Result<Value, Refusal> {
        let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]);
        self.send(Method::PATCH, &write(path, run), "application/json-patch+json", &patch)
    }

    /// Merges something into an object that is there; null takes a field away.
    pub(crate) fn merge(&self, path: &str, change: &Value) -> Result<Value, Refusal> {
        let path = write(path, Run::Real);
        self.send(Method::PATCH, &path, "application/merge-patch+json", change)
    }

    /// Asks for an object's deletion, and does not wait for it.
    pub(crate) fn delete(&self, path: &str) {
        if let Err(refusal) = self.try_delete(path) {
            panic!("DELETE {path}: {}", refusal.message);
        }
    }

    /// The same, where it may be refused.
    pub(crate) fn try_delete(&self, path: &str) -> Result<Value, Refusal> {
        self.send(Method::DELETE, path, "application/json", &Value::Null)
    }

    /// Asks for the deletion of this version of an object, and of no other. Without one, the API
    /// server may at once remove what got a finalizer just now: kubernetes/kubernetes#77988.
    pub(crate) fn try_delete_version(&self, path: &str, version: &str) -> Result<Value, Refusal> {
        let options = json!({"preconditions": {"resourceVersion": version}});
        self.send(Method::DELETE, path, "application/json", &options)
    }

    /// Sends a request as another user.
    pub(crate) fn send_as(
        &self,
        user: &str,
        method: Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        self.send_for(Some(user), method, path, content_type, body)
    }

    /// Creates a namespace with these labels.
    pub(crate) fn create_namespace(&self, name: &str, labels: Value) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.create(NAMESPACES, &namespace, Run::Real)
            .unwrap_or_else(|refusal| panic!("namespace {name}: {}", refusal.message));
    }

    fn send(&self, method: Method, path: &str, content_type: &str, body: &Value) -> Result<Value, Refusal> {
        self.send_for(None, method, path, content_type, body)
    }

    fn send_for(
        &self,
        user: Option<&str>,
        method: Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let body = match body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body).expect("JSON"),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type);
        if let Some(user) = user {
            // The API server adds the groups that every ServiceAccount and every authenticated user
            // is in.
            request = request.header("impersonate-user", user);
        }
        let request = request.body(body).expect("a request");
        self.runtime
            .block_on(self.client.request(request))
            .map_err(|error| match error {
                kube::Error::Api(status) => Refusal {
                    code: status.code,
                    message: status.message,
                },
                error => panic!("{path}: {error}"),
            })
    }
}

fn write(path: &str, run: Run) -> String {
    let dry = if run == Run::Dry { "&dryRun=All" } else { "" };
    format!("{path}?fieldManager=e2e&fieldValidation=Strict{dry}")
}
