//! Work that one thread does at a time and nobody waits for: whoever finds it being done leaves word, and it is done once more. It knows
//! nothing of the work.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// One piece of work of that kind.
#[derive(Default)]
pub(super) struct OneAtATime {
    working: Mutex<()>,
    /// Somebody has asked since the work last began.
    asked: AtomicBool,
}

impl OneAtATime {
    /// Does the work, unless another thread is at it: then that one does its own once more, with everything that is true by now.
    pub(super) fn run(&self, mut work: impl FnMut()) {
        self.asked.store(true, Ordering::SeqCst);
        // Looked at again after the turn is over: who has found it taken has asked before.
        while self.asked.load(Ordering::SeqCst) {
            let Some(_turn) = self.working.try_lock() else { return };
            if self.asked.swap(false, Ordering::SeqCst) {
                work();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_while_it_is_done_is_heard_afterwards() {
        let (work, mut rounds) = (OneAtATime::default(), 0);
        work.run(|| {
            rounds += 1;
            if rounds == 1 {
                let other = || work.run(|| panic!("two at a time"));
                std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(other))));
            }
        });
        assert_eq!(rounds, 2, "once for both");
        work.run(|| rounds += 1);
        assert_eq!(rounds, 3);
    }
}
