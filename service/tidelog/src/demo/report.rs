//! What the demo prints: a line per stage for people, or all figures as one JSON object.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::Format;
use crate::output::bytes_for_people;

/// One stage's figures; what does not apply is left out.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Stage {
    pub(super) stage: &'static str,
    pub(super) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) records: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) distinct_ids: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) store_requests: Option<u64>,
    pub(super) milliseconds: u128,
}

/// Collects stages and prints them as they end.
pub(super) struct Report {
    format: Format,
    started: Instant,
    pub(super) stages: Vec<Stage>,
}

impl Report {
    pub(super) fn new(format: Format) -> Self {
        Report { format, started: Instant::now(), stages: Vec::new() }
    }

    /// A stage ended.
    pub(super) fn stage(&mut self, took: Duration, stage: Stage) -> io::Result<()> {
        let stage = Stage { milliseconds: took.as_millis(), ..stage };
        if self.format == Format::Table {
            let mut figures = Vec::new();
            if let Some(records) = stage.records {
                figures.push(format!("{records} records"));
            }
            if let Some(ids) = stage.distinct_ids {
                figures.push(format!("{ids} distinct ids"));
            }
            if let Some(files) = stage.files {
                figures.push(format!("{files} objects"));
            }
            if let Some(bytes) = stage.bytes {
                figures.push(bytes_for_people(bytes as f64));
            }
            if let Some(requests) = stage.store_requests {
                figures.push(format!("{requests} store requests"));
            }
            // What has no figures may be as long as both columns.
            let middle = match figures.is_empty() {
                true => format!("{:<98}", stage.what),
                false => format!("{:<49} {:<48}", stage.what, figures.join(", ")),
            };
            self.say(&format!("{:<9} {middle} {:>6} ms", stage.stage, stage.milliseconds))?;
        }
        self.stages.push(stage);
        Ok(())
    }

    /// A line for people.
    pub(super) fn say(&self, line: &str) -> io::Result<()> {
        if self.format == Format::Table {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()?;
        }
        Ok(())
    }

    /// Time since the demo began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
