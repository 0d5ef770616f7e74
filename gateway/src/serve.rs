//! Serves a router on one TCP listener, encrypted or not: HTTP/1.1 and HTTP/2 side by side, so that REST and gRPC share the port.
//! Decides how long a silent peer is suffered; never what is answered.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tidelog_broker::{Broker, ConnectionPlace};
use tidelog_handshake::{HandshakeError, Handshakes, TlsSource, in_words};
use tidelog_model::{Door, HTTP_LISTENER};
use tidelog_security::limits::MAX_DOOR_CONNECTIONS;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::activity::Activity;
use crate::limits::{
    CONNECTION_IDLE, DRAIN_TIMEOUT, GOODBYE, HEADER_TIMEOUT, MAX_CONCURRENT_STREAMS, MAX_HEAD_BUFFER_BYTES,
    MAX_SEND_BUFFER_BYTES, OPENING_BYTES, WRITE_STALL_TIMEOUT,
};

/// Accepts connections that `broker` has a place for until `shutdown` is cancelled, then lets those in flight finish for at most ten
/// seconds. `asks` says whether callers have to say who they are: until they have they hold half of the places at most.
pub async fn serve(
    listener: TcpListener,
    broker: Broker,
    router: Router,
    tls: Option<TlsSource>,
    asks: bool,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let name: Arc<str> = Arc::from(HTTP_LISTENER);
    broker.listener_opened(&name);
    let handshakes = Handshakes::default();
    let slots = Arc::new(Semaphore::new(MAX_DOOR_CONNECTIONS));
    let kill = CancellationToken::new();
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = shutdown.cancelled() => break,
        };
        // Nobody closes the semaphore.
        let Ok(slot) = slot else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    accept_failed(&error).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => break,
        };
        // Newcomers wait where there are too many; who is turned away is gone.
        let admitted = tokio::select! {
            admitted = broker.admit_connection(Door::Rest, &name, peer.ip(), stream) => admitted,
            () = shutdown.cancelled() => break,
        };
        let Some((stream, place)) = admitted else { continue };
        let open = Open::new(slot, place);
        // Small answers should not wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let kill = kill.child_token();
        let mut stranger = None;
        if asks {
            stranger = broker.admit_stranger(&name, peer.ip(), kill.clone());
            if stranger.is_none() {
                continue;
            }
        }
        let activity = Activity::new(stranger);
        let unused = activity.clone().unused_for(CONNECTION_IDLE);
        let (router, shutdown) = (router.clone(), shutdown.clone());
        let (tls, handshakes) = (tls.clone(), handshakes.clone());
        let connection = async move {
            match tls {
                None => connection(stream, peer, router, shutdown, activity, unused).await,
                Some(source) => {
                    let shake = handshakes.accept(stream, peer.ip(), &source);
                    match shutdown.run_until_cancelled(shake).await {
                        Some(Ok(stream)) => connection(stream, peer, router, shutdown, activity, unused).await,
                        Some(Err(HandshakeError::Silent)) => tracing::debug!(%peer, "an HTTP client said nothing"),
                        Some(Err(error)) => {
                            let error = error.to_string();
                            tracing::info!(%peer, error = %in_words(&error), "a TLS handshake failed");
                        }
                        None => {}
                    }
                }
            }
        };
        connections.spawn(async move {
            let _open = open;
            tokio::select! {
                () = connection => {}
                () = kill.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "HTTP connections did not end in time and are cut");
        kill.cancel();
        connections.wait().await;
    }
}

/// An open connection's part of what there is.
struct Open {
    _slot: OwnedSemaphorePermit,
    _place: ConnectionPlace,
}

impl Open {
    fn new(slot: OwnedSemaphorePermit, place: ConnectionPlace) -> Self {
        metrics::gauge!("tidelog_http_connections").increment(1.0);
        Open { _slot: slot, _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("tidelog_http_connections").decrement(1.0);
    }
}

async fn accept_failed(error: &io::Error) {
    // A peer that left before it was accepted is nobody's problem; out of descriptors is ours and passes.
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::error!(%error, "the HTTP listener cannot accept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Serves a connection until `unused` says that it is of no use any more.
async fn connection<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
    activity: Activity,
    unused: impl Future<Output = ()>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        let begun = activity.begin();
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(begun.asker());
        let answer = router.clone().oneshot(request);
        async move { answer.await.map(|answer| begun.with(answer)) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .max_header_list_size(MAX_HEAD_BUFFER_BYTES as u32)
        .keep_alive_interval(Some(Duration::from_secs(60)))
        .keep_alive_timeout(Duration::from_secs(20));
    let first = Arc::new(OnceLock::new());
    let io = TokioIo::new(StallGuard::new(stream, WRITE_STALL_TIMEOUT, HEADER_TIMEOUT, Arc::clone(&first)));
    let mut connection = pin!(builder.serve_connection(io, service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = unused => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GOODBYE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        match first.get() {
            // The length of a Kafka request; no HTTP begins like that.
            Some(0) => {
                tracing::warn!(%peer, "this is not HTTP but perhaps Kafka, which the server speaks on another port (--kafka-listen)")
            }
            Some(0x16) => tracing::warn!(%peer, "this is TLS, which this port does not speak"),
            _ => tracing::debug!(%peer, error = %error, "HTTP connection ended"),
        }
    }
}

/// A stream whose writes fail when the peer has taken nothing for a while, and whose reads fail when it has not begun to speak:
/// until it has, nobody knows which HTTP it is, and so no time limit of HTTP's own holds. Later reads may be silent as long as
/// they like: that is what long polls and event streams look like from below.
struct StallGuard<S> {
    inner: S,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs until enough bytes have come.
    opening: Option<Pin<Box<Sleep>>>,
    received: usize,
    /// The first byte, which tells protocols apart.
    first: Arc<OnceLock<u8>>,
}

impl<S> StallGuard<S> {
    fn new(inner: S, limit: Duration, opening: Duration, first: Arc<OnceLock<u8>>) -> Self {
        let opening = Some(Box::pin(tokio::time::sleep(opening)));
        StallGuard { inner, limit, stalled: None, opening, received: 0, first }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let limit = self.limit;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let progress = Pin::new(&mut this.inner).poll_read(context, buffer);
        let Some(opening) = &mut this.opening else { return progress };
        if let Some(first) = buffer.filled().get(before) {
            // Later bytes find it set.
            let _ = this.first.set(*first);
        }
        this.received += buffer.filled().len() - before;
        if this.received >= OPENING_BYTES {
            this.opening = None;
        } else if progress.is_pending() {
            ready!(opening.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        progress
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.inner).poll_write(context, data);
        this.watch(context, progress)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.inner).poll_write_vectored(context, data);
        this.watch(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.inner).poll_flush(context);
        this.watch(context, progress)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.inner).poll_shutdown(context);
        this.watch(context, progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_left() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let mut guarded = StallGuard::new(ours, Duration::from_millis(1), Duration::from_secs(60), Arc::default());
        guarded.write_all(b"12345678").await.unwrap();
        assert_eq!(guarded.write_all(b"9").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_begin_to_speak_is_left() {
        for begun in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM"] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(begun.as_bytes()).await.unwrap();
            let mut guarded = StallGuard::new(ours, Duration::from_secs(60), Duration::from_millis(1), Arc::default());
            let mut buffer = [0; 64];
            let read = tokio::time::timeout(Duration::from_secs(60), guarded.read_exact(&mut buffer)).await;
            assert_eq!(read.expect("it ends").unwrap_err().kind(), io::ErrorKind::TimedOut, "{begun}");
        }
        // One that has spoken may be silent for long.
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut guarded = StallGuard::new(ours, Duration::from_secs(60), Duration::from_millis(1), Arc::default());
        theirs.write_all(&[7; OPENING_BYTES]).await.unwrap();
        guarded.read_exact(&mut [0; OPENING_BYTES]).await.unwrap();
        let silent = tokio::time::timeout(Duration::from_millis(20), guarded.read_u8()).await;
        assert!(silent.is_err(), "{silent:?}");
    }

    #[tokio::test]
    async fn a_peer_that_takes_something_is_kept() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut guarded = StallGuard::new(ours, Duration::from_secs(60), Duration::from_secs(60), Arc::default());
        let writer = tokio::spawn(async move {
            guarded.write_all(&[7; 64]).await.map(|()| guarded.stalled.is_none()).map_err(|error| error.kind())
        });
        theirs.read_exact(&mut [0; 64]).await.unwrap();
        assert_eq!(writer.await.unwrap(), Ok(true));
    }

    /// A request for "/" without a body, as HTTP/2 writes it.
    fn h2_get(stream: u8) -> Vec<u8> {
        vec![0, 0, 3, 1, 5, 0, 0, 0, stream, 0x82, 0x86, 0x84]
    }

    /// A client of HTTP/2 that has said hello, and the connection that serves it: its idle time begins when `seen` ends.
    async fn h2(
        router: Router,
        idle: Duration,
        seen: impl Future<Output = ()> + Send + 'static,
    ) -> (tokio::io::DuplexStream, tokio::task::JoinHandle<()>) {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let activity = Activity::new(None);
        let unused = seen.then({
            let activity = activity.clone();
            move |()| activity.unused_for(idle)
        });
        let served = tokio::spawn(connection(ours, peer, router, CancellationToken::new(), activity, unused));
        theirs.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        (theirs, served)
    }

    #[tokio::test]
    async fn what_is_open_on_a_connection_of_no_use_hears_of_its_end() {
        type Who = axum::Extension<crate::activity::Asker>;
        // However slow the machine is, the request is there before the connection can be of no use.
        let seen = CancellationToken::new();
        let asked = seen.clone();
        let watched = move |who: Who| {
            let over = who.connection_over().unwrap();
            asked.cancel();
            async move {
                axum::body::Body::from_stream(futures::stream::once(async move {
                    over.cancelled().await;
                    io::Result::Ok("it is over")
                }))
            }
        };
        let router = Router::new().route("/", axum::routing::get(watched));
        let (mut client, served) = h2(router, Duration::from_millis(1), seen.cancelled_owned()).await;
        client.write_all(&h2_get(1)).await.unwrap();
        let mut heard = Vec::new();
        tokio::time::timeout(Duration::from_secs(60), client.read_to_end(&mut heard)).await.expect("it ends").unwrap();
        served.await.unwrap();
        let heard = |bytes: &[u8]| heard.windows(bytes.len()).any(|window| window == bytes);
        assert!(heard(b"it is over"));
        assert!(heard(&[0, 0, 8, 7, 0, 0, 0, 0, 0]), "GOAWAY");
    }

    #[tokio::test]
    async fn a_connection_of_no_use_to_anybody_known_is_closed() {
        use axum::routing::get;

        type Who = axum::Extension<crate::activity::Asker>;
        const IDLE: Duration = Duration::from_secs(2);
        let stranger = || async { http::StatusCode::UNAUTHORIZED };
        let endless =
            || async { axum::body::Body::from_stream(futures::stream::pending::<io::Result<bytes::Bytes>>()) };
        let mute = || futures::future::pending::<http::StatusCode>();
        let known = |who: Who| who.is_known();
        let answered = move |who: Who| async move {
            known(who);
            "x"
        };
        let followed = move |who: Who| async move {
            known(who);
            endless().await
        };
        let awaited = move |who: Who| async move {
            known(who);
            mute().await
        };
        for (case, router, stays) in [
            ("a stranger's requests are no use", Router::new().route("/", get(stranger)), false),
            ("requests of somebody known are", Router::new().route("/", get(answered)), true),
            ("an open stream of theirs is", Router::new().route("/", get(followed)), true),
            ("so is one that has no answer yet", Router::new().route("/", get(awaited)), true),
            ("a stranger's is not", Router::new().route("/", get(endless)), false),
            ("nor is what a stranger has not asked to its end", Router::new().route("/", get(mute)), false),
        ] {
            let (mut client, served) = h2(router, IDLE, std::future::ready(())).await;
            let began = tokio::time::Instant::now();
            let mut stream = 1;
            // Asks all the time, and so it is only the idle limit that may end it.
            while began.elapsed() < 2 * IDLE && !served.is_finished() {
                // The server may hang up meanwhile.
                let _ = client.write_all(&h2_get(stream)).await;
                stream += 2;
                tokio::time::sleep(IDLE / 20).await;
            }
            assert_eq!(!served.is_finished(), stays, "{case}");
            drop(client);
            tokio::time::timeout(Duration::from_secs(60), served).await.expect("it ends").unwrap();
        }
    }
}
