//! One timer wheel for all partitions: who must be looked at when. One task sleeps, whatever the number of partitions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_model::Deadline;
use tokio::sync::Notify;

use super::clock::Clock;

/// Names a partition to the wheel.
pub(crate) type TimerKey = u64;

#[derive(Default)]
struct Wheel {
    by_deadline: BTreeSet<(Deadline, TimerKey)>,
    by_key: HashMap<TimerKey, Deadline>,
}

/// The wheel.
pub(crate) struct Timers {
    clock: Clock,
    wheel: Mutex<Wheel>,
    changed: Notify,
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Timers { clock, wheel: Mutex::default(), changed: Notify::new() })
    }

    /// Sets, moves or (with `None`) removes the one deadline of `key`.
    pub(crate) fn set(&self, key: TimerKey, deadline: Option<Deadline>) {
        let mut wheel = self.wheel.lock();
        if wheel.by_key.get(&key).copied() == deadline {
            return;
        }
        let first = wheel.by_deadline.first().map(|(deadline, _)| *deadline);
        if let Some(old) = wheel.by_key.remove(&key) {
            wheel.by_deadline.remove(&(old, key));
        }
        if let Some(deadline) = deadline {
            wheel.by_key.insert(key, deadline);
            wheel.by_deadline.insert((deadline, key));
            if first.is_none_or(|first| deadline < first) {
                self.changed.notify_one();
            }
        }
    }

    /// Takes every key whose deadline has passed.
    fn due(&self) -> Vec<TimerKey> {
        let now = self.clock.now();
        let mut wheel = self.wheel.lock();
        let mut due = Vec::new();
        while let Some((deadline, key)) = wheel.by_deadline.first().copied() {
            if !deadline.passed(now) {
                break;
            }
            wheel.by_deadline.remove(&(deadline, key));
            wheel.by_key.remove(&key);
            due.push(key);
        }
        due
    }

    /// Sleeps from deadline to deadline and reports what is due; ends never.
    pub(crate) async fn run(self: Arc<Self>, mut fire: impl FnMut(TimerKey) + Send) {
        loop {
            for key in self.due() {
                fire(key);
            }
            let next = self.wheel.lock().by_deadline.first().map(|(deadline, _)| *deadline);
            match next {
                Some(deadline) => {
                    let at = tokio::time::Instant::from_std(self.clock.instant(deadline));
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }
}
