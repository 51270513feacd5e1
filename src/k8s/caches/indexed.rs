//! A cache of one kind, with indexes that its watch maintains, as client-go's `Indexer` has them.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use kube::Resource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use parking_lot::RwLock;
use vpce_core::object_key::ObjectKey;

use super::sync::CacheSync;

/// A kind that is found by more than its name.
pub(crate) trait Indexed: Resource<DynamicType = ()> + Clone + 'static {
    /// What its objects are found by.
    type Term: Eq + Hash;

    /// All that an object is found by.
    fn terms(&self) -> Vec<Self::Term>;
}

/// The objects of a kind and their indexes, which change together.
struct State<K: Indexed> {
    objects: HashMap<Arc<ObjectKey>, Arc<K>>,
    keys: HashMap<K::Term, BTreeSet<Arc<ObjectKey>>>,
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
    fn insert(&mut self, object: Arc<K>) {
        let key = Arc::new(ObjectKey::of(&*object));
        self.remove(&key);
        for term in object.terms() {
            self.keys.entry(term).or_default().insert(key.clone());
        }
        self.objects.insert(key, object);
    }

    fn remove(&mut self, key: &ObjectKey) {
        let Some(object) = self.objects.remove(key) else {
            return;
        };
        for term in object.terms() {
            if let Some(keys) = self.keys.get_mut(&term) {
                keys.remove(key);
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
    store: Store<K>,
}

impl<K: Indexed> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            store: self.store.clone(),
        }
    }
}

impl<K: Indexed> Cache<K> {
    /// An empty cache, and what fills it.
    pub(super) fn new(sync: &CacheSync) -> (Self, CacheWriter<K>) {
        sync.add::<K>();
        let (store, writer) = reflector::store();
        let cache = Self {
            state: Arc::default(),
            store,
        };
        let cache_writer = CacheWriter {
            cache: cache.clone(),
            writer,
            sync: sync.clone(),
        };
        (cache, cache_writer)
    }

    /// The same objects as kube's `Controller` wants them. They are here before they are in the
    /// indexes.
    pub(crate) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// An object; the namespace is empty for kinds that are in none.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectKey::new::<K>(namespace, name);
        self.state.read().objects.get(&key).cloned()
    }

    /// All objects, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().cloned().collect()
    }

    /// The objects that are found by a term, in order of namespace and name.
    pub(crate) fn by(&self, term: &K::Term) -> Vec<Arc<K>> {
        let state = self.state.read();
        let keys = state.keys.get(term).into_iter().flatten();
        keys.filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    /// How many objects are found by a term.
    pub(crate) fn count(&self, term: &K::Term) -> usize {
        self.state.read().keys.get(term).map_or(0, BTreeSet::len)
    }
}

/// Fills a cache with what a watch sends.
pub(crate) struct CacheWriter<K: Indexed> {
    cache: Cache<K>,
    writer: Writer<K>,
    sync: CacheSync,
}

impl<K: Indexed> CacheWriter<K> {
    /// Takes in an event. What a list that begins again no longer has is gone when the list is
    /// complete.
    pub(crate) fn apply(&mut self, event: &Event<K>) {
        self.writer.apply_watcher_event(event);
        let Cache { state, store } = &self.cache;
        match event {
            Event::Apply(object) => {
                if let Some(stored) = store.get(&ObjectRef::from_obj(object)) {
                    state.write().insert(stored);
                }
            }
            Event::Delete(object) => state.write().remove(&ObjectKey::of(object)),
            Event::InitDone => {
                let mut new = State::default();
                store.state().into_iter().for_each(|object| new.insert(object));
                *state.write() = new;
                self.sync.mark::<K>();
            }
            Event::Init | Event::InitApply(_) => {}
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
