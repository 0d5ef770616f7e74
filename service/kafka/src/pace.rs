//! How slow a peer may be. Decides how long the next bytes may take; never waits for them.

use std::time::Duration;

/// A longest silence, and after it a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Longest silence; also the time in which no rate is asked for.
    pub(crate) stall: Duration,
    /// Bytes per second since the beginning.
    pub(crate) rate: usize,
}

impl Pace {
    /// How long the next bytes may take, when `bytes` have taken that long.
    pub(crate) fn left(self, took: Duration, bytes: usize) -> Duration {
        let earned = Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64);
        self.stall.min((self.stall + earned).saturating_sub(took))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_dripping_end_and_who_keeps_up_goes_on() {
        let pace = Pace { stall: Duration::from_secs(10), rate: 100 };
        let seconds = Duration::from_secs;
        assert_eq!(pace.left(seconds(0), 0), seconds(10));
        assert_eq!(pace.left(seconds(4), 0), seconds(6), "nothing has come");
        assert_eq!(pace.left(seconds(11), 11), Duration::ZERO, "a byte a second");
        assert_eq!(pace.left(seconds(500), 50_000), seconds(10), "as fast as it should be");
        assert_eq!(pace.left(seconds(1), 1_000_000), seconds(10), "what is earned buys no longer silence");
    }
}
