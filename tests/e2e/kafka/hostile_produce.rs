//! Batches that lie: a clear error for that partition, nothing stored, the connection goes on.

use tidelog_harness::bytes::{Bytes, BytesMut};
use tidelog_harness::kafka::{read_all, texts};
use tidelog_harness::model::{KafkaError, Offset, Timestamp};
use tidelog_harness::protocol::messages::ProduceRequest;
use tidelog_harness::raw::{Raw, batch, produce};
use tidelog_harness::record::{BatchBuilder, BatchHeader};

use crate::{create, server};

/// Where a batch's length, magic, checksum, last offset delta and count stand.
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const DELTA_AT: usize = 23;
const COUNT_AT: usize = 57;

/// The batch with other bytes at a place; its checksum is set right.
fn changed(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut lie = BytesMut::from(&batch[..]);
    lie[at..at + bytes.len()].copy_from_slice(bytes);
    seal(lie)
}

fn seal(mut batch: BytesMut) -> Bytes {
    let crc = crc32c(&batch[CRC_AT + 4..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

/// CRC-32C, bit by bit: written here so that the test does not share the product's.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[test]
fn batches_that_lie_are_refused_and_others_are_stored() {
    let mut server = server();
    create(&server, "t", 1, &[]);
    let good = batch(&[b"one", b"two"]);
    let header_only = {
        let mut header = BytesMut::from(&good[..BatchHeader::LEN]);
        header[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&(BatchHeader::LEN as i32 - 12).to_be_bytes());
        header[DELTA_AT..DELTA_AT + 4].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
        header[COUNT_AT..COUNT_AT + 4].copy_from_slice(&i32::MAX.to_be_bytes());
        seal(header)
    };
    assert_eq!(header_only.len(), 61);
    let mut wrong_crc = BytesMut::from(&good[..]);
    wrong_crc[CRC_AT] ^= 1;
    let mut flipped = BytesMut::from(&good[..]);
    *flipped.last_mut().unwrap() ^= 1;
    let (corrupt, invalid) = (KafkaError::CorruptMessage, KafkaError::InvalidRecord);
    let lies: [(&str, Bytes, KafkaError); 12] = [
        ("61 bytes that announce 2^31 - 1 records", header_only, invalid),
        ("two batches", [&good[..], &good[..]].concat().into(), invalid),
        ("wrong checksum", wrong_crc.freeze(), corrupt),
        ("a flipped bit in a record", flipped.freeze(), corrupt),
        ("magic 1", changed(&good, MAGIC_AT, &[1]), invalid),
        ("magic 3", changed(&good, MAGIC_AT, &[3]), corrupt),
        ("count above the last offset delta", changed(&good, COUNT_AT, &9i32.to_be_bytes()), invalid),
        ("negative count", changed(&good, COUNT_AT, &(-2i32).to_be_bytes()), invalid),
        ("length beyond the bytes", changed(&good, LENGTH_AT, &5000i32.to_be_bytes()), invalid),
        ("negative length", changed(&good, LENGTH_AT, &(-5i32).to_be_bytes()), corrupt),
        ("61 zeros behind the batch", [&good[..], &[0; 61]].concat().into(), corrupt),
        ("nothing", Bytes::new(), invalid),
    ];
    let mut raw = Raw::connect(server.kafka());
    let mut stored = Vec::new();
    let mut wrong = Vec::new();
    for (n, (name, lie, expected)) in lies.into_iter().enumerate() {
        let answer = raw.call(7, &produce("t", 0, -1, lie));
        let code = answer.responses[0].partition_responses[0].error_code;
        if code != expected.code() {
            wrong.push(format!("{name}: {:?} instead of {expected:?}", KafkaError::from_code(code)));
        }
        // The same connection goes on, and offsets have no gap.
        let value = format!("good {n}");
        let answer = raw.call(7, &produce("t", 0, -1, batch(&[value.as_bytes()])));
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, n as i64), "after {name}");
        stored.push(value);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(texts(&read_all(server.kafka(), "t", &[0])[&0]), stored);
    server.kill();
    server.start_again();
    assert_eq!(texts(&read_all(server.kafka(), "t", &[0])[&0]), stored);
}

#[test]
fn requests_that_ask_for_the_impossible_hear_why() {
    let server = server();
    create(&server, "t", 1, &[]);
    let mut raw = Raw::connect(server.kafka());
    let mut code = |request: &ProduceRequest| raw.call(7, request).responses[0].partition_responses[0].error_code;
    let good = || batch(&[b"x"]);
    assert_eq!(code(&produce("t", 99, -1, good())), KafkaError::UnknownTopicOrPartition.code());
    assert_eq!(code(&produce("t", -1, -1, good())), KafkaError::UnknownTopicOrPartition.code());
    assert_eq!(code(&produce("unknown", 0, -1, good())), KafkaError::UnknownTopicOrPartition.code());
    assert_eq!(code(&produce("t", 0, 7, good())), KafkaError::InvalidRequiredAcks.code());
    assert_eq!(code(&produce("t", 0, 1, good())), 0);
}

/// KIP-467: a client blames the records that are named, and tells of the others that they were in their company. The partition's start
/// comes along (KIP-360).
#[test]
fn the_records_at_fault_are_named() {
    let server = server();
    create(&server, "c", 1, &["cleanup.policy=compact"]);
    let mut builder = BatchBuilder::new(Offset::ZERO);
    for key in [Some(&b"k"[..]), None, Some(b"l"), None] {
        builder.push(Timestamp(1), key, Some(b"v"), &[]).unwrap();
    }
    let records = builder.build().unwrap().into_bytes();
    let mut raw = Raw::connect(server.kafka());
    let answer = raw.call(9, &produce("c", 0, -1, records));
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, KafkaError::InvalidRecord.code());
    assert_eq!((partition.base_offset, partition.log_start_offset), (-1, 0));
    assert_eq!(partition.record_errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(), [1, 3]);
    for error in &partition.record_errors {
        assert_eq!(error.batch_index_error_message.as_deref(), Some("it has no key, which a compacted topic requires"));
    }
    let sentence = partition.error_message.as_deref().unwrap();
    assert!(sentence.starts_with("record 1 is refused: it has no key"), "{sentence}");
}
