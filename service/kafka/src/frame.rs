//! Reads request frames: four bytes of length, then the body, under the request budget and at a minimum rate.
//!
//! A small frame comes into the connection's own buffer and is charged when it is whole. A large one is charged as it comes: what it
//! announces costs nobody anything.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::budget::{FrameBudgets, Loan, Owner, Reserved};
use crate::limits::{
    FRAME_FIRST_LOAN, FRAME_GRACE, FRAME_MIN_RATE, FRAME_QUICK_LOAN, FRAME_ROOM_PATIENCE, MAX_STRANGERS_FRAME,
    READ_BUFFER_BYTES,
};
use crate::pace::Pace;

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

/// What the connection's own buffer has room for, behind the length.
const OWN_BYTES: usize = READ_BUFFER_BYTES - 4;

/// How slow a frame's body may come.
const PACE: Pace = Pace { stall: FRAME_GRACE, rate: FRAME_MIN_RATE };

/// One request as it came, and the budget it holds.
pub(crate) struct Frame {
    pub(crate) body: Bytes,
    pub(crate) reserved: Reserved,
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
    /// Others hold what it needs.
    #[error("there was no room for a frame of {0} bytes for {wait:?}: requests that are read or carried out hold it all", wait = FRAME_ROOM_PATIENCE)]
    NoRoom(usize),
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
    budgets: FrameBudgets,
    limits: FrameLimits,
}

impl FrameReader {
    pub(crate) fn new(inlet: Inlet, budgets: FrameBudgets, limits: FrameLimits) -> Self {
        FrameReader { inlet, buffer: BytesMut::new(), budgets, limits }
    }

    /// The next frame. `owner` says whose it is, if it is large.
    pub(crate) async fn next(
        &mut self,
        allowance: Allowance,
        owner: impl FnOnce() -> Owner,
    ) -> Result<Frame, FrameError> {
        let (idle, sizes) = allowance.within(self.limits);
        match timeout(idle, self.fill(4)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof && self.buffer.is_empty() => {
                return Err(FrameError::Closed);
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(FrameError::Idle),
        }
        let announced = match self.buffer.first_chunk::<4>() {
            Some(bytes) => i32::from_be_bytes(*bytes),
            None => return Err(FrameError::Closed),
        };
        self.buffer.advance(4);
        let length = match usize::try_from(announced) {
            Ok(length) if sizes.contains(&length) => length,
            _ if announced >> 8 == TLS_HANDSHAKE => return Err(FrameError::Tls),
            _ => return Err(FrameError::Length { announced, min: *sizes.start(), max: *sizes.end() }),
        };
        let stranger = matches!(allowance, Allowance::Stranger { .. });
        if length <= OWN_BYTES {
            self.small(length, stranger).await
        } else {
            let loan = |budgets: &FrameBudgets| budgets.large(owner(), length, stranger);
            self.large(length, loan).await
        }
    }

    /// A frame that fits into the connection's own buffer. It is copied: a slice, however small, would keep all of the buffer, which is
    /// not charged, and the next frame would need another one.
    async fn small(&mut self, length: usize, stranger: bool) -> Result<Frame, FrameError> {
        self.own(length, length).await?;
        let body = Bytes::copy_from_slice(self.buffer.get(..length).unwrap_or_default());
        self.buffer.advance(length);
        if stranger {
            return Ok(Frame { body, reserved: Reserved::default(), queued: Duration::ZERO });
        }
        if let Some(permit) = self.budgets.small_now(length) {
            return Ok(Frame { body, reserved: permit.into(), queued: Duration::ZERO });
        }
        let waits = Instant::now();
        match timeout(FRAME_ROOM_PATIENCE, self.budgets.small(length)).await {
            Ok(permit) => {
                let reserved = permit.ok_or(FrameError::Closed)?.into();
                Ok(Frame { body, reserved, queued: waits.elapsed() })
            }
            Err(_) => Err(FrameError::NoRoom(length)),
        }
    }

    /// A frame in memory of its own, which grows with what comes.
    async fn large(&mut self, length: usize, begin: impl FnOnce(&FrameBudgets) -> Loan) -> Result<Frame, FrameError> {
        let (began, mut queued) = (Instant::now(), Duration::ZERO);
        // The connection's own buffer first: who sends no more than that holds nothing of others.
        self.own(OWN_BYTES, length).await?;
        let loan = begin(&self.budgets);
        let mut body = Vec::new();
        while body.len() < length {
            if body.len() == body.capacity() {
                let more = step(body.len(), length);
                let waits = Instant::now();
                if timeout(FRAME_ROOM_PATIENCE, loan.grow(more)).await.is_err() {
                    return Err(FrameError::NoRoom(length));
                }
                queued += waits.elapsed();
                body.reserve_exact(more);
            }
            let here = self.buffer.len().min(body.capacity() - body.len());
            if here > 0 {
                body.put((&mut self.buffer).take(here));
                continue;
            }
            // The waits are not the client's fault.
            let left = PACE.left(began.elapsed().saturating_sub(queued), body.len());
            let room = body.capacity() - body.len();
            match timeout(left, self.inlet.read(&mut (&mut body).limit(room))).await {
                Ok(read) => read?,
                Err(_) => return Err(FrameError::Slow(length)),
            }
        }
        Ok(Frame { body: body.into(), reserved: loan.into(), queued })
    }

    /// Brings `need` bytes of a frame of `length` into the connection's own buffer, in time.
    async fn own(&mut self, need: usize, length: usize) -> Result<(), FrameError> {
        if self.buffer.len() >= need {
            return Ok(());
        }
        let patience = FRAME_GRACE + Duration::from_secs((need / FRAME_MIN_RATE) as u64);
        match timeout(patience, self.fill(need)).await {
            Ok(filled) => Ok(filled?),
            Err(_) => Err(FrameError::Slow(length)),
        }
    }

    async fn fill(&mut self, need: usize) -> io::Result<()> {
        while self.buffer.len() < need {
            let room = READ_BUFFER_BYTES.max(need);
            if self.buffer.capacity() < room && !self.buffer.try_reclaim(room - self.buffer.len()) {
                // More is left than was taken. It never grows beyond what one frame needs.
                let mut buffer = BytesMut::with_capacity(room);
                buffer.extend_from_slice(&self.buffer);
                self.buffer = buffer;
            }
            self.inlet.read(&mut self.buffer).await?;
        }
        Ok(())
    }
}

impl Inlet {
    /// Brings at least one byte.
    async fn read(&mut self, buffer: &mut (impl BufMut + Send)) -> io::Result<()> {
        loop {
            let read = match self {
                Inlet::Tls(half) => half.read_buf(buffer).await,
                Inlet::Plain(stream) => stream.try_read_buf(buffer),
            };
            match (read, &self) {
                (Ok(0), _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (Ok(_), _) => return Ok(()),
                (Err(error), Inlet::Plain(stream)) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.readable().await?;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }
}

/// How much more a frame gets when so much of it has come: a few times that, so that it is moved seldom and held little in advance.
fn step(came: usize, length: usize) -> usize {
    let times = if came < FRAME_QUICK_LOAN { 3 } else { 1 };
    (came * times).max(FRAME_FIRST_LOAN).min(length - came)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const LIMITS: FrameLimits = FrameLimits { max_bytes: 1 << 20, max_idle: Duration::from_secs(20) };

    async fn pair() -> (TcpStream, FrameReader) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (client, FrameReader::new(Inlet::Plain(Arc::new(server)), FrameBudgets::default(), LIMITS))
    }

    /// A frame of this many bytes, all the same.
    fn frame(length: usize, byte: u8) -> Vec<u8> {
        [&u32::try_from(length).unwrap().to_be_bytes()[..], &vec![byte; length]].concat()
    }

    #[tokio::test]
    async fn frames_that_are_kept_hold_their_own_bytes_only() {
        let (mut client, mut reader) = pair().await;
        let lengths = [100, 8, 5_000, 9_000, 16_000, 20_000, 700, OWN_BYTES, 12_000, 12_000, 12_000];
        let sent: Vec<u8> = lengths.iter().zip(0..).flat_map(|(length, byte)| frame(*length, byte)).collect();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client
        });
        let mut kept = Vec::new();
        for (length, byte) in lengths.into_iter().zip(0..) {
            let frame = reader.next(Allowance::Known, || Owner::network([127, 0, 0, 1].into())).await.unwrap();
            assert_eq!(frame.body, vec![byte; length], "frame {byte}");
            kept.push(frame.body);
            assert!(reader.buffer.capacity() <= READ_BUFFER_BYTES, "frame {byte}");
        }
        assert!(kept.iter().all(Bytes::is_unique), "no frame is a part of the connection's buffer");
        sending.await.unwrap();
    }
}
