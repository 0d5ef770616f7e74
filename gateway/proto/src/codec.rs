//! The codec of every message: protobuf, refused before it is built if it has too many parts. Two bytes on the wire can be a
//! hundred in memory, so a limit on a message's bytes alone is none on what it becomes. Whoever pays for that memory is asked
//! before it is taken. Decides only that; it never looks at what the parts say.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use crate::v1;

/// Most fields of one message: the events of the largest publish request (100,000), and some more, so that a request which is
/// only a little too long hears so in its own words.
pub const MAX_FIELDS: usize = 1 << 17;

/// Most fields of those fields together: seven for each event, and headers.
pub const MAX_INNER_FIELDS: usize = 1 << 20;

/// What a part costs when it is built: an event, and the place of its first headers, which a vector takes at once.
const PART_BYTES: usize = size_of::<v1::NewEvent>() + 4 * size_of::<v1::Header>();

/// Parts of a part that are within that: from the fifth header on the vector of them doubles.
const FREE_PARTS: usize = 3;

/// What each further one costs: a growing vector has up to twice the places that it needs.
const INNER_PART_BYTES: usize = 2 * size_of::<v1::Header>();

/// Is asked for the memory, in bytes, that a message will take beside its own bytes, before it is built; false refuses it.
pub type Charge = Arc<dyn Fn(usize) -> bool + Send + Sync>;

tokio::task_local! {
    static CHARGE: Charge;
}

/// Runs a call whose messages are charged, those too that come while its answer goes out. Elsewhere messages are only counted.
pub async fn charging<F: Future>(charge: Charge, call: F) -> F::Output {
    CHARGE.scope(charge, call).await
}

/// What the generated clients and servers use.
pub struct BoundedCodec<T, U> {
    codec: ProstCodec<T, U>,
    charge: Option<Charge>,
}

impl<T, U> Default for BoundedCodec<T, U> {
    /// Belongs to the call that it is made in.
    fn default() -> Self {
        BoundedCodec { codec: ProstCodec::default(), charge: CHARGE.try_with(Arc::clone).ok() }
    }
}

impl<T, U> fmt::Debug for BoundedCodec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedCodec").field("charged", &self.charge.is_some()).finish_non_exhaustive()
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
        self.codec.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder { decoder: self.codec.decoder(), charge: self.charge.clone() }
    }
}

/// Counts, charges, then decodes.
pub struct BoundedDecoder<U> {
    decoder: ProstDecoder<U>,
    charge: Option<Charge>,
}

impl<U> fmt::Debug for BoundedDecoder<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedDecoder").field("charged", &self.charge.is_some()).finish_non_exhaustive()
    }
}

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // One contiguous buffer: tonic hands over a whole message.
        let Some(bytes) = built_bytes(buffer.chunk()) else {
            let message =
                format!("The message has more than {MAX_FIELDS} parts, or they have more than {MAX_INNER_FIELDS}.");
            return Err(Status::resource_exhausted(message));
        };
        if self.charge.as_ref().is_some_and(|charge| !charge(bytes)) {
            return Err(Status::resource_exhausted("Too many messages are in memory. Try again."));
        }
        self.decoder.decode(buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.decoder.buffer_settings()
    }
}

/// What the message takes beside its own bytes when it is built; `None` if it has too many parts. Looks two levels deep, as deep
/// as repeated fields are nested. A text counts as if it were a message as far as it looks like one; what is no protobuf at
/// all is left for the decoder to refuse.
fn built_bytes(message: &[u8]) -> Option<usize> {
    let (mut outer, mut inner, mut bytes) = (0, 0, 0);
    let whole = each_field(message, |field| {
        outer += 1;
        if let Some(payload) = field {
            let mut parts = 0usize;
            let _ = each_field(payload, |part| {
                inner += 1;
                parts += usize::from(part.is_some());
                inner <= MAX_INNER_FIELDS
            });
            // At most the limits' number of times a small one.
            bytes += PART_BYTES + parts.saturating_sub(FREE_PARTS) * INNER_PART_BYTES;
        }
        outer <= MAX_FIELDS && inner <= MAX_INNER_FIELDS
    });
    (whole != Some(false)).then_some(bytes)
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

    fn has_too_many_parts(message: &[u8]) -> bool {
        built_bytes(message).is_none()
    }

    #[test]
    fn what_a_message_becomes_is_counted() {
        for (events, headers) in [(1, 0), (1, 4), (1, 5), (1, 1000), (300, 1), (300, 9), (300, 12), (20, 129)] {
            let message = request(events, headers);
            let built = PublishRequest::decode(&*message).unwrap();
            let headers = built.events.iter().map(|event| event.headers.capacity() * size_of::<Header>());
            let taken = built.events.len() * size_of::<NewEvent>() + headers.sum::<usize>();
            let counted = built_bytes(&message).unwrap();
            assert!(taken <= counted && counted <= 4 * taken, "{taken} {counted}");
        }
    }

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
