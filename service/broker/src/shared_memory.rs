//! Memory that many parts of the broker share under one budget. Decides how much of it one part may take; counts, and frees nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all parts of one kind take.
pub(crate) struct SharedMemory {
    budget: usize,
    /// What each part has whatever the others take; all that may go beyond the budget.
    least: usize,
    used: AtomicUsize,
}

impl SharedMemory {
    pub(crate) fn new(budget: usize, least: usize) -> Arc<Self> {
        Arc::new(SharedMemory { budget, least, used: AtomicUsize::new(0) })
    }

    /// What nobody has taken yet.
    pub(crate) fn free(&self) -> usize {
        self.budget.saturating_sub(self.used.load(Ordering::Relaxed))
    }
}

/// One part's share of it; given back when it is dropped.
pub(crate) struct Share {
    memory: Arc<SharedMemory>,
    bytes: AtomicUsize,
}

impl Share {
    pub(crate) fn new(memory: &Arc<SharedMemory>) -> Self {
        Share { memory: Arc::clone(memory), bytes: AtomicUsize::new(0) }
    }

    /// What nobody has taken yet.
    pub(crate) fn free(&self) -> usize {
        self.memory.free()
    }

    /// What the part may take now: what it needs while there is some, up to what one may have at most.
    pub(crate) fn most(&self, of_one: usize) -> usize {
        self.bytes.load(Ordering::Relaxed).saturating_add(self.free()).clamp(self.memory.least.min(of_one), of_one)
    }

    /// Takes note of what the part takes. One thread at a time for a part.
    pub(crate) fn settle(&self, bytes: usize) {
        self.memory.used.fetch_add(bytes, Ordering::Relaxed);
        self.memory.used.fetch_sub(self.bytes.swap(bytes, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_what_is_free_and_a_little_whatever_the_others_take() {
        let memory = SharedMemory::new(1_000, 10);
        let (one, other, third) = (Share::new(&memory), Share::new(&memory), Share::new(&memory));
        assert_eq!(one.most(400), 400);
        one.settle(400);
        assert_eq!(other.most(800), 600);
        other.settle(600);
        // Who is full keeps what it has; who has nothing gets the least.
        assert_eq!((one.most(400), third.most(400), memory.free()), (400, 10, 0));
        third.settle(10);
        one.settle(100);
        assert_eq!((third.most(400), memory.free()), (300, 290));
        drop((one, other, third));
        assert_eq!(memory.free(), 1_000);
    }
}
