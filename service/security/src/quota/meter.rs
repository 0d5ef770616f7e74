//! What one caller has used lately. Decides how long until it is within a bound again.

use std::time::Duration;

use tidelog_model::{Now, QuotaKind};

/// Windows that are remembered, the running one included.
const WINDOWS: u64 = 11;

/// Seconds that count at least: a young count is averaged as if it were old, so that a burst is allowed.
pub(super) const FULL_WINDOWS: f64 = (WINDOWS - 1) as f64;

#[derive(Debug)]
pub(super) enum Meter {
    /// Amounts by second.
    Rate {
        /// The amount of second `n` is at `n % WINDOWS`.
        amounts: [f64; WINDOWS as usize],
        /// The newest second.
        second: u64,
    },
    /// What is left.
    Bucket {
        /// Below zero is debt.
        tokens: f64,
        /// What fits.
        burst: f64,
        /// Until when it was refilled.
        at: Duration,
    },
}

impl Meter {
    pub(super) fn new(kind: QuotaKind, now: Now, bound: f64) -> Self {
        if kind == QuotaKind::ControllerMutationRate {
            let burst = bound * WINDOWS as f64;
            Meter::Bucket { tokens: burst, burst, at: now.monotonic }
        } else {
            Meter::Rate { amounts: [0.0; WINDOWS as usize], second: now.monotonic.as_secs() }
        }
    }

    /// Counts; says how long to pause then.
    pub(super) fn charge(&mut self, now: Now, bound: f64, amount: f64) -> Duration {
        self.advance(now, bound);
        match self {
            Meter::Rate { amounts, second } => {
                if let Some(current) = amounts.get_mut((*second % WINDOWS) as usize) {
                    *current += amount;
                }
            }
            Meter::Bucket { tokens, .. } => *tokens -= amount,
        }
        self.debt(now, bound)
    }

    pub(super) fn take_back(&mut self, now: Now, bound: f64, amount: f64) {
        self.charge(now, bound, -amount);
    }

    pub(super) fn pause(&mut self, now: Now, bound: f64) -> Duration {
        self.advance(now, bound);
        let debt = self.debt(now, bound);
        match self {
            // Whoever uses nothing more is forgotten by then, however much it was.
            Meter::Rate { .. } => debt.min(Duration::from_secs(WINDOWS)),
            Meter::Bucket { .. } => debt,
        }
    }

    /// Would a new meter say the same?
    pub(super) fn is_idle(&self, now: Now) -> bool {
        match self {
            Meter::Rate { second, .. } => now.monotonic.as_secs() >= second + WINDOWS,
            // Whatever is missing has been refilled by then, unless there was debt.
            Meter::Bucket { tokens, at, .. } => *tokens >= 0.0 && now.monotonic >= *at + Duration::from_secs(WINDOWS),
        }
    }

    /// Forgets old seconds; refills.
    fn advance(&mut self, now: Now, bound: f64) {
        match self {
            Meter::Rate { amounts, second } => {
                let current = now.monotonic.as_secs();
                if current >= *second + WINDOWS {
                    amounts.fill(0.0);
                } else {
                    for passed in *second + 1..=current {
                        if let Some(amount) = amounts.get_mut((passed % WINDOWS) as usize) {
                            *amount = 0.0;
                        }
                    }
                }
                *second = current.max(*second);
            }
            Meter::Bucket { tokens, burst, at } => {
                *burst = bound * WINDOWS as f64;
                let passed = now.monotonic.saturating_sub(*at).as_secs_f64();
                *tokens = (*tokens + passed * bound).min(*burst);
                *at = now.monotonic.max(*at);
            }
        }
    }

    fn debt(&self, now: Now, bound: f64) -> Duration {
        let seconds = match self {
            Meter::Rate { amounts, .. } => {
                let elapsed = FULL_WINDOWS + f64::from(now.monotonic.subsec_nanos()) / 1e9;
                amounts.iter().sum::<f64>() / bound - elapsed
            }
            Meter::Bucket { tokens, .. } => -tokens / bound,
        };
        // Absurd bounds give absurd times; a day is as good as for ever.
        if seconds > 0.0 { Duration::from_secs_f64(seconds.min(86_400.0)) } else { Duration::ZERO }
    }
}
