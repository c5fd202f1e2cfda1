//! Map of values that live as long as somebody holds them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Map of values that live as long as somebody outside the map holds them.
pub(crate) struct WeakMap<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V> WeakMap<K, V> {
    /// Returns the value of a key, made anew if nobody holds one.
    pub(crate) fn get_or_insert_with(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut values = self.lock();
        if let Some(value) = values.get(key).and_then(Weak::upgrade) {
            return value;
        }
        if values.len() == values.capacity() {
            values.retain(|_, value| value.strong_count() > 0);
        }
        let value = Arc::new(make());
        values.insert(key.clone(), Arc::downgrade(&value));
        value
    }

    /// Returns the value of a key, if somebody holds one.
    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.lock().get(key).and_then(Weak::upgrade)
    }

    /// Returns the keys of the held values that fulfil a condition, in no order.
    pub(crate) fn keys_where(&self, condition: impl Fn(&V) -> bool) -> Vec<K> {
        let values = self.lock();
        let fulfils = |value: &Weak<V>| value.upgrade().is_some_and(|value| condition(&value));
        values.iter().filter(|(_, value)| fulfils(value)).map(|(key, _)| key.clone()).collect()
    }

    /// No code panics while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Weak<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
