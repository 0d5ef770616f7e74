//! What one handshake costs a server, measured: memory while the client's last message is awaited, and time on one core. The numbers
//! are in `limits.rs`; this fails when they are far from true. Alone in its process, so that nobody else's memory counts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tidelog_handshake::limits::MAX_HANDSHAKES;

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_handshake_costs_what_the_limits_say() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = Arc::new(builder.with_single_cert(vec![certificate.der().clone()], private).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    // Clients' first messages beforehand: only the server's side is measured.
    let hellos: Vec<Vec<u8>> = (0..MAX_HANDSHAKES)
        .map(|_| {
            let name = ServerName::try_from("localhost").unwrap();
            let mut connection = ClientConnection::new(Arc::clone(&client), name).unwrap();
            let mut hello = Vec::new();
            connection.write_tls(&mut hello).unwrap();
            hello
        })
        .collect();
    let mut waiting = Vec::with_capacity(MAX_HANDSHAKES);
    let mut flight = Vec::with_capacity(64 * 1024);
    let (before, begun) = (resident(), Instant::now());
    for hello in &hellos {
        let mut connection = ServerConnection::new(Arc::clone(&server)).unwrap();
        let mut bytes = hello.as_slice();
        while !bytes.is_empty() {
            connection.read_tls(&mut bytes.by_ref()).unwrap();
            connection.process_new_packets().unwrap();
        }
        flight.clear();
        while connection.wants_write() {
            connection.write_tls(&mut flight).unwrap();
        }
        assert!(connection.is_handshaking() && flight.len() > 500, "{}", flight.len());
        waiting.push(connection);
    }
    let (memory, time) = ((resident() - before) / MAX_HANDSHAKES, begun.elapsed() / MAX_HANDSHAKES as u32);
    println!("a handshake: {memory} bytes, {time:?}");
    assert!(memory < 16 * 1024, "{memory} bytes");
    // Of a debug build on a busy machine.
    assert!(time < Duration::from_millis(250), "{time:?}");
}
