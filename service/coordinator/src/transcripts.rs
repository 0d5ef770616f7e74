//! Scenarios as text: what every transcript test shares. A file holds blocks, with a blank line between them: a command, `----`, and what
//! came of it.
//!
//! `TIDELOG_UPDATE_TRANSCRIPTS=1 cargo test -p tidelog-coordinator` rewrites the answers; the diff is then read by a person.

use std::path::{Path, PathBuf};

/// Runs every transcript of `tests/<folder>`, of which there are at least `least`, and compares it with what `run` makes of it.
pub(crate) fn check_all(folder: &str, least: usize, run: fn(&str) -> String) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= least, "the transcripts are not there: {files:?}");
    let wrong: Vec<String> = files.iter().filter_map(|file| check(file, run)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(file: &Path, run: fn(&str) -> String) -> Option<String> {
    let before = std::fs::read_to_string(file).unwrap();
    let after = run(&before);
    if before == after {
        return None;
    }
    if std::env::var_os("TIDELOG_UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(file, after).unwrap();
        return None;
    }
    let differs = before.lines().zip(after.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| before.lines().count().min(after.lines().count()));
    let (is, was) = (after.lines().nth(line).unwrap_or(""), before.lines().nth(line).unwrap_or(""));
    Some(format!("{}:{}\n  expected: {was}\n  got:      {is}", file.display(), line + 1))
}
