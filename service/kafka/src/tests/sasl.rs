//! SASL through real sockets: who gets in, who does not, and what the others hear.

use tidelog_broker::{CredentialChange, SaltedPassword};
use tidelog_model::{Principal, ScramMechanism, Timestamp};
use tidelog_protocol::messages::{
    CreateTopicsRequest, DescribeAclsRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use tidelog_security::sasl::Mechanism;
use tidelog_security::scram::salted_password;
use tidelog_security::{AclDefaults, Authenticator, KeySet, TokenRequest, TokenRules, issue_token};

use super::*;
use crate::SaslOptions;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn security(max_session: Duration) -> ListenerSecurity {
    let keys = KeySet::default().with_secret(SECRET).unwrap();
    let tokens = Arc::new(Authenticator::new(keys, TokenRules::default()).unwrap());
    let sasl = SaslOptions { mechanisms: Mechanism::ALL.to_vec(), tokens: Some(tokens), max_session };
    ListenerSecurity { sasl: Some(sasl), tls: None }
}

async fn fixture(max_session: Duration) -> Fixture {
    fixture_with(&[], max_session).await
}

pub(super) async fn fixture_with(settings: &[(&str, &str)], max_session: Duration) -> Fixture {
    let acls = AclDefaults { super_users: ["User:alice".to_owned()].into(), allow_everyone: false };
    let fixture = Fixture::start_with(settings, security(max_session), Some(acls)).await;
    let mechanism = ScramMechanism::Sha256;
    let salted = salted_password(mechanism, b"pencil", b"salt", 4096);
    let users = ["alice", "bob"].map(|user| CredentialChange {
        user: user.into(),
        mechanism: Some(mechanism),
        password: Some(SaltedPassword { salt: b"salt".to_vec(), iterations: 4096, salted: salted.clone() }),
    });
    let changed = fixture.broker.alter_users(&Caller::internal("test"), users.to_vec()).await.unwrap();
    assert!(changed.values().all(Result::is_ok));
    fixture
}

pub(super) async fn choose(stream: &mut TcpStream, mechanism: &'static str) -> i16 {
    let request = SaslHandshakeRequest { mechanism: Str::from(mechanism), ..Default::default() };
    call(stream, 1, &request).await.error_code
}

pub(super) async fn send(stream: &mut TcpStream, message: &[u8]) -> SaslAuthenticateResponse {
    let request = SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(message), ..Default::default() };
    call(stream, 2, &request).await
}

pub(super) async fn plain(stream: &mut TcpStream, user: &str, password: &str) -> SaslAuthenticateResponse {
    assert_eq!(choose(stream, "PLAIN").await, 0);
    send(stream, format!("\0{user}\0{password}").as_bytes()).await
}

fn token(subject: &str, ttl: Duration) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let request = TokenRequest { subject: subject.into(), ttl, audiences: vec![], issuer: None };
    let token = issue_token(&request, SECRET, Timestamp(since.as_millis() as i64)).unwrap();
    format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}")
}

/// What DescribeAcls answers to whoever this is: an error, or 0 for the super user.
pub(super) async fn describes(stream: &mut TcpStream) -> i16 {
    let request = DescribeAclsRequest {
        resource_type_filter: 1,
        resource_name_filter: None,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    call(stream, 3, &request).await.error_code
}

#[tokio::test]
async fn nothing_but_versions_is_answered_before_authentication() {
    let fixture = fixture(Duration::ZERO).await;
    let mut stream = fixture.connect().await;
    let versions = call(&mut stream, 2, &ApiVersionsRequest::default()).await;
    assert!(versions.api_keys.iter().any(|api| api.api_key == 17));
    assert_eq!(send(&mut stream, b"x").await.error_code, KafkaError::IllegalSaslState.code());
    let metadata = request_frame(1, 7, None, &MetadataRequest::default()).unwrap().into_bytes().unwrap();
    stream.write_all(&metadata).await.unwrap();
    assert_closed(&mut stream, "Metadata before authentication").await;
    // A stranger's frame is small.
    let mut stream = fixture.connect().await;
    stream.write_all(&(600 * 1024u32).to_be_bytes()).await.unwrap();
    assert_closed(&mut stream, "a large frame of a stranger").await;
    let mut stream = fixture.connect().await;
    let answer =
        call(&mut stream, 1, &SaslHandshakeRequest { mechanism: Str::from("GSSAPI"), ..Default::default() }).await;
    assert_eq!(answer.error_code, KafkaError::UnsupportedSaslMechanism.code());
    assert_eq!(answer.mechanisms.len(), 4);
    assert_closed(&mut stream, "a mechanism that is not there").await;
}

/// Six places are there, three of them for those who have not said who they are.
#[tokio::test]
async fn strangers_leave_places_to_who_says_who_it_is() {
    let fixture = fixture_with(&[("max.connections", "6")], Duration::ZERO).await;
    let versions = ApiVersionsRequest::default();
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut stream = fixture.connect().await;
        call(&mut stream, 2, &versions).await;
        silent.push(stream);
    }
    assert_closed(&mut fixture.connect().await, "the fourth of one address").await;
    // From elsewhere somebody gets in beside them, and the longest stranger goes.
    let mut known = Vec::new();
    for _ in 0..3 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(fixture.address).await.unwrap();
        assert_eq!(plain(&mut stream, "alice", "pencil").await.error_code, 0);
        known.push(stream);
    }
    assert_closed(&mut silent.remove(0), "the first stranger").await;
    for stream in &mut silent {
        call(stream, 2, &versions).await;
    }
    for stream in &mut known {
        assert_eq!(describes(stream).await, 0, "who is known stays");
    }
}

/// As in Kafka, whose authenticator answers ApiVersions where no quota is asked.
#[tokio::test]
async fn nothing_is_charged_to_anybody_before_authentication() {
    let fixture = fixture(Duration::ZERO).await;
    let (everybody, change) = ("user=*".parse().unwrap(), ("request_percentage".to_owned(), Some(0.000_01)));
    fixture.broker.alter_quotas(&Caller::internal("test"), &everybody, &[change], false).await.unwrap();
    let mut stream = fixture.connect().await;
    for _ in 0..5 {
        let versions = call(&mut stream, 2, &ApiVersionsRequest::default()).await;
        assert_eq!(versions.throttle_time_ms, 0, "a stranger pays nothing");
    }
    assert_eq!(plain(&mut stream, "alice", "pencil").await.error_code, 0);
    let pause = call(&mut stream, 8, &MetadataRequest::default()).await.throttle_time_ms;
    assert!((1..=1_000).contains(&pause), "{pause} ms: who is known does");
}

#[tokio::test]
async fn the_principal_is_who_authenticated() {
    let fixture = fixture(Duration::ZERO).await;
    let denied = KafkaError::ClusterAuthorizationFailed.code();
    for (user, expected) in [("alice", 0), ("bob", denied)] {
        let mut stream = fixture.connect().await;
        let answer = plain(&mut stream, user, "pencil").await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0));
        assert_eq!(describes(&mut stream).await, expected, "{user} by PLAIN");
        // Later choices are out of turn, and change nothing.
        assert_eq!(choose(&mut stream, "PLAIN").await, KafkaError::IllegalSaslState.code());
        assert_eq!(send(&mut stream, b"\0alice\0pencil").await.error_code, KafkaError::IllegalSaslState.code());
        assert_eq!(describes(&mut stream).await, expected, "{user} still");
        let mut stream = fixture.connect().await;
        assert_eq!(choose(&mut stream, "OAUTHBEARER").await, 0);
        let answer = send(&mut stream, token(user, Duration::from_secs(600)).as_bytes()).await;
        assert_eq!(answer.error_code, 0);
        assert!((500_000..=600_000).contains(&answer.session_lifetime_ms), "{}", answer.session_lifetime_ms);
        assert_eq!(describes(&mut stream).await, expected, "{user} by OAUTHBEARER");
    }
    assert_eq!(Principal::user("alice").as_str(), "User:alice");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_hear_the_same() {
    let fixture = fixture(Duration::ZERO).await;
    let mut heard = Vec::new();
    for (user, password) in [("alice", "pen"), ("nobody", "pencil"), ("alice\0x", "pencil")] {
        let mut stream = fixture.connect().await;
        let answer = plain(&mut stream, user, password).await;
        assert_eq!(answer.error_code, KafkaError::SaslAuthenticationFailed.code());
        heard.push(answer);
        assert_closed(&mut stream, "failed").await;
    }
    assert!(heard.iter().all(|answer| *answer == heard[0]));
    // SCRAM: a user who does not exist gets a salt, always the same, and fails at the proof.
    let mut first = Vec::new();
    for user in ["nobody", "nobody", "alice"] {
        let mut stream = fixture.connect().await;
        assert_eq!(choose(&mut stream, "SCRAM-SHA-256").await, 0);
        let challenge = send(&mut stream, format!("n,,n={user},r=abc").as_bytes()).await;
        assert_eq!(challenge.error_code, 0);
        let text = String::from_utf8(challenge.auth_bytes.to_vec()).unwrap();
        let (nonce, rest) = text.split_once(",s=").unwrap();
        assert!(nonce.starts_with("r=abc") && rest.ends_with(",i=4096"), "{text}");
        first.push(rest.to_owned());
        let last = format!("c=biws,{nonce},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let answer = send(&mut stream, last.as_bytes()).await;
        assert_eq!(answer, heard[0], "{user}");
        assert_closed(&mut stream, "failed").await;
    }
    assert!(first[0] == first[1] && first[0] != first[2]);
    // A bad token is told so first (RFC 7628).
    let mut stream = fixture.connect().await;
    assert_eq!(choose(&mut stream, "OAUTHBEARER").await, 0);
    let refused = send(&mut stream, b"n,,\x01auth=Bearer x\x01\x01").await;
    assert_eq!((refused.error_code, &refused.auth_bytes[..]), (0, &br#"{"status":"invalid_token"}"#[..]));
    assert_eq!(send(&mut stream, b"\x01").await.error_code, KafkaError::SaslAuthenticationFailed.code());
    assert_closed(&mut stream, "failed").await;
}

#[test]
fn a_login_that_has_to_go_does_not_wait_for_its_turn() {
    const THREADS: usize = 4;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(THREADS).build().unwrap();
    runtime.block_on(async {
        let fixture = fixture(Duration::ZERO).await;
        // No check comes to its end.
        let (begun, mut blocked) = tokio::sync::mpsc::channel(THREADS);
        let mut held = Vec::new();
        for _ in 0..THREADS {
            let (until_dropped, dropped) = std::sync::mpsc::channel::<()>();
            held.push(until_dropped);
            let begun = begun.clone();
            tokio::task::spawn_blocking(move || {
                begun.blocking_send(()).unwrap();
                assert!(dropped.recv().is_err(), "nothing is sent");
            });
        }
        for _ in 0..THREADS {
            timeout(PATIENCE, blocked.recv()).await.expect("a thread").unwrap();
        }
        let check = || Box::pin(fixture.broker.check_password("alice", "wrong", [127, 0, 0, 1].into()));
        let mut checks = Vec::new();
        for _ in 0..2 {
            let mut place = check();
            assert!(futures::poll!(&mut place).is_pending(), "it has a place");
            checks.push(place);
        }
        let mut login = fixture.connect().await;
        let choice = SaslHandshakeRequest { mechanism: Str::from("PLAIN"), ..Default::default() };
        let message =
            SaslAuthenticateRequest { auth_bytes: Bytes::from_static(b"\0alice\0pencil"), ..Default::default() };
        let choice = request_frame(1, 7, None, &choice).unwrap().into_bytes().unwrap();
        let message = request_frame(2, 8, None, &message).unwrap().into_bytes().unwrap();
        login.write_all(&[choice, message].concat()).await.unwrap();
        let mut chosen = vec![0; timeout(PATIENCE, login.read_u32()).await.expect("an answer").unwrap() as usize];
        login.read_exact(&mut chosen).await.unwrap();
        // All the room there is to wait in.
        loop {
            let mut waiting = check();
            if futures::poll!(&mut waiting).is_ready() {
                break;
            }
            checks.push(waiting);
        }
        tokio::join!(assert_closed(&mut login, "the service stops"), fixture._door.close(2 * PATIENCE));
        assert!(futures::poll!(&mut check()).is_pending(), "its place in the queue is another's");
        drop((checks, held));
    });
}

#[tokio::test]
async fn a_session_ends_and_begins_again() {
    let fixture = fixture(Duration::from_millis(5000)).await;
    let mut stream = fixture.connect().await;
    let answer = plain(&mut stream, "alice", "pencil").await;
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 5000));
    let mut idle = fixture.connect().await;
    assert_eq!(plain(&mut idle, "alice", "pencil").await.error_code, 0);
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(5500) {
        assert_eq!(plain(&mut stream, "alice", "pencil").await.error_code, 0, "again, in time");
        assert_eq!(describes(&mut stream).await, 0);
    }
    let frame = request_frame(1, 7, None, &MetadataRequest::default()).unwrap().into_bytes().unwrap();
    idle.write_all(&frame).await.unwrap();
    assert_closed(&mut idle, "the session has ended").await;
    // Nobody becomes somebody else.
    assert_eq!(plain(&mut stream, "bob", "pencil").await.error_code, KafkaError::SaslAuthenticationFailed.code());
    assert_closed(&mut stream, "another principal").await;
}

#[tokio::test]
async fn version_0_of_the_handshake_is_followed_by_bare_messages() {
    let fixture = fixture(Duration::ZERO).await;
    let request = SaslHandshakeRequest { mechanism: Str::from("PLAIN"), ..Default::default() };
    for (password, right) in [("pencil", true), ("pen", false)] {
        let mut stream = fixture.connect().await;
        assert_eq!(call(&mut stream, 0, &request).await.error_code, 0);
        let message = format!("\0alice\0{password}");
        stream.write_u32(message.len() as u32).await.unwrap();
        stream.write_all(message.as_bytes()).await.unwrap();
        if right {
            assert_eq!(timeout(PATIENCE, stream.read_u32()).await.unwrap().unwrap(), 0, "an empty message");
            assert_eq!(describes(&mut stream).await, 0);
        } else {
            assert_closed(&mut stream, "a wrong password").await;
        }
    }
}

#[tokio::test]
async fn without_sasl_there_is_nothing_to_choose() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    assert_eq!(choose(&mut stream, "PLAIN").await, KafkaError::IllegalSaslState.code());
    assert_eq!(send(&mut stream, b"x").await.error_code, KafkaError::IllegalSaslState.code());
    assert_eq!(describes(&mut stream).await, KafkaError::SecurityDisabled.code());
    assert_eq!(call(&mut stream, 5, &CreateTopicsRequest::default()).await.topics.len(), 0);
}
