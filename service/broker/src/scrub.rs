//! A slow look at all closed segments, so that damage on the disk is told before somebody misses a record: what goes out by `sendfile` nobody
//! reads here. Decides how fast and how often; it repairs nothing.

use std::sync::Arc;
use std::time::Duration;

use tidelog_log::{ReadError, ScrubFrom, Scrubbed};
use tidelog_model::Offset;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::broker::Broker;
use crate::limits::{SCRUB_BYTES_PER_SECOND, SCRUB_EVERY, SCRUB_FIRST, SCRUB_STEP};
use crate::replica::Replica;

impl Broker {
    /// Looks through every log, again and again.
    pub(crate) async fn keep_scrubbed(self, stop: CancellationToken) {
        let mut pause = SCRUB_FIRST;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let began = Instant::now();
            if stop.run_until_cancelled(self.scrub(SCRUB_BYTES_PER_SECOND)).await.is_none() {
                return;
            }
            pause = SCRUB_EVERY.saturating_sub(began.elapsed());
        }
    }

    /// One look at every log, one after the other and no faster than told. Answers how many damaged batches were met.
    pub(crate) async fn scrub(&self, bytes_per_second: u64) -> usize {
        let mut damaged = 0;
        // The order is another one at each call, so that frequent restarts do not keep it from the same logs each time.
        for replica in self.replicas().all() {
            let mut from = ScrubFrom::from(Offset::ZERO);
            while let Some(seen) = look(&replica, from).await {
                damaged += seen.damaged.len();
                from = seen.next;
                tokio::time::sleep(Duration::from_secs_f64(seen.bytes as f64 / bytes_per_second.max(1) as f64)).await;
            }
        }
        damaged
    }
}

/// Looks at the log's next piece and tells what is damaged; `None` at the log's end.
async fn look(replica: &Arc<Replica>, from: ScrubFrom) -> Option<Scrubbed> {
    if replica.is_gone() {
        return None;
    }
    let view = replica.view.clone();
    let (topic, partition) = (&replica.id.topic, replica.id.partition);
    match tokio::task::spawn_blocking(move || view.scrub(from, SCRUB_STEP)).await.ok()? {
        Ok(seen) => {
            let seen = seen?;
            for damaged in &seen.damaged {
                metrics::counter!("tidelog_log_damaged_batches_total").increment(1);
                let file = damaged.file.display();
                error!(
                    %topic, %partition, offset = %damaged.offset, %file, position = damaged.position, reason = damaged.reason,
                    "a record batch on the disk is damaged: whoever fetches it gets it as it is"
                );
            }
            Some(seen)
        }
        // Retention or compaction has just taken it.
        Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            debug!(%topic, %partition, "a segment went while it was to be looked at");
            None
        }
        Err(failure) => {
            metrics::counter!("tidelog_log_damaged_batches_total").increment(1);
            error!(%topic, %partition, offset = %from.offset(), error = %failure, "a segment on the disk cannot be read");
            None
        }
    }
}
