//! Connections against a server that is scripted byte by byte.

use std::io::Cursor;

use tidelog_model::KafkaError;
use tidelog_protocol::RequestHeader;
use tidelog_protocol::messages::{
    ApiVersion, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    SaslHandshakeResponse,
};
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

async fn listener() -> (TcpListener, BrokerAddress) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, BrokerAddress { host: "127.0.0.1".into(), port })
}

async fn read_request(stream: &mut TcpStream) -> RequestHeader {
    let size = stream.read_u32().await.unwrap();
    let mut frame = vec![0; size as usize];
    stream.read_exact(&mut frame).await.unwrap();
    RequestHeader::parse(Bytes::from(frame)).unwrap().0
}

async fn write(stream: &mut TcpStream, frame: Pieces) {
    stream.write_all(&frame.into_bytes().unwrap()).await.unwrap();
}

fn versions() -> ApiVersionsResponse {
    let api = |api_key, max_version| ApiVersion { api_key, min_version: 0, max_version, ..Default::default() };
    ApiVersionsResponse { api_keys: vec![api(18, 4), api(22, 5), api(3, 12), api(17, 1)], ..Default::default() }
}

/// Accepts one connection, answers ApiVersions, then does what the script says.
fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    script: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let header = read_request(&mut stream).await;
        write(&mut stream, header::response_frame(header.version, header.correlation_id, &versions()).unwrap()).await;
        script(stream).await;
    })
}

fn id(producer_id: i64) -> InitProducerIdResponse {
    InitProducerIdResponse { producer_id, ..Default::default() }
}

fn ask() -> InitProducerIdRequest {
    InitProducerIdRequest { transactional_id: None, ..Default::default() }
}

#[tokio::test]
async fn requests_are_pipelined_and_answers_find_theirs() {
    let (listener, address) = listener().await;
    let server = serve(listener, |mut stream| async move {
        // All three are here before the first is answered.
        let mut headers = Vec::new();
        for _ in 0..3 {
            headers.push(read_request(&mut stream).await);
        }
        for (number, header) in headers.iter().enumerate() {
            assert_eq!(header.client_id.as_deref(), Some("tester"));
            write(&mut stream, header::response_frame(5, header.correlation_id, &id(number as i64)).unwrap()).await;
        }
    });
    let options = ConnectionOptions { client_id: "tester".into(), ..Default::default() };
    let connection = Connection::open(&address, &options).await.unwrap();
    let (request, other) = (ask(), ask());
    let (a, b) = (connection.call(&request), connection.call(&other));
    let c = connection.submit(5, &request, Duration::ZERO).unwrap();
    let (a, b, c) = tokio::join!(c.wait(), a, b);
    assert_eq!((a.unwrap().producer_id, b.unwrap().producer_id, c.unwrap().producer_id), (0, 1, 2));
    server.await.unwrap();
}

#[tokio::test]
async fn an_old_server_is_asked_again_in_its_own_version() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let header = read_request(&mut stream).await;
        assert_eq!(header.version, 4);
        let api_keys = vec![ApiVersion { api_key: 18, min_version: 0, max_version: 2, ..Default::default() }];
        let error_code = KafkaError::UnsupportedVersion.code();
        let refusal = ApiVersionsResponse { error_code, api_keys, ..Default::default() };
        write(&mut stream, header::response_frame(0, header.correlation_id, &refusal).unwrap()).await;
        let header = read_request(&mut stream).await;
        assert_eq!(header.version, 2);
        write(&mut stream, header::response_frame(2, header.correlation_id, &versions()).unwrap()).await;
        // Until the client closes.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    });
    let options = ConnectionOptions { version_caps: vec![(3, 9)], ..Default::default() };
    let connection = Connection::open(&address, &options).await.unwrap();
    assert_eq!(connection.versions().choose::<MetadataRequest>(i16::MAX), Ok(9));
    drop(connection);
    server.await.unwrap();
}

#[tokio::test]
async fn a_refused_connection_says_what_to_do() {
    let (listener, address) = listener().await;
    drop(listener);
    let error = Connection::open(&address, &ConnectionOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no Tidelog at {address}; start one with `tidelog serve`"));
    assert!(error.is_unreachable() && error.is_retriable());
}

/// What a caller gets when the server answers a request with these bytes and hangs up.
async fn outcome_of(bytes: Vec<u8>, options: ConnectionOptions) -> ClientError {
    let (listener, address) = listener().await;
    let server = serve(listener, |mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(&bytes).await.unwrap();
    });
    let connection = Connection::open(&address, &options).await.unwrap();
    let error = connection.call(&ask()).await.unwrap_err();
    server.await.unwrap();
    error
}

#[tokio::test]
async fn malformed_answers_are_errors() {
    let closed = |error: ClientError| match error {
        ClientError::Closed { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    let run = |bytes: &[u8]| outcome_of(bytes.to_vec(), ConnectionOptions::default());
    // After the versions, which everybody is told, and it is not there any more to say whether it wants to know who asks.
    for cut in [&b""[..], &[0, 0, 0, 9, 1]] {
        assert_eq!(closed(run(cut).await), "the server closed it");
    }
    assert!(closed(run(b"\x15\x03\x03\x00\x02").await).contains("--tls-ca"), "a TLS alert");
    assert!(closed(run(b"HTTP/1.1 400 Bad Request").await).contains("HTTP port"));
    assert!(closed(run(&[0x7f, 0xff, 0xff, 0xff]).await).contains("2147483647 bytes"));
    assert!(closed(run(&[0xff; 8]).await).contains("-1 bytes"));
    assert!(closed(run(&[0, 0, 0, 0]).await).contains("was due"));
    assert!(closed(run(&[0, 0, 0, 4, 9, 9, 9, 9]).await).contains("was due"));
    // The right correlation id, but no body.
    assert!(matches!(run(&[0, 0, 0, 4, 0, 0, 0, 1]).await, ClientError::Decode(_)));
    let small = ConnectionOptions { max_response_bytes: 100, ..Default::default() };
    assert!(closed(outcome_of(vec![0, 0, 0, 101], small).await).contains("at most 100"));
}

/// What a caller gets of a server that hangs up after the versions, and then answers a SaslHandshake with this.
async fn outcome_when_asked(answer: SaslHandshakeResponse) -> ClientError {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        for handshake in [false, true] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let header = read_request(&mut stream).await;
            write(&mut stream, header::response_frame(header.version, header.correlation_id, &versions()).unwrap())
                .await;
            let header = read_request(&mut stream).await;
            if handshake {
                assert_eq!(header.api, tidelog_protocol::ApiKey::SaslHandshake);
                write(&mut stream, header::response_frame(header.version, header.correlation_id, &answer).unwrap())
                    .await;
            }
        }
    });
    let options = ConnectionOptions::default();
    let connection = Connection::open(&address, &options).await.unwrap();
    let error = connection.call(&ask()).await.unwrap_err();
    server.await.unwrap();
    // Only who is served so is not asked about again.
    let asked_again = !options.serves_nobodies.load(Ordering::Relaxed);
    assert_eq!(asked_again, matches!(error, ClientError::Unauthenticated { .. }));
    error
}

#[tokio::test]
async fn a_server_that_serves_nobodies_is_not_asked_when_a_connection_ends() {
    let options = ConnectionOptions::default();
    options.serves_nobodies.store(true, Ordering::Relaxed);
    let (listener, address) = listener().await;
    // It accepts a second connection, and hears nothing of it.
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let header = read_request(&mut stream).await;
        write(&mut stream, header::response_frame(header.version, header.correlation_id, &versions()).unwrap()).await;
        read_request(&mut stream).await;
        drop(stream);
        listener
    });
    let connection = Connection::open(&address, &options).await.unwrap();
    let told = connection.call(&ask()).await.unwrap_err();
    assert!(matches!(&told, ClientError::Closed { reason, .. } if reason == "the server closed it"), "{told:?}");
    // Who had asked would have connected before.
    let again = server.await.unwrap().into_std().unwrap().accept();
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::WouldBlock, "it was asked");
}

#[tokio::test]
async fn who_is_hung_up_on_learns_whether_the_server_asks_who_its_clients_are() {
    let answer = |error: Option<KafkaError>, mechanisms: &[&'static str]| SaslHandshakeResponse {
        error_code: error.map_or(0, KafkaError::code),
        mechanisms: mechanisms.iter().map(|name| Str::from_static(name)).collect(),
        ..Default::default()
    };
    for error in [None, Some(KafkaError::UnsupportedSaslMechanism)] {
        let told = outcome_when_asked(answer(error, &["PLAIN", "OAUTHBEARER"])).await;
        assert!(matches!(told, ClientError::Unauthenticated { .. }) && !told.is_retriable(), "{told:?}");
        let told = told.to_string();
        assert!(told.contains("TIDELOG_USER") && told.contains("it offers PLAIN, OAUTHBEARER"), "{told}");
    }
    // It asks nobody, and had some other reason.
    let told = outcome_when_asked(answer(Some(KafkaError::IllegalSaslState), &[])).await;
    assert!(matches!(&told, ClientError::Closed { reason, .. } if reason == "the server closed it"), "{told:?}");
}

#[tokio::test]
async fn a_server_that_hangs_up_before_its_first_answer_is_perhaps_no_kafka() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
    });
    let error = Connection::open(&address, &ConnectionOptions::default()).await.unwrap_err().to_string();
    assert!(error.contains("closed it without an answer") && error.contains("--tls-ca"), "{error}");
    server.await.unwrap();
}

/// The first question may find the connection ended already.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_connection_that_has_just_ended_hears_why() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        for _ in 0..200 {
            drop(listener.accept().await.unwrap());
        }
    });
    for _ in 0..200 {
        let error = Connection::open(&address, &ConnectionOptions::default()).await.unwrap_err();
        assert!(!error.to_string().contains("it was closed"), "{error}");
    }
    server.await.unwrap();
}

#[tokio::test]
async fn an_announced_length_alone_reserves_little() {
    // 190 MiB are announced and 10 bytes come.
    let mut from = Cursor::new([&(190 * 1024 * 1024i32).to_be_bytes()[..], &[0; 10]].concat());
    let error = read_frame(&mut from, MAX_RESPONSE_BYTES).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let mut from = Cursor::new([&(body.len() as i32).to_be_bytes()[..], &body, b"next"].concat());
    assert_eq!(read_frame(&mut from, body.len()).await.unwrap(), body);
    assert_eq!(from.position(), body.len() as u64 + 4, "what follows belongs to the next frame");
}

#[tokio::test]
async fn a_late_answer_ends_the_connection() {
    let (listener, address) = listener().await;
    let server = serve(listener, |mut stream| async move {
        read_request(&mut stream).await;
        // No answer; until the client hangs up.
        let _ = stream.read(&mut [0; 1]).await;
    });
    let options = ConnectionOptions { request_timeout: Duration::from_secs(2), ..Default::default() };
    let connection = Connection::open(&address, &options).await.unwrap();
    let error = connection.call(&ask()).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to InitProducerIdRequest within 2s");
    server.await.unwrap();
    let again = connection.call(&ask()).await.unwrap_err();
    assert!(matches!(again, ClientError::Closed { .. }), "{again:?}");
    assert!(!connection.is_open());
}
