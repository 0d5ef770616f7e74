//! Memory that the producers of all partitions share. Decides how much of it one partition may take; counts, and forgets nobody itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidelog_record::{ProducerBounds, ProducerStates};

use crate::limits::{PRODUCERS_BUDGET_BYTES, PRODUCERS_LEAST_BYTES};
use crate::shared_memory::{Share, SharedMemory};

/// What the producers of one partition take of the memory of all.
pub(crate) struct ProducerShare {
    share: Share,
    forgotten: AtomicU64,
}

/// The memory of the producers of all partitions.
pub(crate) fn producers_memory() -> Arc<SharedMemory> {
    SharedMemory::new(PRODUCERS_BUDGET_BYTES, PRODUCERS_LEAST_BYTES)
}

impl ProducerShare {
    pub(crate) fn new(memory: &Arc<SharedMemory>) -> Self {
        ProducerShare { share: Share::new(memory), forgotten: AtomicU64::new(0) }
    }

    /// What the partition's producers may take now. Those that may be forgotten stay while half of the memory is free; of the rest everybody
    /// takes what he needs, up to what one partition may have at most.
    pub(crate) fn bounds(&self) -> ProducerBounds {
        let one = ProducerBounds::DEFAULT;
        let silent = if self.share.free() >= PRODUCERS_BUDGET_BYTES / 2 { one.silent } else { PRODUCERS_LEAST_BYTES };
        ProducerBounds { silent, most: self.share.most(one.most) }
    }

    /// Takes note of what they take, and of those that were forgotten because they took more. One thread at a time for a partition.
    pub(crate) fn settle(&self, producers: &ProducerStates) {
        self.share.settle(producers.bytes());
        let forgotten = producers.evicted();
        let before = self.forgotten.swap(forgotten, Ordering::Relaxed);
        metrics::counter!("tidelog_producers_forgotten_total").increment(forgotten.saturating_sub(before));
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::{Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
    use tidelog_record::{BatchBuilder, BatchHeader};

    use super::*;

    #[test]
    fn a_partition_has_its_own_bounds_until_all_take_half_of_the_room() {
        let (half, one) = (PRODUCERS_BUDGET_BYTES / 2, ProducerBounds::DEFAULT);
        let memory = producers_memory();
        let (share, others) = (ProducerShare::new(&memory), Share::new(&memory));
        assert_eq!(share.bounds(), one);
        others.settle(half);
        assert_eq!(share.bounds(), one);
        others.settle(half + 1);
        assert_eq!(share.bounds(), ProducerBounds { silent: PRODUCERS_LEAST_BYTES, ..one });
        // Nobody who may send again is forgotten for want of room, and everybody has a little.
        share.share.settle(100_000);
        others.settle(PRODUCERS_BUDGET_BYTES - 100_007);
        assert_eq!(share.bounds().most, 100_007);
        others.settle(2 * PRODUCERS_BUDGET_BYTES);
        assert_eq!(share.bounds().most, 100_000);
        assert_eq!(ProducerShare::new(&memory).bounds().most, PRODUCERS_LEAST_BYTES);
    }

    /// Somebody who makes up producers everywhere.
    #[test]
    fn all_partitions_together_stay_within_the_room() {
        let now = |seconds| Now { monotonic: std::time::Duration::from_secs(seconds), wall: Timestamp(0) };
        let mut builder = BatchBuilder::new(Offset::ZERO);
        builder.push(Timestamp(0), None, Some(b"v"), &[]).unwrap();
        let plain = *builder.build().unwrap().header();
        let memory = producers_memory();
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
        let new = || (ProducerShare::new(&memory), ProducerStates::new());
        let full = PRODUCERS_BUDGET_BYTES / ProducerBounds::DEFAULT.most;
        let mut partitions: Vec<_> = std::iter::repeat_with(new).take(full + 4).collect();
        for partition in &mut partitions {
            let taken = (0..).take_while(|id| append(partition, *id, now(0))).count();
            assert!(taken > 0);
        }
        let used = |partitions: &[(ProducerShare, ProducerStates)]| {
            partitions.iter().map(|(_, states)| states.bytes()).sum::<usize>()
        };
        let taken = used(&partitions);
        assert!(taken <= PRODUCERS_BUDGET_BYTES + 4 * PRODUCERS_LEAST_BYTES, "{taken}");
        // Two minutes later all of them are silent: whoever writes has room again.
        let later = now(121);
        assert!(append(&mut partitions[full], 1 << 40, later));
        for (share, states) in &mut partitions {
            states.set_bounds(share.bounds(), later);
            share.settle(states);
        }
        let taken = used(&partitions);
        assert!(taken <= PRODUCERS_BUDGET_BYTES / 2 + ProducerBounds::DEFAULT.silent, "{taken}");
        partitions.clear();
        assert_eq!(memory.free(), PRODUCERS_BUDGET_BYTES);
    }
}
