use super::*;

/// Segments of ten offsets and 100 bytes each, one second apart; the last one is active.
fn segments(count: i64) -> Vec<SegmentInfo> {
    (0..count)
        .map(|number| SegmentInfo {
            base: Offset(number * 10),
            end: Offset(number * 10 + 10),
            size: 100,
            first_timestamp: None,
            max_timestamp: Some(Timestamp(number * 1000)),
            modified: None,
            closed: number + 1 < count,
        })
        .collect()
}

fn state(segments: &[SegmentInfo]) -> RetentionState<'_> {
    let high_watermark = segments.last().unwrap().end;
    RetentionState { segments, log_start: Offset(0), high_watermark, remote: None, tiered: false }
}

fn plan(delete_before: i64, log_start: i64, roll_active: bool) -> RetentionPlan {
    RetentionPlan { delete_before: Offset(delete_before), log_start: Offset(log_start), roll_active }
}

#[test]
fn time_takes_the_oldest_and_at_last_the_active_one() {
    let segments = segments(4);
    let policy = RetentionPolicy { time_ms: Some(1500), ..Default::default() };
    assert_eq!(decide(&policy, &state(&segments), Timestamp(1500)), plan(0, 0, false));
    assert_eq!(decide(&policy, &state(&segments), Timestamp(2600)), plan(20, 20, false));
    assert_eq!(decide(&policy, &state(&segments), Timestamp(9000)), plan(30, 30, true));
    assert_eq!(decide(&RetentionPolicy::default(), &state(&segments), Timestamp(i64::MAX)), plan(0, 0, false));
}

/// What compaction has emptied, and records without a time, do not hold back what follows.
#[test]
fn segments_without_a_time_are_as_old_as_the_next_that_has_one() {
    let mut segments = segments(4);
    segments[0].max_timestamp = None;
    segments[1].max_timestamp = None;
    let policy = RetentionPolicy { time_ms: Some(1500), ..Default::default() };
    assert_eq!(decide(&policy, &state(&segments), Timestamp(3400)), plan(0, 0, false), "the third is of 2000");
    assert_eq!(decide(&policy, &state(&segments), Timestamp(3600)), plan(30, 30, false));
    segments.iter_mut().for_each(|segment| segment.max_timestamp = None);
    assert_eq!(decide(&policy, &state(&segments), Timestamp(i64::MAX)), plan(0, 0, false), "nobody knows their age");
    // Those in the store go by what follows on the disk.
    let (remote, local) = segments.split_at_mut(2);
    local[0].max_timestamp = Some(Timestamp(2000));
    local[1].max_timestamp = Some(Timestamp(3000));
    let copy = RemoteCopy { end: Offset(20), segments: remote };
    let tiered = RetentionState { remote: Some(copy), tiered: true, ..state(local) };
    assert_eq!(decide(&policy, &tiered, Timestamp(3400)).log_start, Offset(0));
    assert_eq!(decide(&policy, &tiered, Timestamp(3600)).log_start, Offset(30));
}

/// Records without a time are as old as the file, which says when the last of them was written.
#[test]
fn segments_without_a_time_go_by_when_they_were_written() {
    let mut segments = segments(3);
    for (segment, modified) in segments.iter_mut().zip([500, 700, 9_000]) {
        (segment.max_timestamp, segment.modified) = (None, Some(Timestamp(modified)));
    }
    let policy = RetentionPolicy { time_ms: Some(1500), ..Default::default() };
    let at = |segments: &[SegmentInfo], now| decide(&policy, &state(segments), Timestamp(now));
    assert_eq!(at(&segments, 2_000), plan(0, 0, false));
    assert_eq!(at(&segments, 2_001), plan(10, 10, false));
    assert_eq!(at(&segments, 10_500), plan(20, 20, false));
    assert_eq!(at(&segments, 10_501), plan(20, 20, true), "the last one too");
    segments[0].max_timestamp = Some(Timestamp(20_000));
    assert_eq!(at(&segments, 10_501), plan(0, 0, false), "a time of its own comes first");
}

#[test]
fn size_keeps_at_least_what_was_promised() {
    let segments = segments(4);
    let decided =
        |bytes| decide(&RetentionPolicy { bytes: Some(bytes), ..Default::default() }, &state(&segments), Timestamp(0));
    assert_eq!(decided(400), plan(0, 0, false));
    assert_eq!(decided(301), plan(0, 0, false));
    assert_eq!(decided(300), plan(10, 10, false));
    assert_eq!(decided(0), plan(30, 30, false));
}

#[test]
fn nothing_above_the_high_watermark_goes() {
    let segments = segments(4);
    let policy = RetentionPolicy { time_ms: Some(0), bytes: Some(0), ..Default::default() };
    let state = RetentionState { high_watermark: Offset(15), ..state(&segments) };
    assert_eq!(decide(&policy, &state, Timestamp(99_999)), plan(10, 10, false));
}

#[test]
fn deleted_records_take_their_segments_along() {
    let segments = segments(4);
    let start = |offset| RetentionState { log_start: Offset(offset), ..state(&segments) };
    assert_eq!(decide(&RetentionPolicy::default(), &start(25), Timestamp(0)), plan(20, 25, false));
    assert_eq!(decide(&RetentionPolicy::default(), &start(40), Timestamp(0)), plan(30, 40, true));
}

#[test]
fn what_is_remote_leaves_early_and_what_is_not_stays() {
    let segments = segments(4);
    let policy = RetentionPolicy { time_ms: Some(100_000), local_time_ms: Some(100), ..Default::default() };
    let remote = |end| RetentionState {
        remote: Some(RemoteCopy { end: Offset(end), segments: &[] }),
        tiered: true,
        ..state(&segments)
    };
    // The log's start stays: the records are remote.
    assert_eq!(decide(&policy, &remote(25), Timestamp(9000)), plan(20, 0, false));
    assert_eq!(decide(&policy, &remote(0), Timestamp(9000)), plan(0, 0, false));
    // Past retention nothing waits for an upload.
    assert_eq!(decide(&policy, &remote(0), Timestamp(101_500)), plan(20, 20, false));
    // An unknown manifest: nobody may guess.
    let unknown = RetentionState { tiered: true, ..state(&segments) };
    assert_eq!(decide(&policy, &unknown, Timestamp(i64::MAX)), plan(0, 0, false));
}

#[test]
fn what_is_held_stays_unless_it_is_remote() {
    let copy = |end| Some(RemoteCopy { end: Offset(end), segments: &[] });
    let all = plan(30, 30, true);
    assert_eq!(all.held(Offset(10), None), plan(10, 10, true));
    assert_eq!(all.held(Offset(99), None), all, "nobody holds anything that is wanted gone");
    assert_eq!(all.held(Offset(10), copy(20)), plan(20, 10, true), "the local copy of what is remote goes");
    assert_eq!(all.held(Offset(10), copy(0)), plan(10, 10, true), "past retention, held, and not uploaded yet");
    assert_eq!(all.held(Offset(10), copy(99)), plan(30, 10, true));
}

#[test]
fn the_remote_part_counts_once_and_goes_first() {
    // Offsets 100 to 139 are local; ten remote segments of 30 bytes and ten offsets each lie before them, and two more
    // are copies of local ones.
    let local: Vec<SegmentInfo> = segments(4).into_iter().map(|s| shifted(s, 100)).collect();
    let remote: Vec<SegmentInfo> = (0..12).map(|n| remote_segment(n * 10)).collect();
    let with = |policy: RetentionPolicy, now| {
        let state = RetentionState {
            segments: &local,
            log_start: Offset(0),
            high_watermark: Offset(140),
            remote: Some(RemoteCopy { end: Offset(120), segments: &remote }),
            tiered: true,
        };
        decide(&policy, &state, Timestamp(now))
    };
    let bytes = |limit| RetentionPolicy { bytes: Some(limit), ..Default::default() };
    // 400 local and 300 remote bytes in all.
    assert_eq!(with(bytes(700), 0), plan(100, 0, false));
    assert_eq!(with(bytes(640), 0), plan(100, 20, false), "two remote segments go, nothing local");
    assert_eq!(with(bytes(250), 0), plan(110, 110, false), "the whole older part goes, then the oldest local one");
    let local_only = RetentionPolicy { local_bytes: Some(200), ..Default::default() };
    assert_eq!(
        with(local_only, 0),
        plan(120, 0, false),
        "local copies of remote segments go, the log starts where it did"
    );
    // A remote segment of age n * 10 ms: time takes the older part without touching the younger local one.
    let time = RetentionPolicy { time_ms: Some(100), ..Default::default() };
    assert_eq!(with(time, 145), plan(100, 50, false), "timestamps 0, 10, 20, 30 and 40 are more than 100 ms old");
}

fn shifted(segment: SegmentInfo, by: i64) -> SegmentInfo {
    SegmentInfo { base: segment.base.plus(by), end: segment.end.plus(by), ..segment }
}

fn remote_segment(base: i64) -> SegmentInfo {
    SegmentInfo {
        base: Offset(base),
        end: Offset(base + 10),
        size: 30,
        first_timestamp: Some(Timestamp(base)),
        max_timestamp: Some(Timestamp(base)),
        modified: None,
        closed: true,
    }
}
