//! Refusals that come again and again: of a request for thousands of partitions, or of a client that never gives up. Decides which are told
//! at once and which are only counted; reads no clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::line::stamped;

/// How long what was told is only counted if it comes again.
const WHILE: Duration = Duration::from_secs(1);

/// Bytes of what is remembered; what finds no room is told each time.
const MAX_BYTES: usize = 512 * 1024;

/// What one of them costs beside its text.
const OVERHEAD_BYTES: usize = 128;

/// What was told a moment ago.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    told: HashMap<String, Told>,
    bytes: usize,
}

#[derive(Debug)]
struct Told {
    until: Instant,
    /// How often it has come again.
    again: u64,
    /// When it came last, as lines have it.
    last: String,
}

impl Repeats {
    /// Was it told a moment ago? Then it is counted.
    pub(super) fn again(&mut self, event: &str, time: &str) -> bool {
        let Some(told) = self.told.get_mut(event) else { return false };
        told.again += 1;
        time.clone_into(&mut told.last);
        true
    }

    /// It is told now.
    pub(super) fn told(&mut self, event: &str, now: Instant) {
        let bytes = event.len() + OVERHEAD_BYTES;
        if self.bytes + bytes <= MAX_BYTES {
            self.bytes += bytes;
            self.told.insert(event.to_owned(), Told { until: now + WHILE, again: 0, last: String::new() });
        }
    }

    /// The lines of what has come again, where its moment is over, or of all of it.
    pub(super) fn due(&mut self, now: Instant, all: bool) -> String {
        let mut lines = String::new();
        self.told.retain(|event, told| {
            if !all && now < told.until {
                return true;
            }
            if told.again == 0 {
                self.bytes -= event.len() + OVERHEAD_BYTES;
                return false;
            }
            lines.push_str(&stamped(event, &told.last, told.again));
            (told.until, told.again) = (now + WHILE, 0);
            true
        });
        lines
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_a_line_a_second_for_as_long_as_it_does() {
        let (mut repeats, began) = (Repeats::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        assert!(!repeats.again("{\"a\":1}", "t0"));
        repeats.told("{\"a\":1}", at(0));
        repeats.told("{\"b\":1}", at(500));
        assert!(repeats.again("{\"a\":1}", "t1") && repeats.again("{\"a\":1}", "t2"));
        assert_eq!(repeats.due(at(999), false), "");
        assert_eq!(repeats.due(at(1_000), false), "{\"time\":\"t2\",\"count\":2,\"a\":1}\n");
        assert!(repeats.again("{\"a\":1}", "t3"));
        assert_eq!(repeats.due(at(1_999), false), "", "each has a moment of its own");
        assert!(!repeats.again("{\"b\":1}", "t4"), "it came no more, and is news again");
        assert_eq!(repeats.due(at(1_999), true), "{\"time\":\"t3\",\"a\":1}\n");
        assert_eq!(repeats.due(at(3_000), false), "");
        assert_eq!((repeats.told.len(), repeats.bytes()), (0, 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let event = |number: usize| format!("{{\"topic\":\"{number:0900}\"}}");
        for number in 0..10_000 {
            repeats.told(&event(number), now);
        }
        assert!(repeats.bytes() <= MAX_BYTES && repeats.told.len() < 1_000);
        assert!(repeats.again(&event(0), "t") && !repeats.again(&event(9_999), "t"));
    }
}
