//! What holds for every message and version: valid bytes come back the same, hostile ones are errors, never a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod generate;

use bytes::Bytes;
use generate::{Chance, all, injured, message};
use proptest::prelude::*;
use tidelog_protocol::{HeaderError, RequestHeader};

const MESSAGES_PER_VERSION: usize = 60;
const INJURIES_PER_MESSAGE: usize = 10;

#[test]
fn the_list_has_every_message() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/messages");
    let mut described = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        described += std::fs::read_to_string(entry.unwrap().path()).unwrap().matches("\nmessage! {").count();
    }
    assert_eq!(all().len(), described);
}

#[test]
fn valid_messages_of_every_version_come_back_as_the_same_bytes() {
    for described in all() {
        for version in described.versions.iter() {
            for seed in 0..MESSAGES_PER_VERSION {
                let bytes = message(&described, version, &mut Chance(seed as u64));
                let again = (described.round_trip)(bytes.clone(), version);
                let same = again.as_ref() == Ok(&bytes);
                assert!(same, "{} v{version} seed {seed}: {bytes:02x?} became {again:02x?}", described.name);
            }
        }
    }
}

#[test]
fn injured_messages_are_errors_or_other_messages() {
    let (mut errors, mut messages) = (0, 0);
    for described in all() {
        for version in described.versions.iter() {
            for seed in 0..MESSAGES_PER_VERSION as u64 {
                let mut chance = Chance(seed ^ 0xbad);
                let bytes = message(&described, version, &mut chance);
                for _ in 0..INJURIES_PER_MESSAGE {
                    match (described.round_trip)(injured(&bytes, &mut chance), version) {
                        Ok(_) => messages += 1,
                        Err(_) => errors += 1,
                    }
                }
            }
        }
    }
    // Both happen often, or the injuries prove nothing.
    assert!(errors > 10_000 && messages > 10_000, "{errors} errors, {messages} messages");
}

#[test]
fn every_cut_of_a_message_is_an_error() {
    for described in all() {
        for version in described.versions.iter() {
            let bytes = message(&described, version, &mut Chance(7));
            for end in 0..bytes.len().min(400) {
                let cut = (described.round_trip)(bytes.slice(..end), version);
                assert!(cut.is_err(), "{} v{version} cut at {end} of {}", described.name, bytes.len());
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        for described in all() {
            for version in described.versions.iter() {
                let _ = (described.round_trip)(bytes.clone(), version);
            }
        }
    }

    #[test]
    fn arbitrary_frames_have_a_header_or_an_error(
        key in 0i16..95, version in -1i16..20, rest in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let frame: Vec<u8> = [&key.to_be_bytes()[..], &version.to_be_bytes(), &rest].concat();
        let short = frame.len() < 8;
        match RequestHeader::parse(Bytes::from(frame)) {
            Ok((header, _)) => prop_assert!(header.api.row().implemented.contains(version)),
            Err(error) => prop_assert_eq!(short, matches!(error, HeaderError::TooShort { .. })),
        }
    }
}
