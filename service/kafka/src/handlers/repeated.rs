//! What a request names more than once. Decides which of it is answered: each once. Of partitions to write or to look up none is looked at;
//! of what is only described it is as if it were named once, for an answer may be a thousand times as long as a name.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// What is named more than once, and whether it has been answered.
pub(super) struct Repeated<Named>(HashMap<Named, bool>);

impl<Named: Eq + Hash + Clone> Repeated<Named> {
    pub(super) fn of(mut named: impl Iterator<Item = Named>) -> Self {
        // Most requests of producers name one.
        let (Some(first), Some(second)) = (named.next(), named.next()) else { return Repeated(HashMap::new()) };
        let named = [first, second].into_iter().chain(named);
        let mut times: HashMap<Named, u32> = HashMap::new();
        for one in named {
            *times.entry(one).or_default() += 1;
        }
        let repeated = times.into_iter().filter(|(_, times)| *times > 1);
        Repeated(repeated.map(|(one, _)| (one, false)).collect())
    }

    pub(super) fn contains(&self, named: &Named) -> bool {
        self.0.contains_key(named)
    }

    /// Is an answer due, because it is named once or comes for the first time?
    pub(super) fn is_due(&mut self, named: &Named) -> bool {
        self.0.get_mut(named).is_none_or(|answered| !std::mem::replace(answered, true))
    }
}

/// Each of these once, in the order of their first places.
pub(super) fn each_once<Named: Eq + Hash + Clone>(mut named: Vec<Named>) -> Vec<Named> {
    let mut seen = HashSet::with_capacity(named.len());
    named.retain(|one| seen.insert(one.clone()));
    named
}

/// The same for what has parts of its own: they are `add`ed to those of the first.
pub(super) fn merged<Named: Eq + Hash, Whole>(
    wholes: Vec<Whole>,
    name: impl Fn(&Whole) -> Named,
    add: impl Fn(&mut Whole, Whole),
) -> Vec<Whole> {
    let mut places = HashMap::with_capacity(wholes.len());
    let mut merged: Vec<Whole> = Vec::with_capacity(wholes.len());
    for whole in wholes {
        match places.entry(name(&whole)) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(whole);
            }
            Entry::Occupied(place) => {
                if let Some(first) = merged.get_mut(*place.get()) {
                    add(first, whole);
                }
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_described_is_named_once() {
        assert_eq!(each_once(vec!["b", "a", "b", "c", "a"]), ["b", "a", "c"]);
        let wholes = vec![("b", vec![1]), ("a", vec![2]), ("b", vec![1, 3])];
        let merged = merged(wholes, |whole| whole.0, |first, other| first.1.extend(other.1));
        assert_eq!(merged, [("b", vec![1, 1, 3]), ("a", vec![2])]);
    }

    #[test]
    fn what_is_repeated_is_due_once() {
        let named = ["a", "b", "a", "c", "a"];
        let mut repeated = Repeated::of(named.into_iter());
        assert!(repeated.contains(&"a") && !repeated.contains(&"b"));
        assert_eq!(named.map(|one| repeated.is_due(&one)), [true, true, false, true, false]);
    }
}
