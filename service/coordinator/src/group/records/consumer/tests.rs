//! Golden bytes are those that Apache Kafka 4.3 wrote for the group `fixture-next` (tests/data/kafka-4.3.0/log-dir,
//! `__consumer_offsets-25`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_model::{PartitionIndex, Timestamp, TopicId};

use super::*;
use crate::group::Protocol;
use crate::group::ids::{Epoch, InstanceId};
use crate::group::records::{GroupRecord, decode};

const GROUP: &str = "000c666978747572652d6e657874";
const MEMBER_ID: &str = "0016486e2f73564c63315271436748544158355a6f353777";

fn bytes(text: &str) -> Bytes {
    Bytes::from(hex::decode(text.replace(' ', "")).unwrap())
}

fn topic() -> TopicId {
    "Y2jcI9ywSLuNL1RGtilg8A".parse().unwrap()
}

fn golden() -> Vec<(&'static str, &'static str, &'static str, ConsumerRecord)> {
    let id = MemberId::from("Hn/sVLc1RqCgHTAX5Zo57w");
    let subscriber = Subscriber {
        client_id: "rdkafka".into(),
        client_host: "/127.0.0.1".into(),
        topics: BTreeSet::from(["fixture".into()]),
        rebalance_timeout_ms: 300_000,
        ..Subscriber::unknown()
    };
    let current = Current {
        epoch: Epoch(2),
        assigned: BTreeMap::from([(topic(), BTreeMap::from([(PartitionIndex(0), Epoch(2))]))]),
        ..Current::joining()
    };
    let hash = 4531382021095795208;
    vec![
        (
            "0005",
            MEMBER_ID,
            "0000 00 00 08 72646b61666b61 0b 2f3132372e302e302e31 02 08 66697874757265 01 000493e0 00 01 00 01 00",
            ConsumerRecord::Member(id.clone(), Some(subscriber)),
        ),
        (
            "0003",
            "",
            "0000 00000002 01 00 08 3ee2b3f09d01aa08",
            ConsumerRecord::Epoch(Some(GroupEpoch { epoch: Epoch(2), metadata_hash: hash })),
        ),
        (
            "0007",
            MEMBER_ID,
            "0000 02 6368dc23dcb048bb8d2f5446b62960f0 02 00000000 00 00",
            ConsumerRecord::Target(id.clone(), Some(BTreeMap::from([(topic(), BTreeSet::from([PartitionIndex(0)]))]))),
        ),
        (
            "0006",
            "",
            "0000 00000002 01 00 08 000001a1fda264e3",
            ConsumerRecord::TargetEpoch(Some(TargetEpoch { epoch: Epoch(2), made: Timestamp(0x1a1fda264e3) })),
        ),
        (
            "0008",
            MEMBER_ID,
            "0000 00000002 00000000 00 02 6368dc23dcb048bb8d2f5446b62960f0 02 00000000 01 00 05 02 00000002 01 00",
            ConsumerRecord::Current(id, Some(current)),
        ),
        ("0003", "", "0000 00000003 00", ConsumerRecord::Epoch(Some(GroupEpoch { epoch: Epoch(3), metadata_hash: 0 }))),
    ]
}

#[test]
fn every_kind_has_kafkas_bytes() {
    let group = GroupId::from("fixture-next");
    for (kind, member, value, record) in golden() {
        let stored = record.encode(&group).unwrap();
        assert_eq!(stored.key, bytes(&format!("{kind}{GROUP}{member}")));
        assert_eq!(stored.value, Some(bytes(value)), "{record:?}");
        assert_eq!(decode(&stored), Ok(GroupRecord::Consumer(group.clone(), record)));
    }
}

/// What Kafka 4.3's own classes write (`ConsumerGroupMemberMetadataValue`).
#[test]
fn a_member_of_the_classic_protocol_has_kafkas_bytes() {
    let protocol = Protocol { name: "range".into(), metadata: Bytes::from_static(&[0, 1, 2]) };
    let subscriber = Subscriber {
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        topics: BTreeSet::from(["t".into()]),
        rebalance_timeout_ms: 300_000,
        classic: Some(ClassicTerms { session_timeout_ms: 45_000, protocols: vec![protocol] }),
        ..Subscriber::unknown()
    };
    let value = "0000 00 00 02 63 0b 2f3132372e302e302e31 02 02 74 01 000493e0 00
        01 00 12 01 0000afc8 02 06 72616e6765 04 000102 00 00";
    assert_eq!(subscriber.encode().unwrap(), bytes(&value.replace('\n', "")));
    assert_eq!(Subscriber::decode(&subscriber.encode().unwrap()), Ok(subscriber));
}

#[test]
fn tombstones_have_the_same_keys() {
    let group = GroupId::from("g");
    let id = MemberId::from("m");
    for record in [
        ConsumerRecord::Epoch(None),
        ConsumerRecord::Member(id.clone(), None),
        ConsumerRecord::TargetEpoch(None),
        ConsumerRecord::Target(id.clone(), None),
        ConsumerRecord::Current(id, None),
        ConsumerRecord::Regex("a.*".into(), None),
    ] {
        let stored = record.encode(&group).unwrap();
        assert_eq!(stored.value, None);
        assert_eq!(decode(&stored), Ok(GroupRecord::Consumer(group.clone(), record)));
    }
}

#[test]
fn damage_is_an_error() {
    for (kind, member, value, _) in golden() {
        let (key, value) = (bytes(&format!("{kind}{GROUP}{member}")), bytes(value));
        for end in 0..key.len() {
            let record = CoordinatorRecord { key: key.slice(..end), value: Some(value.clone()) };
            assert_eq!(decode(&record), Err(FieldError::Malformed), "key cut at {end}");
        }
        for end in 0..value.len() {
            let record = CoordinatorRecord { key: key.clone(), value: Some(value.slice(..end)) };
            assert_eq!(decode(&record), Err(FieldError::Malformed), "value of {kind} cut at {end}");
        }
        let mut newer = value.to_vec();
        newer[1] = 1;
        let record = CoordinatorRecord { key, value: Some(newer.into()) };
        assert_eq!(decode(&record), Err(FieldError::Malformed));
    }
}

#[test]
fn partitions_without_epochs_are_read_as_older_versions_wrote_them() {
    let value = bytes("0000 00000005 00000004 02 02 6368dc23dcb048bb8d2f5446b62960f0 03 00000000 00000003 00 01 00");
    let current = Current::decode(&value).unwrap();
    assert_eq!((current.epoch, current.previous_epoch), (Epoch(5), Epoch(4)));
    assert_eq!(current.state, MemberState::Unreleased);
    let epochs = BTreeMap::from([(PartitionIndex(0), Epoch(5)), (PartitionIndex(3), Epoch(5))]);
    assert_eq!(current.assigned, BTreeMap::from([(topic(), epochs)]));
}

fn any_owned() -> impl Strategy<Value = Owned> {
    let partitions =
        prop::collection::btree_map((0..9i32).prop_map(PartitionIndex), any::<i32>().prop_map(Epoch), 1..4);
    prop::collection::btree_map(any::<[u8; 16]>().prop_map(TopicId::from_bytes), partitions, 0..3)
}

fn terms() -> impl Strategy<Value = ClassicTerms> {
    let bytes = prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    let protocol = ("[a-z]{1,9}", bytes).prop_map(|(name, metadata)| Protocol { name: name.as_str().into(), metadata });
    (any::<i32>(), prop::collection::vec(protocol, 0..3))
        .prop_map(|(session_timeout_ms, protocols)| ClassicTerms { session_timeout_ms, protocols })
}

fn any_record() -> impl Strategy<Value = ConsumerRecord> {
    let text = || "[a-zé.*-]{0,9}".prop_map(|text| Arc::<str>::from(text.as_str()));
    let id = || "[a-z]{0,9}".prop_map(|id| MemberId::from(id.as_str()));
    let names = || prop::collection::btree_set(text(), 0..4);
    let subscriber = (
        prop::option::of(text()),
        prop::option::of(text()),
        (text(), text()),
        names(),
        prop::option::of("[a-z.*]{1,9}".prop_map(|text| Arc::<str>::from(text.as_str()))),
        any::<i32>(),
        prop::option::of(text()),
        prop::option::of(terms()),
    )
        .prop_map(
            |(instance, rack_id, (client_id, client_host), topics, regex, rebalance_timeout_ms, assignor, classic)| {
                let instance_id = instance.map(|name| InstanceId::from(&*name));
                Subscriber {
                    instance_id,
                    rack_id,
                    client_id,
                    client_host,
                    topics,
                    regex,
                    rebalance_timeout_ms,
                    assignor,
                    classic,
                }
            },
        );
    let state = prop_oneof![Just(MemberState::Stable), Just(MemberState::Unrevoked), Just(MemberState::Unreleased)];
    let current = (any::<(i32, i32)>(), state, any_owned(), any_owned()).prop_map(
        |((epoch, previous), state, assigned, revoking)| Current {
            epoch: Epoch(epoch),
            previous_epoch: Epoch(previous),
            state,
            assigned,
            revoking,
        },
    );
    let target = any_owned().prop_map(|owned| {
        let set = |partitions: BTreeMap<PartitionIndex, Epoch>| partitions.into_keys().collect();
        owned.into_iter().map(|(topic, partitions)| (topic, set(partitions))).collect::<Partitions>()
    });
    let resolved = (names(), any::<(i64, i64)>()).prop_map(|(topics, (version, at))| Resolved {
        topics,
        version,
        at: Timestamp(at),
    });
    prop_oneof![
        any::<(i32, i64)>().prop_map(|(epoch, metadata_hash)| {
            ConsumerRecord::Epoch(Some(GroupEpoch { epoch: Epoch(epoch), metadata_hash }))
        }),
        any::<(i32, i64)>().prop_map(|(epoch, made)| {
            ConsumerRecord::TargetEpoch(Some(TargetEpoch { epoch: Epoch(epoch), made: Timestamp(made) }))
        }),
        (id(), subscriber).prop_map(|(id, value)| ConsumerRecord::Member(id, Some(value))),
        (id(), target).prop_map(|(id, value)| ConsumerRecord::Target(id, Some(value))),
        (id(), current).prop_map(|(id, value)| ConsumerRecord::Current(id, Some(value))),
        (text(), resolved).prop_map(|(regex, value)| ConsumerRecord::Regex(regex, Some(value))),
    ]
}

proptest! {
    #[test]
    fn records_survive_a_round_trip(record in any_record()) {
        let group = GroupId::from("g");
        let stored = record.encode(&group).unwrap();
        prop_assert_eq!(decode(&stored), Ok(GroupRecord::Consumer(group, record)));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(
        kind in prop::sample::select(vec![3i16, 5, 6, 7, 8, 16]),
        value in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let key = [&kind.to_be_bytes()[..], &[0, 1, b'g', 0, 1, b'm']].concat().into();
        let value = [&[0, 0][..], &value].concat().into();
        let _ = decode(&CoordinatorRecord { key, value: Some(value) });
    }
}
