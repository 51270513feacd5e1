//! How an object is kept in memory.

use std::sync::Arc;

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
