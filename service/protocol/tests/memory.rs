//! What hostile bytes can make the codec allocate, measured by the peak of the process's address space: a
//! reservation counts there even if it is never touched. The only test of its process, so that nothing else allocates.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod generate;

use bytes::Bytes;
use generate::{Chance, all, injured, message};
use tidelog_protocol::limits;

/// The peak size of the address space, bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn announced_lengths_allocate_nothing_that_is_not_there() {
    let messages = all();
    let before = peak();
    // Small frames: every message, with huge lengths in random places.
    for described in &messages {
        for version in described.versions.iter() {
            for seed in 0..40 {
                let mut chance = Chance(seed);
                let bytes = message(described, version, &mut chance);
                for _ in 0..10 {
                    let _ = (described.round_trip)(injured(&bytes, &mut chance), version);
                }
            }
        }
    }
    let small = peak() - before;
    assert!(small < 16 * 1024 * 1024, "small frames took {small} bytes");

    // Large frames in which wherever a count stands it says some four million, and so much is there: the elements
    // hit the budget. What counts beside it is the doubling of an array while it grows.
    let mut frames = Vec::new();
    for pattern in [[0, 0x40, 0, 0], [0xff, 0xff, 0xff, 1]] {
        frames.push(Bytes::from(pattern.repeat(2 * 1024 * 1024)));
    }
    let before = peak();
    for described in &messages {
        let newest = described.versions.max;
        let oldest = described.versions.min;
        for (frame, shift) in frames.iter().flat_map(|frame| (0..4).map(move |shift| (frame, shift))) {
            for version in [oldest, newest] {
                let _ = (described.round_trip)(frame.slice(shift..), version);
            }
        }
    }
    let large = peak() - before;
    assert!(large < 4 * limits::MAX_DECODED_BYTES, "a large frame took {large} bytes");
}
