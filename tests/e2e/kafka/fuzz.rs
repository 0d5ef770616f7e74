//! Hostile bytes for every API over real connections: a kept corpus (recorded frames of Kafka's clients, and frames that once did harm) and
//! made-up frames of every API in every version, mutated at random; to an open server, and to one with logins, access rules and tokens.
//! `TIDELOG_FUZZ_SECONDS` sets for how long (2), `TIDELOG_SEED` repeats the choices. A frame that breaks something belongs into
//! `tests/data/hostile-frames.txt`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidelog_harness::protocol::ApiKey;
use tidelog_harness::protocol::messages::{MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::raw::{Raw, encode};
use tidelog_harness::{Server, frames, number, seed, serde_json};

use crate::server;

/// Resident memory that all of it may cost. The frames are small; what they ask for may be topics, groups and sessions.
const MEMORY: u64 = 256 * 1024 * 1024;

/// An answer that has not come after this time belongs to a request that waits, as a join does.
const PATIENCE: Duration = Duration::from_millis(100);

/// What changes the settings of all would change the test of who comes after: only the server that nobody uses afterwards is asked.
const NOT_ASKED: &[ApiKey] = &[ApiKey::AlterClientQuotas, ApiKey::AlterConfigs, ApiKey::IncrementalAlterConfigs];

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data");

/// Request frames without their length.
fn corpus(seed: u64) -> Vec<Vec<u8>> {
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
    recorded.chain(kept).chain(frames::of_every_request(seed)).collect()
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

/// Eight frames of the corpus, injured.
fn some(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<Vec<u8>> {
    let mut pick = || &corpus[random.random_range(0..corpus.len())];
    let pairs: Vec<(Vec<u8>, &Vec<u8>)> = (0..8).map(|_| (pick().clone(), pick())).collect();
    pairs.into_iter().map(|(frame, other)| injured(frame, other, random)).collect()
}

/// Sends frames, after a greeting that is as it should be, and reads what comes; whether the server answers, hangs up or waits is all the same.
fn exchange(address: &str, greeting: &[u8], frames: &[Vec<u8>]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    if stream.write_all(greeting).is_err() {
        return;
    }
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
    let corpus = corpus(seed);
    let mut server = server();
    Raw::connect(server.kafka()).call(1, &MetadataRequest::default());
    let before = server.resident_bytes();
    // First as they are kept, then injured.
    corpus
        .iter()
        .filter(|frame| is_asked(frame))
        .for_each(|frame| exchange(server.kafka(), &[], std::slice::from_ref(frame)));
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let frames: Vec<Vec<u8>> = some(&corpus, &mut random).into_iter().filter(|frame| is_asked(frame)).collect();
        exchange(server.kafka(), &[], &frames);
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

/// A server with everything of a secured one, and a super user.
fn secured() -> (Server, String) {
    let args = [
        "--kafka-listen",
        "SASL_PLAINTEXT://127.0.0.1:0",
        "--kafka-sasl-mechanism",
        "PLAIN,SCRAM-SHA-256",
        "--authorizer",
        "acl",
        "--super-user",
        "User:admin",
        "--super-user",
        "User:ANONYMOUS",
    ];
    let options = tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", "secret").args(args);
    let server = Server::start(options.set("delegation.token.secret.key", "tell-nobody-about-this-one-secret"));
    server.run(&["user", "create", "admin"]).expect(0);
    let endpoints = std::fs::read_to_string(server.data_dir().join("endpoints.json")).unwrap();
    let endpoints: serde_json::Value = serde_json::from_str(&endpoints).unwrap();
    let address = endpoints["listeners"]["SASL_PLAINTEXT"].as_str().unwrap().to_owned();
    (server, address)
}

/// Half of the connections log in before they send; nobody uses the server afterwards, so that nothing is spared.
#[test]
fn mutated_requests_to_a_secured_server_harm_nobody() {
    let seed = seed();
    let duration = Duration::from_secs(number("TIDELOG_FUZZ_SECONDS").unwrap_or(2));
    println!("{duration:?}; TIDELOG_SEED={seed} repeats the choices");
    let mut random = StdRng::seed_from_u64(seed);
    let corpus = corpus(seed);
    let (mut server, address) = secured();
    let handshake = SaslHandshakeRequest { mechanism: "PLAIN".into(), ..Default::default() };
    let password = SaslAuthenticateRequest { auth_bytes: (&b"\0admin\0secret"[..]).into(), ..Default::default() };
    let login = [&encode(1, 1, &handshake)[..], &encode(2, 2, &password)[..]].concat();
    // Whoever has logged in is asked who he is by nobody: an answer to the third request says that the login holds.
    let mut raw = Raw::connect(&address);
    raw.send(&login);
    raw.frame().unwrap().unwrap();
    raw.frame().unwrap().unwrap();
    assert!(!raw.call(1, &MetadataRequest::default()).brokers.is_empty());
    let before = server.resident_bytes();
    // As they are kept: many at a time, because a login takes longer than all of them.
    corpus.chunks(32).for_each(|frames| exchange(&address, &login, frames));
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let greeting: &[u8] = if random.random() { &login } else { &[] };
        let frames: Vec<Vec<u8>> = (0..4).flat_map(|_| some(&corpus, &mut random)).collect();
        exchange(&address, greeting, &frames);
        sent += frames.len();
        assert!(server.is_running(), "seed {seed}: the server ended after {sent} frames");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{sent} frames to a secured server, {} MiB more than before", grown >> 20);
    assert!(grown < MEMORY, "{} MiB more than before after {sent} frames; seed {seed}", grown >> 20);
    server.assert_no_panic();
    server.stop();
}
