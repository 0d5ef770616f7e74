//! Reads request frames: four bytes of length, then the body, under the request budget and a minimum rate.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::limits::{BUDGET_UNIT, FRAME_GRACE, FRAME_MIN_RATE, MAX_STRANGERS_FRAME, READ_BUFFER_BYTES};

/// Bytes that all connections of one process may hold together, of one kind.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Budget(Arc::new(Semaphore::new(bytes / BUDGET_UNIT)))
    }

    /// Waits for room, first come first served; nobody waits here while holding some.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(BUDGET_UNIT)).ok()?;
        Arc::clone(&self.0).acquire_many_owned(units).await.ok()
    }
}

/// What an operator sets for all connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    /// `socket.request.max.bytes`: the largest frame.
    pub(crate) max_bytes: usize,
    /// `connections.max.idle.ms`: a connection that says nothing for this long is closed.
    pub(crate) max_idle: Duration,
}

/// What one client may send next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allowance {
    /// Requests as the operator allows them.
    Known,
    /// Small frames, and within this time; bare messages of SASL (`bare`) have no header and may be short.
    Stranger {
        /// What is left of the time to become known.
        patience: Duration,
        /// No header.
        bare: bool,
    },
}

impl Allowance {
    fn within(self, limits: FrameLimits) -> (Duration, RangeInclusive<usize>) {
        match self {
            Allowance::Known => (limits.max_idle, MIN_REQUEST_BYTES..=limits.max_bytes),
            Allowance::Stranger { patience, bare } => {
                let min = if bare { 0 } else { MIN_REQUEST_BYTES };
                (limits.max_idle.min(patience), min..=limits.max_bytes.min(MAX_STRANGERS_FRAME))
            }
        }
    }
}

/// The header of a request without a client id.
const MIN_REQUEST_BYTES: usize = 8;

/// What a TLS client begins with: a handshake record of major version 3. As a length it is beyond any frame.
const TLS_HANDSHAKE: i32 = 0x0016_0301;

/// One request as it came, and the budget it holds.
pub(crate) struct Frame {
    pub(crate) body: Bytes,
    pub(crate) reserved: OwnedSemaphorePermit,
    /// For how long it waited for room in the budget.
    pub(crate) queued: Duration,
}

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The client hung up between two frames: nothing is wrong.
    #[error("closed")]
    Closed,
    /// The client said nothing for long.
    #[error("idle")]
    Idle,
    /// The client hung up, or the network did.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A length that no frame has.
    #[error("a frame announces {announced} bytes, allowed are {min} to {max}{}", hint(*announced))]
    Length {
        /// What it announces.
        announced: i32,
        /// The smallest frame.
        min: usize,
        /// The largest frame.
        max: usize,
    },
    /// A TLS handshake, read as a length.
    #[error("the client speaks TLS, and this listener does not; its address with TLS is another one")]
    Tls,
    /// The body comes too slowly.
    #[error("a frame of {0} bytes did not arrive in time")]
    Slow(usize),
}

/// What the first bytes look like to a person, if they are those of another protocol.
fn hint(announced: i32) -> &'static str {
    match &announced.to_be_bytes() {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"PRI " => {
            "; this is HTTP, which the server speaks on another port (--http-listen)"
        }
        _ => "",
    }
}

/// Where frames come from.
pub(crate) enum Inlet {
    /// A plaintext socket, shared with the sending half.
    Plain(Arc<TcpStream>),
    /// An encrypted one.
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

/// The reading half of a connection.
pub(crate) struct FrameReader {
    inlet: Inlet,
    buffer: BytesMut,
    budget: Budget,
    limits: FrameLimits,
}

impl FrameReader {
    pub(crate) fn new(inlet: Inlet, budget: Budget, limits: FrameLimits) -> Self {
        FrameReader { inlet, buffer: BytesMut::new(), budget, limits }
    }

    /// The next frame. Its bytes are a slice of the read buffer: nothing is copied.
    pub(crate) async fn next(&mut self, allowance: Allowance) -> Result<Frame, FrameError> {
        let (idle, sizes) = allowance.within(self.limits);
        match timeout(idle, self.fill(4)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof && self.buffer.is_empty() => {
                return Err(FrameError::Closed);
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(FrameError::Idle),
        }
        let announced = match self.buffer.split_to(4)[..] {
            [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
            _ => return Err(FrameError::Closed),
        };
        let length = match usize::try_from(announced) {
            Ok(length) if sizes.contains(&length) => length,
            _ if announced >> 8 == TLS_HANDSHAKE => return Err(FrameError::Tls),
            _ => return Err(FrameError::Length { announced, min: *sizes.start(), max: *sizes.end() }),
        };
        let announced = Instant::now();
        let reserved = self.budget.reserve(length).await.ok_or(FrameError::Closed)?;
        let queued = announced.elapsed();
        let patience = FRAME_GRACE + Duration::from_secs((length / FRAME_MIN_RATE) as u64);
        match timeout(patience, self.fill(length)).await {
            Ok(filled) => filled?,
            Err(_) => return Err(FrameError::Slow(length)),
        }
        Ok(Frame { body: self.buffer.split_to(length).freeze(), reserved, queued })
    }

    async fn fill(&mut self, need: usize) -> io::Result<()> {
        while self.buffer.len() < need {
            self.buffer.reserve((need - self.buffer.len()).max(READ_BUFFER_BYTES));
            let stream = match &mut self.inlet {
                Inlet::Plain(stream) => stream,
                Inlet::Tls(half) => {
                    if half.read_buf(&mut self.buffer).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    continue;
                }
            };
            match stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
