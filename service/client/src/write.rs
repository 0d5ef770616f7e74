//! Encoded requests as one buffer of many slices, so that records go to the socket without a copy.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use tidelog_protocol::{EncodeError, Piece, Pieces};

/// Slices to be written one after another.
#[derive(Default, Debug)]
pub(crate) struct Slices {
    list: VecDeque<Bytes>,
    left: usize,
}

impl Slices {
    /// Adds a frame; frames of a client have no holes.
    pub(crate) fn push(&mut self, frame: Pieces) -> Result<(), EncodeError> {
        for piece in frame {
            match piece {
                Piece::Bytes(bytes) if bytes.is_empty() => {}
                Piece::Bytes(bytes) => {
                    self.left = self.left.saturating_add(bytes.len());
                    self.list.push_back(bytes);
                }
                Piece::Hole { .. } => return Err(EncodeError::External),
            }
        }
        Ok(())
    }
}

impl Buf for Slices {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.list.front().map(|bytes| &**bytes).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slot, bytes) in into.iter_mut().zip(&self.list) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        self.left = self.left.saturating_sub(count);
        while count > 0 {
            let Some(front) = self.list.front_mut() else { return };
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.list.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_protocol::Encoder;

    use super::*;

    proptest::proptest! {
        #[test]
        fn any_advance_leaves_the_rest(parts in proptest::collection::vec(proptest::collection::vec(0u8.., 0..6000), 0..6), cuts: Vec<usize>) {
            let mut slices = Slices::default();
            let mut whole = Vec::new();
            for part in &parts {
                let mut encoder = Encoder::new();
                encoder.shared(&Bytes::from(part.clone()));
                slices.push(encoder.finish()).unwrap();
                whole.extend_from_slice(part);
            }
            let mut done = 0;
            for cut in cuts {
                let step = if slices.remaining() == 0 { 0 } else { cut % (slices.remaining() + 1) };
                slices.advance(step);
                done += step;
                proptest::prop_assert_eq!(slices.remaining(), whole.len() - done);
                proptest::prop_assert!(whole[done..].starts_with(slices.chunk()));
                proptest::prop_assert!(slices.remaining() == 0 || !slices.chunk().is_empty());
            }
        }
    }
}
