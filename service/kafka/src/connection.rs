//! One connection: reads frames, runs the ordered stage of each handler, sends answers in request order.
//!
//! Two tasks share a bounded queue of waiting answers. The reader runs a handler's ordered stage to its end before it looks at
//! the next frame; what is left to wait for (a flush, a long poll) goes into the queue and overlaps with later requests. When the
//! queue is full, reading stops, and TCP tells the client.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::answer::{Answer, Hangup, Waiting};
use crate::dispatch::dispatch;
use crate::frame::{Budget, FrameError, FrameReader};
use crate::limits::MAX_WAITING_PER_CONNECTION;
use crate::send::send;
use crate::session::Session;

/// Serves one client until it hangs up, misbehaves, or the service stops.
pub(crate) async fn serve(session: Session, stream: TcpStream, budget: Budget, stop: CancellationToken) {
    let peer = session.peer;
    // Answers are small and latency matters; the kernel must not wait for more.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "connection lost at once");
        return;
    }
    let stream = Arc::new(stream);
    let (queue, waiting) = mpsc::channel(MAX_WAITING_PER_CONNECTION);
    let gone = stop.child_token();
    let writer = tokio::spawn(write(Arc::clone(&stream), waiting, peer, gone.clone()));
    if let Err(hangup) = read(session, FrameReader::new(stream, budget), queue, &gone).await {
        report(peer, &hangup);
    }
    // The queue's sender is gone: the writer sends what was accepted, then ends.
    if let Err(error) = writer.await {
        warn!(%peer, %error, "the sending half of a connection failed");
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
    queue: mpsc::Sender<Waiting>,
    gone: &CancellationToken,
) -> Result<(), Hangup> {
    loop {
        // Room for the answer first, then a frame: a request must not hold budget while it waits for its turn.
        let Ok(place) = queue.reserve().await else { return Ok(()) };
        // A stop waits for the ordered stage at work: half a request must not be carried out.
        let next = tokio::select! {
            next = frames.next() => next,
            () = gone.cancelled() => return Ok(()),
        };
        let frame = match next {
            Ok(frame) => frame,
            Err(FrameError::Closed) => return Ok(()),
            Err(FrameError::Io(error)) => {
                debug!(peer = %session.peer, %error, "client hung up");
                return Ok(());
            }
            Err(error) => return Err(Hangup::Malformed(error.to_string())),
        };
        place.send(dispatch(&mut session, frame).await?);
    }
}

async fn write(
    stream: Arc<TcpStream>,
    mut waiting: mpsc::Receiver<Waiting>,
    peer: SocketAddr,
    gone: CancellationToken,
) {
    while let Some(answer) = waiting.recv().await {
        let sent = match answer.await {
            Ok(Answer::Send(pieces)) => send(&stream, pieces).await,
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
    }
    gone.cancel();
}
