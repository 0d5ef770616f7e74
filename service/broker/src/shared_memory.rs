//! Memory that many parts of the broker share under one budget. Decides how much of it one part may take; counts, and frees nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all parts of one kind take.
pub(crate) struct SharedMemory {
    budget: usize,
    /// What each part has whatever the others take; all that may go beyond the budget.
    least: usize,
    used: AtomicUsize,
    /// How many parts there are.
    parts: AtomicUsize,
}

impl SharedMemory {
    pub(crate) fn new(budget: usize, least: usize) -> Arc<Self> {
        Arc::new(SharedMemory { budget, least, used: AtomicUsize::new(0), parts: AtomicUsize::new(0) })
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
        memory.parts.fetch_add(1, Ordering::Relaxed);
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

    /// The same while half of the budget is free. Of the other half nobody takes more than an even share, so that a few parts cannot take all:
    /// a part that has more keeps what it has.
    pub(crate) fn even_most(&self, of_one: usize) -> usize {
        let most = self.most(of_one);
        if self.free() > self.memory.budget / 2 {
            return most;
        }
        let even = self.memory.budget / self.memory.parts.load(Ordering::Relaxed).max(1);
        most.min(self.bytes.load(Ordering::Relaxed).max(even).max(self.memory.least))
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
        self.memory.parts.fetch_sub(1, Ordering::Relaxed);
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

    #[test]
    fn a_few_parts_cannot_take_the_second_half() {
        let memory = SharedMemory::new(1_000, 10);
        let parts: Vec<Share> = std::iter::repeat_with(|| Share::new(&memory)).take(10).collect();
        parts[0].settle(400);
        assert_eq!((parts[0].even_most(900), parts[1].even_most(400)), (900, 400));
        parts[1].settle(100);
        // Who has more than a tenth keeps it; the others get a tenth, and no more than one may have at all.
        assert_eq!((parts[0].even_most(900), parts[1].even_most(900), parts[2].even_most(900)), (400, 100, 100));
        assert_eq!((parts[0].even_most(300), parts[2].even_most(50)), (300, 50));
        parts[2].settle(470);
        // When hardly anything is left, there is that, and the least.
        assert_eq!((parts[3].even_most(900), parts[2].even_most(900)), (30, 470));
        parts[3].settle(30);
        assert_eq!(parts[4].even_most(900), 10);
        // Fewer parts have larger shares.
        let mut parts = parts;
        parts.truncate(2);
        assert_eq!((memory.free(), parts[1].even_most(900)), (500, 500));
    }
}
