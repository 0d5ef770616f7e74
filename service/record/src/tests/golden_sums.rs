//! What Apache Kafka 4.3 summed up over its own batches: snapshots, transaction index, epoch checkpoint.

use tidelog_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::{at, batches, files, read};
use crate::limits::MAX_PRODUCER_STATE_BYTES;
use crate::{
    AbortedTransaction, AbortedTransactions, BatchSums, EndTransactionMarker, LeaderEpochs, OpenTransaction,
    ProducerStates, SnapshotError,
};

const SNAPSHOTS: [&str; 8] = [
    "__consumer_offsets-12/00000000000000000002",
    "__consumer_offsets-25/00000000000000000011",
    "__consumer_offsets-47/00000000000000000002",
    "__transaction_state-12/00000000000000000013",
    "fixture-0/00000000000000000312",
    "fixture-0/00000000000000000554",
    "fixture-0/00000000000000000738",
    "fixture-compact-0/00000000000000000121",
];

fn snapshot(name: &str) -> bytes::Bytes {
    read(&format!("log-dir/{name}.snapshot"))
}

fn decode(bytes: &[u8]) -> Result<ProducerStates, SnapshotError> {
    ProducerStates::decode_snapshot(bytes, at(5), MAX_PRODUCER_STATE_BYTES)
}

#[test]
fn snapshots_are_read_and_written_byte_for_byte() {
    for name in SNAPSHOTS {
        let bytes = snapshot(name);
        assert_eq!(decode(&bytes).unwrap().encode_snapshot(), bytes, "{name}");
    }
}

#[test]
fn a_snapshot_says_what_kafkas_dump_says() {
    let states = decode(&snapshot(SNAPSHOTS[5])).unwrap();
    assert_eq!(states.iter().map(|entry| entry.producer_id.get()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let entry = states.get(ProducerId(2)).unwrap();
    assert_eq!(entry.epoch, ProducerEpoch(2));
    assert_eq!(entry.coordinator_epoch, 0);
    assert_eq!(entry.open_transaction, None);
    assert_eq!(entry.last_timestamp, Timestamp(1_795_256_614_543));
    assert_eq!(entry.last_sequence(), Sequence(11));
    assert_eq!(entry.last_batch().unwrap().last_offset, Offset(363));
    assert_eq!(entry.last_batch().unwrap().base_offset(), Offset(352));
    assert_eq!(entry.last_batch().unwrap().first_sequence(), Sequence(0));
    assert_eq!(entry.last_seen, at(5).monotonic);
    let open = BatchSums::load(LeaderEpochs::new(), decode(&snapshot(SNAPSHOTS[4])).unwrap()).transactions;
    assert_eq!(open.first_open(), Some(OpenTransaction { producer_id: ProducerId(2), first_offset: Offset(300) }));
}

/// Applies the batches of a log folder in order; `visit` sees the sums after each.
fn replay(folder: &str, mut visit: impl FnMut(Offset, &BatchSums)) -> (BatchSums, AbortedTransactions) {
    let (mut sums, mut index) = (BatchSums::default(), AbortedTransactions::new());
    for batch in batches(folder) {
        let marker = EndTransactionMarker::of_batch(&batch).unwrap();
        let ended = sums.apply(batch.header(), marker, at(1));
        if let Some(aborted) = ended.and_then(|ended| ended.aborted()) {
            assert!(index.push(aborted));
        }
        visit(batch.header().next_offset(), &sums);
    }
    (sums, index)
}

#[test]
fn replaying_the_log_gives_kafkas_snapshots() {
    for folder in ["fixture-0", "__consumer_offsets-47", "__transaction_state-13", "__consumer_offsets-8"] {
        let mut wanted: Vec<(Offset, bytes::Bytes)> = files(folder, ".snapshot")
            .iter()
            .map(|name| (Offset(name[..20].parse().unwrap()), read(&format!("log-dir/{folder}/{name}"))))
            .collect();
        replay(folder, |end, sums| {
            if wanted.first().is_some_and(|(offset, _)| *offset == end) {
                assert_eq!(sums.producers.encode_snapshot(), wanted.remove(0).1, "{folder} at {end}");
            }
        });
        assert!(wanted.is_empty(), "{folder}: {} snapshots not reached", wanted.len());
    }
}

#[test]
fn replaying_from_a_snapshot_gives_the_same() {
    let mut sums = BatchSums::load(LeaderEpochs::new(), decode(&snapshot(SNAPSHOTS[4])).unwrap());
    for batch in batches("fixture-0").iter().filter(|batch| batch.header().base_offset >= Offset(312)) {
        sums.apply(batch.header(), EndTransactionMarker::of_batch(batch).unwrap(), at(9));
    }
    assert_eq!(sums.producers.encode_snapshot(), snapshot(SNAPSHOTS[6]));
    assert_eq!(sums.transactions.open_count(), 0);
    assert_eq!(sums.transactions.last_stable_offset(Offset(738)), Offset(738));
}

#[test]
fn replaying_the_log_gives_kafkas_transaction_index_and_epochs() {
    let (sums, index) = replay("fixture-0", |_, _| ());
    let bytes = read("log-dir/fixture-0/00000000000000000312.txnindex");
    assert_eq!(index.encode(), bytes);
    assert_eq!(AbortedTransactions::decode(&bytes), Ok(index.clone()));
    let entry = |producer, first, last, stable| AbortedTransaction {
        producer_id: ProducerId(producer),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    };
    assert_eq!(index.entries(), [entry(3, 313, 325, 326), entry(2, 352, 364, 365)]);
    let checkpoint = read("log-dir/fixture-0/leader-epoch-checkpoint");
    assert_eq!(sums.epochs.encode().as_bytes(), checkpoint);
    let decoded = LeaderEpochs::decode(std::str::from_utf8(&checkpoint).unwrap()).unwrap();
    assert_eq!(decoded, sums.epochs);
    assert_eq!(decoded.end_offset_for(LeaderEpoch(0), Offset(738)), (LeaderEpoch(0), Offset(738)));
}

#[test]
fn damaged_snapshots_and_indexes_are_refused() {
    let good = snapshot(SNAPSHOTS[6]);
    for position in 0..good.len() {
        let mut bad = good.to_vec();
        bad[position] ^= 0x40;
        assert!(decode(&bad).is_err(), "byte {position}");
        assert!(decode(&good[..position]).is_err(), "cut at {position}");
    }
    let good = read("log-dir/fixture-0/00000000000000000312.txnindex");
    for cut in 1..good.len() {
        let decoded = AbortedTransactions::decode(&good[..cut]);
        assert_eq!(decoded.is_ok(), cut == AbortedTransaction::LEN, "cut at {cut}");
    }
    let mut unknown = good.to_vec();
    unknown[1] = 1;
    assert_eq!(AbortedTransactions::decode(&unknown).unwrap_err().reason, "has an unknown version");
    let swapped = [&good[34..], &good[..34]].concat();
    assert_eq!(AbortedTransactions::decode(&swapped).unwrap_err().reason, "is out of order");
}
