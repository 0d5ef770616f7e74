//! The names of a partition's files, as Kafka writes them; decides what a name means, touches no file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tidelog_model::Offset;

/// The leader epochs' file.
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// The topic id's file.
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// Says that what is in the page cache may be on no disk, though the kernel believes it is: a flush has failed, or a cut was not
/// flushed. The file need not be durable: a power cut takes the page cache too.
pub(crate) const UNSETTLED: &str = "unsettled";

/// Says that segments have left the disk because the store has them.
pub(crate) const TIERED: &str = "tiered";

/// What belongs to an offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Kind {
    /// `.log`: record batches.
    Log,
    /// `.index`: offset → position.
    Index,
    /// `.timeindex`: timestamp → offset.
    TimeIndex,
    /// `.txnindex`: aborted transactions.
    TxnIndex,
    /// `.snapshot`: producer states before this offset.
    Snapshot,
}

impl Kind {
    /// The files that make a segment.
    pub(crate) const SEGMENT: [Kind; 4] = [Kind::Index, Kind::TimeIndex, Kind::TxnIndex, Kind::Log];

    const fn extension(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Index => "index",
            Kind::TimeIndex => "timeindex",
            Kind::TxnIndex => "txnindex",
            Kind::Snapshot => "snapshot",
        }
    }
}

/// How far a file is on its way in or out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Stage {
    /// In use.
    Live,
    /// `.cleaned`: compaction is writing it; worth nothing after a crash.
    Cleaned,
    /// `.swap`: complete and flushed, about to replace what it was made of.
    Swap,
    /// `.deleted`: no longer part of the log.
    Deleted,
    /// `.cut`: kept by recovery for a person to look at; never read again.
    Cut,
    /// `.tmp`: half of a replacement; worth nothing.
    Temporary,
}

impl Stage {
    const fn suffix(self) -> &'static str {
        match self {
            Stage::Live => "",
            Stage::Cleaned => ".cleaned",
            Stage::Swap => ".swap",
            Stage::Deleted => ".deleted",
            Stage::Cut => ".cut",
            Stage::Temporary => ".tmp",
        }
    }
}

/// `<20-digit base>.<kind>[.<stage>]` in `directory`.
pub(crate) fn path(directory: &Path, base: Offset, kind: Kind, stage: Stage) -> PathBuf {
    directory.join(format!("{:020}.{}{}", base.0, kind.extension(), stage.suffix()))
}

/// The parts of such a name; `None` for every other name.
pub(crate) fn parse(name: &OsStr) -> Option<(Offset, Kind, Stage)> {
    let name = name.to_str()?;
    let (digits, rest) = name.split_at_checked(20)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let base = digits.parse::<i64>().ok()?;
    let rest = rest.strip_prefix('.')?;
    let (extension, stage) = match rest.split_once('.') {
        None => (rest, Stage::Live),
        Some((extension, suffix)) => {
            let stage = [Stage::Cleaned, Stage::Swap, Stage::Deleted, Stage::Cut, Stage::Temporary]
                .into_iter()
                .find(|stage| stage.suffix().strip_prefix('.') == Some(suffix))?;
            (extension, stage)
        }
    };
    let kind = [Kind::Log, Kind::Index, Kind::TimeIndex, Kind::TxnIndex, Kind::Snapshot]
        .into_iter()
        .find(|kind| kind.extension() == extension)?;
    Some((Offset(base), kind, stage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_and_read_back() {
        let folder = Path::new("t-0");
        assert_eq!(
            path(folder, Offset(312), Kind::TimeIndex, Stage::Live),
            Path::new("t-0/00000000000000000312.timeindex")
        );
        for kind in [Kind::Log, Kind::Index, Kind::TimeIndex, Kind::TxnIndex, Kind::Snapshot] {
            for stage in [Stage::Live, Stage::Cleaned, Stage::Swap, Stage::Deleted, Stage::Cut, Stage::Temporary] {
                let path = path(folder, Offset(i64::MAX), kind, stage);
                assert_eq!(parse(path.file_name().unwrap()), Some((Offset(i64::MAX), kind, stage)));
            }
        }
        for other in ["1.log", "0000000000000000000x.log", "00000000000000000000.logs", "partition.metadata", "ä"] {
            assert_eq!(parse(OsStr::new(other)), None, "{other}");
        }
        assert_eq!(parse(OsStr::new("99999999999999999999.log")), None, "more than an offset can hold");
    }
}
