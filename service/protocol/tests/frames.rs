//! Every recorded frame of Apache Kafka 4.3.0 for an API that has messages here: decoded and encoded again it must be
//! the same bytes, header and tagged fields included.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod generate;

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use generate::{Chance, all, injured, message};
use tidelog_protocol::header::{read_api_versions_response, read_response, request_frame_with_tags, response_frame};
use tidelog_protocol::messages::*;
use tidelog_protocol::{ApiKey, HeaderError, Message, Pieces, Request, RequestHeader, TABLE, each_api};

struct Recorded {
    key: i16,
    version: i16,
    request: Bytes,
    response: Bytes,
}

fn recorded() -> Vec<Recorded> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/kafka-4.3.0/frames.ndjson");
    let text = std::fs::read_to_string(path).unwrap();
    let decode = |value: &serde_json::Value| {
        Bytes::from(base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap())
    };
    text.lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            Recorded {
                key: value["api_key"].as_i64().unwrap() as i16,
                version: value["version"].as_i64().unwrap() as i16,
                request: decode(&value["request"]),
                response: decode(&value["response"]),
            }
        })
        .collect()
}

/// The frame's bytes without the size, after checking the size.
fn unframed(pieces: Pieces) -> Bytes {
    let announced = pieces.len() - 4;
    let bytes = pieces.into_bytes().unwrap();
    assert_eq!(bytes[..4], (announced as u32).to_be_bytes());
    assert_eq!(bytes.len(), announced + 4);
    bytes.slice(4..)
}

fn round_trip<R: Request>(recorded: &Recorded) {
    let (header, body) = RequestHeader::parse(recorded.request.clone()).unwrap();
    assert_eq!((header.api.code(), header.version), (recorded.key, recorded.version));
    let request = R::decode_last(body, header.version).unwrap();
    let again = request_frame_with_tags(
        header.version,
        header.correlation_id,
        header.client_id.as_ref(),
        &header.unknown_tags,
        &request,
    );
    assert_eq!(unframed(again.unwrap()), recorded.request, "{} v{} request", R::NAME, header.version);

    let (correlation_id, response) = read_response::<R>(recorded.response.clone(), header.version).unwrap();
    assert_eq!(correlation_id, header.correlation_id);
    let again = response_frame(header.version, correlation_id, &response);
    assert_eq!(unframed(again.unwrap()), recorded.response, "{} v{} response", R::NAME, header.version);
}

#[test]
fn recorded_frames_decode_and_encode_to_the_same_bytes() {
    let mut seen: BTreeMap<ApiKey, usize> = BTreeMap::new();
    for frame in recorded() {
        let Some(api) = ApiKey::from_code(frame.key) else { continue };
        *seen.entry(api).or_default() += 1;
        macro_rules! round_trip {
            ($($name:ident: $request:ident => $response:ident;)*) => {
                match api { $(ApiKey::$name => round_trip::<$request>(&frame),)* }
            };
        }
        each_api!(round_trip);
    }
    // The recording has frames of every served API but these.
    let absent: Vec<&str> = TABLE.iter().filter(|api| !seen.contains_key(&api.key)).map(|api| api.name).collect();
    let expected = [
        "SaslHandshake",
        "OffsetForLeaderEpoch",
        "AlterConfigs",
        "AlterReplicaLogDirs",
        "DescribeLogDirs",
        "SaslAuthenticate",
        "RenewDelegationToken",
        "ExpireDelegationToken",
        "DescribeDelegationToken",
        "UpdateFeatures",
        "UnregisterBroker",
    ];
    assert_eq!(absent, expected);
    assert!(seen.values().sum::<usize>() >= 100, "{seen:?}");
}

#[test]
fn injured_frames_never_panic() {
    let mut refused = 0;
    for (frame, seed) in recorded().into_iter().zip(0u64..) {
        let mut chance = Chance(seed);
        for _ in 0..300 {
            let request = injured(&frame.request, &mut chance);
            let response = injured(&frame.response, &mut chance);
            let accepted = RequestHeader::parse(request).is_ok_and(|(header, body)| match header.api {
                ApiKey::Produce => ProduceRequest::decode_last(body, header.version).is_ok(),
                ApiKey::Fetch => FetchRequest::decode_last(body, header.version).is_ok(),
                ApiKey::Metadata => MetadataRequest::decode_last(body, header.version).is_ok(),
                ApiKey::JoinGroup => JoinGroupRequest::decode_last(body, header.version).is_ok(),
                _ => true,
            });
            let read = match frame.key {
                0 => read_response::<ProduceRequest>(response, frame.version).is_ok(),
                1 => read_response::<FetchRequest>(response, frame.version).is_ok(),
                3 => read_response::<MetadataRequest>(response, frame.version).is_ok(),
                18 => read_api_versions_response(response, frame.version).is_ok(),
                _ => true,
            };
            refused += usize::from(!accepted) + usize::from(!read);
        }
    }
    assert!(refused > 10_000, "{refused}");
}

/// Recorded frames, and made-up messages of every API in every version. `TIDELOG_FUZZ_SECONDS` sets for how long (1), `TIDELOG_SEED` repeats
/// the choices. What is accepted comes back as the same message.
#[test]
#[allow(clippy::disallowed_methods)] // how long the test runs is its own business
fn hostile_bytes_of_every_api_never_panic() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = number("TIDELOG_FUZZ_SECONDS").unwrap_or(1);
    let seed = number("TIDELOG_SEED").unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    println!("TIDELOG_SEED={seed} repeats the choices");
    let (frames, described, mut chance) = (recorded(), all(), Chance(seed));
    let (began, mut accepted, mut refused) = (std::time::Instant::now(), 0u64, 0u64);
    let mut count = |is_message: bool| *(if is_message { &mut accepted } else { &mut refused }) += 1;
    while began.elapsed().as_secs() < seconds {
        for frame in &frames {
            let request = RequestHeader::parse(injured(&frame.request, &mut chance));
            count(request.is_ok_and(|(header, body)| {
                macro_rules! again {
                    ($($name:ident: $request:ident => $response:ident;)*) => {
                        match header.api { $(ApiKey::$name => comes_back($request::decode_last(body, header.version), header.version),)* }
                    };
                }
                each_api!(again)
            }));
            let response = injured(&frame.response, &mut chance);
            count(ApiKey::from_code(frame.key).is_some_and(|api| {
                macro_rules! again {
                    ($($name:ident: $request:ident => $response:ident;)*) => {
                        match api {
                            $(ApiKey::$name => comes_back(
                                read_response::<$request>(response, frame.version).map(|(_, answer)| answer),
                                frame.version,
                            ),)*
                        }
                    };
                }
                each_api!(again)
            }));
        }
        for one in &described {
            for version in one.versions.iter() {
                let bytes = injured(&message(one, version, &mut chance), &mut chance);
                let again = (one.round_trip)(bytes.clone(), version);
                count(again.is_ok());
                if let Ok(again) = again {
                    let same = (one.debug)(again, version) == (one.debug)(bytes.clone(), version);
                    assert!(same, "{} v{version}, seed {seed}: {bytes:02x?}", one.name);
                }
            }
        }
    }
    println!("{accepted} frames accepted, {refused} refused");
    assert!(accepted > 0 && refused > 0);
}

/// Whether it is a message, which then is the same after it was written and read again.
fn comes_back<M: Message + std::fmt::Debug, E>(read: Result<M, E>, version: i16) -> bool {
    read.is_ok_and(|message| {
        let again = M::from_bytes(message.to_bytes(version).unwrap(), version).unwrap();
        // Not by `==`: a number that is none equals nothing.
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
        true
    })
}

#[test]
fn frames_of_apis_that_are_not_served_say_which() {
    let mut others = 0;
    for frame in recorded().into_iter().filter(|frame| ApiKey::from_code(frame.key).is_none()) {
        let error = RequestHeader::parse(frame.request.clone()).unwrap_err();
        let HeaderError::UnknownApi { key, version, .. } = error else { panic!("{error}") };
        assert_eq!((key, version), (frame.key, frame.version));
        others += 1;
    }
    assert!(others > 0);
}

#[test]
fn the_table_is_kafkas() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/kafka-4.3.0/observed.json");
    let observed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let kafka: BTreeMap<i64, (&str, i64, i64)> = observed["apis"]
        .as_array()
        .unwrap()
        .iter()
        .map(|api| {
            let number = |name: &str| api[name].as_i64().unwrap();
            (number("key"), (api["name"].as_str().unwrap(), number("min"), number("max")))
        })
        .collect();
    for (key, (name, ..)) in &kafka {
        assert_eq!(tidelog_protocol::api::kafka_name(*key as i16), Some(*name));
    }
    for row in TABLE {
        let ours = (row.name, i64::from(row.advertised.min), i64::from(row.advertised.max));
        assert_eq!(kafka[&i64::from(row.key.code())], ours);
        assert_eq!(row.key.row(), *row);
        assert_eq!(ApiKey::from_code(row.key.code()), Some(row.key));
    }
}

#[test]
fn decoded_values_make_sense() {
    let frames = recorded();
    let newest = |key: ApiKey| frames.iter().rev().find(|f| f.key == key.code()).unwrap();

    let frame = newest(ApiKey::ApiVersions);
    let (_, answer) = read_response::<ApiVersionsRequest>(frame.response.clone(), frame.version).unwrap();
    assert_eq!(answer.error_code, 0);
    let produce = answer.api_keys.iter().find(|api| api.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));

    // Records are slices of the frame, not copies.
    for frame in frames.iter().filter(|f| f.key == ApiKey::Produce.code()) {
        let (header, body) = RequestHeader::parse(frame.request.clone()).unwrap();
        let request = ProduceRequest::decode_last(body, header.version).unwrap();
        for partition in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
            let records = partition.records.as_ref().unwrap().bytes().unwrap();
            assert!(frame.request.as_ptr_range().contains(&records.as_ptr()));
            assert_eq!(records[16], 2, "magic of a v2 batch");
        }
    }
}
