//! Sends answers: bytes by vectored writes, parts of segment files by `sendfile`, in the order of the pieces.
//!
//! A part whose pages are in memory goes at once. Any other goes by the same call on the blocking pool: an async worker must not
//! wait for a disk.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rustix::io::ReadWriteFlags;
use tidelog_broker::FilePart;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::limits::{MAX_IO_SLICES, SEND_STALL, SENDFILE_BYTES};

/// A part of an answer on its way out.
pub(crate) enum Outgoing {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a segment file.
    File(FilePart),
}

/// Sends everything; an error means that the connection is of no more use.
pub(crate) async fn send(stream: &Arc<TcpStream>, pieces: Vec<Outgoing>) -> io::Result<()> {
    let mut waiting: VecDeque<Bytes> = VecDeque::new();
    for piece in pieces {
        match piece {
            Outgoing::Bytes(bytes) => waiting.push_back(bytes),
            Outgoing::File(part) => {
                send_bytes(stream, &mut waiting).await?;
                send_file(stream, part).await?;
            }
        }
    }
    send_bytes(stream, &mut waiting).await
}

async fn send_bytes(stream: &TcpStream, waiting: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !waiting.is_empty() {
        let sent = {
            let slices: Vec<IoSlice<'_>> = waiting.iter().take(MAX_IO_SLICES).map(|b| IoSlice::new(b)).collect();
            match stream.try_write_vectored(&slices) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    writable(stream).await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
        };
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        advance(waiting, sent);
    }
    Ok(())
}

/// Waits until the peer takes more; one that takes nothing for long is gone.
async fn writable(stream: &TcpStream) -> io::Result<()> {
    match tokio::time::timeout(SEND_STALL, stream.writable()).await {
        Ok(ready) => ready,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")),
    }
}

fn advance(waiting: &mut VecDeque<Bytes>, mut sent: usize) {
    while let Some(front) = waiting.front_mut() {
        let step = sent.min(front.len());
        front.advance(step);
        sent -= step;
        if !front.is_empty() {
            return;
        }
        waiting.pop_front();
    }
}

/// Where `sendfile` stands in one part.
struct Position {
    offset: u64,
    left: usize,
}

async fn send_file(stream: &Arc<TcpStream>, part: FilePart) -> io::Result<()> {
    if part.slice.file.fd().is_none() {
        // No descriptor (a simulated disk): through memory.
        let bytes = part.slice.read()?;
        return send_bytes(stream, &mut VecDeque::from([bytes])).await;
    }
    let mut position = Position { offset: part.slice.position, left: part.slice.len };
    while position.left > 0 {
        writable(stream).await?;
        let result = if part.recent || is_resident(&part, &position) {
            stream.try_io(Interest::WRITABLE, || step(stream, &part, &mut position))
        } else {
            let (socket, file) = (Arc::clone(stream), part.clone());
            let done = tokio::task::spawn_blocking(move || {
                let result = socket.try_io(Interest::WRITABLE, || step(&socket, &file, &mut position));
                (result, position)
            });
            let (result, after) = done.await.map_err(io::Error::other)?;
            position = after;
            result
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => other?,
        }
    }
    Ok(())
}

/// Are the first and the last page of the next step in memory? Those between were read or written together with them, so that a
/// wrong yes is rare and costs a wait for the disk, nothing else. A file system that cannot say counts as no.
fn is_resident(part: &FilePart, position: &Position) -> bool {
    let Some(file) = part.slice.file.fd() else { return false };
    let last = position.offset + position.left.clamp(1, SENDFILE_BYTES) as u64 - 1;
    [position.offset, last].into_iter().all(|offset| {
        let mut byte = [0];
        let probe = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT);
        matches!(probe, Ok(1))
    })
}

fn step(stream: &TcpStream, part: &FilePart, position: &mut Position) -> io::Result<()> {
    let Some(file) = part.slice.file.fd() else { return Err(io::ErrorKind::Unsupported.into()) };
    let count = position.left.min(SENDFILE_BYTES);
    let sent = rustix::fs::sendfile(stream, file, Some(&mut position.offset), count)?;
    if sent == 0 {
        // Fewer bytes than were announced: the reader would wait for the rest forever.
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a segment ended before its announced length"));
    }
    position.left -= sent;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_skips_whole_and_partial_buffers() {
        let mut waiting =
            VecDeque::from([Bytes::from_static(b"abc"), Bytes::from_static(b"de"), Bytes::from_static(b"f")]);
        advance(&mut waiting, 4);
        assert_eq!(waiting, [Bytes::from_static(b"e"), Bytes::from_static(b"f")]);
        advance(&mut waiting, 2);
        assert!(waiting.is_empty());
    }
}
