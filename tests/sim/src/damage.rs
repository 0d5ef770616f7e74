//! Damage behind the broker's back, below a recovery checkpoint, and its repair from a copy.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tidelog_log::Disk;
use tidelog_log::sim::{SimDisk, SimRandom};
use tidelog_model::Offset;
use tidelog_record::Batches;

/// One damaged file and what it held.
#[derive(Debug)]
pub(crate) struct Damaged {
    path: PathBuf,
    before: Bytes,
    pub(crate) what: &'static str,
}

/// One segment file.
struct Segment {
    base: Offset,
    path: PathBuf,
    /// Where each batch begins, and its next offset.
    batches: Vec<(usize, Offset)>,
    bytes: Bytes,
}

fn segments(disk: &SimDisk, directory: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in disk.list(directory)? {
        let Some(digits) = entry.name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
        let Ok(base) = digits.parse() else { continue };
        let path = directory.join(&entry.name);
        let mut bytes = vec![0; entry.len as usize];
        disk.open(&path, false)?.read_at(0, &mut bytes)?;
        let bytes = Bytes::from(bytes);
        let (mut batches, mut at) = (Vec::new(), 0);
        for batch in Batches::new(bytes.clone()).map_while(Result::ok) {
            batches.push((at, batch.header().next_offset()));
            at += batch.size();
        }
        found.push(Segment { base: Offset(base), path, batches, bytes });
    }
    Ok(found)
}

/// Damages a segment of the log in `directory` where it lies below `recovery_point`, in a way that a start must see. `None` if there is
/// nothing below it.
pub(crate) fn damage(
    disk: &SimDisk,
    directory: &Path,
    recovery_point: Offset,
    random: &mut SimRandom,
) -> io::Result<Option<Damaged>> {
    let all = segments(disk, directory)?;
    let below: Vec<&Segment> =
        all.iter().filter(|segment| segment.batches.first().is_some_and(|(_, next)| *next <= recovery_point)).collect();
    let number = random.below(below.len() as u64) as usize;
    let Some(segment) = below.get(number) else { return Ok(None) };
    let flushed: Vec<usize> =
        segment.batches.iter().filter(|(_, next)| *next <= recovery_point).map(|(at, _)| *at).collect();
    let closed_below = below.get(number + 1).is_some_and(|next| next.base <= recovery_point);
    let last = flushed.last().copied().unwrap_or(0);
    let what = match random.below(3) {
        // A log whose first segment is gone begins later, as after retention.
        0 if number > 0 => {
            disk.unlink(&segment.path)?;
            "a missing segment"
        }
        1 if closed_below => {
            disk.corrupt(&segment.path, last as u64, &[0; 61])?;
            "a batch header of zeros"
        }
        _ => {
            let batch = flushed.get(random.below(flushed.len() as u64) as usize).copied().unwrap_or(0);
            let file = disk.open(&segment.path, true)?;
            file.truncate(batch as u64 + random.below(61))?;
            file.flush()?;
            "a short segment"
        }
    };
    disk.flush_dir(directory)?;
    Ok(Some(Damaged { path: segment.path.clone(), before: segment.bytes.clone(), what }))
}

impl Damaged {
    /// Puts the file back as it was.
    pub(crate) fn repair(&self, disk: &SimDisk) -> io::Result<()> {
        let file = disk.create(&self.path)?;
        file.write_at(0, &[IoSlice::new(&self.before)])?;
        file.flush()?;
        disk.flush_dir(self.path.parent().unwrap_or(Path::new("")))
    }
}
