//! Waiting for conditions instead of sleeping for a time.

use std::time::{Duration, Instant};

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// Looks until the condition holds; panics with `what` after the deadline.
pub fn wait_until(mut condition: impl FnMut() -> bool, deadline: Duration, what: &str) {
    wait_for(|| condition().then_some(()), deadline, what);
}

/// Looks until there is a value; panics with `what` after the deadline.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>, deadline: Duration, what: &str) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        std::thread::sleep(STEP);
    }
}
