//! What a handler leaves behind: a future of pieces to send.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tidelog_broker::Piece;
use tidelog_protocol::{Piece as WirePiece, Pieces, Records};

use crate::send::Outgoing;
use crate::throttle::Meter;

/// An answer that is ready.
pub(crate) enum Answer {
    /// Send these.
    Send(Vec<Outgoing>),
    /// `acks=0`: the client expects no answer.
    Nothing,
}

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum Hangup {
    /// The protocol wants it, or the client is gone; nothing to log.
    Quiet,
    /// The client sent something that is no request of this protocol.
    Malformed(String),
}

/// The waiting stage of a request.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Result<Answer, Hangup>> + Send>>;

/// An answer to come.
pub(crate) struct Pending {
    pub(crate) answer: Waiting,
    /// Counts what it takes; there is none before a client is known.
    pub(crate) meter: Option<Arc<Meter>>,
    /// Bytes of it that are in memory already.
    pub(crate) encoded: usize,
}

impl From<Waiting> for Pending {
    fn from(answer: Waiting) -> Self {
        Pending { answer, meter: None, encoded: 0 }
    }
}

/// Names file parts while a message is encoded, and puts them into its holes afterwards.
#[derive(Default)]
pub(crate) struct Files {
    parts: Vec<Vec<Outgoing>>,
}

impl Files {
    /// Record batches as a field of a message: bytes as they are, what lies in files or in the cold tier as a hole.
    pub(crate) fn records(&mut self, mut pieces: Vec<Piece>) -> Records {
        if pieces.len() <= 1 && matches!(pieces.first(), None | Some(Piece::Bytes(_))) {
            let bytes = match pieces.pop() {
                Some(Piece::Bytes(bytes)) => bytes,
                _ => bytes::Bytes::new(),
            };
            return Records::Bytes(bytes);
        }
        let parts: Vec<Outgoing> = pieces.into_iter().map(Outgoing::from).collect();
        let len = parts.iter().map(|part| part.len() as u32).sum();
        let token = self.parts.len() as u32;
        self.parts.push(parts);
        Records::External { token, len }
    }

    /// The pieces with their holes filled.
    pub(crate) fn fill(self, pieces: Pieces) -> Vec<Outgoing> {
        let mut parts: HashMap<u32, Vec<Outgoing>> =
            self.parts.into_iter().enumerate().map(|(token, parts)| (token as u32, parts)).collect();
        let mut outgoing = Vec::new();
        for piece in pieces {
            match piece {
                WirePiece::Bytes(bytes) => outgoing.push(Outgoing::Bytes(bytes)),
                WirePiece::Hole { token, .. } => {
                    outgoing.extend(parts.remove(&token).unwrap_or_default());
                }
            }
        }
        outgoing
    }
}
