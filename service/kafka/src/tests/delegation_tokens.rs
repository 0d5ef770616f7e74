//! Delegation tokens through real sockets: who gets one, who comes in with it, and for how long.

use tidelog_model::{Principal, ScramMechanism};
use tidelog_protocol::messages::{
    CreatableRenewers, CreateDelegationTokenRequest, CreateDelegationTokenResponse, DescribeDelegationTokenOwner,
    DescribeDelegationTokenRequest, ExpireDelegationTokenRequest, RenewDelegationTokenRequest,
    SaslAuthenticateResponse,
};
use tidelog_security::sasl::{ClientExchange, Login, Secret};

use super::sasl::{choose, describes, fixture_with, plain, send};
use super::*;

const SECRET: &str = "a key that is long enough for it";
const KEY: &[(&str, &str)] = &[("delegation.token.secret.key", SECRET)];
const HOUR: i64 = 3_600_000;

fn wanted(renewer: &str) -> CreateDelegationTokenRequest {
    let renewer = CreatableRenewers {
        principal_type: Str::from("User"),
        principal_name: Str::from(renewer),
        ..Default::default()
    };
    CreateDelegationTokenRequest { renewers: vec![renewer], max_lifetime_ms: HOUR, ..Default::default() }
}

/// Logs in with a token; what the server says last.
async fn come_in(stream: &mut TcpStream, id: &str, password: &str) -> SaslAuthenticateResponse {
    let login = Login::DelegationToken(ScramMechanism::Sha256, id.into(), Secret(password.into()));
    let (mut exchange, first) = ClientExchange::begin(&login, "abc");
    assert_eq!(choose(stream, "SCRAM-SHA-256").await, 0);
    let challenge = send(stream, &first).await;
    assert_eq!(challenge.error_code, 0, "nobody hears so early that there is no such token");
    let proof = exchange.received(&challenge.auth_bytes).unwrap().unwrap();
    let last = send(stream, &proof).await;
    if last.error_code == 0 {
        assert_eq!(exchange.received(&last.auth_bytes), Ok(None));
    }
    last
}

fn password(token: &CreateDelegationTokenResponse) -> String {
    assert_eq!(token.hmac.len(), 64);
    tidelog_security::scram::token_password(SECRET.as_bytes(), &token.token_id)
}

#[tokio::test]
async fn a_token_is_its_owner_until_it_ends() {
    let fixture = fixture_with(KEY, Duration::ZERO).await;
    let (mut alice, mut bob) = (fixture.connect().await, fixture.connect().await);
    assert_eq!(plain(&mut alice, "alice", "pencil").await.error_code, 0);
    assert_eq!(plain(&mut bob, "bob", "pencil").await.error_code, 0);
    let token = call(&mut alice, 3, &wanted("bob")).await;
    assert_eq!(
        (token.error_code, &*token.principal_name, &*token.token_requester_principal_name),
        (0, "alice", "alice")
    );
    assert_eq!(token.max_timestamp_ms - token.issue_timestamp_ms, HOUR);
    assert_eq!(token.expiry_timestamp_ms, token.max_timestamp_ms, "a day is longer than the token lives");
    let mut holder = fixture.connect().await;
    let answer = come_in(&mut holder, &token.token_id, &password(&token)).await;
    assert_eq!(answer.error_code, 0);
    assert!((1..=HOUR).contains(&answer.session_lifetime_ms), "{}", answer.session_lifetime_ms);
    assert_eq!(describes(&mut holder).await, 0, "it is alice, the super user");
    // A token makes no tokens.
    let not_allowed = KafkaError::DelegationTokenRequestNotAllowed.code();
    assert_eq!(call(&mut holder, 3, &wanted("bob")).await.error_code, not_allowed);
    let renewal = RenewDelegationTokenRequest { hmac: token.hmac.clone(), renew_period_ms: 1000, ..Default::default() };
    assert_eq!(call(&mut holder, 2, &renewal).await.error_code, not_allowed);
    assert_eq!(call(&mut holder, 3, &DescribeDelegationTokenRequest::default()).await.error_code, not_allowed);
    // A wrong password, another token, a user as a token.
    for (id, password) in
        [(&*token.token_id, "x".to_owned()), ("AAAA", password(&token)), ("alice", "pencil".to_owned())]
    {
        let mut stream = fixture.connect().await;
        let refused = come_in(&mut stream, id, &password).await;
        assert_eq!(refused.error_code, KafkaError::SaslAuthenticationFailed.code(), "{id}");
    }
    // Its renewer moves its end, and ends it.
    let renewed = call(&mut bob, 2, &renewal).await;
    assert_eq!(renewed.error_code, 0);
    assert!(renewed.expiry_timestamp_ms < token.expiry_timestamp_ms);
    let end =
        ExpireDelegationTokenRequest { hmac: token.hmac.clone(), expiry_time_period_ms: -1, ..Default::default() };
    assert_eq!(call(&mut bob, 2, &end).await.error_code, 0);
    assert_eq!(call(&mut bob, 2, &end).await.error_code, KafkaError::DelegationTokenNotFound.code());
    let mut late = fixture.connect().await;
    let refused = come_in(&mut late, &token.token_id, &password(&token)).await;
    assert_eq!(refused.error_code, KafkaError::SaslAuthenticationFailed.code(), "it is over");
}

#[tokio::test]
async fn nobody_learns_from_a_challenge_whether_there_is_such_a_token() {
    let fixture = fixture_with(KEY, Duration::ZERO).await;
    let mut alice = fixture.connect().await;
    assert_eq!(plain(&mut alice, "alice", "pencil").await.error_code, 0);
    let token = call(&mut alice, 3, &wanted("bob")).await;
    // Salt and rounds, by a connection of its own each time.
    let mut asked = Vec::new();
    for id in [&*token.token_id, &*token.token_id, "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let mut stream = fixture.connect().await;
        let login = Login::DelegationToken(ScramMechanism::Sha512, id.into(), Secret("x".into()));
        assert_eq!(choose(&mut stream, "SCRAM-SHA-512").await, 0);
        let challenge = send(&mut stream, &ClientExchange::begin(&login, "abc").1).await;
        let text = String::from_utf8(challenge.auth_bytes.to_vec()).unwrap();
        asked.push(text.split_once(",s=").unwrap().1.to_owned());
    }
    assert_eq!(asked[0], asked[1], "a live token's salt stays");
    assert_eq!(asked[2], asked[3], "as one's that does not exist");
    assert_ne!(asked[0], asked[2]);
    assert_eq!(asked[0].len(), asked[2].len());
}

#[tokio::test]
async fn who_sees_tokens_and_makes_them_for_others() {
    let fixture = fixture_with(KEY, Duration::ZERO).await;
    let (mut alice, mut bob) = (fixture.connect().await, fixture.connect().await);
    assert_eq!(plain(&mut alice, "alice", "pencil").await.error_code, 0);
    assert_eq!(plain(&mut bob, "bob", "pencil").await.error_code, 0);
    let of = |owner: &str| CreateDelegationTokenRequest {
        owner_principal_type: Some(Str::from("User")),
        owner_principal_name: Some(Str::from(owner)),
        ..wanted("dave")
    };
    assert_eq!(call(&mut bob, 3, &of("carol")).await.error_code, KafkaError::DelegationTokenAuthorizationFailed.code());
    let carols = call(&mut alice, 3, &of("carol")).await;
    assert_eq!(
        (carols.error_code, &*carols.principal_name, &*carols.token_requester_principal_name),
        (0, "carol", "alice")
    );
    assert_eq!(call(&mut bob, 1, &wanted("dave")).await.error_code, 0);
    let group = CreatableRenewers { principal_type: Str::from("Group"), ..Default::default() };
    let strange = CreateDelegationTokenRequest { renewers: vec![group], ..Default::default() };
    assert_eq!(call(&mut bob, 3, &strange).await.error_code, KafkaError::InvalidPrincipalType.code());
    let owner = |name: &str| DescribeDelegationTokenOwner {
        principal_type: Str::from("User"),
        principal_name: Str::from(name),
        ..Default::default()
    };
    let asked = |owners: Option<Vec<DescribeDelegationTokenOwner>>| DescribeDelegationTokenRequest {
        owners,
        ..Default::default()
    };
    for (who, owners, expected) in [
        ("bob", None, vec!["bob"]),
        ("bob", Some(vec![owner("carol")]), vec![]),
        ("alice", None, vec!["bob", "carol"]),
        ("alice", Some(vec![owner("carol")]), vec!["carol"]),
        ("alice", Some(vec![owner("dave")]), vec!["bob", "carol"]),
        ("alice", Some(vec![]), vec![]),
    ] {
        let stream = if who == "bob" { &mut bob } else { &mut alice };
        let answer = call(stream, 3, &asked(owners.clone())).await;
        let mut owners_seen: Vec<String> = answer.tokens.iter().map(|token| token.principal_name.to_string()).collect();
        owners_seen.sort_unstable();
        assert_eq!(
            (answer.error_code, owners_seen),
            (0, expected.iter().map(|s| s.to_string()).collect()),
            "{owners:?}"
        );
        assert!(
            answer.tokens.iter().all(|token| token.hmac.len() == 64 && &*token.renewers[0].principal_name == "dave")
        );
    }
    assert_eq!(Principal::user("dave").as_str(), "User:dave");
}

#[tokio::test]
async fn without_a_key_there_are_no_tokens_and_without_a_name_neither() {
    let fixture = fixture_with(&[], Duration::ZERO).await;
    let mut alice = fixture.connect().await;
    assert_eq!(plain(&mut alice, "alice", "pencil").await.error_code, 0);
    let disabled = KafkaError::DelegationTokenAuthDisabled.code();
    assert_eq!(call(&mut alice, 3, &wanted("bob")).await.error_code, disabled);
    assert_eq!(call(&mut alice, 3, &DescribeDelegationTokenRequest::default()).await.error_code, disabled);
    assert_eq!(call(&mut alice, 2, &RenewDelegationTokenRequest::default()).await.error_code, disabled);
    assert_eq!(call(&mut alice, 2, &ExpireDelegationTokenRequest::default()).await.error_code, disabled);
    let open = Fixture::start(KEY).await;
    let mut anybody = open.connect().await;
    let not_allowed = KafkaError::DelegationTokenRequestNotAllowed.code();
    assert_eq!(call(&mut anybody, 3, &wanted("bob")).await.error_code, not_allowed);
    let group = CreatableRenewers { principal_type: Str::from("Group"), ..Default::default() };
    let strange = CreateDelegationTokenRequest { renewers: vec![group], ..Default::default() };
    assert_eq!(call(&mut anybody, 3, &strange).await.error_code, not_allowed, "not what is wrong with it");
}
