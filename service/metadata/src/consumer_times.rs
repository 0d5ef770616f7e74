//! The times of groups of the consumer protocol (KIP-848) and the bounds that a broker sets them. Decides what lies within; knows not who asks
//! for it.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::ConfigError;

/// What one group lives by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConsumerTimes {
    /// `session.timeout.ms`: how long members may be silent.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`: how often they report.
    pub heartbeat_interval: Duration,
    /// `assignment.interval.ms`: how much time lies between two target assignments at least.
    pub assignment_interval: Duration,
}

/// What a group may be given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerBounds {
    /// `min.session.timeout.ms` and `max.session.timeout.ms`
    pub session_timeout: RangeInclusive<Duration>,
    /// `min.heartbeat.interval.ms` and `max.heartbeat.interval.ms`
    pub heartbeat_interval: RangeInclusive<Duration>,
    /// `min.assignment.interval.ms` and `max.assignment.interval.ms`
    pub assignment_interval: RangeInclusive<Duration>,
}

impl ConsumerTimes {
    /// Do they lie within the bounds, and fit each other? The names of the settings that are checked begin with `prefix`.
    pub(crate) fn check(&self, bounds: &ConsumerBounds, prefix: &str) -> Result<(), ConfigError> {
        let conflict = |text: String| Err(ConfigError::Conflict(text));
        for (name, value, bounds) in [
            ("heartbeat.interval.ms", self.heartbeat_interval, &bounds.heartbeat_interval),
            ("session.timeout.ms", self.session_timeout, &bounds.session_timeout),
            ("assignment.interval.ms", self.assignment_interval, &bounds.assignment_interval),
        ] {
            if value < *bounds.start() {
                let least = bounds.start().as_millis();
                return conflict(format!(
                    "{prefix}{name} must be greater than or equal to group.consumer.min.{name} ({least})"
                ));
            }
            if value > *bounds.end() {
                let most = bounds.end().as_millis();
                return conflict(format!(
                    "{prefix}{name} must be less than or equal to group.consumer.max.{name} ({most})"
                ));
            }
        }
        if self.session_timeout <= self.heartbeat_interval {
            return conflict(format!("{prefix}session.timeout.ms must be greater than {prefix}heartbeat.interval.ms"));
        }
        Ok(())
    }

    /// The nearest ones within the bounds; `None` if those contradict each other.
    pub(crate) fn within(&self, bounds: &ConsumerBounds) -> Option<Self> {
        let nearest = |value: Duration, bounds: &RangeInclusive<Duration>| value.clamp(*bounds.start(), *bounds.end());
        let times = ConsumerTimes {
            session_timeout: nearest(self.session_timeout, &bounds.session_timeout),
            heartbeat_interval: nearest(self.heartbeat_interval, &bounds.heartbeat_interval),
            assignment_interval: nearest(self.assignment_interval, &bounds.assignment_interval),
        };
        Some(times).filter(|times| times.session_timeout > times.heartbeat_interval)
    }
}
