//! Keys of tokens that change while the server runs: a file, and an issuer that is asked over HTTP.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidelog_harness::serde_json::{self, Value};
use tidelog_harness::{Server, http, tempfile, tokio};

/// Two keys of those that the token rules are tested with, and a token of each until the year 2100, whose `client_id` is alice. Made by:
/// `jwt.encode({"sub": "x", "client_id": "alice", "exp": 4102444800}, pem, algorithm, headers={"kid": kid})` of PyJWT.
const KEYS: &[u8] = include_bytes!("../../../service/security/testdata/jwks.json");
const EC: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ4IiwiY2xpZW50X2lkIjoiYWxpY2UiLCJleHAiOjQxMDI0NDQ4MDB9.qnSsJhjfrANeSMgsW9tZkIiubEkh8j8d1Er-nz-oc1yr5qr_amiZmvDl3gJg_FiWkJdW4Ye52W29ikl8noQV1w";
const ED: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ4IiwiY2xpZW50X2lkIjoiYWxpY2UiLCJleHAiOjQxMDI0NDQ4MDB9.kT1LYdqqDzH-4m2OqNhOX09g9PRQ-XzUcTAlWNaR0nI1N_WI7xHAwLaILb4cT9AXE8Onqqq92DZnAU_p2csNAA";

/// As soon as a second after a token with an unknown key, at most ten after the last question; a busy machine takes longer.
const ASKED_AGAIN: Duration = Duration::from_secs(120);

fn jwks(id: &str) -> String {
    let all: Value = serde_json::from_slice(KEYS).unwrap();
    let keys: Vec<&Value> = all["keys"].as_array().unwrap().iter().filter(|key| key["kid"] == id).collect();
    assert_eq!(keys.len(), 1);
    serde_json::json!({ "keys": keys }).to_string()
}

/// Answers every request with the document that is there at that time, or 500.
fn issuer(document: &Arc<Mutex<Option<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, document) = (listener.local_addr().unwrap(), Arc::clone(document));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let (status, body) = match &*document.lock().unwrap() {
                Some(document) => ("200 OK", document.clone()),
                None => ("500 Internal Server Error", String::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // The server may have gone.
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    address
}

async fn status(server: &Server, token: &str) -> u16 {
    http().get(server.url("/v1/topics")).bearer_auth(token).send().await.unwrap().status().as_u16()
}

async fn until(server: &Server, token: &str, expected: u16, within: Duration, what: &str) {
    let deadline = std::time::Instant::now() + within;
    while status(server, token).await != expected {
        assert!(std::time::Instant::now() < deadline, "{what}: {}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_changes_its_keys_without_a_restart() {
    let document = Arc::new(Mutex::new(Some(jwks("ec"))));
    let address = format!("http://{}/keys", issuer(&document));
    let args = ["--jwt-jwks", &*address, "--jwt-any-audience", "--jwt-subject-claim", "client_id"];
    let server = Server::start(tidelog_harness::options!().args(args));
    assert_eq!(status(&server, EC).await, 200, "the first token already finds its key");
    assert_eq!(status(&server, ED).await, 401);
    *document.lock().unwrap() = None;
    assert_eq!(status(&server, EC).await, 200, "an issuer that is ill takes no key away");
    *document.lock().unwrap() = Some(jwks("ed"));
    until(&server, ED, 200, ASKED_AGAIN, "the new key is asked for").await;
    assert_eq!(status(&server, EC).await, 401, "the old key has been withdrawn");
    server.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_away_at_the_start_is_asked_again() {
    let document = Arc::new(Mutex::new(None));
    let address = format!("http://{}/keys", issuer(&document));
    let server = Server::start(tidelog_harness::options!().args(["--jwt-jwks", &*address, "--jwt-any-audience"]));
    assert_eq!(status(&server, EC).await, 401);
    assert!(server.log().contains("the keys of tokens cannot be read"), "{}", server.log());
    *document.lock().unwrap() = Some(jwks("ec"));
    until(&server, EC, 200, ASKED_AGAIN, "the keys are asked for again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_keys_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, jwks("ec")).unwrap();
    let server = Server::start(tidelog_harness::options!().args(["--jwt-jwks", path.to_str().unwrap()]));
    assert_eq!((status(&server, EC).await, status(&server, ED).await), (200, 401));
    std::fs::write(&path, "{").unwrap();
    until_logged(&server, "the old ones stay");
    assert_eq!(status(&server, EC).await, 200);
    std::fs::write(&path, jwks("ed")).unwrap();
    until(&server, ED, 200, ASKED_AGAIN, "the file is read again").await;
    assert_eq!(status(&server, EC).await, 401);
}

fn until_logged(server: &Server, text: &str) {
    tidelog_harness::wait_until(|| server.log().contains(text), ASKED_AGAIN, text);
}
