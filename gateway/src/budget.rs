//! Budgets of bytes: one for all requests, one for all that is read. Decides who must be refused; allocates nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidelog_broker::BrokerError;
use tidelog_model::KafkaError;

/// The answer to whoever finds it used up.
pub(crate) fn used_up() -> BrokerError {
    let message = "Too many events are in memory at a time. Try again.";
    BrokerError::new(KafkaError::ThrottlingQuotaExceeded, message)
}

/// A shared number of bytes that may be in use at a time.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: Arc<AtomicUsize>,
}

/// Bytes taken from a budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Budget { free: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// An empty reservation, to be grown.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(bytes)).is_ok()
    }
}

impl Reservation {
    /// Takes more; false if there is not that much left, and then nothing changes.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let granted = self.budget.take(bytes);
        if granted {
            self.bytes += bytes;
        }
        granted
    }

    /// Gives back all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        self.budget.free.fetch_add(back, Ordering::AcqRel);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let budget = Budget::new(10);
        let mut first = budget.reservation();
        assert!(first.grow(6));
        let mut second = budget.reservation();
        assert!(!second.grow(5));
        assert!(second.grow(4));
        assert!(!first.grow(1));
        drop(second);
        assert!(first.grow(4));
        first.shrink_to(20);
        first.shrink_to(3);
        assert!(budget.reservation().grow(7) && !budget.reservation().grow(8));
        drop(first);
        assert!(budget.reservation().grow(10) && !budget.reservation().grow(11));
    }
}
