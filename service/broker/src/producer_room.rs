//! Memory that the producers of all partitions share. Decides how much of it one partition may take; counts, and forgets nobody itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tidelog_record::{ProducerBounds, ProducerStates};

use crate::limits::{PRODUCERS_BUDGET_BYTES, PRODUCERS_LEAST_BYTES};

/// What the producers of all partitions of this broker take.
#[derive(Default)]
pub(crate) struct ProducerRoom {
    used: AtomicUsize,
}

/// One partition's part of it; given back when it is dropped.
pub(crate) struct ProducerShare {
    room: Arc<ProducerRoom>,
    bytes: AtomicUsize,
    forgotten: AtomicU64,
}

impl ProducerShare {
    pub(crate) fn new(room: &Arc<ProducerRoom>) -> Self {
        ProducerShare { room: Arc::clone(room), bytes: AtomicUsize::new(0), forgotten: AtomicU64::new(0) }
    }

    /// What the partition's producers may take now.
    pub(crate) fn bounds(&self) -> ProducerBounds {
        bounds(self.room.used.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Takes note of what they take, and of those that were forgotten because they took more. One thread at a time for a partition.
    pub(crate) fn settle(&self, producers: &ProducerStates) {
        let bytes = producers.bytes();
        self.room.used.fetch_add(bytes, Ordering::Relaxed);
        self.room.used.fetch_sub(self.bytes.swap(bytes, Ordering::Relaxed), Ordering::Relaxed);
        let forgotten = producers.evicted();
        let before = self.forgotten.swap(forgotten, Ordering::Relaxed);
        metrics::counter!("tidelog_producers_forgotten_total").increment(forgotten.saturating_sub(before));
    }
}

impl Drop for ProducerShare {
    fn drop(&mut self) {
        self.room.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// What a partition may take whose producers take `own` bytes, while those of all take `used`. Those that may be forgotten stay while half of
/// the room is free; of the rest everybody takes what he needs, up to what one partition may have at most.
fn bounds(used: usize, own: usize) -> ProducerBounds {
    let one = ProducerBounds::DEFAULT;
    let free = PRODUCERS_BUDGET_BYTES.saturating_sub(used);
    let silent = if free >= PRODUCERS_BUDGET_BYTES / 2 { one.silent } else { PRODUCERS_LEAST_BYTES };
    ProducerBounds { silent, most: own.saturating_add(free).clamp(PRODUCERS_LEAST_BYTES, one.most) }
}

#[cfg(test)]
mod tests {
    use tidelog_model::{Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
    use tidelog_record::{BatchBuilder, BatchHeader};

    use super::*;

    #[test]
    fn a_partition_has_its_own_bounds_until_all_take_half_of_the_room() {
        let (half, one) = (PRODUCERS_BUDGET_BYTES / 2, ProducerBounds::DEFAULT);
        assert_eq!(bounds(0, 0), one);
        assert_eq!(bounds(half, 1_000), one);
        assert_eq!(bounds(half + 1, 1_000), ProducerBounds { silent: PRODUCERS_LEAST_BYTES, ..one });
        // Nobody who may send again is forgotten for want of room, and everybody has a little.
        assert_eq!(bounds(PRODUCERS_BUDGET_BYTES, 100_000).most, 100_000);
        assert_eq!(bounds(PRODUCERS_BUDGET_BYTES - 7, 100_000).most, 100_007);
        assert_eq!(bounds(2 * PRODUCERS_BUDGET_BYTES, 0).most, PRODUCERS_LEAST_BYTES);
    }

    /// Somebody who makes up producers everywhere.
    #[test]
    fn all_partitions_together_stay_within_the_room() {
        let now = |seconds| Now { monotonic: std::time::Duration::from_secs(seconds), wall: Timestamp(0) };
        let mut builder = BatchBuilder::new(Offset::ZERO);
        builder.push(Timestamp(0), None, Some(b"v"), &[]).unwrap();
        let plain = *builder.build().unwrap().header();
        let room = Arc::default();
        let append = |(share, states): &mut (ProducerShare, ProducerStates), id: usize, at: Now| {
            states.set_bounds(share.bounds(), at);
            let taken = states.has_room(0, at);
            if taken {
                let producer_id = ProducerId(id as i64);
                let (producer_epoch, base_sequence) = (ProducerEpoch(0), Sequence(0));
                states.apply(&BatchHeader { producer_id, producer_epoch, base_sequence, ..plain }, Offset(0), at);
            }
            share.settle(states);
            taken
        };
        let new = || (ProducerShare::new(&room), ProducerStates::new());
        let full = PRODUCERS_BUDGET_BYTES / ProducerBounds::DEFAULT.most;
        let mut partitions: Vec<_> = std::iter::repeat_with(new).take(full + 4).collect();
        for partition in &mut partitions {
            let taken = (0..).take_while(|id| append(partition, *id, now(0))).count();
            assert!(taken > 0);
        }
        let used = || room.used.load(Ordering::Relaxed);
        assert!(used() <= PRODUCERS_BUDGET_BYTES + 4 * PRODUCERS_LEAST_BYTES, "{}", used());
        // Two minutes later all of them are silent: whoever writes has room again.
        let later = now(121);
        assert!(append(&mut partitions[full], 1 << 40, later));
        for (share, states) in &mut partitions {
            states.set_bounds(share.bounds(), later);
            share.settle(states);
        }
        assert!(used() <= PRODUCERS_BUDGET_BYTES / 2 + ProducerBounds::DEFAULT.silent, "{}", used());
        partitions.clear();
        assert_eq!(used(), 0);
    }
}
