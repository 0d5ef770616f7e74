//! The flusher's work on one partition: make what is written durable, then move the watermark.

use std::sync::Arc;

use tracing::error;

use super::Replica;

impl Replica {
    /// Flushes everything written so far. One flush serves all that arrived before it began.
    pub(crate) fn flush(self: &Arc<Self>) {
        let started = self.core.clock.now().monotonic;
        let effects = match self.view.flush() {
            Ok(end) => self.machine.lock().flushed(end),
            Err(failure) => {
                error!(partition = %self.id, error = %failure, "the log takes no more until the broker is restarted");
                self.machine.lock().flush_failed()
            }
        };
        let took = self.core.clock.now().monotonic.saturating_sub(started);
        metrics::histogram!("tidelog_log_flush_seconds").record(took.as_secs_f64());
        self.carry_out(effects);
    }
}
