//! Answers of one connection that are encoded and not sent: a client that asks and does not read must not make them many.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::limits::MAX_UNSENT_BYTES;

/// Bytes of answers in memory. One reader adds to them and waits, one writer takes from them.
#[derive(Default)]
pub(crate) struct Unsent {
    bytes: AtomicUsize,
    fewer: Notify,
}

impl Unsent {
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// So many of those that were added are sent.
    pub(crate) fn sent(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            // Keeps its word for a reader that does not wait yet.
            self.fewer.notify_one();
        }
    }

    /// Waits until another answer may be made: there are never more than [`MAX_UNSENT_BYTES`] and one answer.
    pub(crate) async fn room(&self) {
        while self.bytes.load(Ordering::Acquire) > MAX_UNSENT_BYTES {
            self.fewer.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn one_answer_beyond_the_limit_and_no_other_before_it_is_sent() {
        let unsent = Unsent::default();
        unsent.add(MAX_UNSENT_BYTES);
        assert!(unsent.room().now_or_never().is_some(), "exactly the limit");
        unsent.add(5 * MAX_UNSENT_BYTES);
        assert!(unsent.room().now_or_never().is_none());
        let mut waits = Box::pin(unsent.room());
        assert!(waits.as_mut().now_or_never().is_none());
        unsent.sent(MAX_UNSENT_BYTES);
        assert!(waits.as_mut().now_or_never().is_none(), "still too much");
        unsent.sent(5 * MAX_UNSENT_BYTES);
        assert!(waits.as_mut().now_or_never().is_some());
    }
}
