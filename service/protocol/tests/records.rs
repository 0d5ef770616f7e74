//! The records of `__consumer_offsets` exactly as Apache Kafka 4.3.0 wrote them (`log-dir/__consumer_offsets-*`, values
//! by its own dump in `internal-topics.txt`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use tidelog_protocol::messages::records::*;
use tidelog_protocol::{Message, Str};

fn hex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_position_with_topic_id() {
    let key = hex("0001000f666978747572652d636c617373696300076669787475726500000000");
    let value =
        hex("00040000000000000032ffffffff0861206e6f746500000001a1fda264790100106368dc23dcb048bb8d2f5446b62960f0");
    let expected = OffsetCommitKey {
        group: Str::from("fixture-classic"),
        topic: Str::from("fixture"),
        partition: 0,
        ..Default::default()
    };
    assert_eq!(ConsumerOffsetsKey::decode(key.clone()), Ok(ConsumerOffsetsKey::OffsetCommit(expected.clone())));
    assert_eq!(encode_versioned(&expected, OFFSET_COMMIT_KEY_VERSION).unwrap(), key);

    let (version, decoded) = decode_versioned::<OffsetCommitValue>(value.clone()).unwrap();
    assert_eq!(version, OFFSET_COMMIT_VALUE_VERSION);
    let expected = OffsetCommitValue {
        offset: 50,
        leader_epoch: -1,
        metadata: Str::from("a note\0"),
        commit_timestamp: 1_795_256_640_633,
        topic_id: "Y2jcI9ywSLuNL1RGtilg8A".parse().unwrap(),
        ..Default::default()
    };
    assert_eq!(decoded, expected);
    assert_eq!(encode_versioned(&expected, version).unwrap(), value);
}

#[test]
fn a_position_without_topic_id() {
    let value = hex("0004000000000000002affffffff01000001a1fda1fc7300");
    let (version, decoded) = decode_versioned::<OffsetCommitValue>(value.clone()).unwrap();
    let expected = OffsetCommitValue { offset: 42, commit_timestamp: 1_795_256_614_003, ..Default::default() };
    assert_eq!((version, &decoded), (4, &expected));
    assert_eq!(encode_versioned(&decoded, version).unwrap(), value);
}

#[test]
fn an_empty_group() {
    let key = hex("0002000f666978747572652d636c6173736963");
    let value = hex("0003000000000000ffffffff000001a1fda263ec00000000");
    let expected = GroupMetadataKey { group: Str::from("fixture-classic"), ..Default::default() };
    assert_eq!(ConsumerOffsetsKey::decode(key.clone()), Ok(ConsumerOffsetsKey::GroupMetadata(expected.clone())));
    assert_eq!(encode_versioned(&expected, GROUP_METADATA_KEY_VERSION).unwrap(), key);
    let (version, decoded) = decode_versioned::<GroupMetadataValue>(value.clone()).unwrap();
    assert_eq!(version, GROUP_METADATA_VALUE_VERSION);
    let expected = GroupMetadataValue {
        protocol: None,
        leader: None,
        current_state_timestamp: 1_795_256_640_492,
        ..Default::default()
    };
    assert_eq!(decoded, expected);
    assert_eq!(encode_versioned(&expected, version).unwrap(), value);
}

#[test]
fn a_group_with_a_member() {
    let value = hex(concat!(
        "00030008636f6e73756d657200000001000572616e6765002d7374617469632d312d39653939643839372d313134372d346535302d396136",
        "392d333032343238356362376138000001a1fda263f500000001002d7374617469632d312d39653939643839372d313134372d346535302d",
        "396136392d33303234323835636237613800087374617469632d31000772646b61666b61000a2f3132372e302e302e31000493e00000afc8",
        "0000001d0003000000010007666978747572650000000000000000ffffffff00000000001b00000000000100076669787475726500000001",
        "0000000000000000",
    ));
    let (version, group) = decode_versioned::<GroupMetadataValue>(value.clone()).unwrap();
    assert_eq!((version, &*group.protocol_type, group.generation), (3, "consumer", 1));
    assert_eq!(group.protocol.as_deref(), Some("range"));
    let [member] = group.members.as_slice() else { panic!("{group:?}") };
    assert_eq!(group.leader.as_ref(), Some(&member.member_id));
    assert_eq!(member.group_instance_id.as_deref(), Some("static-1"));
    assert_eq!((&*member.client_id, &*member.client_host), ("rdkafka", "/127.0.0.1"));
    assert_eq!((member.rebalance_timeout, member.session_timeout), (300_000, 45_000));
    assert_eq!(encode_versioned(&group, version).unwrap(), value);

    // The payloads inside are the consumers' own messages.
    let (version, subscription) =
        decode_versioned::<ConsumerProtocolSubscription>(member.subscription.clone()).unwrap();
    assert_eq!((version, subscription.topics.as_slice()), (3, [Str::from("fixture")].as_slice()));
    assert_eq!(subscription.user_data, Some(Bytes::new()));
    assert_eq!(subscription.rack_id.as_deref(), Some(""));
    assert_eq!(encode_versioned(&subscription, version).unwrap(), member.subscription);
    let (version, assignment) = decode_versioned::<ConsumerProtocolAssignment>(member.assignment.clone()).unwrap();
    assert_eq!(version, 0);
    assert_eq!(&*assignment.assigned_partitions[0].topic, "fixture");
    assert_eq!(assignment.assigned_partitions[0].partitions, [0]);
    assert_eq!(encode_versioned(&assignment, version).unwrap(), member.assignment);
}

#[test]
fn other_keys_are_named_by_their_type() {
    assert_eq!(ConsumerOffsetsKey::decode(hex("0005000178")), Ok(ConsumerOffsetsKey::Other(5)));
    assert_eq!(ConsumerOffsetsKey::decode(hex("ffff")), Ok(ConsumerOffsetsKey::Other(-1)));
    assert!(ConsumerOffsetsKey::decode(hex("0001")).is_err());
    assert!(ConsumerOffsetsKey::decode(hex("00")).is_err());
    // The old type of positions is read the same way.
    let old = hex("00000001670001740000000a");
    assert!(
        matches!(ConsumerOffsetsKey::decode(old), Ok(ConsumerOffsetsKey::OffsetCommit(key)) if key.partition == 10)
    );
}

#[test]
fn older_values_drop_what_they_cannot_say() {
    let value = OffsetCommitValue { offset: 1, leader_epoch: 3, expire_timestamp: 9, ..Default::default() };
    for version in OffsetCommitValue::VERSIONS.iter() {
        let again = OffsetCommitValue::from_bytes(value.to_bytes(version).unwrap(), version).unwrap();
        assert_eq!(again.leader_epoch, if version >= 3 { 3 } else { -1 });
        assert_eq!(again.expire_timestamp, if version == 1 { 9 } else { -1 });
    }
}
