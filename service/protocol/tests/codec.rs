//! The codec's own rules: headers, pieces, versions, nulls, tags, limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use tidelog_protocol::header::{
    read_api_versions_response, read_response, request_frame, request_frame_with_tags, response_frame,
};
use tidelog_protocol::messages::*;
use tidelog_protocol::{
    ApiKey, DecodeError, Decoder, EncodeError, HeaderError, Message, Piece, RawTag, Records, Request, RequestHeader,
    Response, Str, limits,
};

fn body<M: Message>(bytes: &[u8], version: i16) -> Result<M, DecodeError> {
    M::from_bytes(Bytes::copy_from_slice(bytes), version)
}

#[test]
fn short_frames_are_errors() {
    for length in 0..8 {
        let frame = Bytes::from(vec![0; length]);
        assert_eq!(RequestHeader::parse(frame).unwrap_err(), HeaderError::TooShort { length });
    }
    // Metadata v9: the client id is cut off, then the tags are.
    let frame = [0, 3, 0, 9, 0, 0, 0, 1, 0, 5, b'a'];
    let error = RequestHeader::parse(Bytes::copy_from_slice(&frame)).unwrap_err();
    assert!(matches!(error, HeaderError::Malformed(DecodeError::LengthBeyondFrame { at: 10, announced: 5, left: 1 })));
    let error = RequestHeader::parse(Bytes::copy_from_slice(&frame[..8])).unwrap_err();
    assert!(matches!(error, HeaderError::Malformed(DecodeError::Truncated { at: 8, needed: 2, left: 0 })));
}

#[test]
fn unsupported_versions_and_apis_are_told_apart() {
    let parse = |key: i16, version: i16| {
        let mut frame = Vec::new();
        frame.extend(key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(77i32.to_be_bytes());
        frame.extend([0xff, 0xff, 0]);
        RequestHeader::parse(Bytes::from(frame)).map(|(header, _)| header.version)
    };
    let unsupported = |api, version| HeaderError::UnsupportedVersion { api, version, correlation_id: 77 };
    assert_eq!(parse(18, 3), Ok(3));
    assert_eq!(parse(18, 5), Err(unsupported(ApiKey::ApiVersions, 5)));
    assert_eq!(parse(18, -1), Err(unsupported(ApiKey::ApiVersions, -1)));
    // Advertised, not implemented.
    assert_eq!(parse(0, 2), Err(unsupported(ApiKey::Produce, 2)));
    assert_eq!(parse(5, 0), Err(HeaderError::UnknownApi { key: 5, version: 0, correlation_id: 77 }));
    assert_eq!(parse(5, 0).unwrap_err().to_string(), "API key 5 (StopReplica) is not served");
    assert_eq!(parse(-7, 0).unwrap_err().to_string(), "API key -7 (unknown to Kafka) is not served");
}

#[test]
fn the_four_byte_body_that_announces_two_billion_elements() {
    let expected = DecodeError::LengthBeyondFrame { at: 4, announced: i32::MAX as u64, left: 0 };
    assert_eq!(body::<MetadataRequest>(&[0x7f, 0xff, 0xff, 0xff], 0).unwrap_err(), expected);
    // The same in compact form, and a negative length that is not null.
    let compact = body::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xff, 0x0f], 9).unwrap_err();
    assert_eq!(compact, DecodeError::LengthBeyondFrame { at: 5, announced: u64::from(u32::MAX) - 1, left: 0 });
    let negative = body::<MetadataRequest>(&[0x80, 0, 0, 0], 1).unwrap_err();
    assert_eq!(negative, DecodeError::NegativeLength { at: 4, length: i32::MIN });
    let varint = body::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xff, 0x1f], 9).unwrap_err();
    assert_eq!(varint, DecodeError::Varint { at: 0 });
    // Twelve bytes of Produce: transactional id null, acks, time-out, 2^31 - 1 topics.
    let produce = body::<ProduceRequest>(&[0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff], 3).unwrap_err();
    assert_eq!(produce, DecodeError::LengthBeyondFrame { at: 12, announced: i32::MAX as u64, left: 0 });
}

#[test]
fn a_batch_that_lies_is_carried_untouched() {
    // A 61-byte batch header that announces 2^31 - 1 records: the codec hands it on as bytes, whatever it says.
    let mut batch = vec![0u8; 61];
    batch[57..].copy_from_slice(&i32::MAX.to_be_bytes());
    let request = produce_of(Records::Bytes(Bytes::from(batch.clone())));
    let bytes = request.to_bytes(9).unwrap();
    let again = ProduceRequest::from_bytes(bytes, 9).unwrap();
    let records = again.topic_data[0].partition_data[0].records.as_ref().unwrap();
    assert_eq!(records.bytes().unwrap(), &batch);
}

#[test]
fn trailing_bytes_and_bad_text_are_errors() {
    let heartbeat = HeartbeatRequest { group_id: Str::from("g"), ..Default::default() };
    let mut bytes = heartbeat.to_bytes(0).unwrap().to_vec();
    bytes.push(7);
    assert_eq!(body::<HeartbeatRequest>(&bytes, 0).unwrap_err(), DecodeError::Trailing { at: 9, left: 1 });
    bytes[2] = 0xff;
    assert_eq!(body::<HeartbeatRequest>(&bytes, 0).unwrap_err(), DecodeError::NotUtf8 { at: 2 });
    assert_eq!(body::<HeartbeatRequest>(&[0xff, 0xff], 0).unwrap_err(), DecodeError::Null { at: 2 });
    let version = DecodeError::Version { message: "HeartbeatRequest", version: 5 };
    assert_eq!(body::<HeartbeatRequest>(&[], 5).unwrap_err(), version);
}

#[test]
fn null_follows_the_version() {
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(all.to_bytes(0).unwrap_err(), EncodeError::Null { field: "MetadataRequest.topics", version: 0 });
    assert_eq!(all.to_bytes(1).unwrap(), [0xff; 4].as_slice());
    assert_eq!(body::<MetadataRequest>(&[0xff; 4], 1).unwrap(), all);
    assert_eq!(body::<MetadataRequest>(&[0xff; 4], 0).unwrap_err(), DecodeError::Null { at: 4 });
}

#[test]
fn a_value_that_a_version_lacks_is_dropped_only_if_ignorable() {
    let follower = FetchRequest { replica_id: 3, ..Default::default() };
    assert!(follower.to_bytes(14).is_ok());
    let field = EncodeError::FieldNotInVersion { field: "FetchRequest.replica_id", version: 15 };
    assert_eq!(follower.to_bytes(15).unwrap_err(), field);
    let rack = FetchRequest { rack_id: Str::from("r"), ..Default::default() };
    assert_eq!(rack.to_bytes(10).unwrap(), FetchRequest::default().to_bytes(10).unwrap());
    assert_eq!(rack.to_bytes(19).unwrap_err(), EncodeError::Version { message: "FetchRequest", version: 19 });
    let state = ReplicaState { replica_id: 3, ..Default::default() };
    let tagged = FetchRequest { replica_state: state, ..Default::default() };
    let field = EncodeError::FieldNotInVersion { field: "FetchRequest.replica_state", version: 14 };
    assert_eq!(tagged.to_bytes(14).unwrap_err(), field);
    assert_eq!(FetchRequest::from_bytes(tagged.to_bytes(15).unwrap(), 15).unwrap(), tagged);
}

#[test]
fn long_strings_are_errors_only_where_the_length_has_two_bytes() {
    let group_id = Str::from("g".repeat(i16::MAX as usize + 1));
    let heartbeat = HeartbeatRequest { group_id, ..Default::default() };
    assert_eq!(heartbeat.to_bytes(3).unwrap_err(), EncodeError::TooLong { length: 32_768 });
    assert_eq!(HeartbeatRequest::from_bytes(heartbeat.to_bytes(4).unwrap(), 4).unwrap(), heartbeat);
}

#[test]
fn unknown_tags_survive_in_their_places() {
    let tag = |tag, value: &'static [u8]| RawTag { tag, value: Bytes::from_static(value) };
    let request = FetchRequest {
        cluster_id: Some(Str::from("c")),
        replica_state: ReplicaState { replica_id: 1, replica_epoch: 2, unknown_tags: vec![tag(9, b"in")] },
        unknown_tags: vec![tag(2, b"two"), tag(70_000, &[7; 200])],
        ..Default::default()
    };
    let bytes = request.to_bytes(15).unwrap();
    assert_eq!(FetchRequest::from_bytes(bytes.clone(), 15).unwrap(), request);

    let header_tags = [tag(0, b"x"), tag(5, b"")];
    let frame = request_frame_with_tags(15, 4, None, &header_tags, &request).unwrap().into_bytes().unwrap();
    let (header, rest) = RequestHeader::parse(frame.slice(4..)).unwrap();
    assert_eq!(header.unknown_tags, header_tags);
    assert_eq!(rest.remaining(), bytes.len());

    // An unknown tag that sorts before a known one.
    let response = ProduceResponse { unknown_tags: vec![tag(3, b"later")], ..Default::default() };
    assert_eq!(ProduceResponse::from_bytes(response.to_bytes(10).unwrap(), 10).unwrap(), response);
}

#[test]
fn tagged_fields_that_break_their_size_are_errors() {
    // FetchRequest v15 with no topics, then tag 1 of the wrong size.
    let bare = FetchRequest::default().to_bytes(15).unwrap();
    let with = |section: &[u8]| {
        let mut bytes = bare[..bare.len() - 1].to_vec();
        bytes.extend(section);
        body::<FetchRequest>(&bytes, 15)
    };
    let state = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0];
    let section = |size: u8| [&[1, 1, size], state.as_slice()].concat();
    assert_eq!(with(&section(13)).unwrap().replica_state.replica_id, 1);
    assert!(matches!(with(&section(12)), Err(DecodeError::Truncated { .. })));
    assert!(matches!(with(&section(14)), Err(DecodeError::LengthBeyondFrame { .. })));
    let mut longer = section(14);
    longer.push(0);
    assert!(matches!(with(&longer), Err(DecodeError::Trailing { left: 1, .. })));
    assert!(matches!(with(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(DecodeError::Truncated { .. })));
}

fn produce_of(records: Records) -> ProduceRequest {
    let partition = PartitionProduceData { index: 0, records: Some(records), ..Default::default() };
    let topic = TopicProduceData { name: Str::from("t"), partition_data: vec![partition], ..Default::default() };
    ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() }
}

fn fetch_of(all: &[Records]) -> FetchResponse {
    let partitions = all
        .iter()
        .zip(0..)
        .map(|(records, partition_index)| PartitionData {
            partition_index,
            records: Some(records.clone()),
            ..Default::default()
        })
        .collect();
    let topic = FetchableTopicResponse { topic: Str::from("t"), partitions, ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

#[test]
fn file_ranges_become_holes_where_their_bytes_would_be() {
    let large = vec![0xabu8; limits::MAX_COPIED_BYTES + 1];
    let small = Bytes::from_static(b"small");
    for version in FetchResponse::VERSIONS.iter() {
        let external = fetch_of(&[
            Records::External { token: 7, len: 1_000 },
            Records::Bytes(Bytes::from(large.clone())),
            Records::External { token: 8, len: 0 },
            Records::Bytes(small.clone()),
            Records::External { token: 9, len: 300_000 },
        ]);
        let internal = fetch_of(&[
            Records::Bytes(Bytes::from(vec![7; 1_000])),
            Records::Bytes(Bytes::from(large.clone())),
            Records::Bytes(Bytes::new()),
            Records::Bytes(small.clone()),
            Records::Bytes(Bytes::from(vec![9; 300_000])),
        ]);
        let pieces = response_frame(version, 5, &external).unwrap();
        let expected = response_frame(version, 5, &internal).unwrap().into_bytes().unwrap();
        assert_eq!(pieces.len(), expected.len());
        assert_eq!(pieces.as_slice().iter().map(Piece::len).sum::<usize>(), pieces.len());
        assert_eq!(pieces.clone().into_bytes().unwrap_err(), EncodeError::External);
        let holes: Vec<(u32, u32)> = pieces
            .as_slice()
            .iter()
            .filter_map(|piece| match piece {
                Piece::Hole { token, len } => Some((*token, *len)),
                Piece::Bytes(_) => None,
            })
            .collect();
        assert_eq!(holes, [(7, 1_000), (9, 300_000)]);
        // Filled by the caller, the pieces are the frame.
        let mut filled = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => filled.extend_from_slice(&bytes),
                Piece::Hole { token, len } => filled.extend(std::iter::repeat_n(token as u8, len as usize)),
            }
        }
        assert!(filled == expected);
        let (_, decoded) = read_response::<FetchRequest>(expected.slice(4..), version).unwrap();
        let records = |answer: &FetchResponse| -> Vec<Option<Records>> {
            answer.responses[0].partitions.iter().map(|partition| partition.records.clone()).collect()
        };
        assert!(records(&decoded) == records(&internal));
    }
}

#[test]
fn large_records_are_shared_not_copied() {
    let records = Bytes::from(vec![1u8; limits::MAX_COPIED_BYTES + 1]);
    let pieces = request_frame(9, 1, None, &produce_of(Records::Bytes(records.clone()))).unwrap();
    let [Piece::Bytes(_), Piece::Bytes(shared), Piece::Bytes(_)] = pieces.as_slice() else { panic!("{pieces:?}") };
    assert_eq!(shared.as_ptr(), records.as_ptr());
}

#[test]
fn large_bytes_inside_a_tagged_field_keep_the_sizes_right() {
    let value = Bytes::from(vec![5u8; 2 * limits::MAX_COPIED_BYTES]);
    let tags = vec![RawTag { tag: 4, value: value.clone() }, RawTag { tag: 6, value }];
    let request = ProduceRequest { unknown_tags: tags, ..Default::default() };
    assert_eq!(ProduceRequest::from_bytes(request.to_bytes(9).unwrap(), 9).unwrap(), request);
}

#[test]
fn many_tiny_elements_hit_the_budget_before_memory_does() {
    // Each one-byte element of the frame would become a struct of some hundred bytes.
    let count = 4_000_000u32;
    let mut bytes = Vec::new();
    let mut length = count + 1;
    while length > 0x7f {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.resize(bytes.len() + 20 * count as usize, 1);
    let error = body::<FindCoordinatorRequest>(&[&[0u8][..], &bytes].concat(), 4).unwrap_err();
    assert!(matches!(error, DecodeError::TooManyElements { .. }), "{error}");
}

#[test]
fn the_answer_to_an_unknown_version_of_api_versions_is_read_as_version_0() {
    let refusal = ApiVersionsResponse {
        error_code: 35,
        api_keys: vec![ApiVersion { api_key: 18, max_version: 4, ..Default::default() }],
        ..Default::default()
    };
    let frame = response_frame(0, 9, &refusal).unwrap().into_bytes().unwrap();
    assert_eq!(read_api_versions_response(frame.slice(4..), 4).unwrap(), (9, refusal));
    // In its own version the response's header has no tags even where the body has (KIP-511).
    let answer = ApiVersionsResponse { finalized_features_epoch: 3, ..Default::default() };
    let frame = response_frame(4, 9, &answer).unwrap().into_bytes().unwrap();
    assert_eq!(frame.slice(4..10), [0, 0, 0, 9, 0, 0].as_slice());
    assert_eq!(read_api_versions_response(frame.slice(4..), 4).unwrap(), (9, answer));
}

#[test]
fn strings_act_as_str() {
    let text = Str::from("topic");
    assert_eq!(text, "topic");
    assert_eq!(&*text, "topic");
    assert_eq!(format!("{text} {text:?}"), "topic \"topic\"");
    let longer = Str::from("topics");
    assert!(text < longer && text.starts_with("to"));
    let map = std::collections::BTreeMap::from([(text, 1)]);
    assert_eq!(map.get("topic"), Some(&1));
    assert_eq!(Str::from_utf8(Bytes::from_static(&[0xff])), None);
    const NAME: Str = Str::from_static("name");
    assert_eq!(NAME.as_str(), "name");
}

/// As librdkafka wrote it for a group of Kafka 4.3 that read one partition.
#[test]
fn an_assignment_of_a_newer_version_is_read_as_the_last_known() {
    let real = b"\0\0\0\0\0\x01\0\x07fixture\0\0\0\x01\0\0\0\0\0\0\0\0";
    let assignment = decode_assignment(Bytes::from_static(real)).unwrap();
    assert_eq!(assignment.assigned_partitions[0].topic, Str::from("fixture"));
    assert_eq!(assignment.assigned_partitions[0].partitions, [0]);
    assert_eq!([&[0, 0], &*assignment.to_bytes(0).unwrap()].concat(), real);
    let newer = [&[0, 9], &real[2..], b"of the future"].concat();
    assert_eq!(decode_assignment(newer.into()).unwrap(), assignment);
    let error = decode_assignment(Bytes::from_static(&[0xff, 0xff, 0, 0]));
    assert!(matches!(error, Err(DecodeError::Version { version: -1, .. })));
}

#[test]
fn requests_and_responses_share_their_key() {
    fn key<R: Request>() -> i16 {
        assert_eq!(R::KEY, <R::Response as Response>::KEY);
        assert!(R::NAME.ends_with("Request") && R::Response::NAME.ends_with("Response"));
        R::KEY
    }
    assert_eq!(key::<FetchRequest>(), ApiKey::Fetch.code());
    assert_eq!(ApiKey::Fetch.row().implemented.highest_common(tidelog_protocol::Versions::new(0, 11)), Some(11));
    assert_eq!(ApiKey::Fetch.row().implemented.highest_common(tidelog_protocol::Versions::new(0, 3)), None);
}

#[test]
fn a_decoder_ends_where_the_frame_ends() {
    let mut from = Decoder::new(Bytes::from_static(&[1, 2, 3]));
    assert_eq!(from.i16(), Ok(0x0102));
    assert_eq!(from.i16(), Err(DecodeError::Truncated { at: 2, needed: 2, left: 1 }));
    assert_eq!((from.position(), from.remaining()), (2, 1));
    assert_eq!(from.bytes(2), Err(DecodeError::LengthBeyondFrame { at: 2, announced: 2, left: 1 }));
    assert_eq!(from.finish(), Err(DecodeError::Trailing { at: 2, left: 1 }));
}
