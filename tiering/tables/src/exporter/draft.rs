//! Decides what the draft of a table's next schema begins with. It never looks at a record.

use std::collections::BTreeSet;

use crate::commit::TableState;
use crate::infer::Schema;
use crate::settings::{KeyFormat, TableSettings};

/// The settings that say what columns are. When they change, what waits for its file is looked at again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Kinds {
    key: KeyFormat,
    integers: BTreeSet<String>,
}

impl Kinds {
    pub(super) fn of(settings: &TableSettings) -> Self {
        Kinds { key: settings.key_format, integers: settings.integers.clone() }
    }
}

/// Where a draft begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Begun {
    /// The committed schema, and what the settings change about it.
    pub(super) draft: Schema,
    /// The next commit has to say so.
    pub(super) changed: bool,
    /// What the settings ask for and the table cannot do any more.
    pub(super) refused: Option<&'static str>,
}

/// The draft after what is committed, before any record that waits.
pub(super) fn begin(state: &TableState, settings: &TableSettings) -> Begun {
    let mut draft = state.schema.clone();
    let differs = draft.key != settings.key_format;
    if differs && has_file(state) {
        let refused = "tidelog.table.key.format was fixed by the table's first file and stays as it was";
        return Begun { draft, changed: false, refused: Some(refused) };
    }
    draft.key = settings.key_format;
    Begun { draft, changed: differs, refused: None }
}

/// Does a commit name a file, whether it is in the store yet or not?
pub(super) fn has_file(state: &TableState) -> bool {
    state.partitions.values().any(|partition| partition.ranges.iter().any(|range| range.rows > 0))
}

#[cfg(test)]
mod tests {
    use tidelog_model::Offset;

    use super::*;
    use crate::commit::{ExportedRange, PartitionState};

    fn state(rows: &[u64]) -> TableState {
        let mut state = TableState::new(Schema::new(KeyFormat::Binary));
        let range = |(at, rows): (usize, &u64)| ExportedRange {
            start: Offset(at as i64),
            end: Offset(at as i64 + 1),
            rows: *rows,
            bytes: None,
        };
        let ranges = rows.iter().enumerate().map(range).collect();
        state.partitions.insert(0, PartitionState { end: rows.len() as i64, ranges, skipped: Vec::new() });
        state
    }

    #[test]
    fn the_key_may_change_until_a_file_has_it() {
        let text = TableSettings { key_format: KeyFormat::String, ..TableSettings::default() };
        for none in [&[][..], &[0, 0]] {
            let begun = begin(&state(none), &text);
            assert_eq!((begun.draft.key, begun.changed, begun.refused), (KeyFormat::String, true, None), "{none:?}");
        }
        let begun = begin(&state(&[0, 3]), &text);
        assert_eq!((begun.draft.key, begun.changed), (KeyFormat::Binary, false));
        assert!(begun.refused.is_some_and(|why| why.contains("tidelog.table.key.format")));
        let begun = begin(&state(&[3]), &TableSettings::default());
        assert_eq!((begun.draft, begun.changed, begun.refused), (state(&[]).schema, false, None));
    }
}
