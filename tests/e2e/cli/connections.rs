//! Our client behind a network that cuts connections and holds bytes back: what `produce` reports stored is stored, once and in order.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tidelog_harness::{Server, run};

/// Most of it is pauses between the client's attempts.
const LONG: Duration = Duration::from_secs(300);

const RECORDS: usize = 40_000;

/// A proxy in front of the server. Each connection ends after some bytes of requests or of answers, the later the more connections
/// there were, so that every run gets to its end.
struct Proxy {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(listener: TcpListener, server: String) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming() {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                // The first connections carry the handshake of the command, then requests die before answers do, and the reverse.
                let (up, down) = match number {
                    0 => (usize::MAX, usize::MAX),
                    odd if odd % 2 == 1 => (150_000 * odd, usize::MAX),
                    even => (usize::MAX, 400 + 60 * even),
                };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || carry(from, to, up));
                thread::spawn(move || carry(server, client, down));
            }
        });
        Proxy { address, connections }
    }
}

/// Carries at most so many bytes one way, then cuts both ways.
fn carry(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut buffer = [0; 7001];
    while left > 0 {
        let Ok(count @ 1..) = from.read(&mut buffer) else { break };
        let count = count.min(left);
        left -= count;
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn produce_through_a_network_that_cuts_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let advertised = listener.local_addr().unwrap().to_string();
    let server = Server::start(tidelog_harness::options!().args(["--kafka-advertise", &advertised]));
    let proxy = Proxy::start(listener, server.kafka().to_owned());
    server.run(&["topic", "create", "t", "-p", "1", "-b", &proxy.address]).expect(0);
    let input: String = (0..RECORDS).map(|n| format!("record {n} {}\n", "x".repeat(60))).collect();
    let mut produce = server.command(&["produce", "t", "-b", &proxy.address]);
    let sent = run(&mut produce, input.as_bytes(), LONG).expect(0);
    assert_eq!(sent.stderr.trim(), format!("{RECORDS} of {RECORDS} records stored in t"));
    let cut = proxy.connections.load(Ordering::SeqCst);
    assert!(cut > 6, "the client lost only {cut} connections");
    // A consumer through the proxy, too: every record once, in order.
    let read = run(&mut server.command(&["consume", "t", "-b", &proxy.address]), b"", LONG).expect(0);
    assert!(read.stdout == input, "{} of {} bytes came back", read.stdout.len(), input.len());
}
