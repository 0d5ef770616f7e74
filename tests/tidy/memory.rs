//! The most memory that ARCHITECTURE states: its rows add up to the total, and the limits that they name are there.

use std::path::{Path, PathBuf};

use crate::root;

/// Sum of the last column, and the total as the sentence above the table has it.
const TOTAL: &str = " MiB: the sum of the last column";

/// Where a crate of this name lies, or a path from the root.
fn source(named: &str) -> PathBuf {
    let folders = ["service", "tiering", "."];
    let there = folders.iter().map(|folder| root().join(folder).join(named)).find(|path| path.is_file());
    there.unwrap_or_else(|| panic!("ARCHITECTURE names {named}, which is not there"))
}

/// `NAME` in a file as a constant or a type.
fn has(file: &Path, name: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap();
    ["const ", "struct "].iter().any(|word| {
        let definition = format!("{word}{name}");
        text.match_indices(&definition).any(|(at, _)| {
            !text[at + definition.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
        })
    })
}

#[test]
fn the_stated_memory_is_the_sum_of_limits_that_are_there() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    let (before, after) = text.split_once(TOTAL).expect("the total");
    let total = number(before.rsplit(' ').next().unwrap());
    let table = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> =
        table.skip(2).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let mut sum = 0;
    for row in &rows {
        let [_, _, limits, mib] = row[..] else { panic!("{row:?}") };
        sum += number(mib);
        let mut file = None;
        for word in limits.split('`').skip(1).step_by(2) {
            match word.ends_with(".rs") {
                true => file = Some(source(word)),
                false => assert!(has(file.as_ref().unwrap(), word), "no {word} in {file:?}"),
            }
        }
    }
    assert_eq!(sum, total, "the rows add up to another total");
}
