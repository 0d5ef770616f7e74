//! An ordered map whose copies share what did not change. Decides nothing.
//!
//! The image of the cluster, and what is made of it, is copied for its readers after every batch of events; 10,000 topics or partitions must not be copied with it. A copy costs
//! one reference count; the first change after a copy copies the list of chunks (one per ~64 entries) and one chunk.

use std::borrow::Borrow;
use std::ops::Bound;
use std::sync::Arc;

/// Largest chunk: what one change copies. With 10,000 entries the list of chunks is about as long.
const CHUNK: usize = 128;

/// Entries in ascending order.
type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// An ordered map with cheap copies. Keys and values should be cheap to clone (numbers, `Arc`s).
#[derive(Clone, Debug)]
pub struct SharedMap<K, V> {
    /// Non-empty chunks, ascending.
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        SharedMap { chunks: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    /// Same entries; how they are cut into chunks does not matter.
    fn eq(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.chunks.iter().flat_map(|c| c.iter()), other.chunks.iter().flat_map(|c| c.iter()));
        self.len == other.len && mine.eq(theirs)
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last chunk whose first key is not above `key`: the only one that can hold it.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let after = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|(first, _)| first.borrow() <= key));
        after.saturating_sub(1)
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    /// The value of a key, to change it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let at = self.chunks.get(index)?.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunk = Arc::make_mut(&mut self.chunks).get_mut(index)?;
        Arc::make_mut(chunk).get_mut(at).map(|(_, value)| value)
    }

    /// Sets the value of a key; the old one comes back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(&key) {
            return Some(std::mem::replace(old, value));
        }
        let index = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        self.len += 1;
        let Some(chunk) = chunks.get_mut(index) else {
            chunks.push(Arc::new(vec![(key, value)]));
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        let at = chunk.partition_point(|(k, _)| *k < key);
        chunk.insert(at, (key, value));
        if chunk.len() > CHUNK {
            let upper = chunk.split_off(CHUNK / 2);
            chunks.insert(index + 1, Arc::new(upper));
        }
        None
    }

    /// Removes a key; its value comes back.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let at = self.chunks.get(index)?.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(index)?);
        let (_, value) = chunk.remove(at);
        if chunk.is_empty() {
            chunks.remove(index);
        }
        self.len -= 1;
        Some(value)
    }

    /// Entries in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    /// Entries from a key on, in ascending order.
    pub fn iter_from<'a, Q: Ord + ?Sized>(&'a self, from: Bound<&'a Q>) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: Borrow<Q>,
    {
        let first = match from {
            Bound::Unbounded => 0,
            Bound::Included(key) | Bound::Excluded(key) => self.chunk_of(key),
        };
        let before = move |key: &K| match from {
            Bound::Unbounded => false,
            Bound::Included(bound) => key.borrow() < bound,
            Bound::Excluded(bound) => key.borrow() <= bound,
        };
        let rest = self.chunks.iter().skip(first).flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)));
        rest.skip_while(move |(key, _)| before(key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Same as a BTreeMap after any sequence of changes, and copies do not move.
        #[test]
        fn behaves_as_a_map(ops in prop::collection::vec((0u16..600, any::<bool>(), any::<u32>()), 0..1500)) {
            let mut map = SharedMap::<u16, u32>::default();
            let mut model = BTreeMap::new();
            let mut copies = Vec::new();
            for (n, (key, put, value)) in ops.into_iter().enumerate() {
                if put {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                if n % 300 == 0 {
                    copies.push((map.clone(), model.clone()));
                }
            }
            copies.push((map, model));
            for (map, model) in copies {
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
                for from in [0u16, 17, 299, 300, 599] {
                    prop_assert!(map.iter_from(Bound::Included(&from)).eq(model.range(from..)));
                    prop_assert!(map.iter_from(Bound::Excluded(&from)).eq(model.range(from + 1..)));
                }
            }
        }
    }

    #[test]
    fn a_change_after_a_copy_copies_one_chunk() {
        let mut map = SharedMap::default();
        for key in 0..10_000u32 {
            map.insert(key, Arc::new(key));
        }
        let copy = map.clone();
        map.insert(5_000, Arc::new(1));
        let shared = map.chunks.iter().zip(copy.chunks.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, copy.chunks.len() - 1);
        assert_eq!(copy.get(&5_000).map(|v| **v), Some(5_000));
    }
}
