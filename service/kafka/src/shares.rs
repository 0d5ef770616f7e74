//! Memory that callers share and do not wait for. Decides who may have more of it: nobody holds more than is left. Who is alone may have half,
//! and however much others have, whoever has nothing yet finds some.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::budget::Owner;

/// Bytes that all connections of one process may hold together, of one kind.
#[derive(Clone)]
pub(crate) struct Shares(Arc<Mutex<Holdings<Owner>>>);

impl Shares {
    pub(crate) fn new(bytes: usize) -> Self {
        Shares(Arc::new(Mutex::new(Holdings { left: bytes, held: HashMap::new() })))
    }

    /// So many bytes for this owner, if it may have them now.
    pub(crate) fn take(&self, owner: Owner, bytes: usize) -> Option<Share> {
        self.0.lock().take(&owner, bytes).then(|| Share { shares: self.clone(), owner, bytes })
    }

    /// The most that it may have now.
    pub(crate) fn most(&self, owner: &Owner) -> usize {
        self.0.lock().most(owner)
    }
}

/// What somebody holds; given back when it is dropped.
pub(crate) struct Share {
    shares: Shares,
    owner: Owner,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.0.lock().give_back(&self.owner, self.bytes);
    }
}

/// Who holds how much.
struct Holdings<O> {
    left: usize,
    held: HashMap<O, usize>,
}

impl<O: Clone + Eq + Hash> Holdings<O> {
    fn most(&self, owner: &O) -> usize {
        self.left.saturating_sub(self.held.get(owner).copied().unwrap_or(0)) / 2
    }

    fn take(&mut self, owner: &O, bytes: usize) -> bool {
        let fits = bytes <= self.most(owner);
        if fits {
            self.left -= bytes;
            *self.held.entry(owner.clone()).or_default() += bytes;
        }
        fits
    }

    fn give_back(&mut self, owner: &O, bytes: usize) {
        self.left += bytes;
        if let Some(held) = self.held.get_mut(owner) {
            *held -= bytes;
            if *held == 0 {
                self.held.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holdings(left: usize) -> Holdings<u8> {
        Holdings { left, held: HashMap::new() }
    }

    #[test]
    fn nobody_holds_more_than_is_left() {
        let mut holdings = holdings(1200);
        assert!(!holdings.take(&1, 601) && holdings.take(&1, 600), "who is alone has half");
        assert!(!holdings.take(&1, 1) && holdings.take(&2, 300), "another has half of the rest");
        assert!(!holdings.take(&2, 1) && holdings.take(&3, 150));
        holdings.give_back(&1, 600);
        assert!(holdings.take(&2, 225), "what one gives back is there for others");
        for (owner, bytes) in [(2, 300), (2, 225), (3, 150)] {
            holdings.give_back(&owner, bytes);
        }
        assert!(holdings.held.is_empty());
        assert_eq!(holdings.left, 1200);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_never_more_than_there_is(steps in prop::collection::vec((0u8..5, 0usize..600), 0..100)) {
            let mut holdings = holdings(1000);
            let mut taken = Vec::new();
            for (owner, bytes) in steps {
                match bytes {
                    0..100 if !taken.is_empty() => {
                        let (owner, bytes) = taken.swap_remove(bytes % taken.len());
                        holdings.give_back(&owner, bytes);
                    }
                    _ if holdings.take(&owner, bytes) => {
                        taken.push((owner, bytes));
                        prop_assert!(holdings.held[&owner] <= holdings.left);
                    }
                    _ => prop_assert!(bytes > holdings.most(&owner)),
                }
                let sum: usize = taken.iter().map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(holdings.left + sum, 1000);
                prop_assert_eq!(holdings.held.values().sum::<usize>(), sum);
            }
        }
    }
}
