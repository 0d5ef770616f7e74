//! The codec of every message: protobuf, refused before it is built if it has too many parts. Two bytes on the wire can be a
//! hundred in memory, so a limit on a message's bytes alone is none on what it becomes. Decides only that; it never looks at
//! what the parts say.

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Most fields of one message: the events of the largest publish request (100,000), and some more, so that a request which is
/// only a little too long hears so in its own words.
pub const MAX_FIELDS: usize = 1 << 17;

/// Most fields of those fields together: seven for each event, and headers.
pub const MAX_INNER_FIELDS: usize = 1 << 20;

/// What the generated clients and servers use.
#[derive(Debug)]
pub struct BoundedCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        BoundedCodec(ProstCodec::default())
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(self.0.decoder())
    }
}

/// Counts, then decodes.
#[derive(Debug)]
pub struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // One contiguous buffer: tonic hands over a whole message.
        if has_too_many_parts(buffer.chunk()) {
            let message =
                format!("The message has more than {MAX_FIELDS} parts, or they have more than {MAX_INNER_FIELDS}.");
            return Err(Status::resource_exhausted(message));
        }
        self.0.decode(buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Looks two levels deep, as deep as repeated fields are nested. A text counts as if it were a message as far as it looks like
/// one; what is no protobuf at all is left for the decoder to refuse.
fn has_too_many_parts(message: &[u8]) -> bool {
    let (mut outer, mut inner) = (0, 0);
    let whole = each_field(message, |field| {
        outer += 1;
        if let Some(payload) = field {
            let _ = each_field(payload, |_| {
                inner += 1;
                inner <= MAX_INNER_FIELDS
            });
        }
        outer <= MAX_FIELDS && inner <= MAX_INNER_FIELDS
    });
    whole.is_some_and(|whole| !whole)
}

/// Shows each field, with its bytes if it has a length, until told to stop (`Some(false)`) or the end; `None` if it breaks off.
fn each_field(mut message: &[u8], mut show: impl FnMut(Option<&[u8]>) -> bool) -> Option<bool> {
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        let payload = if wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            let (payload, rest) = message.split_at_checked(length)?;
            message = rest;
            Some(payload)
        } else {
            skip_field(wire_type, tag, &mut message, DecodeContext::default()).ok()?;
            None
        };
        if !show(payload) {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Header, NewEvent, PublishRequest};

    /// A publish request without topic, of events with that many empty headers each.
    fn request(events: usize, headers: usize) -> Vec<u8> {
        let payload = [0x1a, 0].repeat(headers);
        let mut event = vec![0x12];
        prost::encoding::encode_varint(payload.len() as u64, &mut event);
        event.extend_from_slice(&payload);
        event.repeat(events)
    }

    #[test]
    fn the_limits_are_exact() {
        let few = PublishRequest::decode(&*request(3, 2)).unwrap();
        assert_eq!(few.events, vec![NewEvent { headers: vec![Header::default(); 2], ..Default::default() }; 3]);
        assert!(!has_too_many_parts(&request(MAX_FIELDS, 0)));
        assert!(has_too_many_parts(&request(MAX_FIELDS + 1, 0)));
        assert!(!has_too_many_parts(&request(1, MAX_INNER_FIELDS)));
        assert!(has_too_many_parts(&request(1, MAX_INNER_FIELDS + 1)));
        assert!(has_too_many_parts(&request(2, MAX_INNER_FIELDS / 2 + 1)));
        assert!(!has_too_many_parts(&[]));
    }

    #[test]
    fn the_largest_publish_request_fits() {
        let header = Header { key: "trace".into(), value: Some("x".into()) };
        let event = NewEvent {
            key: Some("k".into()),
            value: Some("v".into()),
            headers: vec![header; 6],
            partition: Some(1),
            timestamp: Some(prost_types::Timestamp { seconds: 1, nanos: 1 }),
        };
        let request = PublishRequest { topic: String::new(), events: vec![event] };
        assert!(!has_too_many_parts(&request.encode_to_vec().repeat(100_000)));
    }

    #[test]
    fn what_is_no_protobuf_is_left_to_the_decoder() {
        for bytes in [
            &[0xff][..],
            &[0x12],
            &[0x12, 5, 1],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x07],
        ] {
            assert!(!has_too_many_parts(bytes), "{bytes:?}");
        }
        // Nor does a group within groups overflow the stack.
        assert!(!has_too_many_parts(&[0x0b; 1_000_000]));
    }
}
