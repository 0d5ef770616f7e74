//! Which fetch sessions exist: decides who gets one of the few places and who loses it, by Kafka's rules (KIP-227). It knows nothing
//! of what a session holds but its size. Pure.

use std::collections::HashMap;
use std::time::Duration;

/// What all sessions together may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableLimits {
    /// How many there may be (`max.incremental.fetch.session.cache.slots`).
    pub(super) slots: usize,
    /// How much memory they may take.
    pub(super) bytes: usize,
    /// A session is safe for this long after its creation, and after its last use from being called stale.
    pub(super) eviction: Duration,
}

/// How large a session is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Size {
    pub(super) partitions: usize,
    pub(super) bytes: usize,
}

struct Place<T> {
    session: T,
    size: Size,
    created: Duration,
    last_used: Duration,
}

/// A search for somebody who has to go is not repeated for this long: who gets no session asks again with every fetch.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

/// The sessions by id. All are looked at only when there is no place left.
pub(super) struct SessionTable<T> {
    limits: TableLimits,
    places: HashMap<i32, Place<T>>,
    used: Size,
    /// The last search was in vain: when, and for how many partitions.
    in_vain: Option<(Duration, usize)>,
    attempts: u64,
    evicted: u64,
}

impl<T: Clone> SessionTable<T> {
    pub(super) fn new(limits: TableLimits) -> Self {
        SessionTable { limits, places: HashMap::new(), used: Size::default(), in_vain: None, attempts: 0, evicted: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// What all sessions together take.
    pub(super) fn used(&self) -> Size {
        self.used
    }

    /// How many lost their place to others.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn get(&self, id: i32) -> Option<T> {
        self.places.get(&id).map(|place| place.session.clone())
    }

    /// Takes a session in, under one of the ids that `propose` gives for a number never used before. `None` if there is no room and
    /// nobody has to make some: the one that was not used for longest if it is stale, otherwise the smallest old one if it is smaller.
    pub(super) fn create(
        &mut self,
        now: Duration,
        size: Size,
        session: T,
        propose: impl Fn(u64) -> i32,
    ) -> Option<i32> {
        if self.limits.slots == 0 || size.bytes > self.limits.bytes {
            return None;
        }
        while self.places.len() >= self.limits.slots || self.used.bytes + size.bytes > self.limits.bytes {
            let searched = |(at, partitions)| now.saturating_sub(at) < SEARCH_PAUSE && size.partitions <= partitions;
            if self.in_vain.is_some_and(searched) {
                return None;
            }
            let Some(loser) = self.stale(now).or_else(|| self.smaller(now, size.partitions)) else {
                self.in_vain = Some((now, size.partitions));
                return None;
            };
            self.remove(loser);
            self.evicted += 1;
        }
        let id = loop {
            self.attempts += 1;
            let id = propose(self.attempts);
            if id > 0 && !self.places.contains_key(&id) {
                break id;
            }
        };
        self.used.partitions += size.partitions;
        self.used.bytes += size.bytes;
        self.places.insert(id, Place { session, size, created: now, last_used: now });
        Some(id)
    }

    fn stale(&self, now: Duration) -> Option<i32> {
        let (id, place) = self.places.iter().min_by_key(|(id, place)| (place.last_used, **id))?;
        (now.saturating_sub(place.last_used) > self.limits.eviction).then_some(*id)
    }

    fn smaller(&self, now: Duration, partitions: usize) -> Option<i32> {
        let old = |place: &Place<T>| now.saturating_sub(place.created) > self.limits.eviction;
        let old = self.places.iter().filter(|(_, place)| old(place));
        let (id, place) = old.min_by_key(|(id, place)| (place.size.partitions, **id))?;
        (place.size.partitions < partitions).then_some(*id)
    }

    /// The session was used and has this size now. False if it is not there, or has outgrown what all may take.
    pub(super) fn touch(&mut self, id: i32, now: Duration, size: Size) -> bool {
        let Some(place) = self.places.get_mut(&id) else { return false };
        self.used.partitions = self.used.partitions - place.size.partitions + size.partitions;
        self.used.bytes = self.used.bytes - place.size.bytes + size.bytes;
        let grown = size.bytes > place.size.bytes;
        place.size = size;
        place.last_used = now;
        !grown || self.used.bytes <= self.limits.bytes
    }

    pub(super) fn remove(&mut self, id: i32) {
        if let Some(place) = self.places.remove(&id) {
            self.used.partitions -= place.size.partitions;
            self.used.bytes -= place.size.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVICTION: Duration = Duration::from_secs(120);

    fn table(slots: usize, bytes: usize) -> SessionTable<char> {
        SessionTable::new(TableLimits { slots, bytes, eviction: EVICTION })
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn of(partitions: usize) -> Size {
        Size { partitions, bytes: 10 * partitions }
    }

    /// Ids in the order of creation.
    fn id(attempt: u64) -> i32 {
        attempt as i32
    }

    #[test]
    fn a_full_table_takes_nobody_in_while_all_are_young() {
        let mut table = table(2, 1_000);
        assert_eq!(table.create(at(0), of(1), 'a', id), Some(1));
        assert_eq!(table.create(at(1), of(1), 'b', id), Some(2));
        assert_eq!(table.create(at(120), of(50), 'c', id), None, "a larger one has to wait too");
        assert_eq!((table.len(), table.evicted()), (2, 0));
    }

    #[test]
    fn the_one_that_was_not_used_for_longest_goes_once_it_is_stale() {
        let mut table = table(2, 1_000);
        table.create(at(0), of(9), 'a', id);
        table.create(at(1), of(1), 'b', id);
        assert!(table.touch(1, at(60), of(9)));
        assert_eq!(table.create(at(122), of(1), 'c', id), Some(3));
        assert_eq!((table.get(1), table.get(2), table.get(3)), (Some('a'), None, Some('c')));
        assert!(!table.touch(2, at(123), of(1)), "the one that went");
    }

    #[test]
    fn an_old_one_goes_for_a_larger_one_and_for_no_smaller_or_equal_one() {
        let mut table = table(2, 1_000);
        table.create(at(0), of(5), 'a', id);
        table.create(at(0), of(3), 'b', id);
        for id in [1, 2] {
            assert!(table.touch(id, at(119), Size { partitions: 6 - id as usize, bytes: 10 }));
        }
        assert_eq!(table.create(at(130), of(4), 'c', id), None);
        assert_eq!(table.create(at(130), of(5), 'c', id), Some(3));
        assert_eq!((table.get(1), table.get(2)), (Some('a'), None), "the smallest goes");
    }

    #[test]
    fn a_search_in_vain_is_repeated_for_a_larger_one_or_a_second_later() {
        let mut table = table(1, 1_000);
        table.create(at(0), of(3), 'a', id);
        let late = at(120) + Duration::from_millis(500);
        assert_eq!(table.create(at(120), of(4), 'b', id), None);
        assert_eq!(table.create(late, of(4), 'b', id), None, "it would have its place by now");
        assert_eq!(table.create(late, of(5), 'b', id), Some(2));
        let mut table = self::table(1, 1_000);
        table.create(at(0), of(3), 'a', id);
        assert_eq!(table.create(at(120), of(4), 'b', id), None);
        assert_eq!(table.create(at(121), of(4), 'b', id), Some(2));
    }

    #[test]
    fn memory_is_bounded_whatever_the_number_of_sessions() {
        let mut table = table(100, 100);
        assert_eq!(table.create(at(0), of(11), 'a', id), None, "too large for itself");
        assert_eq!(table.create(at(0), of(6), 'a', id), Some(1));
        assert_eq!(table.create(at(0), of(5), 'b', id), None);
        assert_eq!(table.create(at(0), of(4), 'b', id), Some(2));
        assert!(!table.touch(2, at(1), of(5)), "it grows out of its room");
        assert!(table.touch(2, at(1), of(4)), "shrinking is always possible");
        table.remove(1);
        assert_eq!(table.used(), of(4));
    }

    #[test]
    fn an_id_is_positive_and_nobody_elses() {
        let mut table = table(100, 1_000);
        let proposals = [0, -5, 7, 7, 9];
        let propose = |attempt: u64| proposals[attempt as usize - 1];
        assert_eq!(table.create(at(0), of(1), 'a', propose), Some(7));
        assert_eq!(table.create(at(0), of(1), 'b', propose), Some(9));
    }

    #[test]
    fn no_places_means_no_sessions() {
        assert_eq!(table(0, 1_000).create(at(0), of(1), 'a', id), None);
    }
}
