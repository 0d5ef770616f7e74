//! Time as an argument: machines are told what time it is, they never look.

use std::fmt;
use std::time::Duration;

/// The two clocks, read once by the shell for one event.
///
/// Deadlines come only from `monotonic`, stored timestamps only from `wall`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Time since an arbitrary start of this process; never goes back.
    pub monotonic: Duration,
    /// The calendar; may jump.
    pub wall: Timestamp,
}

impl Now {
    /// The deadline that lies `wait` ahead.
    pub fn after(self, wait: Duration) -> Deadline {
        Deadline(self.monotonic.saturating_add(wait))
    }
}

/// A moment on the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Deadline(pub Duration);

impl Deadline {
    /// Has it come?
    pub fn passed(self, now: Now) -> bool {
        now.monotonic >= self.0
    }
}

/// Milliseconds since 1970-01-01T00:00Z, as Kafka stores them; −1 is "no timestamp".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// "No timestamp" in Kafka's formats.
    pub const NONE: Timestamp = Timestamp(-1);

    /// The plain number of milliseconds.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
