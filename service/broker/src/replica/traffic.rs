//! What comes into one partition and goes out of it, since it is open: relaxed atomics beside it, added up by topic when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Traffic;

/// One partition's.
#[derive(Default)]
pub(crate) struct Counted {
    bytes_in: AtomicU64,
    messages_in: AtomicU64,
    bytes_out: AtomicU64,
    failed_produces: AtomicU64,
    failed_fetches: AtomicU64,
}

impl Counted {
    /// Batches were written.
    pub(crate) fn came_in(&self, bytes: u64, messages: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        self.messages_in.fetch_add(messages, Ordering::Relaxed);
    }

    /// Batches go to a client.
    pub(crate) fn went_out(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A client's batch was refused, or could not be written.
    pub(crate) fn produce_failed(&self) {
        self.failed_produces.fetch_add(1, Ordering::Relaxed);
    }

    /// A reader got an error.
    pub(crate) fn fetch_failed(&self) {
        self.failed_fetches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn so_far(&self) -> Traffic {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Traffic {
            bytes_in: read(&self.bytes_in),
            messages_in: read(&self.messages_in),
            bytes_out: read(&self.bytes_out),
            failed_produces: read(&self.failed_produces),
            failed_fetches: read(&self.failed_fetches),
        }
    }
}
