//! Which damage in a partition somebody was told of: each place once, wherever readers come to it.

use std::collections::BTreeSet;
use std::ops::Range;

use tidelog_model::Offset;

use crate::limits::MAX_TOLD_DAMAGES;

/// What somebody was told of.
#[derive(Default, Debug)]
pub(crate) struct ToldDamages {
    /// Stretches of offsets without a sound batch.
    pub(crate) places: Vec<Range<Offset>>,
    /// First offsets of segments whose transaction index is damaged.
    pub(crate) indexes: BTreeSet<Offset>,
}

impl ToldDamages {
    /// Is somebody to be told of the damage that a reader met in these offsets? Each reader sees it from where it came to it on, and it ends
    /// for all of them at the same sound batch: what has an offset in common is one place.
    pub(crate) fn is_new(&mut self, met: Range<Offset>) -> bool {
        let end = met.end.max(met.start.plus(1));
        if let Some(told) = self.places.iter_mut().find(|told| told.start < end && met.start < told.end) {
            *told = told.start.min(met.start)..told.end.max(end);
            return false;
        }
        let is_new = self.places.len() < MAX_TOLD_DAMAGES;
        if is_new {
            self.places.push(met.start..end);
        }
        is_new
    }

    /// Is somebody to be told of the damaged transaction index of the segment that begins at `base`? It says nothing of the segment's batches.
    pub(crate) fn is_new_index(&mut self, base: Offset) -> bool {
        self.indexes.len() < MAX_TOLD_DAMAGES && self.indexes.insert(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_once_and_places_beside_it_too() {
        let mut told = ToldDamages::default();
        let mut met = |start, end| told.is_new(Offset(start)..Offset(end));
        // Readers come to it in its midst, at its front, and when less of it could be seen.
        for (start, end, is_new) in [(7, 10, true), (7, 10, false), (9, 10, false), (2, 8, false), (2, 3, false)] {
            assert_eq!(met(start, end), is_new, "{start} {end}");
        }
        // What lies right before it and right behind it is another one; an offset of which nothing else is known is one too.
        for (start, end, is_new) in [(0, 2, true), (10, 11, true), (20, 20, true), (20, 21, false)] {
            assert_eq!(met(start, end), is_new, "{start} {end}");
        }
    }

    #[test]
    fn a_log_that_is_damaged_everywhere_is_told_for_so_many_places() {
        let mut told = ToldDamages::default();
        let mut met = |at: usize| told.is_new(Offset(at as i64 * 2)..Offset(at as i64 * 2 + 1));
        assert!((0..MAX_TOLD_DAMAGES).all(&mut met));
        assert!(!met(MAX_TOLD_DAMAGES));
    }

    #[test]
    fn an_index_is_told_once_and_hides_no_batch() {
        let mut told = ToldDamages::default();
        let mut index = |base| told.is_new_index(Offset(base));
        assert_eq!([index(0), index(0), index(10)], [true, false, true]);
        assert!((20..).take(MAX_TOLD_DAMAGES - 2).all(&mut index));
        assert!(!index(5));
        assert!(told.is_new(Offset(0)..Offset(10)));
    }
}
