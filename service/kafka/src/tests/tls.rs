//! TLS through real sockets: who gets in, what comes out, and who a certificate says somebody is.

use std::sync::RwLock;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tidelog_broker::{Acks, AppendRequest, TopicRef};
use tidelog_handshake::limits::{MAX_HANDSHAKES, SILENCE_PATIENCE};
use tidelog_model::PartitionIndex;
use tidelog_protocol::messages::DescribeAclsRequest;
use tidelog_record::BatchBuilder;
use tidelog_security::AclDefaults;
use tidelog_security::distinguished_name::MappingRules;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::TlsOptions;

/// Signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Authority { issuer: Issuer::new(params, key), root }
    }

    fn sign(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        roots
    }

    fn server(&self, client_auth: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let (chain, key) = self.sign("server");
        let builder = if client_auth {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    async fn connect(&self, fixture: &Fixture, identity: Option<Identity>) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots());
        let config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, fixture.connect().await).await
    }
}

fn security(source: tidelog_handshake::TlsSource, rules: &str) -> ListenerSecurity {
    ListenerSecurity { sasl: None, tls: Some(TlsOptions { source, rules: MappingRules::parse(rules).unwrap() }) }
}

#[tokio::test]
async fn records_come_out_of_files_as_they_went_in() {
    let authority = Authority::new();
    let config = authority.server(false);
    let fixture = Fixture::start_with(&[], security(Arc::new(move || Arc::clone(&config)), ""), None).await;
    let topic_id = fixture.create("events").await;
    // More than what is read of a file at once.
    let mut expected = 0;
    for number in 0..4u8 {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        builder.push(tidelog_model::Timestamp(1), None, Some(&vec![number; 200_000]), &[]).unwrap();
        let batch = builder.build().unwrap().into_bytes();
        expected += batch.len();
        let (topic, partition) = (TopicRef::from("events"), PartitionIndex(0));
        let request = AppendRequest { topic, partition, batch, acks: Acks::All, timeout: PATIENCE, keep: None };
        fixture.broker.append(&Caller::internal("test"), request).await.unwrap();
    }
    let mut stream = authority.connect(&fixture, None).await.unwrap();
    let partitions = vec![FetchPartition { partition_max_bytes: 10_000_000, ..Default::default() }];
    let topics = vec![FetchTopic { topic_id, partitions, ..Default::default() }];
    let fetch = FetchRequest { max_bytes: 10_000_000, max_wait_ms: 0, topics, ..Default::default() };
    let answer = call(&mut stream, 16, &fetch).await;
    let records = answer.responses[0].partitions[0].records.clone().unwrap();
    let tidelog_protocol::Records::Bytes(bytes) = records else { panic!("no bytes") };
    assert_eq!(bytes.len(), expected);
    for number in 0..4u8 {
        assert!(bytes.iter().filter(|byte| **byte == number).count() >= 200_000, "{number}");
    }
    // And the connection is good for more.
    assert_eq!(call(&mut stream, 1, &MetadataRequest::default()).await.brokers.len(), 1);
}

#[tokio::test]
async fn plaintext_and_strange_certificates_stay_outside() {
    let (authority, other) = (Authority::new(), Authority::new());
    let config = authority.server(true);
    let fixture = Fixture::start_with(&[], security(Arc::new(move || Arc::clone(&config)), ""), None).await;
    let mut plain = fixture.connect().await;
    let frame = request_frame(0, 7, None, &ApiVersionsRequest::default()).unwrap().into_bytes().unwrap();
    plain.write_all(&frame).await.unwrap();
    let mut answer = Vec::new();
    // Whatever comes is TLS's alert and the end.
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("an end");
    assert!(answer.len() < 20, "{answer:?}");
    for identity in [None, Some(other.sign("mallory"))] {
        let why = if identity.is_some() { "another authority's" } else { "none" };
        // With TLS 1.3 a client hears of it only when it reads.
        if let Ok(mut stream) = authority.connect(&fixture, identity).await {
            let mut answer = Vec::new();
            let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
            assert!(read.is_err() && answer.is_empty(), "{why}");
        }
    }
    let mut good = authority.connect(&fixture, Some(authority.sign("alice"))).await.unwrap();
    assert_eq!(call(&mut good, 1, &MetadataRequest::default()).await.brokers.len(), 1);
}

#[tokio::test]
async fn a_certificate_names_the_principal() {
    let authority = Authority::new();
    let config = authority.server(true);
    let acls = AclDefaults { super_users: ["User:alice".to_owned()].into(), allow_everyone: false };
    let rules = "RULE:^CN=([a-z]+).*$/$1/L";
    let fixture = Fixture::start_with(&[], security(Arc::new(move || Arc::clone(&config)), rules), Some(acls)).await;
    let any = DescribeAclsRequest {
        resource_type_filter: 1,
        resource_name_filter: None,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let denied = KafkaError::ClusterAuthorizationFailed.code();
    for (name, expected) in [("alice", 0), ("bob", denied)] {
        let mut stream = authority.connect(&fixture, Some(authority.sign(name))).await.unwrap();
        assert_eq!(call(&mut stream, 3, &any).await.error_code, expected, "{name}");
    }
    // No rule, no name, no entry.
    let mut nameless = authority.connect(&fixture, Some(authority.sign("0"))).await.unwrap();
    assert!(timeout(PATIENCE, nameless.read_u8()).await.expect("an end").is_err());
}

#[tokio::test]
async fn the_next_handshake_has_the_newest_certificate() {
    let (old, new) = (Authority::new(), Authority::new());
    let current = Arc::new(RwLock::new(old.server(false)));
    let source = Arc::clone(&current);
    let fixture =
        Fixture::start_with(&[], security(Arc::new(move || Arc::clone(&source.read().unwrap())), ""), None).await;
    let mut before = old.connect(&fixture, None).await.unwrap();
    assert!(new.connect(&fixture, None).await.is_err());
    *current.write().unwrap() = new.server(false);
    assert!(old.connect(&fixture, None).await.is_err());
    let mut after = new.connect(&fixture, None).await.unwrap();
    // Who is in stays in.
    for stream in [&mut before, &mut after] {
        call(stream, 1, &MetadataRequest::default()).await;
    }
}

/// This process holds both ends of many connections, and the soft limit is meant for shells.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    raise_open_files();
    let authority = Authority::new();
    let config = authority.server(false);
    let fixture = Fixture::start_with(&[], security(Arc::new(move || Arc::clone(&config)), ""), None).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_HANDSHAKES {
        silent.push(fixture.connect().await);
    }
    let good = authority.connect(&fixture, None);
    // The silent ones have longer.
    let mut good =
        timeout(SILENCE_PATIENCE - Duration::from_millis(500), good).await.expect("among silent connections").unwrap();
    assert_eq!(call(&mut good, 1, &MetadataRequest::default()).await.brokers.len(), 1);
}

#[tokio::test]
async fn plaintext_at_tls_and_tls_at_plaintext_are_told_as_what_they_are() {
    let authority = Authority::new();
    let config = authority.server(false);
    let source: tidelog_handshake::TlsSource = Arc::new(move || Arc::clone(&config));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plain = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    let (accepted, peer) = socket.accept().await.unwrap();
    let frame = request_frame(0, 7, None, &ApiVersionsRequest::default()).unwrap().into_bytes().unwrap();
    plain.write_all(&frame).await.unwrap();
    let handshakes = tidelog_handshake::Handshakes::default();
    let error = handshakes.accept(accepted, peer.ip(), &source).await.err().unwrap();
    assert_eq!(crate::tls::plainly(&error), "the client does not speak TLS, and this listener does");
    // The other way round.
    let fixture = Fixture::start_with(&[], ListenerSecurity::default(), None).await;
    assert!(authority.connect(&fixture, None).await.is_err());
    let limits = crate::frame::FrameLimits { max_bytes: 1000, max_idle: PATIENCE };
    let mut client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = socket.accept().await.unwrap();
    client.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
    let inlet = crate::frame::Inlet::Plain(Arc::new(accepted));
    let mut frames = crate::frame::FrameReader::new(inlet, crate::budget::FrameBudgets::default(), limits);
    let error =
        frames.next(crate::frame::Allowance::Known, || crate::budget::Owner::network(peer.ip())).await.err().unwrap();
    assert!(error.to_string().starts_with("the client speaks TLS"), "{error}");
}

#[tokio::test]
async fn encrypted_clients_that_take_nothing_hold_nobody_up() {
    use tidelog_log::Disk;

    use crate::limits::SEND_STEP_MOST;

    /// More than sockets take; some of them are older parts.
    const SILENT: usize = 64 * 1024 * 1024;
    const READ: usize = 4 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let file = tidelog_log::OsDisk.create(&folder.path().join("segment")).unwrap();
    let values: Vec<u8> = (0..SILENT).map(|at| (at / 7) as u8).collect();
    file.write_at(0, &[std::io::IoSlice::new(&values)]).unwrap();
    let part = |len, recent| {
        let slice = tidelog_log::FileSlice { file: Arc::clone(&file), position: 0, len };
        crate::send::Outgoing::File(tidelog_broker::FilePart { slice, recent })
    };
    let authority = Authority::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server(false));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = TlsConnector::from(Arc::new(
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth(),
    ));
    // One place for all.
    let budget = crate::budget::Budget::new(SEND_STEP_MOST);
    let pair = async || {
        let client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = socket.accept().await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let (client, server) = tokio::join!(connector.connect(name, client), acceptor.accept(accepted));
        let (read, half) = tokio::io::split(server.unwrap());
        let pace = crate::pace::Pace { stall: 3 * PATIENCE, rate: 1 };
        ((client.unwrap(), read), crate::sealed::Sealed { half, pace, budget: budget.clone() })
    };
    let mut silent = Vec::new();
    for recent in [true, false] {
        let (client, mut sealed) = pair().await;
        let pieces = vec![part(SILENT, recent)];
        silent.push((client, tokio::spawn(async move { sealed.send(pieces).await })));
    }
    for recent in [true, false] {
        let ((mut client, _read), mut sealed) = pair().await;
        let pieces = vec![part(READ, recent)];
        let sending = tokio::spawn(async move { sealed.send(pieces).await });
        let mut read = vec![0; READ];
        timeout(PATIENCE, client.read_exact(&mut read)).await.expect("others take all the room").unwrap();
        assert!(read == values[..READ], "what was not taken at once is read again where it stopped");
        sending.await.unwrap().unwrap();
    }
    assert!(silent.iter().all(|(_, sending)| !sending.is_finished()), "they are still there");
}
