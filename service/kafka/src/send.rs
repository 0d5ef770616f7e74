//! Sends answers: bytes by vectored writes, parts of segment files by `sendfile`, in the order of the pieces.
//!
//! A part whose pages are in memory goes at once. Any other goes by the same call on the blocking pool: an async worker must not
//! wait for a disk.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rustix::io::ReadWriteFlags;
use tidelog_broker::{ColdPart, FilePart, Piece};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::limits::{MAX_IO_SLICES, RESIDENCE_SAMPLE_BYTES, SEND_STEP_LEAST, SEND_STEP_MOST, SENDFILE_BYTES};
use crate::pace::Pace;

/// A part of an answer on its way out.
pub(crate) enum Outgoing {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a segment file.
    File(FilePart),
    /// Bytes of the cold tier.
    Cold(ColdPart),
}

impl Outgoing {
    /// Its size in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Outgoing::Bytes(bytes) => bytes.len(),
            Outgoing::File(part) => part.slice.len,
            Outgoing::Cold(part) => part.len(),
        }
    }
}

impl From<Piece> for Outgoing {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Bytes(bytes) => Outgoing::Bytes(bytes),
            Piece::File(part) => Outgoing::File(part),
            Piece::Cold(part) => Outgoing::Cold(part),
        }
    }
}

/// The sending half of a connection.
pub(crate) struct Socket {
    pub(crate) stream: Arc<TcpStream>,
    /// A client that takes an answer more slowly is gone.
    pub(crate) pace: Pace,
}

/// How a client takes one answer: it holds open files, and memory that others need.
pub(crate) struct Taking {
    pace: Pace,
    began: Instant,
    taken: usize,
}

impl Taking {
    pub(crate) fn begin(pace: Pace) -> Self {
        Taking { pace, began: Instant::now(), taken: 0 }
    }

    /// So many bytes more have left.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Waits until the client takes more.
    pub(crate) async fn in_time<T>(&self, more: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let left = self.pace.left(self.began.elapsed(), self.taken);
        match tokio::time::timeout(left, more).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing, or too little")),
        }
    }
}

/// Sends everything; an error means that the connection is of no more use.
pub(crate) async fn send(socket: &Socket, pieces: Vec<Outgoing>) -> io::Result<()> {
    let mut taking = Taking::begin(socket.pace);
    let mut waiting: VecDeque<Bytes> = VecDeque::new();
    for piece in pieces {
        match piece {
            Outgoing::Bytes(bytes) => waiting.push_back(bytes),
            Outgoing::File(part) => {
                send_bytes(socket, &mut waiting, &mut taking).await?;
                send_file(socket, part, &mut taking).await?;
            }
            Outgoing::Cold(part) => {
                send_bytes(socket, &mut waiting, &mut taking).await?;
                send_cold(socket, &part, &mut taking).await?;
            }
        }
    }
    send_bytes(socket, &mut waiting, &mut taking).await
}

async fn send_bytes(socket: &Socket, waiting: &mut VecDeque<Bytes>, taking: &mut Taking) -> io::Result<()> {
    while !waiting.is_empty() {
        let sent = {
            let slices: Vec<IoSlice<'_>> = waiting.iter().take(MAX_IO_SLICES).map(|b| IoSlice::new(b)).collect();
            match socket.stream.try_write_vectored(&slices) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    taking.in_time(socket.stream.writable()).await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
        };
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        taking.took(sent);
        advance(waiting, sent);
    }
    Ok(())
}

/// Holds none of the part while the client takes nothing: others may need the room.
async fn send_cold(socket: &Socket, part: &ColdPart, taking: &mut Taking) -> io::Result<()> {
    let (mut sent, mut step) = (0, SEND_STEP_MOST);
    while sent < part.len() {
        taking.in_time(socket.stream.writable()).await?;
        let bytes = taking.in_time(part.read(sent, step)).await?;
        match socket.stream.try_write(&bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                taking.took(written);
                sent += written;
                step = next_step(bytes.len(), written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How much to read next for a client that took so much of what was read: who takes little at a time must not have much read each time.
pub(crate) fn next_step(read: usize, written: usize) -> usize {
    if written == read { SEND_STEP_MOST } else { (2 * written).clamp(SEND_STEP_LEAST, SEND_STEP_MOST) }
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
    /// Up to here the part was found in memory: a socket that takes little at a time must not have it sampled again for each.
    warm: u64,
}

impl Position {
    fn of(part: &FilePart) -> Self {
        Position { offset: part.slice.position, left: part.slice.len, warm: 0 }
    }

    /// The end of what one call may send.
    fn step_end(&self) -> u64 {
        self.offset + self.left.min(SENDFILE_BYTES) as u64
    }
}

async fn send_file(socket: &Socket, part: FilePart, taking: &mut Taking) -> io::Result<()> {
    if part.slice.file.fd().is_none() {
        // No descriptor (a simulated disk): through memory.
        let bytes = part.slice.read()?;
        return send_bytes(socket, &mut VecDeque::from([bytes]), taking).await;
    }
    let mut position = Position::of(&part);
    while position.left > 0 {
        taking.in_time(socket.stream.writable()).await?;
        let before = position.left;
        if !part.recent && position.offset >= position.warm && is_resident(&part, &position) {
            position.warm = position.step_end();
        }
        let result = if part.recent || position.offset < position.warm {
            socket.stream.try_io(Interest::WRITABLE, || step(&socket.stream, &part, &mut position))
        } else {
            let (stream, file) = (Arc::clone(&socket.stream), part.clone());
            let done = tokio::task::spawn_blocking(move || {
                let result = stream.try_io(Interest::WRITABLE, || step(&stream, &file, &mut position));
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
        taking.took(before - position.left);
    }
    Ok(())
}

/// Are the pages of the next step in memory, as far as samples tell? A wrong yes costs a wait for the disk, nothing else. A file
/// system that cannot say counts as no.
fn is_resident(part: &FilePart, position: &Position) -> bool {
    let Some(file) = part.slice.file.fd() else { return false };
    let end = position.step_end();
    // The ends say least: the search for batches has just read there.
    let mut samples = (position.offset..end).step_by(RESIDENCE_SAMPLE_BYTES).chain(end.checked_sub(1));
    samples.all(|offset| {
        let mut byte = [0];
        let probe = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT);
        matches!(probe, Ok(1))
    })
}

fn step(stream: &TcpStream, part: &FilePart, position: &mut Position) -> io::Result<()> {
    let Some(file) = part.slice.file.fd() else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut count = position.left.min(SENDFILE_BYTES);
    if position.offset < position.warm {
        // Not beyond what is known to be in memory.
        count = count.min((position.warm - position.offset) as usize);
    }
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
    use rustix::fs::Advice;
    use tidelog_log::{Disk, FileSlice, OsDisk};

    use super::*;

    #[test]
    fn what_lies_cold_between_warm_ends_is_found() {
        // A folder that is on a disk everywhere: a file in memory cannot be cold.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let file = OsDisk.create(&folder.path().join("segment")).unwrap();
        file.write_at(0, &[IoSlice::new(&vec![7; SENDFILE_BYTES])]).unwrap();
        file.flush().unwrap();
        let part = FilePart { slice: FileSlice { file, position: 0, len: SENDFILE_BYTES }, recent: false };
        let whole = Position::of(&part);
        assert!(is_resident(&part, &whole), "it was just written");
        let fd = part.slice.fd().unwrap();
        rustix::fs::fadvise(fd, 0, None, Advice::DontNeed).unwrap();
        rustix::fs::fadvise(fd, 0, None, Advice::Random).unwrap();
        part.slice.read_part(0, 4096).unwrap();
        part.slice.read_part(SENDFILE_BYTES - 4096, 4096).unwrap();
        assert!(!is_resident(&part, &whole));
        assert!(is_resident(&part, &Position { left: 4096, ..Position::of(&part) }));
        part.slice.read().unwrap();
        assert!(is_resident(&part, &whole));
    }

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
