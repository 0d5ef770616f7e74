//! Finding records by time: the first at or after a timestamp, and the youngest. The time index only says where to begin.

use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{Offset, Timestamp};
use tidelog_record::{Records, TimestampType};

use crate::index::TimeIndexFile;
use crate::names::Kind;
use crate::read::Reader;
use crate::scan::{Located, Scan};
use crate::view::LogView;
use crate::{ReadError, TimestampedOffset};

/// Where to look for a timestamp in one segment.
struct Candidate {
    reader: Reader,
    /// Every record before it is older.
    from: Offset,
}

impl LogView {
    /// The first local record below `up_to` whose timestamp is at least `at`; `None` if there is none.
    pub fn offset_for_timestamp(&self, at: Timestamp, up_to: Offset) -> Result<Option<TimestampedOffset>, ReadError> {
        let mut start = self.local_start();
        while let Some(candidate) = self.candidate(at, start, up_to)? {
            let Candidate { reader, from } = candidate;
            let first = reader.locate(from.max(start))?;
            let position = first.map_or(reader.size, |first| first.position);
            let mut scan = Scan::batches(&*reader.log, position, reader.size);
            while let Some(located) = reader.step(&mut scan)? {
                if located.header.next_offset() > up_to {
                    return Ok(None);
                }
                if located.header.max_timestamp >= at
                    && let Some(found) = first_record(&reader, &mut scan, &located, at, start)?
                {
                    return Ok(Some(found));
                }
            }
            start = reader.end;
        }
        Ok(None)
    }

    /// The first segment from `start` on whose largest timestamp is at least `at`.
    fn candidate(&self, at: Timestamp, start: Offset, up_to: Offset) -> Result<Option<Candidate>, ReadError> {
        let shared = &self.shared;
        let state = shared.state.read();
        let first = state.closed.partition_point(|segment| segment.end <= start);
        let mut closed = state.closed.iter().skip(first);
        let found = closed.find(|segment| segment.max.is_some_and(|(newest, _)| newest >= at));
        if let Some(segment) = found {
            if segment.base >= up_to {
                return Ok(None);
            }
            let reader = shared.reader(&state, segment)?;
            let times = shared.open(segment, Kind::TimeIndex).and_then(TimeIndexFile::open);
            // Without a usable time index the whole segment is looked through.
            let from = times.and_then(|mut times| times.offset_before(segment.base, at)).unwrap_or(segment.base);
            return Ok(Some(Candidate { reader, from }));
        }
        let active = &state.active;
        let young_enough = active.index.max().is_some_and(|(newest, _)| newest >= at);
        if !young_enough || active.base >= up_to || active.end <= start {
            return Ok(None);
        }
        let from = active.index.offset_before(at);
        Ok(Some(Candidate { reader: shared.active_reader(&state, from.max(start), up_to, 0), from }))
    }

    /// The youngest local record below `up_to` (the first, if several are equally young); `None` if there is none.
    pub fn max_timestamp(&self, up_to: Offset) -> Result<Option<TimestampedOffset>, ReadError> {
        let mut start = self.local_start();
        let mut best: Option<Timestamp> = None;
        loop {
            let segments = self.segments();
            let Some(segment) = segments.iter().find(|segment| segment.end > start && segment.base < up_to) else {
                break;
            };
            if segment.closed && segment.end <= up_to && segment.base >= start {
                best = best.max(segment.max_timestamp);
            } else if segment.max_timestamp > best {
                best = best.max(self.youngest_in(start.max(segment.base), up_to)?);
            }
            start = segment.end;
        }
        match best.filter(|best| best.0 >= 0) {
            Some(best) => self.offset_for_timestamp(best, up_to),
            None => Ok(None),
        }
    }

    /// The largest timestamp of the records from `from` to `up_to` in the segment that holds `from`.
    fn youngest_in(&self, from: Offset, up_to: Offset) -> Result<Option<Timestamp>, ReadError> {
        let readers = self.readers(from, up_to, 0)?;
        let Some(reader) = readers.first() else { return Ok(None) };
        let Some(first) = reader.locate(from)? else { return Ok(None) };
        let mut scan = Scan::headers(&*reader.log, first.position, reader.size);
        let mut best = None;
        while let Some(located) = reader.step(&mut scan)?.filter(|located| located.header.next_offset() <= up_to) {
            best = best.max(youngest_record(reader, &mut scan, &located, from)?);
        }
        Ok(best)
    }
}

/// The largest timestamp of a batch's records from `from` on: the header's, unless some of its records lie before.
fn youngest_record(
    reader: &Reader,
    scan: &mut Scan<'_>,
    located: &Located,
    from: Offset,
) -> Result<Option<Timestamp>, ReadError> {
    let header = &located.header;
    if header.record_count == 0 {
        return Ok(None);
    }
    if header.base_offset >= from {
        return Ok(Some(header.max_timestamp));
    }
    let Some(records) = records(reader, scan, located)? else { return Ok(Some(header.max_timestamp)) };
    let mut youngest = None;
    for record in records {
        match record {
            Ok(record) if record.offset >= from => youngest = youngest.max(Some(record.timestamp)),
            Ok(_) => {}
            Err(_) => return Ok(Some(header.max_timestamp)),
        }
    }
    Ok(youngest)
}

/// The first record of a batch at or after `from` that is at least as young as `at`.
fn first_record(
    reader: &Reader,
    scan: &mut Scan<'_>,
    located: &Located,
    at: Timestamp,
    from: Offset,
) -> Result<Option<TimestampedOffset>, ReadError> {
    let header = &located.header;
    let found = |offset, timestamp| Ok(Some(TimestampedOffset { offset, timestamp, epoch: header.leader_epoch }));
    // Nobody can look into such a batch: all that is known is that it holds such a record.
    let unknown = || found(header.base_offset.max(from), header.max_timestamp);
    if header.record_count == 0 {
        return Ok(None);
    }
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        return unknown();
    }
    let Some(records) = records(reader, scan, located)? else { return unknown() };
    for record in records {
        match record {
            Ok(record) if record.offset >= from && record.timestamp >= at => {
                return found(record.offset, record.timestamp);
            }
            Ok(_) => {}
            Err(_) => return unknown(),
        }
    }
    Ok(None)
}

/// The records of a batch that the scan has just passed; `None` if they cannot be inflated.
fn records(reader: &Reader, scan: &mut Scan<'_>, located: &Located) -> Result<Option<Records>, ReadError> {
    scan.seek(located.position);
    let batch = scan.next_batch().map_err(|error| reader.error(error))?.map(|(_, batch)| batch);
    Ok(batch.and_then(|batch| batch.records(MAX_INFLATED_BATCH_BYTES).ok()))
}
