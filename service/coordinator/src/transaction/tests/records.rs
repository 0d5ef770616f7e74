use bytes::Bytes;
use proptest::prelude::*;
use tidelog_model::{ProducerEpoch, ProducerId, Timestamp};
use tidelog_record::fields::FieldError;

use super::driver::partition;
use crate::CoordinatorRecord;
use crate::transaction::record::{TransactionRecord, decode, transaction_record, transaction_tombstone};
use crate::transaction::state::Stored;
use crate::transaction::*;

fn bytes(text: &str) -> Bytes {
    hex::decode(text.replace([' ', '\n'], "")).unwrap().into()
}

fn stored() -> Stored {
    Stored {
        producer: Producer { id: ProducerId(7), epoch: ProducerEpoch(32767) },
        previous: ProducerId(7),
        next: ProducerId(9),
        timeout_ms: 60_000,
        state: TransactionState::PrepareCommit,
        partitions: ["a-1", "a-0", "b-2"].map(partition).into(),
        updated: Timestamp(0x0102),
        started: Timestamp(0x0101),
        client_level: 2,
    }
}

#[test]
fn every_tagged_field_has_its_place() {
    let record = transaction_record(&TransactionalId::from("tx"), &stored()).unwrap();
    assert_eq!(record.key, bytes("0000 0002 7478"));
    let value = "0001 0000000000000007 7fff 0000ea60 02
        03 02 61 03 00000000 00000001 00  02 62 02 00000002 00
        0000000000000102 0000000000000101
        03 00 08 0000000000000007 01 08 0000000000000009 02 02 0002";
    assert_eq!(record.value, Some(bytes(value)));
    let id = TransactionalId::from("tx");
    assert_eq!(decode(&record), Ok(TransactionRecord::Transaction(id.clone(), Some(stored()))));
    let tombstone = transaction_tombstone(&id).unwrap();
    assert_eq!(decode(&tombstone), Ok(TransactionRecord::Transaction(id, None)));
}

#[test]
fn version_0_is_read() {
    let key = bytes("0000 0002 7478");
    let value = "0000 0000000000000007 0003 0000ea60 01
        00000001 0001 61 00000002 00000000 00000001
        0000000000000102 0000000000000101";
    let record = CoordinatorRecord { key, value: Some(bytes(value)) };
    let Ok(TransactionRecord::Transaction(_, Some(read))) = decode(&record) else { panic!() };
    let expected = Stored {
        producer: Producer { id: ProducerId(7), epoch: ProducerEpoch(3) },
        previous: ProducerId::NONE,
        next: ProducerId::NONE,
        state: TransactionState::Ongoing,
        partitions: ["a-0", "a-1"].map(partition).into(),
        client_level: 0,
        ..stored()
    };
    assert_eq!(read, expected);
}

#[test]
fn what_cannot_be_read_is_an_error_and_other_kinds_are_passed_over() {
    let record = transaction_record(&TransactionalId::from("tx"), &stored()).unwrap();
    let value = record.value.clone().unwrap();
    for end in 0..value.len() {
        let cut = CoordinatorRecord { value: Some(value.slice(..end)), ..record.clone() };
        assert_eq!(decode(&cut), Err(FieldError::Malformed), "value cut at {end}");
    }
    for (at, byte) in [(1, 2), (16, 8)] {
        let mut wrong = value.to_vec();
        wrong[at] = byte;
        let wrong = CoordinatorRecord { value: Some(wrong.into()), ..record.clone() };
        assert_eq!(decode(&wrong), Err(FieldError::Malformed), "byte {at}");
    }
    let other = CoordinatorRecord { key: bytes("0001 0002 7478"), ..record };
    assert_eq!(decode(&other), Ok(TransactionRecord::Unknown(1)));
    let long = TransactionalId::from("x".repeat(40_000));
    assert_eq!(transaction_record(&long, &stored()), Err(FieldError::TooLong));
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_error(
        kind in 0i16..2, key in prop::collection::vec(any::<u8>(), 0..40),
        version in 0i16..3, value in prop::option::of(prop::collection::vec(any::<u8>(), 0..120)),
    ) {
        let key = [&kind.to_be_bytes()[..], &key].concat().into();
        let value = value.map(|value| [&version.to_be_bytes()[..], &value].concat().into());
        let _ = decode(&CoordinatorRecord { key, value });
    }

    #[test]
    fn records_survive_a_round_trip(
        id in "[a-zé]{0,20}", numbers in any::<(i64, i64, i64, i16, i32)>(), times in any::<(i64, i64)>(),
        state in 1usize..6, partitions in prop::collection::btree_set("[a-c]{1,3}-[0-9]{1,2}", 0..6), level in 0i16..4,
    ) {
        let (producer, previous, next, epoch, timeout_ms) = numbers;
        let stored = Stored {
            producer: Producer { id: ProducerId(producer), epoch: ProducerEpoch(epoch) },
            previous: ProducerId(previous),
            next: ProducerId(next),
            timeout_ms,
            state: TransactionState::ALL[state],
            partitions: partitions.iter().map(|text| partition(text)).collect(),
            updated: Timestamp(times.0),
            started: Timestamp(times.1),
            client_level: level,
        };
        let id = TransactionalId::from(id);
        let record = transaction_record(&id, &stored).unwrap();
        prop_assert_eq!(decode(&record), Ok(TransactionRecord::Transaction(id, Some(stored))));
    }
}

#[test]
fn states_that_are_never_stored_leave_no_partition_open() {
    for state in [TransactionState::Dead, TransactionState::PrepareEpochFence] {
        let id = TransactionalId::from("tx");
        let open = transaction_record(&id, &Stored { state, ..stored() }).unwrap();
        let expected = Stored { state: TransactionState::Ongoing, ..stored() };
        assert_eq!(decode(&open), Ok(TransactionRecord::Transaction(id.clone(), Some(expected))));
        let bare = Stored { state, partitions: Default::default(), ..stored() };
        let expected = Stored { state: TransactionState::Empty, ..bare.clone() };
        let read = decode(&transaction_record(&id, &bare).unwrap());
        assert_eq!(read, Ok(TransactionRecord::Transaction(id, Some(expected))));
    }
}
