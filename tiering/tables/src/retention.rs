//! Decides how far retention may delete while a table is behind: not beyond the export, but no longer than the grace period. Pure.

use std::time::Duration;

use tidelog_model::{Now, Offset};

use crate::exporter::Exported;

/// The hold of one partition's table on its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetentionHold {
    /// Since when retention wanted more than the export allowed, on the monotonic clock.
    blocked_since: Option<Duration>,
}

impl RetentionHold {
    /// Retention wants to delete below `wanted`, the log starts at `log_start`: the offset below which it may. Call it whenever
    /// retention runs; after `grace` (`tidelog.table.retention.grace.ms`) of blocking it gives way.
    pub fn allow(
        &mut self,
        now: Now,
        wanted: Offset,
        log_start: Offset,
        exported: Exported,
        grace: Duration,
    ) -> Offset {
        let exported = match exported {
            Exported::NotATable => wanted,
            Exported::Unknown => log_start,
            Exported::Below(end) => end.max(log_start),
        };
        if wanted <= exported {
            self.blocked_since = None;
            return wanted;
        }
        let since = *self.blocked_since.get_or_insert(now.monotonic);
        if now.monotonic.saturating_sub(since) >= grace { wanted } else { exported }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelog_model::Timestamp;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall: Timestamp(0) }
    }

    #[test]
    fn retention_waits_for_the_export_and_then_no_longer() {
        let grace = Duration::from_secs(10);
        let mut hold = RetentionHold::default();
        let mut allow = |seconds, wanted, exported| hold.allow(at(seconds), Offset(wanted), Offset(5), exported, grace);
        assert_eq!(allow(0, 50, Exported::NotATable), Offset(50));
        assert_eq!(allow(0, 50, Exported::Unknown), Offset(5));
        assert_eq!(allow(9, 50, Exported::Below(Offset(20))), Offset(20));
        assert_eq!(allow(10, 50, Exported::Below(Offset(20))), Offset(50), "the grace period is over");
        assert_eq!(allow(11, 20, Exported::Below(Offset(20))), Offset(20), "the export caught up");
        assert_eq!(allow(12, 50, Exported::Below(Offset(20))), Offset(20), "a new grace period");
    }
}
