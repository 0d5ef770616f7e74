//! Clients that do not go on, and one that does, through real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tidelog_handshake::{HandshakeError, HandshakeLimits, Handshakes, TlsSource};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than anything here may take: whoever would have to wait until a bad client's time is over waits in vain.
const FOR_EVER: Duration = PATIENCE.saturating_mul(10);

/// This process holds both ends of many connections, and the soft limit is meant for shells.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

struct Server {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    ends: UnboundedReceiver<Result<(), HandshakeError>>,
}

async fn serve(limits: HandshakeLimits) -> Server {
    raise_open_files();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let certificate = certificate.der().clone();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = Arc::new(builder.with_single_cert(vec![certificate.clone()], private).unwrap());
    let listener = TcpSocket::new_v4().unwrap();
    listener.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = listener.listen(4096).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, ends) = unbounded_channel();
    let handshakes = Handshakes::new(limits);
    tokio::spawn(accept(listener, handshakes, Arc::new(move || Arc::clone(&config)), tell));
    Server { address, certificate, ends }
}

async fn accept(
    listener: TcpListener,
    handshakes: Handshakes,
    source: TlsSource,
    tell: tokio::sync::mpsc::UnboundedSender<Result<(), HandshakeError>>,
) {
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        let (handshakes, source, tell) = (handshakes.clone(), Arc::clone(&source), tell.clone());
        tokio::spawn(async move {
            let done = handshakes.accept(stream, peer.ip(), &source).await;
            let _ = tell.send(done.map(drop));
        });
    }
}

impl Server {
    async fn connect(&self) -> std::io::Result<()> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await.map(drop)
    }

    /// A connection from this address of loopback that says so much.
    async fn stall(&self, from: u8, said: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from([127, 0, 0, from]), 0).into()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream
    }

    async fn end(&mut self) -> Result<(), HandshakeError> {
        timeout(PATIENCE, self.ends.recv()).await.expect("an end").unwrap()
    }
}

/// How a hello begins: its rest never comes.
const BEGUN: &[u8] = &[0x16, 3, 1, 2, 0, 1];

#[tokio::test]
async fn six_hundred_silent_connections_keep_nobody_out() {
    let server = serve(HandshakeLimits { silence_patience: FOR_EVER, ..Default::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(server.stall(1, b"").await);
    }
    for _ in 0..3 {
        timeout(PATIENCE, server.connect()).await.expect("among silent connections").unwrap();
    }
}

#[tokio::test]
async fn of_one_address_few_are_silent_for_long() {
    let limits = HandshakeLimits { silent_of_one: 5, silence_grace: Duration::from_millis(50), ..Default::default() };
    let mut server = serve(HandshakeLimits { silence_patience: FOR_EVER, ..limits }).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(server.stall(1, b"").await);
    }
    silent.push(server.stall(2, b"").await);
    for _ in 0..3 {
        assert!(matches!(server.end().await, Err(HandshakeError::Silent)));
    }
    // Five of the one and one of the other stay.
    drop(silent);
    for _ in 0..6 {
        assert!(matches!(server.end().await, Err(HandshakeError::Silent)));
    }
}

#[tokio::test]
async fn whoever_stalls_in_the_middle_makes_room_when_others_wait() {
    // From one address, which has a share, and from as many as it takes to fill every place.
    for from in [&[2][..], &[2, 3, 4, 5]] {
        let mut server = serve(HandshakeLimits { patience: FOR_EVER, ..Default::default() }).await;
        let mut stalled = Vec::new();
        for at in 0..600 {
            stalled.push(server.stall(from[at % from.len()], BEGUN).await);
        }
        timeout(PATIENCE, server.connect()).await.expect("among stalled handshakes").unwrap();
        while !matches!(server.end().await, Err(HandshakeError::Late)) {}
    }
}

#[tokio::test]
async fn a_handshake_has_neither_for_ever_nor_is_cut_while_nobody_waits() {
    let short = Duration::from_millis(50);
    // Silent, and in the middle.
    let mut server = serve(HandshakeLimits { silence_patience: short, ..Default::default() }).await;
    let _silent = server.stall(1, b"").await;
    assert!(matches!(server.end().await, Err(HandshakeError::Silent)));
    let mut server = serve(HandshakeLimits { patience: short, ..Default::default() }).await;
    let _stalled = server.stall(1, BEGUN).await;
    assert!(matches!(server.end().await, Err(HandshakeError::Late)));
    // Nobody waits.
    let mut server = serve(HandshakeLimits { place_patience: Duration::ZERO, ..Default::default() }).await;
    let stalled = server.stall(1, BEGUN).await;
    server.connect().await.unwrap();
    assert!(server.end().await.is_ok(), "the one that stalls is still there");
    drop(stalled);
    assert!(matches!(server.end().await, Err(HandshakeError::Failed(_))));
    // No place at all.
    let mut server = serve(HandshakeLimits { places: 0, patience: short, ..Default::default() }).await;
    let _waits = server.stall(1, BEGUN).await;
    assert!(matches!(server.end().await, Err(HandshakeError::Late)));
    // A probe.
    drop(server.stall(1, b"").await);
    assert!(matches!(server.end().await, Err(HandshakeError::Silent)));
}
