//! Makes and reads many objects at once: kubectl takes a tenth of a second of CPU for each command.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::control_plane::ControlPlane;

/// So many requests are under way at once.
const AT_ONCE: usize = 32;
/// What app teams apply.
pub(super) const ENDPOINT: &str = "VPCEndpoint";
/// What app teams apply to offer a service.
pub(super) const ENDPOINT_SERVICE: &str = "VPCEndpointService";
/// What platform teams register.
pub(super) const ACCOUNT: &str = "AWSAccount";

/// An administrator's connection to a control plane.
pub(super) struct Objects {
    client: kube::Client,
    runtime: Runtime,
}

impl Objects {
    pub(super) fn connect(plane: &ControlPlane) -> Result<Self> {
        let (runtime, client) = plane.connect()?;
        Ok(Self { client, runtime })
    }

    /// Creates Namespaces.
    pub(super) fn create_namespaces(&self, names: &[impl AsRef<str>]) -> Result<()> {
        let api = Api::all_with(self.client.clone(), &kind("", "v1", "Namespace"));
        let namespace = |name: &str| {
            (
                api.clone(),
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            )
        };
        self.create_all(names.iter().map(|name| namespace(name.as_ref())))
    }

    /// Creates AWSAccounts of these names and specs.
    pub(super) fn create_accounts(&self, accounts: impl IntoIterator<Item = (String, Value)>) -> Result<()> {
        let api = Api::all_with(self.client.clone(), &ours(ACCOUNT));
        let account = |(name, spec): (String, Value)| (api.clone(), object(ACCOUNT, &json!({"name": name}), &spec));
        self.create_all(accounts.into_iter().map(account))
    }

    /// Creates VPCEndpoints of these namespaces, names and specs.
    pub(super) fn create_endpoints(&self, endpoints: impl IntoIterator<Item = (String, String, Value)>) -> Result<()> {
        self.create_namespaced(ENDPOINT, endpoints)
    }

    /// Creates VPCEndpointServices of these namespaces, names and specs.
    pub(super) fn create_endpoint_services(
        &self,
        services: impl IntoIterator<Item = (String, String, Value)>,
    ) -> Result<()> {
        self.create_namespaced(ENDPOINT_SERVICE, services)
    }

    fn create_namespaced(&self, kind: &str, objects: impl IntoIterator<Item = (String, String, Value)>) -> Result<()> {
        let made = |(namespace, name, spec): (String, String, Value)| {
            let api = Api::namespaced_with(self.client.clone(), &namespace, &ours(kind));
            (api, object(kind, &json!({"namespace": namespace, "name": name}), &spec))
        };
        self.create_all(objects.into_iter().map(made))
    }

    /// Asks for the deletion of VPCEndpoints, by namespace and name, in their order.
    pub(super) fn delete_endpoints(&self, endpoints: impl IntoIterator<Item = (String, String)>) -> Result<()> {
        self.each(endpoints, |(namespace, name)| {
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace, &ours(ENDPOINT));
            async move {
                let deleted = api.delete(&name, &DeleteParams::default()).await;
                deleted
                    .map(|_| ())
                    .with_context(|| format!("{namespace}/{name} is not deleted"))
            }
        })
    }

    /// Whether a namespace has no VPCEndpoints.
    pub(super) fn is_empty(&self, namespace: &str) -> Result<bool> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &ours(ENDPOINT));
        let list = self.runtime.block_on(api.list(&ListParams::default().limit(1)))?;
        Ok(list.items.is_empty())
    }

    /// Creates objects in their order, many under way at once.
    fn create_all(&self, objects: impl IntoIterator<Item = (Api<DynamicObject>, Value)>) -> Result<()> {
        self.each(objects, |(api, object)| async move {
            let object: DynamicObject = serde_json::from_value(object)?;
            let created = api.create(&PostParams::default(), &object).await;
            created
                .map(|_| ())
                .with_context(|| format!("{} is not created", object.metadata.name.unwrap_or_default()))
        })
    }

    /// Makes a request for each, in their order, many under way at once.
    fn each<T, Request>(&self, all: impl IntoIterator<Item = T>, request: impl Fn(T) -> Request) -> Result<()>
    where
        Request: Future<Output = Result<()>> + Send + 'static,
    {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        self.runtime.block_on(async {
            let mut requests = JoinSet::new();
            for one in all {
                let place = room.clone().acquire_owned().await?;
                let request = request(one);
                requests.spawn(async move {
                    let done = request.await;
                    drop(place);
                    done
                });
            }
            while let Some(done) = requests.join_next().await {
                done??;
            }
            Ok(())
        })
    }

    /// One VPCEndpoint as it is now.
    pub(super) fn endpoint(&self, namespace: &str, name: &str) -> Result<Value> {
        self.namespaced(ENDPOINT, namespace, name)
    }

    /// One object of one of our kinds as it is now.
    pub(super) fn namespaced(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &ours(kind));
        Ok(serde_json::to_value(self.runtime.block_on(api.get(name))?)?)
    }

    /// All objects of one of our kinds.
    pub(super) fn all(&self, kind: &str) -> Result<Vec<Value>> {
        self.list(&Api::all_with(self.client.clone(), &ours(kind)))
    }

    /// The VPCEndpoints in a namespace.
    pub(super) fn endpoints(&self, namespace: &str) -> Result<Vec<Value>> {
        self.list(&Api::namespaced_with(self.client.clone(), namespace, &ours(ENDPOINT)))
    }

    fn list(&self, api: &Api<DynamicObject>) -> Result<Vec<Value>> {
        // Without a version the API server answers from its cache.
        let params = ListParams::default().match_any();
        let list = self.runtime.block_on(api.list(&params))?;
        list.items
            .iter()
            .map(|object| Ok(serde_json::to_value(object)?))
            .collect()
    }
}

fn object(kind: &str, metadata: &Value, spec: &Value) -> Value {
    json!({"apiVersion": "silvermullet.com/v1beta1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn ours(name: &str) -> ApiResource {
    kind("silvermullet.com", "v1beta1", name)
}

/// The plurals are the regular ones.
fn kind(group: &str, version: &str, name: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, name))
}

/// The condition Ready: whether it is True, and its reason.
pub(super) fn ready(object: &Value) -> Option<(bool, &str)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    Some((ready["status"] == "True", ready["reason"].as_str()?))
}

/// How many of these are Ready.
pub(super) fn count_ready(objects: &[Value]) -> usize {
    let is_ready = |object: &&Value| ready(object).is_some_and(|(ready, _)| ready);
    objects.iter().filter(is_ready).count()
}
