//! Where a setting's value comes from, and what is wrong with it, in the words of whoever has to correct it.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

/// Where a value is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// The file, at this line.
    File(String, usize),
    /// This variable.
    Environment(&'static str),
    /// This flag, without its dashes.
    Flag(&'static str),
}

impl Origin {
    pub(super) fn file(path: &Path, line: usize) -> Self {
        Origin::File(path.display().to_string(), line)
    }

    /// For programs: which source, and where in it.
    pub(crate) fn json(&self) -> (&'static str, Value) {
        match self {
            Origin::Default => ("default", Value::Null),
            Origin::File(path, line) => ("file", json!(format!("{path}:{line}"))),
            Origin::Environment(name) => ("environment", json!(name)),
            Origin::Flag(flag) => ("flag", json!(format!("--{flag}"))),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => out.write_str("default"),
            Origin::File(path, line) => write!(out, "{path}:{line}"),
            Origin::Environment(name) => out.write_str(name),
            Origin::Flag(flag) => write!(out, "--{flag}"),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where it is to be corrected; `None` if at more than one place.
    pub(crate) origin: Option<Origin>,
    /// What is wrong.
    pub(crate) message: String,
    /// Is it that a path leads nowhere?
    missing: bool,
}

impl Problem {
    pub(super) fn at(origin: Origin, message: impl Into<String>) -> Self {
        Problem { origin: Some(origin), message: message.into(), missing: false }
    }

    /// One that concerns several settings.
    pub(super) fn of_all(message: impl Into<String>) -> Self {
        Problem { origin: None, message: message.into(), missing: false }
    }

    /// A path that leads nowhere.
    pub(super) fn missing(path: &Path) -> Self {
        let message = format!("{} does not exist", path.display());
        Problem { origin: None, message, missing: true }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(out, "{origin}: {}", self.message),
            None => out.write_str(&self.message),
        }
    }
}

/// Everything that is wrong with the configuration: it is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Is all of it wrong where the command was typed, in flags and variables?
    pub(crate) fn is_usage(&self) -> bool {
        let typed = |problem: &Problem| matches!(problem.origin, Some(Origin::Flag(_) | Origin::Environment(_)));
        self.0.iter().all(typed)
    }

    /// Is all of it that paths lead nowhere?
    pub(crate) fn is_missing(&self) -> bool {
        self.0.iter().all(|problem| problem.missing)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(out),
            many => {
                write!(out, "the configuration has {} errors", many.len())?;
                many.iter().try_for_each(|problem| write!(out, "\n  {problem}"))
            }
        }
    }
}
