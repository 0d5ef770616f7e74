//! What checking a producer's uncompressed batch costs, against a walk that builds every record's view, in one run.
//!
//! `cargo run --release -p tidelog-sim --example walk`

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidelog_model::{Offset, Timestamp};
use tidelog_record::{AppendRules, Batch, BatchBuilder, BatchError, Header, RecordViews, check_append, check_crc};

/// Bytes of records per batch.
const BATCH_BYTES: usize = 64 * 1024;

/// Measurements of each kind, taking turns; the best counts.
const ROUNDS: usize = 40;

/// Batches per measurement.
const REPEAT: usize = 100;

fn main() -> Result<(), BatchError> {
    println!("{:>14} {:>9} {:>12} {:>12} {:>12} {:>7}", "record", "records", "checksum", "views", "check", "ratio");
    for (value, headers) in [(100, 0), (100, 2), (1024, 0)] {
        let batch = batch(value, headers)?;
        let (bytes, count) = (batch.bytes(), batch.header().record_count);
        let rules = AppendRules::default();
        let mut best = [Duration::MAX; 3];
        for _ in 0..ROUNDS {
            let times = [
                time(|| check_crc(black_box(&batch)).is_ok()),
                time(|| views(black_box(&batch)).is_ok()),
                time(|| check_append(black_box(bytes), &rules).is_ok()),
            ];
            for (best, time) in best.iter_mut().zip(times) {
                *best = (*best).min(time);
            }
        }
        let [checksum, views, check] = best.map(|time| time.as_nanos() as f64 / (REPEAT as f64 * count as f64));
        println!(
            "{value:>6} B + {headers} h {count:>9} {checksum:>9.2} ns {views:>9.2} ns {:>9.2} ns {:>7.2}",
            check - checksum,
            views / (check - checksum)
        );
    }
    println!(
        "per record; \"check\" is check_append without its checksum, \"ratio\" how much faster it is than the views"
    );
    Ok(())
}

fn time(mut work: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    for _ in 0..REPEAT {
        assert!(work(), "the batch is good");
    }
    started.elapsed()
}

/// The walk as every other reader does it.
fn views(batch: &Batch) -> Result<Timestamp, BatchError> {
    let body = batch.body(usize::MAX)?;
    RecordViews::new(batch.header(), &body)
        .try_fold(Timestamp::NONE, |max, record| record.map(|record| max.max(record.timestamp)))
}

/// An uncompressed batch of records of `value` bytes.
fn batch(value: usize, headers: usize) -> Result<Batch, BatchError> {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    let header = Header { key: Bytes::from_static(b"trace"), value: Some(Bytes::from_static(b"0123456789abcdef")) };
    let headers = vec![header; headers];
    let value = vec![7; value];
    while builder.size() < BATCH_BYTES {
        let time = Timestamp(1_700_000_000_000 + i64::from(builder.count()) / 8);
        builder.push(time, None, Some(&value), &headers)?;
    }
    builder.build()
}
