//! Kafka's door: every advertised API has a row, and everybody sends it through a socket of his own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tidelog_harness::Server;
use tidelog_harness::protocol::messages::*;
use tidelog_harness::protocol::{ApiKey, TABLE};
use tidelog_harness::raw::Raw;

use super::{assert_none, questions, rows, secured};
use crate::{sasl_listener, token};

/// Connections at a time.
const THREADS: usize = 4;

/// What every login sends, before anybody may be refused anything.
const BY_EVERY_LOGIN: [ApiKey; 3] = [ApiKey::ApiVersions, ApiKey::SaslHandshake, ApiKey::SaslAuthenticate];

/// A connection of this user.
pub(super) fn login(address: &str, user: &str) -> (Raw, BTreeSet<i16>) {
    let mut raw = Raw::connect(address);
    let advertised = raw.call(
        3,
        &ApiVersionsRequest {
            client_software_name: "e2e".into(),
            client_software_version: "1".into(),
            ..Default::default()
        },
    );
    assert_eq!(advertised.error_code, 0);
    let handshake = raw.call(1, &SaslHandshakeRequest { mechanism: "OAUTHBEARER".into(), ..Default::default() });
    assert_eq!(handshake.error_code, 0);
    let auth_bytes = format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", token(user)).into_bytes().into();
    let answer = raw.call(2, &SaslAuthenticateRequest { auth_bytes, ..Default::default() });
    assert_eq!(answer.error_code, 0, "{answer:?}");
    (raw, advertised.api_keys.iter().map(|api| api.api_key).collect())
}

fn advertised(server: &Server) -> BTreeSet<i16> {
    login(&sasl_listener(server), "somebody").1
}

#[test]
fn every_api_asks_for_kafkas_right_and_refuses_with_kafkas_code() {
    let server = secured();
    let rows = rows::all();
    let free = rows::WITHOUT_A_RULE.iter().map(|(api, ..)| *api).chain(BY_EVERY_LOGIN);
    let with_rows: BTreeSet<i16> = rows.iter().filter_map(|row| row.api).chain(free).map(ApiKey::code).collect();
    let missing: Vec<_> = advertised(&server).difference(&with_rows).copied().map(ApiKey::from_code).collect();
    assert!(missing.is_empty() && with_rows.len() == TABLE.len(), "advertised, and not in the matrix: {missing:?}");
    let questions = questions(&server, "kafka", &rows);
    let address = sasl_listener(&server);
    rows::make_token(&mut login(&address, "m-owner").0);
    let next = AtomicUsize::new(0);
    let ask = || {
        let mut wrong = Vec::new();
        while let Some(question) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (mut raw, _) = login(&address, &question.asker.principal);
            wrong.extend(question.compare(&(question.row.ask)(&mut raw, &question.asker)));
        }
        wrong
    };
    let wrong = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_none(wrong, questions.len());
}

#[test]
fn what_has_no_rule_is_answered_to_everybody_and_nothing_before_a_login() {
    let server = secured();
    let address = sasl_listener(&server);
    for (api, ask, expected) in rows::WITHOUT_A_RULE {
        let (mut raw, _) = login(&address, "stranger");
        assert_eq!(ask(&mut raw), expected, "{}", api.name());
    }
    // Whoever has not said who he is hears of nothing but how to.
    let mut raw = Raw::connect(&address);
    raw.request(12, &MetadataRequest::default());
    raw.assert_closed("nobody has logged in");
}
