//! Sends answers over TLS, in the order of the pieces. What lies in segment files goes through memory, a little at a time, under a budget
//! that all encrypted connections share.

use std::io;
use std::time::Duration;

use tidelog_broker::FilePart;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::frame::Budget;
use crate::limits::SEALED_READ_BYTES;
use crate::send::Outgoing;

/// The sending half of an encrypted connection.
pub(crate) struct Sealed {
    pub(crate) half: WriteHalf<TlsStream<TcpStream>>,
    /// A client that takes nothing for this long is gone.
    pub(crate) stall: Duration,
    /// For what is read of files.
    pub(crate) budget: Budget,
}

impl Sealed {
    /// Sends everything; an error means that the connection is of no more use.
    pub(crate) async fn send(&mut self, pieces: Vec<Outgoing>) -> io::Result<()> {
        for piece in pieces {
            match piece {
                Outgoing::Bytes(bytes) => self.write(&bytes).await?,
                Outgoing::File(part) => self.send_file(part).await?,
            }
        }
        timeout(self.stall, self.half.flush()).await.map_err(|_| stalled())?
    }

    /// Says goodbye, so that the client knows that nothing was cut off.
    pub(crate) async fn close(&mut self) {
        // A client that is gone does not hear it.
        let _ = timeout(self.stall, self.half.shutdown()).await;
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = timeout(self.stall, self.half.write(bytes)).await.map_err(|_| stalled())??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    async fn send_file(&mut self, part: FilePart) -> io::Result<()> {
        let FilePart { slice, recent } = part;
        let mut sent = 0;
        while sent < slice.len {
            let len = (slice.len - sent).min(SEALED_READ_BYTES);
            let place = self.budget.reserve(len).await.ok_or(io::ErrorKind::BrokenPipe)?;
            // Pages near the log's end are in memory; others may make a thread wait for the disk.
            let bytes = if recent {
                slice.read_part(sent, len)?
            } else {
                let slice = slice.clone();
                tokio::task::spawn_blocking(move || slice.read_part(sent, len)).await.map_err(io::Error::other)??
            };
            self.write(&bytes).await?;
            drop((bytes, place));
            sent += len;
        }
        Ok(())
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")
}
