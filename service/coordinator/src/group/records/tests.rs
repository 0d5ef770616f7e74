//! Golden bytes are those that Apache Kafka 4.3 wrote (tests/data/kafka-4.3.0/log-dir/__consumer_offsets-8); older versions are
//! written out by hand from the format.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use super::*;
use crate::group::ids::{Generation, InstanceId, MemberId};

fn bytes(text: &str) -> Bytes {
    Bytes::from(hex::decode(text.replace([' ', '\n'], "")).unwrap())
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

const OFFSET_KEY: &str = "0001 000f 666978747572652d636c6173736963 0007 66697874757265 00000000";
const OFFSET_VALUE: &str =
    "0004 0000000000000032 ffffffff 08 61206e6f746500 000001a1fda26479 01 00 10 6368dc23dcb048bb8d2f5446b62960f0";
const GROUP_KEY: &str = "0002 000f 666978747572652d636c6173736963";
const EMPTY_GROUP: &str = "0003 0000 00000000 ffff ffff 000001a1fda263ec 00000000";
const GROUP: &str = "0003 0008 636f6e73756d6572 00000001 0005 72616e6765
    002d 7374617469632d312d39653939643839372d313134372d346535302d396136392d333032343238356362376138
    000001a1fda263f5 00000001
    002d 7374617469632d312d39653939643839372d313134372d346535302d396136392d333032343238356362376138
    0008 7374617469632d31 0007 72646b61666b61 000a 2f3132372e302e302e31 000493e0 0000afc8
    0000001d 0003 00000001 0007 66697874757265 00000000 00000000 ffffffff 0000
    0000001b 0000 00000001 0007 66697874757265 00000001 00000000 00000000";

fn committed() -> CommittedOffset {
    CommittedOffset {
        offset: Offset(50),
        leader_epoch: LeaderEpoch::NONE,
        metadata: Arc::from("a note\0"),
        commit_timestamp: Timestamp(0x1a1fda26479),
        expire_timestamp: None,
        topic_id: "Y2jcI9ywSLuNL1RGtilg8A".parse().unwrap(),
    }
}

fn stored() -> StoredGroup {
    let member = MemberId::from("static-1-9e99d897-1147-4e50-9a69-3024285cb7a8");
    StoredGroup {
        protocol_type: Arc::from("consumer"),
        generation: Generation(1),
        protocol_name: Some(Arc::from("range")),
        leader: Some(member.clone()),
        state_since: Timestamp(0x1a1fda263f5),
        members: vec![StoredMember {
            member_id: member,
            instance_id: Some(InstanceId::from("static-1")),
            client_id: Arc::from("rdkafka"),
            client_host: Arc::from("/127.0.0.1"),
            rebalance_timeout_ms: 300_000,
            session_timeout_ms: 45_000,
            subscription: bytes("000300000001000766697874757265 0000000000000000ffffffff0000"),
            assignment: bytes("00000000000100076669787475726500000001 0000000000000000"),
        }],
    }
}

#[test]
fn an_offset_has_kafkas_bytes() {
    let group = GroupId::from("fixture-classic");
    let record = offset_record(&group, &topic("fixture"), PartitionIndex(0), &committed()).unwrap();
    assert_eq!(record.key, bytes(OFFSET_KEY));
    assert_eq!(record.value, Some(bytes(OFFSET_VALUE)));
    let key = OffsetKey { group: group.clone(), topic: topic("fixture"), partition: PartitionIndex(0) };
    assert_eq!(decode(&record), Ok(GroupRecord::Offset(key.clone(), Some(committed()))));
    let tombstone = offset_tombstone(&group, &topic("fixture"), PartitionIndex(0)).unwrap();
    assert_eq!(tombstone, CoordinatorRecord { key: bytes(OFFSET_KEY), value: None });
    assert_eq!(decode(&tombstone), Ok(GroupRecord::Offset(key, None)));
}

#[test]
fn a_group_has_kafkas_bytes() {
    let group = GroupId::from("fixture-classic");
    let record = group_record(&group, &stored()).unwrap();
    assert_eq!(record.key, bytes(GROUP_KEY));
    assert_eq!(record.value, Some(bytes(GROUP)));
    assert_eq!(decode(&record), Ok(GroupRecord::Group(group.clone(), Some(stored()))));
    let empty = StoredGroup {
        protocol_type: Arc::from(""),
        generation: Generation(0),
        protocol_name: None,
        leader: None,
        state_since: Timestamp(0x1a1fda263ec),
        members: Vec::new(),
    };
    let record = group_record(&group, &empty).unwrap();
    assert_eq!(record.value, Some(bytes(EMPTY_GROUP)));
    assert_eq!(decode(&record), Ok(GroupRecord::Group(group, Some(empty))));
}

fn offset_value(text: &str) -> CommittedOffset {
    let record = CoordinatorRecord { key: bytes(OFFSET_KEY), value: Some(bytes(text)) };
    match decode(&record) {
        Ok(GroupRecord::Offset(_, Some(committed))) => committed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn older_offset_values_are_read() {
    let old = CommittedOffset { topic_id: TopicId::ZERO, metadata: Arc::from("m"), ..committed() };
    let zero = "0000 0000000000000032 0001 6d 000001a1fda26479";
    assert_eq!(offset_value(zero), old);
    assert_eq!(offset_value(&zero.replacen("0000", "0002", 1)), old);
    let expiring = CommittedOffset { expire_timestamp: Some(Timestamp(255)), ..old.clone() };
    assert_eq!(offset_value("0001 0000000000000032 0001 6d 000001a1fda26479 00000000000000ff"), expiring);
    assert_eq!(offset_value("0001 0000000000000032 0001 6d 000001a1fda26479 ffffffffffffffff"), old);
    let with_epoch = CommittedOffset { leader_epoch: LeaderEpoch(7), ..old };
    assert_eq!(offset_value("0003 0000000000000032 00000007 0001 6d 000001a1fda26479"), with_epoch);
    // An unknown tag after the topic id is passed over.
    let tagged = OFFSET_VALUE.replace(" 01 00 10", " 02 00 10") + "05 02 abcd";
    assert_eq!(offset_value(&tagged), committed());
}

#[test]
fn older_and_newer_group_values_are_read() {
    let group = |value: &str| match decode(&CoordinatorRecord { key: bytes(GROUP_KEY), value: Some(bytes(value)) }) {
        Ok(GroupRecord::Group(_, Some(stored))) => stored,
        other => panic!("{other:?}"),
    };
    let member = StoredMember {
        member_id: MemberId::from("m"),
        instance_id: None,
        client_id: Arc::from("c"),
        client_host: Arc::from("h"),
        rebalance_timeout_ms: 10,
        session_timeout_ms: 10,
        subscription: Bytes::from_static(b"s"),
        assignment: Bytes::new(),
    };
    let old = StoredGroup {
        protocol_type: Arc::from("t"),
        generation: Generation(2),
        protocol_name: None,
        leader: None,
        state_since: Timestamp::NONE,
        members: vec![member],
    };
    assert_eq!(
        group("0000 000174 00000002 ffff ffff 00000001 00016d 000163 000168 0000000a 00000001 73 00000000"),
        old
    );
    assert_eq!(
        group("0001 000174 00000002 ffff ffff 00000001 00016d 000163 000168 0000000a 0000000a 00000001 73 00000000"),
        old
    );
    assert_eq!(
        group(
            "0002 000174 00000002 ffff ffff ffffffffffffffff 00000001 00016d 000163 000168 0000000a 0000000a 00000001 73 00000000"
        ),
        old
    );
    assert_eq!(
        group("0004 0274 00000002 00 00 ffffffffffffffff 02 026d 00 0263 0268 0000000a 0000000a 0273 01 00 00"),
        old
    );
}

#[test]
fn other_kinds_are_left_alone_and_damage_is_an_error() {
    // Kind 4 is Kafka 4.0's topic metadata of a group; 11 a share group; 32767 does not exist.
    assert_eq!(decode(&CoordinatorRecord { key: Bytes::from_static(&[0, 4]), value: None }), Ok(GroupRecord::Obsolete));
    for kind in [9i16, 11, 15, 17, i16::MAX] {
        let record = CoordinatorRecord { key: Bytes::copy_from_slice(&kind.to_be_bytes()), value: None };
        assert_eq!(decode(&record), Ok(GroupRecord::Unknown(kind)));
    }
    for (key, value) in [(OFFSET_KEY, OFFSET_VALUE), (GROUP_KEY, GROUP)] {
        let (key, value) = (bytes(key), bytes(value));
        for end in 0..key.len() {
            let record = CoordinatorRecord { key: key.slice(..end), value: Some(value.clone()) };
            assert_eq!(decode(&record), Err(FieldError::Malformed), "key cut at {end}");
        }
        for end in 0..value.len() {
            let record = CoordinatorRecord { key: key.clone(), value: Some(value.slice(..end)) };
            assert_eq!(decode(&record), Err(FieldError::Malformed), "value cut at {end}");
        }
        for version in [-1i16, 5, i16::MAX] {
            let mut value = value.to_vec();
            value[..2].copy_from_slice(&version.to_be_bytes());
            let record = CoordinatorRecord { key: key.clone(), value: Some(value.into()) };
            assert_eq!(decode(&record), Err(FieldError::Malformed), "version {version}");
        }
    }
    // 2^31 − 1 members announced in a few bytes.
    let huge = bytes("0003 0000 00000000 ffff ffff 000001a1fda263ec 7fffffff");
    assert_eq!(decode(&CoordinatorRecord { key: bytes(GROUP_KEY), value: Some(huge) }), Err(FieldError::Malformed));
}

#[test]
fn texts_beyond_sixteen_bits_are_refused() {
    let long = GroupId::from("x".repeat(i16::MAX as usize + 1));
    assert_eq!(group_key(&long), Err(FieldError::TooLong));
    assert_eq!(offset_tombstone(&long, &topic("t"), PartitionIndex(0)), Err(FieldError::TooLong));
    let id = GroupId::from("x".repeat(i16::MAX as usize));
    assert!(group_key(&id).is_ok());
    // The note of an offset that expires by the client's wish has a 16-bit length, any other note has not.
    let note: Arc<str> = Arc::from("x".repeat(40_000));
    let plain = CommittedOffset { metadata: note, ..committed() };
    let expiring = CommittedOffset { expire_timestamp: Some(Timestamp(1)), ..plain.clone() };
    let group = GroupId::from("g");
    let record = offset_record(&group, &topic("t"), PartitionIndex(0), &plain).unwrap();
    assert!(matches!(decode(&record), Ok(GroupRecord::Offset(_, Some(read))) if read == plain));
    assert_eq!(offset_record(&group, &topic("t"), PartitionIndex(0), &expiring), Err(FieldError::TooLong));
}

fn any_stored() -> impl Strategy<Value = StoredGroup> {
    let text = "[a-zA-Z0-9é-]{0,12}";
    let blob = prop::collection::vec(any::<u8>(), 0..40);
    let member = (text, prop::option::of(text), text, text, any::<(i32, i32)>(), blob.clone(), blob).prop_map(
        |(id, instance, client, host, (rebalance, session), subscription, assignment)| StoredMember {
            member_id: MemberId::from(id),
            instance_id: instance.map(InstanceId::from),
            client_id: client.into(),
            client_host: host.into(),
            rebalance_timeout_ms: rebalance,
            session_timeout_ms: session,
            subscription: subscription.into(),
            assignment: assignment.into(),
        },
    );
    let members = prop::collection::vec(member, 0..5);
    (text, any::<i32>(), prop::option::of(text), prop::option::of(text), any::<i64>(), members).prop_map(
        |(kind, generation, protocol, leader, since, members)| StoredGroup {
            protocol_type: kind.into(),
            generation: Generation(generation),
            protocol_name: protocol.map(Into::into),
            leader: leader.map(MemberId::from),
            state_since: Timestamp(since),
            members,
        },
    )
}

proptest! {
    #[test]
    fn groups_survive_a_round_trip(id in "[a-zé]{0,20}", stored in any_stored()) {
        let record = group_record(&GroupId::from(id.as_str()), &stored).unwrap();
        prop_assert_eq!(decode(&record), Ok(GroupRecord::Group(GroupId::from(id), Some(stored))));
    }

    #[test]
    fn offsets_survive_a_round_trip(
        offset in any::<i64>(), epoch in any::<i32>(), metadata in "\\PC{0,40}", at in any::<i64>(),
        expires in prop::option::of(0..i64::MAX), id in any::<[u8; 16]>(),
    ) {
        let committed = CommittedOffset {
            offset: Offset(offset),
            // What version 1, the one with an expiry, cannot hold is not asked of it.
            leader_epoch: if expires.is_some() { LeaderEpoch::NONE } else { LeaderEpoch(epoch) },
            metadata: metadata.into(),
            commit_timestamp: Timestamp(at),
            expire_timestamp: expires.map(Timestamp),
            topic_id: if expires.is_some() { TopicId::ZERO } else { TopicId::from_bytes(id) },
        };
        let record = offset_record(&GroupId::from("g"), &topic("t"), PartitionIndex(3), &committed).unwrap();
        let key = OffsetKey { group: GroupId::from("g"), topic: topic("t"), partition: PartitionIndex(3) };
        prop_assert_eq!(decode(&record), Ok(GroupRecord::Offset(key, Some(committed))));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(
        kind in 0i16..4, key in prop::collection::vec(any::<u8>(), 0..60),
        version in 0i16..6, value in prop::option::of(prop::collection::vec(any::<u8>(), 0..120)),
    ) {
        let key = [&kind.to_be_bytes()[..], &key].concat().into();
        let value = value.map(|value| [&version.to_be_bytes()[..], &value].concat().into());
        let _ = decode(&CoordinatorRecord { key, value });
    }
}
