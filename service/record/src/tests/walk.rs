//! The quick walk and the full one agree on every batch: good, unusual, mutated, made up.

use proptest::prelude::*;
use tidelog_model::{Offset, Timestamp};

use super::batches;
use super::round_trip::{any_records, build};
use crate::check::{full_walk, quick_walk};
use crate::{AppendRules, Batch, BatchBuilder, BatchHeader, Codec, Record, TimestampType};

/// Offsets without gaps: what a producer sends.
fn dense(mut all: Vec<Record>) -> Vec<Record> {
    for (offset, record) in (0..).zip(&mut all) {
        record.offset = Offset(offset);
    }
    all
}

fn any_rules() -> impl Strategy<Value = AppendRules> {
    let time = || prop::option::of(0i64..2_000_000_000_000);
    (any::<bool>(), any::<bool>(), time(), time()).prop_map(|(append_time, compacted, earliest, latest)| AppendRules {
        timestamp_type: if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        compacted,
        earliest: Timestamp(earliest.unwrap_or(i64::MIN)),
        latest: Timestamp(latest.unwrap_or(i64::MAX)),
        ..AppendRules::default()
    })
}

/// What the quick walk says must be what the full one says. True if it said anything.
fn agree(header: &BatchHeader, body: &[u8], rules: &AppendRules) -> bool {
    let quick = quick_walk(header, body, rules);
    if let Some(youngest) = quick {
        assert_eq!(full_walk(header, body, rules), Ok(youngest));
    }
    quick.is_some()
}

fn small() -> BatchBuilder {
    BatchBuilder::new(Offset::ZERO)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn good_batches_are_vouched_for(all in any_records(0, 12)) {
        let batch = build(small(), &dense(all));
        prop_assert!(agree(batch.header(), &batch.payload(), &AppendRules::default()));
    }

    #[test]
    fn rules_are_kept(all in any_records(0, 12), rules in any_rules()) {
        let batch = build(small(), &dense(all));
        agree(batch.header(), &batch.payload(), &rules);
    }

    #[test]
    fn gaps_are_not_vouched_for(all in any_records(0, 12)) {
        let batch = build(small(), &all);
        agree(batch.header(), &batch.payload(), &AppendRules::default());
    }

    #[test]
    fn mutated_records_are_no_better_than_they_are(
        all in any_records(0, 6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..5),
        count in -1i32..2, base in prop_oneof![Just(None), any::<i64>().prop_map(Some)], rules in any_rules(),
    ) {
        let batch = build(small(), &dense(all));
        let mut body = batch.payload().to_vec();
        for (at, byte, change) in changes {
            let at = at.index(body.len());
            match change {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ if body.len() > 1 => drop(body.remove(at)),
                _ => {}
            }
        }
        let mut header = *batch.header();
        header.record_count += count;
        header.last_offset_delta = header.record_count - 1;
        header.base_timestamp = base.map_or(header.base_timestamp, Timestamp);
        agree(&header, &body, &rules);
    }

    /// Few values, so that lengths and counts often fit.
    #[test]
    fn made_up_bytes_are_no_better_than_they_are(
        body in prop::collection::vec(prop_oneof![4 => 0u8..16, 1 => any::<u8>()], 0..60), count in 0i32..4,
    ) {
        let header = BatchHeader { record_count: count, last_offset_delta: count - 1, ..*super::plain(Codec::None, 1).header() };
        agree(&header, &body, &AppendRules::default());
    }
}

#[test]
fn real_batches_are_vouched_for_and_one_changed_byte_is_judged_alike() {
    let (mut vouched, mut changed) = (0, 0);
    let plain = |batch: &&Batch| batch.header().codec() == Codec::None && !batch.header().attributes.is_control();
    for batch in batches("fixture-0").iter().filter(plain) {
        let body = batch.payload();
        assert!(agree(batch.header(), &body, &AppendRules::default()), "{:?}", batch.header());
        vouched += 1;
        for at in 0..body.len().min(200) {
            for byte in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut body = body.to_vec();
                body[at] = byte;
                changed += usize::from(agree(batch.header(), &body, &AppendRules::default()));
            }
        }
    }
    assert!(vouched > 5 && changed > 1000, "{vouched} {changed}");
}
