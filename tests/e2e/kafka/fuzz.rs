//! Hostile bytes for every API over real connections: a kept corpus (recorded frames of Kafka's clients, and frames that once did harm),
//! mutated at random. `TIDELOG_FUZZ_SECONDS` sets for how long (2), `TIDELOG_SEED` repeats the choices. A frame that breaks something
//! belongs into `tests/data/hostile-frames.txt`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidelog_harness::protocol::ApiKey;
use tidelog_harness::protocol::messages::MetadataRequest;
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::raw::Raw;
use tidelog_harness::{number, seed, serde_json};

use crate::server;

/// Resident memory that all of it may cost. The frames are small; what they ask for may be topics, groups and sessions.
const MEMORY: u64 = 256 * 1024 * 1024;

/// An answer that has not come after this time belongs to a request that waits, as a join does.
const PATIENCE: Duration = Duration::from_millis(100);

/// What changes the settings of all would change the test: it is only decoded, by the tests of the codec.
const NOT_ASKED: &[ApiKey] = &[ApiKey::AlterClientQuotas, ApiKey::AlterConfigs, ApiKey::IncrementalAlterConfigs];

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data");

/// Request frames without their length.
fn corpus() -> Vec<Vec<u8>> {
    let recorded = std::fs::read_to_string(format!("{DATA}/kafka-4.3.0/frames.ndjson")).unwrap();
    let recorded = recorded.lines().map(|line| {
        let frame: serde_json::Value = serde_json::from_str(line).unwrap();
        STANDARD.decode(frame["request"].as_str().unwrap()).unwrap()
    });
    let kept = std::fs::read_to_string(format!("{DATA}/hostile-frames.txt")).unwrap();
    let kept = kept.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
        let digits: Vec<char> = line.split('#').next().unwrap().chars().filter(|c| !c.is_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
    });
    recorded.chain(kept).collect()
}

fn is_asked(frame: &[u8]) -> bool {
    let key = frame.first_chunk().map(|key| i16::from_be_bytes(*key)).and_then(ApiKey::from_code);
    key.is_none_or(|key| !NOT_ASKED.contains(&key))
}

/// One to four injuries. The first four bytes, API and version, mostly stay, or little would get past them.
fn injured(mut frame: Vec<u8>, other: &[u8], random: &mut StdRng) -> Vec<u8> {
    for _ in 0..random.random_range(1..=4) {
        let spared = if random.random_range(0..20) == 0 { 0 } else { 8.min(frame.len()) };
        if frame.len() <= spared {
            frame.extend_from_slice(&[0; 8]);
        }
        let at = random.random_range(spared..frame.len());
        match random.random_range(0..7) {
            0 => frame[at] ^= 1 << random.random_range(0..8),
            1 => frame[at] = random.random(),
            2 => frame.truncate(at),
            // Lengths and counts: huge ones, and −1, fixed and varint.
            3 => {
                let huge = [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0xff, 0xff, 0xff, 0x07], [0, 0x10, 0, 0]];
                let bytes = huge[random.random_range(0..huge.len())];
                frame.splice(at..(at + 4).min(frame.len()), bytes);
            }
            4 => {
                let end = random.random_range(at..=frame.len());
                let again = frame[at..end].repeat(random.random_range(1..=8));
                frame.splice(at..at, again);
            }
            5 => {
                let from = random.random_range(0..=other.len());
                frame.splice(at.., other[from..].iter().copied());
            }
            _ => drop(frame.remove(at)),
        }
    }
    frame
}

/// Sends frames and reads what comes; whether the server answers, hangs up or waits is all the same.
fn exchange(address: &str, frames: &[Vec<u8>]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        if stream.write_all(&[&length.to_be_bytes()[..], frame].concat()).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = [0; 64 * 1024];
    while stream.read(&mut answers).is_ok_and(|read| read > 0) {}
}

#[test]
fn mutated_requests_of_every_api_harm_nobody() {
    let seed = seed();
    let duration = Duration::from_secs(number("TIDELOG_FUZZ_SECONDS").unwrap_or(2));
    println!("{duration:?}; TIDELOG_SEED={seed} repeats the choices");
    let mut random = StdRng::seed_from_u64(seed);
    let corpus = corpus();
    let mut server = server();
    Raw::connect(server.kafka()).call(1, &MetadataRequest::default());
    let before = server.resident_bytes();
    // First as they are kept, then injured.
    corpus
        .iter()
        .filter(|frame| is_asked(frame))
        .for_each(|frame| exchange(server.kafka(), std::slice::from_ref(frame)));
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let mut pick = || &corpus[random.random_range(0..corpus.len())];
        let pairs: Vec<(Vec<u8>, &Vec<u8>)> = (0..8).map(|_| (pick().clone(), pick())).collect();
        let frames = pairs.into_iter().map(|(frame, other)| injured(frame, other, &mut random));
        let frames: Vec<Vec<u8>> = frames.filter(|frame| is_asked(frame)).collect();
        exchange(server.kafka(), &frames);
        sent += frames.len();
        assert!(server.is_running(), "seed {seed}: the server ended after {sent} frames");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{sent} frames, {} MiB more than before", grown >> 20);
    assert!(grown < MEMORY, "{} MiB more than before after {sent} frames; seed {seed}", grown >> 20);
    // Others work as if nothing had been.
    server.run(&["topic", "create", "after"]).expect(0);
    server.run_with(&["produce", "after"], b"x\n").expect(0);
    assert_eq!(server.run(&["consume", "after"]).expect(0).stdout, "x\n");
    server.assert_no_panic();
    server.stop();
}
