//! What a command waits for, told to whoever types and must not wonder: after a moment of silence, and again when the reason changes.

use std::time::Duration;

use crate::output::note;

/// The server may be silent for this long before somebody is told.
const QUIET: Duration = Duration::from_secs(1);

/// Does the work; `obstacle` is asked every second what it waits for, if for anything.
pub(crate) async fn telling<T>(mut obstacle: impl FnMut() -> Option<String>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut told = Told::default();
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(QUIET) => told.tell(obstacle()),
        }
    }
}

/// What has been told last, so that nothing is told twice in a row.
#[derive(Debug, Default)]
pub(crate) struct Told(Option<String>);

impl Told {
    /// Tells a line that is new.
    pub(crate) fn tell(&mut self, line: Option<String>) {
        if let Some(line) = line
            && self.0.as_ref() != Some(&line)
        {
            note(&line);
            self.0 = Some(line);
        }
    }
}

/// `waiting for the server at HOST to store records: the disk is full`.
pub(crate) fn waiting(brokers: &str, what: &str, why: Option<&str>) -> String {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("waiting for the server at {brokers} {what}{why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stands_behind_what_is_waited_for() {
        assert_eq!(waiting("h:1", "to store records", None), "waiting for the server at h:1 to store records");
        assert!(waiting("h:1", "to store records", Some("it is full")).ends_with("to store records: it is full"));
    }
}
