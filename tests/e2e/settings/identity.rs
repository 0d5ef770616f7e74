//! The broker's settings of sessions and delegation tokens.

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::Raw;
use tidelog_harness::serde_json::Value;
use tidelog_harness::{Options, Server, serde_json, wait_until};

/// A server whose Kafka listener with passwords knows alice.
fn server(set: impl FnOnce(Options) -> Options) -> Server {
    let listen = ["--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:0", "--kafka-sasl-mechanism", "PLAIN"];
    let options = tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", "correct horse").args(listen);
    let server = Server::start(set(options));
    server.run(&["user", "create", "alice"]).expect(0);
    server
}

/// A connection of alice, and how long it lasts.
fn alice(server: &Server) -> (Raw, i64) {
    let text = std::fs::read_to_string(server.data_dir().join("endpoints.json")).unwrap();
    let endpoints: Value = serde_json::from_str(&text).unwrap();
    let mut raw = Raw::connect(endpoints["listeners"]["SASL_PLAINTEXT"].as_str().unwrap());
    assert_eq!(raw.call(1, &SaslHandshakeRequest { mechanism: "PLAIN".into(), ..Default::default() }).error_code, 0);
    let auth_bytes = b"\0alice\0correct horse".to_vec().into();
    let authenticated = raw.call(2, &SaslAuthenticateRequest { auth_bytes, ..Default::default() });
    assert_eq!(authenticated.error_code, 0, "{:?}", authenticated.error_message);
    (raw, authenticated.session_lifetime_ms)
}

#[test]
fn connections_max_reauth_ms() {
    let forever = server(|options| options);
    assert_eq!(alice(&forever).1, 0);
    let short = server(|options| options.set("connections.max.reauth.ms", 500));
    let (mut raw, lifetime) = alice(&short);
    assert_eq!(lifetime, 500);
    // Whoever does not come again is cut off.
    let closed = || {
        raw.request(1, &MetadataRequest::default());
        raw.frame().unwrap().is_none()
    };
    wait_until(closed, PATIENCE, "the session is over");
}

/// By default a search for tokens that are over comes every hour.
#[test]
fn delegation_token_expiry_check_interval_ms() {
    let server = server(|options| {
        options
            .set("delegation.token.secret.key", "0123456789abcdef0123456789abcdef")
            .set("delegation.token.expiry.time.ms", 4_000)
            .set("delegation.token.expiry.check.interval.ms", 50)
    });
    let (mut raw, _) = alice(&server);
    let made = raw.call(3, &CreateDelegationTokenRequest { max_lifetime_ms: -1, ..Default::default() });
    assert_eq!(made.error_code, 0);
    let request = DescribeDelegationTokenRequest { owners: None, ..Default::default() };
    let known = |raw: &mut Raw| raw.call(3, &request).tokens.len();
    assert_eq!(known(&mut raw), 1);
    wait_until(|| known(&mut raw) == 0, PATIENCE, "the token is forgotten");
}
