//! What the controllers of all kinds have in common whose objects are bound to AWSAccounts: how an
//! object is resolved, how its account is opened, what is remembered of it, and how it is written.

pub(crate) mod absence;
pub(crate) mod access;
pub(crate) mod announced;
pub(crate) mod conditions;
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

use self::memories::Remembered;
use crate::k8s::caches::Caches;

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
