//! A cache of one kind, with indexes that its watch maintains, as client-go's `Indexer` has them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use kube::Resource;
use kube::runtime::watcher::Event;
use parking_lot::RwLock;
use vpce_core::object_key::ObjectKey;

use super::kept::Kept;
use super::sync::CacheSync;

/// A kind that is found by more than its name.
pub(crate) trait Indexed: Resource<DynamicType = ()> + Clone + 'static {
    /// What its objects are found by.
    type Term: Eq + Hash;
    /// How its objects are kept.
    type Kept: Kept<Self>;

    /// All that an object is found by.
    fn terms(&self) -> Vec<Self::Term>;
}

/// The objects of a kind and their indexes, which change together.
struct State<K: Indexed> {
    objects: HashMap<Arc<ObjectKey>, K::Kept>,
    /// By what they are found, in order: most terms find one object, or few.
    keys: HashMap<K::Term, Vec<Arc<ObjectKey>>>,
}

impl<K: Indexed> Default for State<K> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            keys: HashMap::new(),
        }
    }
}

impl<K: Indexed> State<K> {
    fn insert(&mut self, object: &K) {
        let key = Arc::new(ObjectKey::of(object));
        self.remove(&key);
        for term in object.terms() {
            let keys = self.keys.entry(term).or_default();
            if let Err(place) = keys.binary_search(&key) {
                if keys.is_empty() {
                    keys.reserve_exact(1);
                }
                keys.insert(place, key.clone());
            }
        }
        self.objects.insert(key, K::Kept::keep(object));
    }

    fn remove(&mut self, key: &ObjectKey) {
        let Some(kept) = self.objects.remove(key) else {
            return;
        };
        for term in kept.object().terms() {
            if let Some(keys) = self.keys.get_mut(&term) {
                if let Ok(place) = keys.binary_search_by(|known| (**known).cmp(key)) {
                    keys.remove(place);
                }
                if keys.is_empty() {
                    self.keys.remove(&term);
                }
            }
        }
    }
}

/// What is known of a kind.
pub(crate) struct Cache<K: Indexed> {
    state: Arc<RwLock<State<K>>>,
}

impl<K: Indexed> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
        }
    }
}

impl<K: Indexed> Cache<K> {
    /// An empty cache, and what fills it.
    pub(super) fn new(sync: &CacheSync) -> (Self, CacheWriter<K>) {
        sync.add::<K>();
        let cache = Self { state: Arc::default() };
        let writer = CacheWriter {
            cache: cache.clone(),
            listed: State::default(),
            sync: sync.clone(),
        };
        (cache, writer)
    }

    /// An object; the namespace is empty for kinds that are in none.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectKey::new::<K>(namespace, name);
        self.state.read().objects.get(&key).map(K::Kept::object)
    }

    /// All objects, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().map(K::Kept::object).collect()
    }

    /// The objects that are found by a term, in order of namespace and name.
    pub(crate) fn by(&self, term: &K::Term) -> Vec<Arc<K>> {
        let state = self.state.read();
        let keys = state.keys.get(term).into_iter().flatten();
        keys.filter_map(|key| state.objects.get(key).map(K::Kept::object))
            .collect()
    }

    /// How many objects are found by a term.
    pub(crate) fn count(&self, term: &K::Term) -> usize {
        self.state.read().keys.get(term).map_or(0, Vec::len)
    }
}

/// Fills a cache with what a watch sends.
pub(crate) struct CacheWriter<K: Indexed> {
    cache: Cache<K>,
    /// What a list that is not complete has had so far.
    listed: State<K>,
    sync: CacheSync,
}

impl<K: Indexed> CacheWriter<K> {
    /// An object as the cache has it.
    pub(crate) fn known(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.cache.get(&key.namespace, &key.name)
    }

    /// Takes in an event. What a list that begins again no longer has is gone when the list is
    /// complete.
    pub(crate) fn apply(&mut self, event: &Event<K>) {
        let state = &self.cache.state;
        match event {
            Event::Apply(object) => state.write().insert(object),
            Event::Delete(object) => state.write().remove(&ObjectKey::of(object)),
            Event::Init => self.listed = State::default(),
            Event::InitApply(object) => self.listed.insert(object),
            Event::InitDone => {
                let old = std::mem::replace(&mut *state.write(), std::mem::take(&mut self.listed));
                drop(old);
                self.sync.mark::<K>();
            }
        }
    }

    /// Takes in a list that is complete.
    pub(crate) fn fill(&mut self, objects: impl IntoIterator<Item = K>) {
        self.apply(&Event::Init);
        for object in objects {
            self.apply(&Event::InitApply(object));
        }
        self.apply(&Event::InitDone);
    }
}
