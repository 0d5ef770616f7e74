//! What became of a record: settled once per batch, awaited by any of its records.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tidelog_model::{Offset, PartitionIndex, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::Unsettled;
use crate::ClientError;

/// Where a record was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset; −1 if the server does not tell (acks 0, or a duplicate of an older batch).
    pub offset: Offset,
    /// The broker's time, if the topic uses log-append time.
    pub append_time: Option<Timestamp>,
}

/// The outcome of one record. Awaiting it is cheap once its batch is settled; dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Delivery {
    batch: Arc<BatchOutcome>,
    index: u32,
}

impl Delivery {
    pub(super) fn new(batch: Arc<BatchOutcome>, index: u32) -> Self {
        Delivery { batch, index }
    }

    /// The outcome, if it is known.
    pub fn now(&self) -> Option<Result<Placed, ClientError>> {
        let (outcome, _) = self.batch.outcome.get()?.clone();
        Some(outcome.map(|first| match first.offset {
            Offset::NONE => first,
            offset => Placed { offset: offset.plus(i64::from(self.index)), ..first },
        }))
    }

    /// When the outcome became known, for measuring.
    pub fn settled_at(&self) -> Option<Instant> {
        self.batch.outcome.get().map(|(_, at)| *at)
    }

    /// Waits for the outcome.
    pub async fn outcome(&self) -> Result<Placed, ClientError> {
        loop {
            let settled = self.batch.settled.notified();
            if let Some(outcome) = self.now() {
                return outcome;
            }
            settled.await;
        }
    }
}

impl IntoFuture for Delivery {
    type Output = Result<Placed, ClientError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.outcome().await })
    }
}

/// One batch's outcome. A batch that is dropped unsettled fails: its producer is gone.
#[derive(Debug)]
pub(super) struct BatchOutcome {
    outcome: OnceLock<(Result<Placed, ClientError>, Instant)>,
    settled: Notify,
}

/// Settles a batch exactly once and gives its memory back.
#[derive(Debug)]
pub(super) struct Settle {
    batch: Arc<BatchOutcome>,
    unsettled: Arc<Unsettled>,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Settle {
    pub(super) fn new(unsettled: Arc<Unsettled>, memory: Option<OwnedSemaphorePermit>) -> Self {
        unsettled.add();
        let batch = Arc::new(BatchOutcome { outcome: OnceLock::new(), settled: Notify::new() });
        Settle { batch, unsettled, _memory: memory }
    }

    pub(super) fn outcome(&self) -> &Arc<BatchOutcome> {
        &self.batch
    }

    pub(super) fn settle(self, outcome: Result<Placed, ClientError>) {
        // The first outcome stays; `drop` sets none after this.
        let _ = self.batch.outcome.set((outcome, Instant::now()));
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        let _ = self.batch.outcome.set((Err(ClientError::ProducerClosed), Instant::now()));
        self.batch.settled.notify_waiters();
        self.unsettled.remove();
    }
}
