//! The encrypted listener: REST over HTTP/1.1 and gRPC over HTTP/2 on one port, renewed certificates, and who does not get in.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tidelog_proto::v1;
use tidelog_proto::v1::topic_service_client::TopicServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Endpoint;

use crate::fixture::Setup;

const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate that has signed itself.
struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        Identity { certificate: params.self_signed(&key).unwrap().der().clone(), key: key.serialize_der() }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = builder.with_single_cert(vec![self.certificate.clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    async fn connect(&self, address: SocketAddr, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

/// This process holds both ends of many connections, and the soft limit is meant for shells.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// An answer, before silent connections are let go.
async fn renewed_within(identity: &Identity, address: SocketAddr) -> String {
    let soon = tidelog_handshake::limits::SILENCE_PATIENCE - Duration::from_millis(500);
    let mut stream = tokio::time::timeout(soon, identity.connect(address, "http/1.1")).await.expect("soon").unwrap();
    get(&mut stream, "/v1/topics").await
}

#[tokio::test]
async fn rest_and_grpc_share_the_encrypted_port_and_new_certificates_hold() {
    let (old, new) = (Identity::new(), Identity::new());
    let server = Setup::default().start().await;
    server.topic("t", 1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let current = Arc::new(RwLock::new(old.server()));
    let source = Arc::clone(&current);
    let tls: tidelog_handshake::TlsSource = Arc::new(move || Arc::clone(&source.read().unwrap()));
    let (router, shutdown) = (server.router.clone(), server.shutdown.clone());
    let task =
        tokio::spawn(tidelog_gateway::serve(listener, server.broker.clone(), router, Some(tls), false, shutdown));
    let mut rest = old.connect(address, "http/1.1").await.unwrap();
    let answer = get(&mut rest, "/v1/topics").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"t\""), "{answer}");
    let encrypted = old.connect(address, "h2").await.unwrap();
    assert_eq!(encrypted.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut once = Some(TokioIo::new(encrypted));
    let connector = tower::service_fn(move |_| std::future::ready(once.take().ok_or(std::fmt::Error)));
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap();
    let topics = TopicServiceClient::new(channel).list_topics(v1::ListTopicsRequest::default()).await.unwrap();
    assert_eq!(topics.into_inner().topics.len(), 1);
    // Whoever does not trust it, or does not encrypt, gets nothing but the end.
    assert!(new.connect(address, "h2").await.is_err());
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /v1/topics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("an end");
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    *current.write().unwrap() = new.server();
    assert!(old.connect(address, "http/1.1").await.is_err());
    let mut renewed = new.connect(address, "http/1.1").await.unwrap();
    assert!(get(&mut renewed, "/v1/topics").await.starts_with("HTTP/1.1 200"));
    // Silent connections keep nobody out, nor does a handshake that does not go on hold up a stop.
    raise_open_files();
    let mut silent = Vec::new();
    for _ in 0..tidelog_handshake::limits::MAX_HANDSHAKES {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let among = renewed_within(&new, address).await;
    assert!(among.starts_with("HTTP/1.1 200"), "{among}");
    server.shutdown.cancel();
    tokio::time::timeout(PATIENCE, task).await.expect("it stops").unwrap();
}
