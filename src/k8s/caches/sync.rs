//! Which caches have been filled.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use kube::Resource;
use tokio::sync::watch;

/// The kinds that have not been listed yet. (A store's own `wait_until_ready` wakes only one of
/// those who wait.)
#[derive(Clone, Default)]
pub(super) struct CacheSync(Arc<watch::Sender<BTreeSet<Cow<'static, str>>>>);

impl CacheSync {
    /// There is a cache of this kind.
    pub(super) fn add<K: Resource<DynamicType = ()>>(&self) {
        self.0.send_modify(|kinds| {
            kinds.insert(K::kind(&()));
        });
    }

    /// The first list of a kind is complete.
    pub(super) fn mark<K: Resource<DynamicType = ()>>(&self) {
        self.0.send_if_modified(|kinds| kinds.remove(&K::kind(&())));
    }

    /// Waits for the kinds that are `wanted`.
    pub(super) async fn wait(&self, wanted: impl Fn(&Cow<'static, str>) -> bool) {
        let mut kinds = self.0.subscribe();
        // The sender is there as long as we are.
        let _ = kinds.wait_for(|kinds| !kinds.iter().any(&wanted)).await;
    }
}
