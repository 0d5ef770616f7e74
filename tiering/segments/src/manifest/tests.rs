use proptest::prelude::*;
use tidelog_model::Timestamp;

use super::*;

fn entry(base: i64, end: i64, epochs: &[(i32, i64)]) -> Entry {
    Entry {
        base: Offset(base),
        end: Offset(end),
        first_timestamp: Timestamp(1),
        max_timestamp: Timestamp(2),
        size: 1000,
        parts: Parts {
            log: 700,
            offset_index: 710,
            time_index: 720,
            transaction_index: 720,
            producer_snapshot: 730,
            epochs: 740,
        },
        crc: 0xdead_beef,
        object_epoch: LeaderEpoch(4),
        object_id: Uuid::from_u128(base as u128 + 1),
        epochs: epochs.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start))).collect(),
        has_aborted: base % 2 == 1,
    }
}

fn epochs(list: &[(i32, i64)]) -> Vec<(LeaderEpoch, Offset)> {
    list.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start))).collect()
}

fn version(number: u64, previous: u128, changes: Vec<Change>) -> Version {
    Version {
        number,
        epoch: LeaderEpoch(1),
        writer: Uuid::from_u128(9),
        nonce: Uuid::from_u128(u128::from(number) + 100),
        previous: Uuid::from_u128(previous),
        changes,
    }
}

fn image_of(entries: Vec<Entry>) -> Image {
    let changes = entries.into_iter().map(Change::Add).collect();
    Image::default().followed_by(&version(1, 0, changes)).unwrap()
}

#[test]
fn golden_bytes_of_a_version() {
    let bytes = version(258, 7, vec![Change::Cut(Offset(5)), Change::Remove(Offset(6)), Change::Drop]).encode();
    let mut expected: Vec<u8> = vec![1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1];
    for uuid in [9u128, 358, 7] {
        expected.extend_from_slice(&uuid.to_be_bytes());
    }
    expected.extend_from_slice(&[0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 0, 0, 0, 6, 4]);
    let crc = crc32c::crc32c(&expected);
    expected.extend_from_slice(&crc.to_be_bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn golden_bytes_of_an_entry() {
    let mut entry = entry(1, 3, &[(4, 1)]);
    entry.object_id = Uuid::from_u128(2);
    let bytes = version(1, 0, vec![Change::Add(entry)]).encode();
    let body: Vec<u8> =
        [1u64, 3, 1, 2, 1000, 700, 710, 720, 720, 730, 740].iter().flat_map(|n| n.to_be_bytes()).collect();
    let from = 1 + 8 + 4 + 48 + 4;
    assert_eq!(bytes[from], 3, "the kind of an addition");
    assert_eq!(&bytes[from + 1..from + 1 + body.len()], body);
    let rest = &bytes[from + 1 + body.len()..bytes.len() - 4];
    let mut expected = vec![0xde, 0xad, 0xbe, 0xef, 1, 0, 0, 0, 4];
    expected.extend_from_slice(&2u128.to_be_bytes());
    expected.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(rest, expected);
}

#[test]
fn newer_formats_and_damage_are_refused() {
    let good = version(1, 0, vec![Change::Add(entry(0, 5, &[(1, 0)]))]).encode();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        assert!(Version::decode(&bytes).is_err(), "byte {at}");
        assert!(Version::decode(&good[..at]).is_err(), "{at} bytes");
    }
    let reseal = |mut body: Vec<u8>, at: usize, value: u8| {
        body.truncate(body.len() - 4);
        body[at] = value;
        let crc = crc32c::crc32c(&body);
        body.extend_from_slice(&crc.to_be_bytes());
        body
    };
    assert_eq!(Version::decode(&reseal(good.clone(), 0, 2)), Err(ManifestError::Format(2)));
    assert!(matches!(Version::decode(&reseal(good.clone(), 65, 9)), Err(ManifestError::Malformed(_))), "unknown kind");
    // A count that cannot be true allocates nothing.
    assert!(matches!(Version::decode(&reseal(good, 61, 0xff)), Err(ManifestError::Malformed(_))));
    let snapshot = image_of(vec![entry(0, 5, &[(1, 0)])]).encode();
    assert_eq!(Image::decode(&reseal(snapshot.clone(), 0, 3)), Err(ManifestError::Format(3)));
    let next_low = reseal(snapshot, 37, 4);
    assert!(matches!(Image::decode(&next_low), Err(ManifestError::Malformed(_))), "entries end where next is");
}

#[test]
fn only_the_next_version_of_the_chain_follows() {
    let image = image_of(vec![entry(0, 10, &[(1, 0)])]);
    let follows = |version: &Version| image.followed_by(version).is_ok();
    assert!(follows(&version(2, 101, vec![])));
    assert!(!follows(&version(3, 101, vec![])), "a gap");
    assert!(!follows(&version(2, 100, vec![])), "another chain");
    assert!(!follows(&Version { epoch: LeaderEpoch(0), ..version(2, 101, vec![]) }), "an epoch that goes back");
    assert!(!follows(&version(2, 101, vec![Change::Add(entry(9, 12, &[]))])), "an overlap");
    assert!(!follows(&version(2, 101, vec![Change::Add(entry(11, 12, &[]))])), "a hole");
    assert!(!follows(&version(2, 101, vec![Change::Add(entry(10, 10, &[]))])), "an empty entry");
    let dropped = image.followed_by(&version(2, 101, vec![Change::Drop])).unwrap();
    assert!(dropped.followed_by(&version(3, 102, vec![])).is_err());
}

#[test]
fn cuts_removals_and_additions_in_one_version() {
    let image = image_of(vec![entry(0, 10, &[(1, 0)]), entry(10, 30, &[(1, 10), (2, 20)])]);
    let changes = vec![Change::Cut(Offset(15)), Change::Remove(Offset(10)), Change::Add(entry(15, 40, &[(3, 15)]))];
    let after = image.followed_by(&version(2, 101, changes)).unwrap();
    assert_eq!((after.start(), after.next, after.entries.len()), (Offset(10), Offset(40), 2));
    let cut = after.entry_of(Offset(14)).unwrap();
    assert_eq!((cut.end, cut.epochs.as_slice()), (Offset(15), epochs(&[(1, 10)]).as_slice()));
    assert_eq!(after.entry_of(Offset(9)), None);
    assert_eq!(after.entry_of(Offset(40)), None);
    let emptied = after.followed_by(&version(3, 102, vec![Change::Remove(Offset(55))])).unwrap();
    assert_eq!((emptied.start(), emptied.next), (Offset(55), Offset(55)));
}

#[test]
fn divergence_is_the_first_offset_with_another_epoch() {
    let image = image_of(vec![entry(0, 50, &[(1, 0), (3, 30)]), entry(50, 100, &[(3, 50)])]);
    let at = |list: &[(i32, i64)]| image.divergence(&epochs(list)).map(Offset::get);
    assert_eq!(at(&[(1, 0), (3, 30)]), None, "the same history");
    assert_eq!(at(&[(1, 0), (3, 30), (4, 100)]), None, "a longer one");
    assert_eq!(at(&[(1, 0), (3, 30), (5, 80)]), Some(80), "an epoch that lost its end");
    assert_eq!(at(&[(1, 0), (5, 40)]), Some(30), "an epoch that was never here");
    assert_eq!(at(&[(2, 0)]), Some(0), "nothing in common");
    assert_eq!(at(&[(5, 100)]), None, "the local log begins where the manifest ends");
    assert_eq!(at(&[(5, 70)]), Some(70), "the local log begins inside, with another epoch");
    assert_eq!(at(&[(3, 60)]), None);
    assert_eq!(at(&[]), None);
}

proptest! {
    #[test]
    fn versions_and_images_come_back(
        ends in prop::collection::vec((1i64..100, 0usize..4, any::<u32>()), 0..20),
        removed in 0i64..200,
        number in 1u64..u64::MAX,
    ) {
        let mut next = 0;
        let mut entries = Vec::new();
        for (len, count, crc) in ends {
            let list: Vec<(i32, i64)> = (0..count as i64).map(|n| (n as i32, next + n)).collect();
            entries.push(Entry { crc, ..entry(next, next + len, &list) });
            next += len;
        }
        let mut changes: Vec<Change> = entries.iter().cloned().map(Change::Add).collect();
        changes.push(Change::Remove(Offset(removed)));
        let version = Version { number, ..version(1, 0, changes.clone()) };
        prop_assert_eq!(Version::decode(&version.encode()), Ok(version.clone()));
        let image = Image::default().followed_by(&Version { number: 1, ..version }).unwrap();
        prop_assert_eq!(Image::decode(&image.encode()), Ok(image));
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), seal in any::<bool>()) {
        let mut bytes = bytes;
        if seal {
            if let Some(first) = bytes.first_mut() { *first = 1; }
            let crc = crc32c::crc32c(&bytes);
            bytes.extend_from_slice(&crc.to_be_bytes());
        }
        let _ = Version::decode(&bytes);
        let _ = Image::decode(&bytes);
    }
}

/// Answers for a machine of epoch 1 on an empty store, until it has nothing to do and has looked for unreferenced objects twice.
fn rested() -> Manifest {
    let mut next = 500u128;
    let ids: Ids = Box::new(move || {
        next += 1;
        Uuid::from_u128(next)
    });
    let (mut machine, effects) = Manifest::lead(LeaderEpoch(1), Uuid::from_u128(9), Rules::default(), None, ids);
    assert_eq!(effects, [Effect::ListVersions { after: 0 }]);
    let answers = [
        Event::Listed(vec![]),
        Event::Created(true),
        Event::Listed(vec![]),
        Event::Found(Found::default()),
        Event::NothingClosed,
        Event::Collect,
        Event::Found(Found::default()),
    ];
    let mut last = Vec::new();
    for answer in answers {
        last = machine.apply(answer);
    }
    assert!(machine.is_idle() && last.is_empty(), "{machine:?}: {last:?}");
    machine
}

fn observed(log_start: i64) -> Event {
    Event::Observed { log_start: Offset(log_start), epochs: epochs(&[(1, 0)]), needs_remote: None }
}

#[test]
fn a_put_that_was_given_up_is_looked_for_after_the_grace_period() {
    let mut machine = rested();
    let effects = machine.apply(observed(0));
    let [Effect::Upload { name, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(machine.apply(Event::UploadFailed), []);
    // What it was to hold is past retention now; the put may still land after the deletion.
    let effects = machine.apply(observed(10));
    assert!(effects.contains(&Effect::DeleteObjects(vec![*name])), "{effects:?}");
    assert!(effects.contains(&Effect::CollectLater), "{effects:?}");
}

#[test]
fn an_orphan_goes_in_a_partition_where_nothing_else_is_written() {
    let mut machine = rested();
    let orphan = ObjectName { base: Offset(0), epoch: LeaderEpoch(1), id: Uuid::from_u128(77) };
    let found =
        Found { segments: vec![(orphan, Timestamp(100))], versions: vec![(1, Timestamp(50))], snapshots: vec![] };
    assert_eq!(machine.apply(Event::Collect), [Effect::ListObjects]);
    assert_eq!(machine.apply(Event::Found(found.clone())), [Effect::CollectLater], "it is young");
    // A grace period later the store's newest time is still the orphan's own.
    assert_eq!(machine.apply(Event::Collect), [Effect::ListObjects]);
    assert_eq!(machine.apply(Event::Found(found)), [Effect::DeleteObjects(vec![orphan])]);
}

#[test]
fn an_empty_store_where_a_manifest_was_known_is_not_believed() {
    let known = Image { number: 5, ..image_of(vec![entry(0, 10, &[(1, 0)])]) };
    let ids: Ids = Box::new(|| Uuid::from_u128(1));
    let (mut machine, effects) = Manifest::lead(LeaderEpoch(2), Uuid::from_u128(9), Rules::default(), Some(known), ids);
    assert_eq!(effects, [Effect::ListVersions { after: 5 }]);
    assert_eq!(machine.apply(Event::Listed(vec![])), [Effect::ReadVersions { first: 5, last: 5 }]);
    assert_eq!(machine.apply(Event::VersionsRead(vec![])), [Effect::ListVersions { after: 0 }]);
    assert_eq!(machine.apply(Event::Listed(vec![])), []);
    assert_eq!(machine.stopped(), Some(Stop::Gone), "a volume that is not mounted looks like this");
}

#[test]
fn an_empty_store_is_not_believed_for_a_log_whose_older_part_is_not_local() {
    for (needs_remote, stopped) in [(Some(Offset(7)), Some(Stop::Gone)), (None, None)] {
        let ids: Ids = Box::new(|| Uuid::from_u128(1));
        let (mut machine, effects) = Manifest::lead(LeaderEpoch(2), Uuid::from_u128(9), Rules::default(), None, ids);
        assert_eq!(effects, [Effect::ListVersions { after: 0 }]);
        let epochs = epochs(&[(1, 0)]);
        assert_eq!(machine.apply(Event::Observed { log_start: Offset(0), epochs, needs_remote }), []);
        let effects = machine.apply(Event::Listed(vec![]));
        assert_eq!(machine.stopped(), stopped);
        assert_eq!(effects.is_empty(), needs_remote.is_some(), "nobody begins anew over a hole: {effects:?}");
    }
}

/// A manifest was written into a wrong store before, or a right one was set back: versions are there, but not those that were.
#[test]
fn a_store_that_has_less_than_it_had_is_not_believed() {
    let there = version(1, 0, vec![Change::Add(entry(0, 10, &[(1, 0)]))]);
    let known = Image { number: 5, ..image_of(vec![entry(0, 10, &[(1, 0)])]) };
    let cases = [
        (Some(Offset(11)), None, Some(Stop::Gone)),
        (Some(Offset(10)), None, None),
        (None, None, None),
        (None, Some(known), Some(Stop::Gone)),
    ];
    for (needs_remote, cached, stopped) in cases {
        let ids: Ids = Box::new(|| Uuid::from_u128(1));
        let cached_number = cached.as_ref().map(|image: &Image| image.number);
        let (mut machine, effects) = Manifest::lead(LeaderEpoch(2), Uuid::from_u128(9), Rules::default(), cached, ids);
        assert_eq!(effects, [Effect::ListVersions { after: cached_number.unwrap_or(0) }]);
        machine.apply(Event::Observed { log_start: Offset(0), epochs: epochs(&[(1, 0)]), needs_remote });
        if cached_number.is_some() {
            machine.apply(Event::Listed(vec![]));
            machine.apply(Event::VersionsRead(vec![]));
        }
        machine.apply(Event::Listed(vec![1]));
        machine.apply(Event::VersionsRead(vec![(1, Ok(there.clone()))]));
        let effects = machine.apply(Event::Listed(vec![]));
        assert_eq!(machine.stopped(), stopped, "{needs_remote:?} {cached_number:?}: {effects:?}");
    }
}
