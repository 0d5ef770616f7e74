//! The broker's clocks: machines and log threads are told the time from here.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tidelog_model::{Deadline, Now, Timestamp};

/// Reads the monotonic clock and the calendar.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        Now { monotonic: self.start.elapsed(), wall: Timestamp(wall) }
    }

    /// The deadline as the runtime's timers know it.
    pub(crate) fn instant(&self, deadline: Deadline) -> Instant {
        self.start + deadline.0
    }
}
