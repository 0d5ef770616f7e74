//! Partitions that a request names more than once. Decides which of them are answered: each once, and none of them is looked at.

use std::collections::HashMap;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_due_once() {
        let named = ["a", "b", "a", "c", "a"];
        let mut repeated = Repeated::of(named.into_iter());
        assert!(repeated.contains(&"a") && !repeated.contains(&"b"));
        assert_eq!(named.map(|one| repeated.is_due(&one)), [true, true, false, true, false]);
    }
}
