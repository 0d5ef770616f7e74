//! One connection: reads frames, runs the ordered stage of each handler, sends answers in request order.
//!
//! Two tasks share a bounded queue of waiting answers. The reader runs a handler's ordered stage to its end before it looks at
//! the next frame; what is left to wait for (a flush, a long poll) goes into the queue and overlaps with later requests. When the
//! queue is full, or too much in it is encoded already, reading stops, and TCP tells the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::answer::{Answer, Hangup, Pending};
use crate::budget::{Budget, FrameBudgets};
use crate::dispatch::dispatch;
use crate::frame::{FrameError, FrameLimits, FrameReader, Inlet};
use crate::limits::{MAX_WAITING_PER_CONNECTION, SEND_MIN_RATE, SEND_STALL};
use crate::pace::Pace;
use crate::sealed::Sealed;
use crate::send::{Socket, send};
use crate::session::Session;
use crate::shares::Shares;
use crate::unsent::Unsent;

/// An accepted connection.
pub(crate) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// After the handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What connections may hold in memory together.
#[derive(Clone)]
pub(crate) struct Budgets {
    /// Frames of requests.
    pub(crate) requests: FrameBudgets,
    /// Fetches that wait.
    pub(crate) waiting_fetches: Shares,
    /// What large requests are decoded into, and are carried out with.
    pub(crate) decoded: Shares,
    /// Parts of segment files on their way through TLS.
    pub(crate) sealed: Budget,
}

/// How slowly a client may take an answer.
const SENDING: Pace = Pace { stall: SEND_STALL, rate: SEND_MIN_RATE };

/// Where answers go.
enum Outlet {
    Plain(Socket),
    Tls(Sealed),
}

/// Serves one client until it hangs up, misbehaves, or the service stops.
pub(crate) async fn serve(
    session: Session,
    stream: Stream,
    budgets: Budgets,
    limits: FrameLimits,
    stop: CancellationToken,
) {
    let (peer, listener) = (session.peer, session.listener.name.to_lowercase());
    let (inlet, outlet) = match stream {
        Stream::Plain(stream) => {
            let stream = Arc::new(stream);
            (Inlet::Plain(Arc::clone(&stream)), Outlet::Plain(Socket { stream, pace: SENDING }))
        }
        Stream::Tls(stream) => {
            let (read, half) = tokio::io::split(*stream);
            (Inlet::Tls(read), Outlet::Tls(Sealed { half, pace: SENDING, budget: budgets.sealed }))
        }
    };
    let (queue, waiting) = mpsc::channel(MAX_WAITING_PER_CONNECTION);
    let gone = stop.child_token();
    let unsent = Arc::new(Unsent::default());
    let writer = tokio::spawn(write(outlet, waiting, peer, Arc::clone(&unsent), gone.clone()));
    let end = match read(session, FrameReader::new(inlet, budgets.requests, limits), queue, &unsent, &gone).await {
        // Whatever came first, it would have ended now.
        Ok(_) if stop.is_cancelled() => End::Server,
        Ok(end) => end,
        Err(hangup) => {
            report(peer, &hangup);
            End::Error
        }
    };
    metrics::counter!("tidelog_connections_closed_total", "listener" => listener, "reason" => end.name()).increment(1);
    // The queue's sender is gone: the writer sends what was accepted, then ends.
    if let Err(error) = writer.await {
        warn!(%peer, %error, "the sending half of a connection failed");
    }
}

/// Why a connection ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// The client hung up, is lost, or takes no answers.
    Client,
    /// The client said nothing for too long.
    Idle,
    /// The client sent what is no request, or something after which the protocol ends a connection.
    Error,
    /// The service stops.
    Server,
}

impl End {
    pub(crate) const ALL: [End; 4] = [End::Client, End::Idle, End::Error, End::Server];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Idle => "idle",
            End::Error => "error",
            End::Server => "server",
        }
    }
}

/// Malformed input costs its connection, and the log exactly one line.
fn report(peer: SocketAddr, hangup: &Hangup) {
    match hangup {
        Hangup::Quiet => {}
        Hangup::Malformed(reason) => warn!(%peer, %reason, "closing a connection"),
    }
}

async fn read(
    mut session: Session,
    mut frames: FrameReader,
    queue: mpsc::Sender<Pending>,
    unsent: &Unsent,
    gone: &CancellationToken,
) -> Result<End, Hangup> {
    loop {
        // Room for the answer first, then a frame: a request must not hold budget while it waits for its turn.
        let Ok(place) = queue.reserve().await else { return Ok(End::Client) };
        tokio::select! {
            () = unsent.room() => {}
            () = gone.cancelled() => return Ok(End::Client),
        }
        // Who used more than its quota is not heard for a while, and the silence is not held against it (KIP-219).
        while let Some(left) = session.mute.left() {
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = gone.cancelled() => return Ok(End::Client),
            }
        }
        // A stop waits for the ordered stage at work: half a request must not be carried out.
        let next = tokio::select! {
            next = frames.next(session.allowance(Instant::now()), || session.owner()) => next,
            () = gone.cancelled() => return Ok(End::Client),
        };
        let frame = match next {
            Ok(frame) => frame,
            Err(FrameError::Closed) => return Ok(End::Client),
            Err(FrameError::Idle) => return Ok(End::Idle),
            Err(FrameError::Io(error)) => {
                debug!(peer = %session.peer, %error, "client hung up");
                return Ok(End::Client);
            }
            Err(error) => {
                if matches!(error, FrameError::Slow(_) | FrameError::NoRoom(_)) {
                    let reason = if matches!(error, FrameError::Slow(_)) { "slow" } else { "no_room" };
                    metrics::counter!("tidelog_kafka_frames_given_up_total", "reason" => reason).increment(1);
                }
                return Err(Hangup::Malformed(error.to_string()));
            }
        };
        let leaves = has_to_go(session.auth.is_logging_in(), session.auth.patience(Instant::now()), gone);
        let answer = tokio::select! {
            answer = dispatch(&mut session, frame) => answer?,
            end = leaves => return Ok(end),
        };
        session.forget_stranger();
        unsent.add(answer.encoded);
        place.send(answer);
        if session.auth.is_over() {
            return Ok(End::Error);
        }
    }
}

/// Waits until a connection has to go whatever its request came to. Of a login nothing is carried out, and its check may have to wait for many
/// others': whoever has to go meanwhile leaves them its place.
async fn has_to_go(is_login: bool, patience: Option<Duration>, gone: &CancellationToken) -> End {
    if !is_login {
        return std::future::pending().await;
    }
    let Some(patience) = patience else {
        gone.cancelled().await;
        return End::Client;
    };
    tokio::select! {
        () = gone.cancelled() => End::Client,
        () = tokio::time::sleep(patience) => End::Idle,
    }
}

async fn write(
    mut outlet: Outlet,
    mut waiting: mpsc::Receiver<Pending>,
    peer: SocketAddr,
    unsent: Arc<Unsent>,
    gone: CancellationToken,
) {
    while let Some(Pending { answer, meter, encoded }) = waiting.recv().await {
        let answer = answer.await;
        if let Some(meter) = &meter {
            meter.answered();
        }
        let sent = match answer {
            Ok(Answer::Send(pieces)) => match &mut outlet {
                Outlet::Plain(socket) => send(socket, pieces).await,
                Outlet::Tls(sealed) => sealed.send(pieces).await,
            },
            Ok(Answer::Nothing) => Ok(()),
            Err(hangup) => {
                report(peer, &hangup);
                break;
            }
        };
        if let Err(error) = sent {
            debug!(%peer, %error, "client hung up");
            break;
        }
        unsent.sent(encoded);
    }
    gone.cancel();
    if let Outlet::Tls(sealed) = &mut outlet {
        sealed.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use bytes::Bytes;
    use tidelog_broker::FilePart;
    use tidelog_log::{Disk, FileSlice, OsDisk};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::answer::Waiting;
    use crate::send::Outgoing;

    /// More than the sockets' buffers take.
    const LARGE: usize = 64 * 1024 * 1024;

    async fn pair() -> (Arc<TcpStream>, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        (Arc::new(server), client, peer)
    }

    fn file(folder: &std::path::Path) -> FilePart {
        let file = OsDisk.create(&folder.join("segment")).unwrap();
        file.write_at(0, &[IoSlice::new(&vec![7; LARGE])]).unwrap();
        FilePart { slice: FileSlice { file, position: 0, len: LARGE }, recent: true }
    }

    fn pending(answer: Answer) -> Pending {
        Pending::from(Box::pin(std::future::ready(Ok(answer))) as Waiting)
    }

    const STALL: Duration = Duration::from_millis(300);
    const SLOWEST: Pace = Pace { stall: STALL, rate: SEND_MIN_RATE };

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_dropped_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let part = file(folder.path());
        let cases = [
            ("bytes", Outgoing::Bytes(Bytes::from(vec![7; LARGE]))),
            ("a part near the log's end", Outgoing::File(part.clone())),
            ("an older part", Outgoing::File(FilePart { recent: false, ..part })),
        ];
        for (case, piece) in cases {
            let began = Instant::now();
            let (stream, client, peer) = pair().await;
            let (queue, waiting) = mpsc::channel::<Pending>(4);
            let gone = CancellationToken::new();
            let writer = tokio::spawn(write(
                Outlet::Plain(Socket { stream, pace: SLOWEST }),
                waiting,
                peer,
                Arc::default(),
                gone.clone(),
            ));
            queue.send(pending(Answer::Send(vec![piece]))).await.ok().unwrap();

            // Another client meanwhile gets all it asked for.
            let (stream, mut reading, peer) = pair().await;
            let (other, waiting) = mpsc::channel::<Pending>(4);
            let other_gone = CancellationToken::new();
            tokio::spawn(write(
                Outlet::Plain(Socket { stream, pace: SLOWEST }),
                waiting,
                peer,
                Arc::default(),
                other_gone.clone(),
            ));
            for _ in 0..3 {
                let answer = Answer::Send(vec![Outgoing::Bytes(Bytes::from_static(&[1; 1000]))]);
                other.send(pending(answer)).await.ok().unwrap();
                reading.read_exact(&mut [0; 1000]).await.unwrap();
            }

            tokio::time::timeout(100 * STALL, writer).await.expect("the answer is given up").unwrap();
            assert!(gone.is_cancelled(), "{case}: the reading half ends too");
            assert!(began.elapsed() >= STALL, "{case}: {:?}", began.elapsed());
            assert!(!other_gone.is_cancelled(), "{case}");
            drop(client);
        }
    }
}
