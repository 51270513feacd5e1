//! What the controllers of all kinds have in common whose objects are bound to AWSAccounts: how an
//! object is resolved, how its account is opened, what is remembered of it, and how it is written.

pub(crate) mod absence;
pub(crate) mod access;
pub(crate) mod announced;
pub(crate) mod calls;
pub(crate) mod conditions;
pub(crate) mod controller;
pub(crate) mod explain;
pub(crate) mod findings;
pub(crate) mod memories;
pub(crate) mod queues;
pub(crate) mod resolve;
pub(crate) mod stop;
pub(crate) mod waits;
pub(crate) mod write;

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vpce_core::api::AccountBinding;
use vpce_core::conditions::READY;

use self::memories::Remembered;
use crate::k8s::caches::Caches;
use crate::k8s::conditions::find;

/// Whether an object was Ready for this generation.
pub(crate) fn was_ready<O: Bound>(object: &O) -> bool {
    let ready = find(O::conditions(object.status()), READY);
    ready.is_some_and(|ready| ready.status == "True" && ready.observed_generation == object.meta().generation)
}

/// The names of the fields that differ.
pub(crate) fn names_of<const N: usize>(differing: [(&'static str, bool); N]) -> Vec<&'static str> {
    let differing = differing.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(field, _)| field).collect()
}

/// A kind whose objects are bound to AWSAccounts.
pub(crate) trait Bound:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// What the operator says of an object.
    type Status: Clone + PartialEq + Serialize + Sync;
    /// What is remembered of an object beside what is of all kinds.
    type Own: Remembered;

    /// Holds an object until what it made in AWS is gone.
    const FINALIZER: &'static str;

    /// What was said of it last.
    fn status(&self) -> &Self::Status;

    /// The object as the cache has it.
    fn cached(caches: &Caches, namespace: &str, name: &str) -> Option<Arc<Self>>;

    /// The account that it is bound to, if it is.
    fn account(status: &Self::Status) -> Option<&AccountBinding>;

    /// Its conditions.
    fn conditions(status: &Self::Status) -> &[Condition];

    /// Of a status, what the operator writes.
    fn written(status: &Self::Status) -> Self::Status {
        status.clone()
    }

    /// The fields that differ of those that have to be stored before anything is done on the
    /// strength of them.
    fn differing(wanted: &Self::Status, stored: &Self::Status) -> Vec<&'static str>;
}
