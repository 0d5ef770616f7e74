//! Connections: HTTP/1.1 beside HTTP/2 on one port, clients that vanish, clients that are slow, the end.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Server, Setup};

async fn live(setup: Setup) -> (Server, std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let server = setup.start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = {
        let (router, broker, shutdown) = (server.router.clone(), server.broker.clone(), server.shutdown.clone());
        tokio::spawn(tidelog_gateway::serve(listener, broker, router, None, false, shutdown))
    };
    (server, address, task)
}

async fn ask(address: std::net::SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until the text is there; keeps only what may hold its beginning.
async fn expect(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    while !seen.windows(text.len()).any(|window| window == text.as_bytes()) {
        let keep = seen.len().saturating_sub(text.len());
        seen.drain(..keep);
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "closed before {text:?}");
        seen.extend_from_slice(&buffer[..count]);
    }
}

const SSE: &str = "GET /v1/topics/t/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

#[tokio::test]
async fn clients_that_vanish_or_sleep_disturb_nobody() {
    let (server, address, task) = live(Setup::default()).await;
    server.topic("t", 2).await;
    let mut vanished = ask(address, SSE).await;
    expect(&mut vanished, "retry: 1000").await;
    drop(vanished);
    let mut awake = ask(address, SSE).await;
    expect(&mut awake, "retry: 1000").await;
    // This one asks for everything and takes nothing: far more than the sockets' buffers hold.
    let batch = vec![json!({ "x": "y".repeat(1000) }); 2000];
    for _ in 0..4 {
        server.json("POST", "/v1/topics/t/events?partition=1", json!(batch)).await;
    }
    let asleep = ask(address, &SSE.replace("events ", "events?from=earliest ")).await;
    for _ in 0..4 {
        server.json("POST", "/v1/topics/t/events?partition=1", json!(batch)).await;
    }
    let last = server.json("POST", "/v1/topics/t/events?partition=0", json!({ "the": "last" })).await;
    assert_eq!(last.status.as_u16(), 200);
    expect(&mut awake, "{\"the\":\"last\"}").await;
    drop(asleep);
    drop(awake);
    server.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(8), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn too_many_headers_are_refused_in_the_style_of_the_api() {
    let (server, address, task) = live(Setup::default()).await;
    let get = async |path: &str, bytes: usize| {
        let large = "x".repeat(bytes);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Large: {large}\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        ask(address, &request).await.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let fits = get("/healthz", 65_000).await;
    assert!(fits.starts_with("HTTP/1.1 200 OK\r\n"), "{fits}");
    for (path, code) in [("/v1/topics", "\"error_code\":\"INVALID_REQUEST\""), ("/v3/clusters", "\"error_code\":431")] {
        let refused = get(path, 66_000).await;
        assert!(refused.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{refused}");
        assert!(refused.contains(code) && refused.contains("at most 65536 bytes"), "{refused}");
    }
    server.shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_connection_is_kept_and_ends_with_the_server() {
    let (server, address, task) = live(Setup::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        expect(&mut stream, "{\"status\":\"ok\"}").await;
    }
    server.shutdown.cancel();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "an idle connection is closed");
    task.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn bytes_that_are_no_http_end_the_connection() {
    let (server, address, task) = live(Setup::default()).await;
    for garbage in ["\0\0\0\0\x12garbage\r\n\r\n", "GET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let mut stream = ask(address, garbage).await;
        let mut answer = Vec::new();
        // Closed, perhaps with a 400, perhaps reset.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || !String::from_utf8_lossy(&answer).contains("200 OK"));
    }
    let large = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = ask(address, &large).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    let mut stream = ask(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    expect(&mut stream, "200 OK").await;
    drop(stream);
    server.shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_client_that_sends_too_much_lives_to_see_413() {
    let (server, address, task) = live(Setup::default()).await;
    for head in ["Content-Length: 16777216", "Transfer-Encoding: chunked"] {
        let head = format!("POST /v1/topics/t/events HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
        let mut stream = ask(address, &head).await;
        if head.contains("chunked") {
            stream.write_all(b"1000000\r\n").await.unwrap();
        }
        stream.write_all(&vec![b' '; 16 * 1024 * 1024]).await.unwrap();
        if head.contains("chunked") {
            stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
        expect(&mut stream, "HTTP/1.1 413 Payload Too Large").await;
    }
    server.shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_refused_while_it_sends_lives_to_see_why() {
    let (server, address, task) = live(Setup::secure()).await;
    let body = vec![b' '; 8 * 1024 * 1024];
    for (path, status) in [("/v1/topics/t/events", "401 Unauthorized"), ("/nothing", "404 Not Found")] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = ask(address, &head).await;
        // A plain client looks for the answer only when it has sent everything.
        stream.write_all(&body).await.unwrap();
        expect(&mut stream, &format!("HTTP/1.1 {status}")).await;
    }
    server.shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_not_made_to_send() {
    let (server, address, task) = live(Setup::default()).await;
    let head = "POST /v1/topics/t/events HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n";
    let mut stream = ask(address, &format!("{head}Content-Length: 16777216\r\n\r\n")).await;
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    let mut stream = ask(address, &format!("{head}Content-Length: 2\r\n\r\n")).await;
    expect(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"{}").await.unwrap();
    expect(&mut stream, "HTTP/1.1 200 OK").await;
    server.shutdown.cancel();
    task.await.unwrap();
}
