//! Object keys of a table, below the folder of all tables. The name of a file follows from its range alone.

use tidelog_model::{Offset, PartitionIndex, TopicId, TopicName};

/// The table's folder below `<cluster id>/tables/`: `<topic>-<topic id>`. The id makes a topic of the same name, created
/// after a deletion, another table.
pub fn table_folder(topic: &TopicName, id: TopicId) -> String {
    format!("{topic}-{id}")
}

/// The folder of the commits, below the table's. Readers of Parquet folders skip names that begin with `_`.
pub const COMMITS: &str = "_commits";

/// The key of commit `number`, below the table's folder.
pub fn commit_key(number: u64) -> String {
    format!("{COMMITS}/{number:020}")
}

/// The number in a commit's key; `None` for anything else.
pub fn commit_number(key: &str) -> Option<u64> {
    let (_, name) = key.rsplit_once('/')?;
    if name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()) { name.parse().ok() } else { None }
}

/// The key of the file of `[start, end)`, below the table's folder:
/// `partition=<p>/<topic>+<p>+<first, 20 digits>+<last, 20 digits>.parquet`.
pub fn file_key(topic: &TopicName, partition: PartitionIndex, start: Offset, end: Offset) -> String {
    let last = end.get().saturating_sub(1);
    format!("partition={partition}/{topic}+{partition}+{:020}+{last:020}.parquet", start.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fixed() {
        let topic = TopicName::new("quakes").unwrap();
        assert_eq!(table_folder(&topic, TopicId::from_bytes([0xff; 16])), "quakes-_____________________w");
        assert_eq!(commit_key(7), "_commits/00000000000000000007");
        assert_eq!(commit_number("a/_commits/00000000000000000007"), Some(7));
        assert_eq!(commit_number("a/_commits/7"), None);
        assert_eq!(commit_number("_commits/0000000000000000000x"), None);
        assert_eq!(
            file_key(&topic, PartitionIndex(3), Offset(20), Offset(41)),
            "partition=3/quakes+3+00000000000000000020+00000000000000000040.parquet"
        );
    }
}
