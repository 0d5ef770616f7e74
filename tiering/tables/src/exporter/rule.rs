//! Decides when a partition's waiting records become a file. Pure: time is an argument.

use std::time::Duration;

use crate::settings::TableSettings;

/// What waits in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Waiting {
    /// Rows.
    pub(crate) rows: u64,
    /// Bytes of keys, values and headers.
    pub(crate) bytes: u64,
    /// When the first of them was seen, on the monotonic clock; `None` if nothing waits.
    pub(crate) since: Option<Duration>,
}

/// When to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Nothing waits.
    Never,
    /// Now; and no more is read before it is written.
    Now,
    /// At this time on the monotonic clock, unless more arrives.
    At(Duration),
}

impl Waiting {
    /// Is there enough for a file, whatever the time?
    pub(crate) fn is_full(&self, settings: &TableSettings) -> bool {
        self.rows >= settings.flush_records || self.bytes >= settings.flush_bytes
    }

    /// Applies the rule.
    pub(crate) fn due(&self, settings: &TableSettings, now: Duration) -> Due {
        let Some(since) = self.since else { return Due::Never };
        let at = since.saturating_add(settings.flush_interval);
        if self.is_full(settings) || now >= at { Due::Now } else { Due::At(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_three_bounds_makes_a_file() {
        let settings = TableSettings {
            flush_records: 10,
            flush_bytes: 1_000,
            flush_interval: Duration::from_secs(60),
            ..TableSettings::default()
        };
        let second = Duration::from_secs(1);
        let waiting = |rows, bytes| Waiting { rows, bytes, since: Some(second) };
        assert_eq!(Waiting::default().due(&settings, second * 999), Due::Never);
        assert_eq!(waiting(9, 999).due(&settings, second * 60), Due::At(second * 61));
        assert_eq!(waiting(9, 999).due(&settings, second * 61), Due::Now);
        assert_eq!(waiting(10, 0).due(&settings, second), Due::Now);
        assert_eq!(waiting(1, 1_000).due(&settings, second), Due::Now);
    }
}
