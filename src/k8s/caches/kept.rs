//! How an object is kept in memory.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How an object is kept in memory.
pub(crate) trait Kept<K>: Send + Sync + 'static {
    /// Keeps an object.
    fn keep(object: &K) -> Self;
    /// The object.
    fn object(&self) -> Arc<K>;
}

/// As it is: for what is read again and again.
impl<K: Clone + Send + Sync + 'static> Kept<K> for Arc<K> {
    fn keep(object: &K) -> Self {
        Self::new(object.clone())
    }

    fn object(&self) -> Self {
        self.clone()
    }
}

/// As JSON: for what a reconcile of one object reads. Most of a Kubernetes type is fields that are
/// empty, and maps with room for eleven entries.
pub(crate) struct Packed<K> {
    json: Box<[u8]>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Serialize + DeserializeOwned + 'static> Kept<K> for Packed<K> {
    fn keep(object: &K) -> Self {
        let json = serde_json::to_vec(object).expect("what was read as JSON can be written as JSON");
        Self {
            json: json.into_boxed_slice(),
            kind: PhantomData,
        }
    }

    fn object(&self) -> Arc<K> {
        Arc::new(serde_json::from_slice(&self.json).expect("it was written by the same type"))
    }
}
