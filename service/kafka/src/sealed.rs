//! Sends answers over TLS, in the order of the pieces. What lies in segment files or in the cold tier goes through memory, a little at a time, under a budget
//! that all encrypted connections share. Nobody holds any of it while its client takes nothing: what the socket does not take at once is
//! read again when it does.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use tidelog_broker::FilePart;
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::budget::Budget;
use crate::limits::SEND_STEP_MOST;
use crate::pace::Pace;
use crate::send::{Outgoing, Taking, next_step};

/// The sending half of an encrypted connection.
pub(crate) struct Sealed {
    pub(crate) half: WriteHalf<TlsStream<TcpStream>>,
    /// A client that takes an answer more slowly is gone.
    pub(crate) pace: Pace,
    /// For what is read of files.
    pub(crate) budget: Budget,
}

impl Sealed {
    /// Sends everything; an error means that the connection is of no more use.
    pub(crate) async fn send(&mut self, pieces: Vec<Outgoing>) -> io::Result<()> {
        let mut taking = Taking::begin(self.pace);
        for piece in pieces {
            match piece {
                Outgoing::Bytes(bytes) => self.write(&bytes, &mut taking).await?,
                part => self.send_part(part, &mut taking).await?,
            }
        }
        taking.in_time(self.half.flush()).await
    }

    /// Says goodbye, so that the client knows that nothing was cut off.
    pub(crate) async fn close(&mut self) {
        // A client that is gone does not hear it.
        let _ = timeout(self.pace.stall, self.half.shutdown()).await;
    }

    async fn write(&mut self, mut bytes: &[u8], taking: &mut Taking) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = taking.in_time(self.half.write(bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            taking.took(written);
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// What lies in a file or in the cold tier.
    async fn send_part(&mut self, part: Outgoing, taking: &mut Taking) -> io::Result<()> {
        let (mut sent, mut step) = (0, SEND_STEP_MOST);
        while sent < part.len() {
            // What is encrypted already goes first: then the socket takes something of what is read.
            taking.in_time(self.half.flush()).await?;
            let len = (part.len() - sent).min(step);
            let (bytes, place) = match &part {
                Outgoing::Bytes(bytes) => (bytes.slice(sent..), None),
                Outgoing::File(part) => {
                    let place = self.budget.reserve(len).await.ok_or(io::ErrorKind::BrokenPipe)?;
                    (read(part, sent, len).await?, Some(place))
                }
                Outgoing::Cold(part) => (taking.in_time(part.read(sent, len)).await?, None),
            };
            let written = self.write_now(&bytes).await?;
            step = next_step(bytes.len(), written);
            drop((bytes, place));
            taking.took(written);
            sent += written;
        }
        Ok(())
    }

    /// Writes what the socket takes without waiting.
    async fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        poll_fn(|context| {
            while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
                match Pin::new(&mut self.half).poll_write(context, rest) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(more)) => written += more,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            Poll::Ready(Ok(written))
        })
        .await
    }
}

/// Pages near the log's end are in memory; others may make a thread wait for the disk.
async fn read(part: &FilePart, at: usize, len: usize) -> io::Result<Bytes> {
    if part.recent {
        return part.slice.read_part(at, len);
    }
    let slice = part.slice.clone();
    tokio::task::spawn_blocking(move || slice.read_part(at, len)).await.map_err(io::Error::other)?
}
