//! Writes fields into pieces: one buffer for everything small, cut where large bytes or file ranges belong.

use bytes::{BufMut, Bytes, BytesMut};

use crate::EncodeError;
use crate::limits::{INITIAL_BUFFER_BYTES, MAX_COPIED_BYTES};

/// A part of an encoded message, in the order of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes to send as they are.
    Bytes(Bytes),
    /// `len` bytes that the caller sends from elsewhere, usually from a file.
    Hole {
        /// What the caller named the source.
        token: u32,
        /// How many bytes belong here; fewer must close the connection.
        len: u32,
    },
}

impl Piece {
    /// The piece's size on the wire, bytes.
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Hole { len, .. } => *len as usize,
        }
    }

    /// True for a piece of no bytes; encoders produce none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An encoded message: its pieces and their exact size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pieces {
    list: Vec<Piece>,
    len: usize,
}

impl Pieces {
    /// The size of all pieces, bytes, holes included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The size of those that are in memory, bytes: all but the holes.
    pub fn in_memory(&self) -> usize {
        self.list.iter().map(|piece| if let Piece::Bytes(bytes) = piece { bytes.len() } else { 0 }).sum()
    }

    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order.
    pub fn as_slice(&self) -> &[Piece] {
        &self.list
    }

    /// All bytes in one buffer; an error if there are holes. Copies only if there is more than one piece.
    pub fn into_bytes(mut self) -> Result<Bytes, EncodeError> {
        if let (Some(Piece::Bytes(_)), 1) = (self.list.first(), self.list.len())
            && let Some(Piece::Bytes(only)) = self.list.pop()
        {
            return Ok(only);
        }
        let mut all = BytesMut::with_capacity(self.len);
        for piece in self.list {
            match piece {
                Piece::Bytes(bytes) => all.extend_from_slice(&bytes),
                Piece::Hole { .. } => return Err(EncodeError::External),
            }
        }
        Ok(all.freeze())
    }
}

impl IntoIterator for Pieces {
    type Item = Piece;
    type IntoIter = std::vec::IntoIter<Piece>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

/// A piece that belongs between two bytes of the buffer.
#[derive(Debug)]
struct Cut {
    at: usize,
    piece: Piece,
}

/// Collects one message.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
    cuts: Vec<Cut>,
    /// Size of all cuts' pieces, bytes.
    outside: usize,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $type:ty) => {
        $(#[$doc])*
        pub fn $name(&mut self, value: $type) {
            self.buffer.put_slice(&value.to_be_bytes());
        }
    };
}

impl Encoder {
    /// An encoder for a bare message.
    pub fn new() -> Self {
        Encoder { buffer: BytesMut::with_capacity(INITIAL_BUFFER_BYTES), cuts: Vec::new(), outside: 0 }
    }

    /// What has been written so far, bytes, holes included.
    pub fn len(&self) -> usize {
        self.buffer.len().saturating_add(self.outside)
    }

    /// True before the first byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    number!(
        /// A signed byte.
        i8, i8
    );
    number!(
        /// Two bytes, big-endian.
        i16, i16
    );
    number!(
        /// Two bytes, big-endian, unsigned.
        u16, u16
    );
    number!(
        /// Four bytes, big-endian.
        i32, i32
    );
    number!(
        /// Four bytes, big-endian, unsigned.
        u32, u32
    );
    number!(
        /// Eight bytes, big-endian.
        i64, i64
    );
    number!(
        /// Eight bytes, IEEE 754, big-endian.
        f64, f64
    );

    /// An unsigned number of one to five bytes, seven bits each, lowest first (KIP-482).
    pub fn uvarint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.buffer.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// Bytes as they are, copied.
    pub fn slice(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Bytes as they are: copied if small, shared as a piece of their own if large.
    pub fn shared(&mut self, bytes: &Bytes) {
        if bytes.len() <= MAX_COPIED_BYTES {
            self.buffer.put_slice(bytes);
        } else {
            self.cut(Piece::Bytes(bytes.clone()));
        }
    }

    /// Leaves room for `len` bytes that the caller sends from elsewhere.
    pub fn hole(&mut self, token: u32, len: u32) {
        if len > 0 {
            self.cut(Piece::Hole { token, len });
        }
    }

    fn cut(&mut self, piece: Piece) {
        self.outside = self.outside.saturating_add(piece.len());
        self.cuts.push(Cut { at: self.buffer.len(), piece });
    }

    /// The length of an array or of bytes: four bytes, or compact (KIP-482).
    pub(crate) fn length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if flexible {
                self.uvarint(0);
            } else {
                self.i32(-1);
            }
            return Ok(());
        };
        let number = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        if flexible {
            // At most i32::MAX + 1, which an unsigned number of 32 bits holds.
            self.uvarint((number as u32).saturating_add(1));
        } else {
            self.i32(number);
        }
        Ok(())
    }

    /// The length of a string: two bytes, or compact (KIP-482).
    pub(crate) fn string_length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        if flexible {
            return self.length(length, true);
        }
        match length {
            None => self.i16(-1),
            Some(length) => self.i16(i16::try_from(length).map_err(|_| EncodeError::TooLong { length })?),
        }
        Ok(())
    }

    /// One tagged field: tag, size, then what `write` writes.
    pub(crate) fn tagged(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.uvarint(tag);
        let start = self.buffer.len();
        let (cuts, before) = (self.cuts.len(), self.len());
        write(self)?;
        let length = self.len().saturating_sub(before);
        let size = u32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        // The size goes in front of what was written: append it, then rotate it to its place.
        let end = self.buffer.len();
        self.uvarint(size);
        let width = self.buffer.len().saturating_sub(end);
        if let Some(field) = self.buffer.get_mut(start..) {
            field.rotate_right(width);
        }
        for cut in self.cuts.iter_mut().skip(cuts) {
            cut.at = cut.at.saturating_add(width);
        }
        Ok(())
    }

    /// The pieces of a bare message.
    pub fn finish(self) -> Pieces {
        let len = self.len();
        let mut list = Vec::with_capacity(self.cuts.len().saturating_mul(2).saturating_add(1));
        let mut rest = self.buffer.freeze();
        let mut done = 0usize;
        for Cut { at, piece } in self.cuts {
            let before = rest.split_to(at.saturating_sub(done).min(rest.len()));
            done = at;
            if !before.is_empty() {
                list.push(Piece::Bytes(before));
            }
            list.push(piece);
        }
        if !rest.is_empty() {
            list.push(Piece::Bytes(rest));
        }
        Pieces { list, len }
    }

    /// An encoder for a frame: the first four bytes will be the frame's size.
    pub(crate) fn frame() -> Self {
        let mut encoder = Encoder::new();
        encoder.i32(0);
        encoder
    }

    /// The pieces of a frame begun by [`Encoder::frame`].
    pub(crate) fn finish_frame(mut self) -> Result<Pieces, EncodeError> {
        let length = self.len().saturating_sub(4);
        let size = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        if let Some(prefix) = self.buffer.get_mut(..4) {
            prefix.copy_from_slice(&size.to_be_bytes());
        }
        Ok(self.finish())
    }
}
