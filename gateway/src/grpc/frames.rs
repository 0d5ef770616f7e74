//! Follows the messages of a gRPC body as its bytes go by. Decides where each ends; keeps none of their bytes. Pure.

/// A flag and four bytes of length.
const PREFIX: usize = 5;

/// How far a body has come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    prefix: [u8; PREFIX],
    filled: usize,
    /// Bytes of the message at hand that are still to come.
    left: usize,
    unfinished: usize,
    announced: usize,
}

impl Frames {
    /// Takes the next bytes of the body.
    pub(super) fn feed(&mut self, mut data: &[u8]) {
        while let Some((first, rest)) = data.split_first() {
            if self.left > 0 {
                let took = self.left.min(data.len());
                self.left -= took;
                self.unfinished += took;
                data = data.get(took..).unwrap_or_default();
            } else {
                self.take_prefix(*first);
                data = rest;
            }
            if self.left == 0 && self.filled == 0 {
                self.unfinished = 0;
            }
        }
    }

    fn take_prefix(&mut self, byte: u8) {
        if let Some(place) = self.prefix.get_mut(self.filled) {
            *place = byte;
        }
        self.filled += 1;
        self.unfinished += 1;
        if self.filled == PREFIX {
            let [_, length @ ..] = self.prefix;
            self.announced = u32::from_be_bytes(length) as usize;
            self.left = self.announced;
            self.filled = 0;
        }
    }

    /// The length that the last message with a whole prefix announced, bytes.
    pub(super) fn announced(&self) -> usize {
        self.announced
    }

    /// Bytes of the message that has not ended yet, its prefix included.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn messages_end_where_they_end_however_the_bytes_are_cut(
            lengths in proptest::collection::vec(0usize..40, 1..6),
            cuts in proptest::collection::vec(1usize..20, 1..20),
        ) {
            let mut body = Vec::new();
            let mut ends = vec![0];
            for length in lengths {
                body.push(0);
                body.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                body.resize(body.len() + length, 7);
                ends.push(body.len());
            }
            let (mut frames, mut at) = (Frames::default(), 0);
            for cut in cuts.iter().cycle() {
                let next = (at + cut).min(body.len());
                frames.feed(&body[at..next]);
                at = next;
                let last_end = ends.iter().copied().filter(|end| *end <= at).max().unwrap();
                proptest::prop_assert_eq!(frames.unfinished(), at - last_end);
                if at == body.len() { break; }
            }
        }
    }
}
