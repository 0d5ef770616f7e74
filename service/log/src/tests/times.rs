//! Records by time, against a plain search over all of them: timestamps in any order, or none, any codec, any segment.

use proptest::prelude::*;
use tidelog_model::{LeaderEpoch, Offset, Timestamp};
use tidelog_record::{Batch, BatchBuilder, Codec};

use super::support::*;
use crate::LogView;
use crate::sim::SimDisk;

#[derive(Clone, Debug)]
struct Shape {
    /// One record each; −1 is none.
    times: Vec<i64>,
    codec: usize,
    append_time: bool,
    size: usize,
    roll: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let time = prop_oneof![1 => Just(-1i64), 6 => 0i64..60, 1 => Just(i64::MAX - 1)];
    (proptest::collection::vec(time, 1..5), 0usize..5, proptest::bool::weighted(0.1), 0usize..600, any::<bool>())
        .prop_map(|(times, codec, append_time, size, roll)| Shape { times, codec, append_time, size, roll })
}

fn batch(shape: &Shape, base: Offset) -> Batch {
    let mut builder = BatchBuilder::new(base).leader_epoch(LeaderEpoch(0)).codec(Codec::ALL[shape.codec]);
    if shape.append_time {
        builder = builder.append_time(Timestamp(*shape.times.iter().max().unwrap()));
    }
    for time in &shape.times {
        builder.push(Timestamp(*time), None, Some(&vec![0; shape.size]), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// The first of `records` (offset, time) from `start` to `up_to` for which `holds`. A batch counts only if all of it lies below.
fn first(view: &LogView, start: i64, up_to: i64, holds: impl Fn(i64) -> bool) -> Option<(i64, i64)> {
    let batches = read_all(view).into_iter().filter(|batch| batch.header().next_offset().0 <= up_to);
    let records = batches.flat_map(|batch| batch.records(1 << 20).unwrap().map(Result::unwrap).collect::<Vec<_>>());
    let found = records.map(|record| (record.offset.0, record.timestamp.0)).filter(|(offset, _)| *offset >= start);
    found.filter(|(_, time)| holds(*time)).min()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn times_find_what_a_plain_search_finds(
        shapes in proptest::collection::vec(shape(), 1..40),
        reopened in any::<bool>(),
        start in 0i64..40,
        times in proptest::collection::vec(prop_oneof![0i64..62, Just(i64::MAX)], 1..8),
        ends in proptest::collection::vec(0i64..120, 3),
    ) {
        let disk = SimDisk::new(1);
        let mut log = create(&disk);
        for shape in &shapes {
            let end = log.view().log_end();
            append(&mut log, &batch(shape, end)).unwrap();
            if shape.roll {
                log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
            }
        }
        let end = log.view().log_end();
        if reopened {
            log.view().flush().unwrap();
            log = open(&disk, end.0).unwrap().0;
        }
        let view = log.view();
        let start = view.advance_log_start(Offset(start)).0;
        for up_to in ends.into_iter().map(|up_to| up_to.min(end.0)).chain([end.0]) {
            for at in &times {
                let found = view.offset_for_timestamp(Timestamp(*at), Offset(up_to)).unwrap();
                let wanted = first(&view, start, up_to, |time| time >= *at);
                prop_assert_eq!(found.map(|found| (found.offset.0, found.timestamp.0)), wanted, "at {} up to {}", at, up_to);
            }
            let youngest = view.max_timestamp(Offset(up_to)).unwrap();
            let wanted = (0..=60).chain([i64::MAX - 1]).rev().find_map(|at| first(&view, start, up_to, |time| time == at));
            prop_assert_eq!(youngest.map(|found| (found.offset.0, found.timestamp.0)), wanted, "youngest up to {}", up_to);
        }
    }
}
