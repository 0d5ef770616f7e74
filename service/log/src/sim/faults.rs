//! What the simulated disk does wrong, and when.

use std::time::Duration;

/// One call to the disk, as faults and traces name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Create or open.
    Open,
    /// Write.
    Write,
    /// Read.
    Read,
    /// Truncate.
    Truncate,
    /// Flush of a file.
    Flush,
    /// Flush of a directory.
    FlushDir,
    /// Rename, unlink, make or remove a directory.
    Name,
}

/// Faults to come; the default is none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Faults {
    /// The operation that comes after so many others fails once (a write may have written a part).
    pub fail_after: Option<u64>,
    /// Every operation of this kind fails until this is taken back.
    pub fail_all: Option<Operation>,
    /// Writes fail with "no space" once all files together hold so many bytes (a part is written).
    pub capacity: Option<u64>,
    /// Every operation takes a random time up to this; it is counted, nobody waits.
    pub slowest: Duration,
}
