//! What is said of appends that the disk refuses: a line when that begins and one when it ends, however many clients try however often.
//! Decides only when to speak.

use std::time::Duration;

use crate::limits::REFUSALS_QUIET;

/// The refusals of one partition.
#[derive(Default, Debug)]
pub(crate) struct Refusals {
    /// The last append was refused.
    refusing: bool,
    /// A line has said so.
    told: bool,
    /// Batches that were refused since the last line.
    untold: usize,
    /// Nothing is said before, on the monotonic clock.
    quiet_until: Duration,
}

impl Refusals {
    /// So many batches were refused. How many there were since the last line, if it is time for another.
    pub(crate) fn refused(&mut self, batches: usize, now: Duration) -> Option<usize> {
        self.untold += batches;
        let begins = !std::mem::replace(&mut self.refusing, true);
        if !begins || now < self.quiet_until {
            return None;
        }
        self.told = true;
        self.quiet_until = now.saturating_add(REFUSALS_QUIET);
        Some(std::mem::take(&mut self.untold))
    }

    /// An append was written. How many were refused since the last line, if there was a line.
    pub(crate) fn written(&mut self) -> Option<usize> {
        self.refusing = false;
        std::mem::take(&mut self.told).then(|| std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_tries_for_ever_makes_two_lines() {
        let (mut refusals, at) = (Refusals::default(), Duration::from_secs);
        assert_eq!(refusals.written(), None, "nothing was wrong");
        assert_eq!(refusals.refused(3, at(1)), Some(3));
        for second in 1..1_000 {
            assert_eq!(refusals.refused(1, at(second)), None);
        }
        assert_eq!(refusals.written(), Some(999));
        assert_eq!(refusals.written(), None);
    }

    #[test]
    fn a_disk_at_its_limit_does_not_make_two_lines_per_append() {
        let (mut refusals, at) = (Refusals::default(), Duration::from_secs);
        assert_eq!(refusals.refused(1, at(1)), Some(1));
        assert_eq!(refusals.written(), Some(0));
        for _ in 0..100 {
            assert_eq!(refusals.refused(1, at(2)), None);
            assert_eq!(refusals.written(), None);
        }
        assert_eq!(refusals.refused(1, at(60)), Some(101), "those between are counted");
    }
}
