//! Room for large frames. Decides who may hold how many bytes, so that every frame that was begun can be finished; never waits, and
//! holds no bytes itself.
//!
//! Frames are charged for what has come of them, not for what they announce, so several may be half read when the room is all used. That
//! none of them waits for another for ever is the banker's rule: bytes are given only if afterwards all frames could still be finished
//! one after the other, the one that lacks least first. The same holds within the share of each owner. Whoever lacks little passes
//! whoever lacks much.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

/// Names a frame in its pool.
pub(crate) type FrameId = u64;

/// A frame that is read, or that is whole and still in use.
struct Filling<O> {
    owner: O,
    length: usize,
    held: usize,
    /// What it waits for, beyond what it holds; 0 if it does not wait.
    wanted: usize,
}

impl<O> Filling<O> {
    fn lacks(&self) -> usize {
        self.length - self.held
    }
}

/// What frames have together.
#[derive(Clone, Copy, Default)]
struct Sum {
    held: usize,
    /// Their lengths.
    announced: usize,
    frames: usize,
}

/// The frames of one pool.
pub(crate) struct FramePool<O> {
    capacity: usize,
    share: usize,
    all: Sum,
    owners: HashMap<O, Sum>,
    frames: HashMap<FrameId, Filling<O>>,
    /// Those that wait, by what they lack.
    waiting: BTreeSet<(usize, FrameId)>,
    next: FrameId,
}

/// Why bytes are not given now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    /// The owner has its share.
    Share,
    /// The pool is in use.
    Pool,
}

impl<O: Clone + Eq + Hash> FramePool<O> {
    /// A pool of so many bytes, of which one owner may hold a share. No frame is longer than the share.
    pub(crate) fn new(capacity: usize, share: usize) -> Self {
        FramePool {
            capacity,
            share: share.min(capacity),
            all: Sum::default(),
            owners: HashMap::new(),
            frames: HashMap::new(),
            waiting: BTreeSet::new(),
            next: 0,
        }
    }

    /// A frame of this length begins. It holds nothing yet. A length beyond the share counts as the share.
    pub(crate) fn begin(&mut self, owner: O, length: usize) -> FrameId {
        let length = length.min(self.share);
        let id = self.next;
        self.next += 1;
        for sum in [&mut self.all, self.owners.entry(owner.clone()).or_default()] {
            sum.announced += length;
            sum.frames += 1;
        }
        self.frames.insert(id, Filling { owner, length, held: 0, wanted: 0 });
        id
    }

    /// The frame needs so many bytes more; it gets no more than its length. False: it waits, and [`end`](Self::end) of another brings it.
    pub(crate) fn ask(&mut self, id: FrameId, more: usize) -> bool {
        let Some(frame) = self.frames.get(&id) else { return true };
        let (more, place) = (more.min(frame.lacks()), (frame.lacks(), id));
        // Who waits and lacks no more is before it.
        let first = self.waiting.first().is_none_or(|first| place < *first);
        if more == 0 || (first && self.check(id, more).is_ok()) {
            self.give(id, more);
            return true;
        }
        if let Some(frame) = self.frames.get_mut(&id) {
            frame.wanted = more;
            self.waiting.insert(place);
        }
        // A smaller one may wait for its owner's share alone.
        self.serve().contains(&id)
    }

    /// The frame's bytes are no longer needed, or it has come to nothing. Returns those that need not wait any more.
    pub(crate) fn end(&mut self, id: FrameId) -> Vec<FrameId> {
        let Some(frame) = self.frames.remove(&id) else { return Vec::new() };
        self.waiting.remove(&(frame.lacks(), id));
        let sums = [Some(&mut self.all), self.owners.get_mut(&frame.owner)];
        for sum in sums.into_iter().flatten() {
            sum.held -= frame.held;
            sum.announced -= frame.length;
            sum.frames -= 1;
        }
        if self.owners.get(&frame.owner).is_some_and(|sum| sum.frames == 0) {
            self.owners.remove(&frame.owner);
        }
        if self.waiting.is_empty() { Vec::new() } else { self.serve() }
    }

    /// Gives to those that wait, the one that lacks least first, until the pool has no more.
    fn serve(&mut self) -> Vec<FrameId> {
        let (mut served, mut full) = (Vec::new(), HashSet::new());
        let waiting: Vec<(usize, FrameId)> = self.waiting.iter().copied().collect();
        for place in waiting {
            let Some(frame) = self.frames.get(&place.1) else { continue };
            if full.contains(&frame.owner) {
                continue;
            }
            let wanted = frame.wanted;
            match self.check(place.1, wanted) {
                Ok(()) => {
                    self.waiting.remove(&place);
                    self.give(place.1, wanted);
                    served.push(place.1);
                }
                Err(Refusal::Share) => drop(full.insert(frame.owner.clone())),
                Err(Refusal::Pool) => break,
            }
        }
        served
    }

    fn give(&mut self, id: FrameId, more: usize) {
        let Some(frame) = self.frames.get_mut(&id) else { return };
        frame.held += more;
        frame.wanted = 0;
        self.all.held += more;
        if let Some(sum) = self.owners.get_mut(&frame.owner) {
            sum.held += more;
        }
    }

    fn check(&self, id: FrameId, more: usize) -> Result<(), Refusal> {
        let Some(frame) = self.frames.get(&id) else { return Ok(()) };
        let sum = self.owners.get(&frame.owner).copied().unwrap_or_default();
        let is_owners = |other: &&Filling<O>| other.owner == frame.owner;
        if !self.leaves_all_finishable(id, more, self.share, sum, is_owners) {
            return Err(Refusal::Share);
        }
        match self.leaves_all_finishable(id, more, self.capacity, self.all, |_| true) {
            true => Ok(()),
            false => Err(Refusal::Pool),
        }
    }

    /// Could all of these frames be finished within `room`, one after the other, if this one got so many bytes more?
    fn leaves_all_finishable(
        &self,
        id: FrameId,
        more: usize,
        room: usize,
        sum: Sum,
        is_of_these: impl Fn(&&Filling<O>) -> bool,
    ) -> bool {
        if sum.announced <= room {
            // There is room for all of them at once: nearly always so.
            return true;
        }
        let Some(mut free) = room.checked_sub(sum.held + more) else { return false };
        if free >= self.share {
            // No frame is longer.
            return true;
        }
        let given = |(of, frame): (&FrameId, &Filling<O>)| {
            let held = if *of == id { frame.held + more } else { frame.held };
            (frame.length - held, held)
        };
        // One that holds nothing can be last.
        let these = self.frames.iter().filter(|(_, frame)| is_of_these(frame)).map(given);
        let mut these: Vec<(usize, usize)> = these.filter(|(_, held)| *held > 0).collect();
        these.sort_unstable();
        these.into_iter().all(|(lacks, held)| {
            let fits = lacks <= free;
            free += held;
            fits
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: usize = 256;
    const SHARE: usize = 100;

    fn pool() -> FramePool<u8> {
        FramePool::new(CAPACITY, SHARE)
    }

    #[test]
    fn who_announces_much_and_sends_little_holds_little() {
        let mut pool = pool();
        let begun: Vec<FrameId> = (0..200).map(|owner| pool.begin(owner, 100)).collect();
        let given = begun.iter().filter(|id| pool.ask(**id, 1)).count();
        assert_eq!(given, CAPACITY - SHARE + 1, "what one of them lacks must still fit");
        let id = pool.begin(200, 10);
        assert!(pool.ask(id, 10));
    }

    #[test]
    fn a_small_frame_passes_large_ones_that_wait() {
        let mut pool = pool();
        let large: Vec<FrameId> = (0..4).map(|owner| pool.begin(owner, 100)).collect();
        // In steps of 4, until none of them gets more but the one that is to end first.
        let mut waits = HashSet::new();
        while waits.len() < 3 {
            for id in &large {
                if !waits.contains(id) && !pool.ask(*id, 4) {
                    waits.insert(*id);
                }
            }
        }
        let small = pool.begin(9, 8);
        assert!(pool.ask(small, 8), "{} are held", pool.all.held);
        pool.end(small);
        let end = *large.iter().find(|id| !waits.contains(id)).unwrap();
        while pool.frames[&end].lacks() > 0 {
            assert!(pool.ask(end, 4), "the first is finished");
        }
        assert!(!pool.end(end).is_empty(), "then others go on");
    }

    #[test]
    fn an_owner_has_its_share_and_others_have_theirs() {
        let mut pool = pool();
        let ids: Vec<FrameId> = (0..5).map(|_| pool.begin(1, 40)).collect();
        let given = ids.iter().filter(|id| pool.ask(**id, 40)).count();
        assert_eq!((given, pool.owners[&1].held), (2, 80));
        let other = pool.begin(2, 100);
        assert!(pool.ask(other, 100));
        assert_eq!(pool.end(ids[0]), [ids[2]]);
    }

    #[test]
    fn what_has_ended_leaves_nothing_behind() {
        let mut pool = pool();
        let ids: Vec<FrameId> = (0..9).map(|owner| pool.begin(owner % 3, 90)).collect();
        for id in &ids {
            pool.ask(*id, 50);
        }
        ids.iter().for_each(|id| drop(pool.end(*id)));
        assert!(pool.frames.is_empty() && pool.owners.is_empty() && pool.waiting.is_empty());
        assert_eq!((pool.all.held, pool.all.announced, pool.all.frames), (0, 0, 0));
        assert_eq!(pool.end(ids[0]), [] as [FrameId; 0], "twice does no harm");
    }

    /// What clients do: begin a frame, send some of one, or hang up.
    #[derive(Clone, Debug)]
    enum Step {
        Begin { owner: u8, length: usize },
        Send { which: usize, bytes: usize },
        End { which: usize },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let begin = (0..4u8, 1..=SHARE).prop_map(|(owner, length)| Step::Begin { owner, length });
        let send = (any::<usize>(), 1..40usize).prop_map(|(which, bytes)| Step::Send { which, bytes });
        let end = any::<usize>().prop_map(|which| Step::End { which });
        proptest::collection::vec(prop_oneof![3 => begin, 12 => send, 1 => end], 1..300)
    }

    fn assert_within(pool: &FramePool<u8>) {
        assert!(pool.all.held <= CAPACITY);
        assert!(pool.owners.values().all(|sum| sum.held <= SHARE));
        assert_eq!(pool.all.held, pool.frames.values().map(|frame| frame.held).sum::<usize>());
        let waiting = pool.frames.values().filter(|frame| frame.wanted > 0).count();
        assert_eq!(pool.waiting.len(), waiting);
    }

    /// Those that could go on: they lack something and do not wait.
    fn going_on(pool: &FramePool<u8>) -> Vec<FrameId> {
        let mut ids: Vec<FrameId> =
            pool.frames.iter().filter(|(_, f)| f.wanted == 0 && f.lacks() > 0).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    proptest! {
        #[test]
        fn whatever_was_begun_can_be_finished(steps in steps()) {
            let mut pool = pool();
            for step in steps {
                match step {
                    Step::Begin { owner, length } => {
                        pool.begin(owner, length);
                    }
                    Step::Send { which, bytes } => {
                        let ids = going_on(&pool);
                        if let Some(id) = ids.get(which % ids.len().max(1)) {
                            pool.ask(*id, bytes);
                        }
                    }
                    Step::End { which } => {
                        let mut ids: Vec<FrameId> = pool.frames.keys().copied().collect();
                        ids.sort_unstable();
                        if let Some(id) = ids.get(which % ids.len().max(1)) {
                            pool.end(*id);
                        }
                    }
                }
                assert_within(&pool);
                // Nobody waits if nobody can end: either one is whole, or one may go on.
                let whole = pool.frames.values().any(|frame| frame.lacks() == 0);
                prop_assert!(pool.waiting.is_empty() || whole || !going_on(&pool).is_empty());
            }
            // From here on everybody sends all it announced, and is done with it.
            while !pool.frames.is_empty() {
                let whole: Vec<FrameId> =
                    pool.frames.iter().filter(|(_, frame)| frame.lacks() == 0).map(|(id, _)| *id).collect();
                let ids = going_on(&pool);
                prop_assert!(!whole.is_empty() || !ids.is_empty(), "{} wait for each other", pool.waiting.len());
                whole.into_iter().for_each(|id| drop(pool.end(id)));
                for id in ids {
                    pool.ask(id, 7);
                }
                assert_within(&pool);
            }
        }
    }
}
