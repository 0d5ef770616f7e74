//! From a body to its message. Charges what it takes in memory: an array of small elements takes many times its bytes.

use std::sync::Arc;

use tidelog_protocol::{DecodeError, Decoder, Message};

use crate::answer::Hangup;
use crate::limits::{CARRIED_OUT_FACTOR, DECODED_FREE_BYTES};
use crate::request::Request;

/// The message of a request. Bytes behind the last field are ignored, as Kafka ignores them: librdkafka's Metadata request for all topics has
/// three.
pub(crate) fn decode<M: Message>(request: &mut Request<'_>, body: Decoder) -> Result<M, Hangup> {
    let version = request.header.version;
    match M::decode(&mut body.clone().granted(free(&body)), version) {
        Ok(message) => return Ok(message),
        Err(DecodeError::TooManyElements { .. }) => {}
        Err(error) => return Err(malformed::<M>(version, &error)),
    }
    let (owner, shares) = (request.session.owner(), &request.session.decoded);
    let bytes = body.remaining();
    let mut body = body.granted(shares.most(&owner) / CARRIED_OUT_FACTOR);
    let room = body.room();
    let message = match M::decode(&mut body, version) {
        Ok(message) => message,
        Err(DecodeError::TooManyElements { .. }) => return Err(no_room::<M>(bytes)),
        Err(error) => return Err(malformed::<M>(version, &error)),
    };
    // Others may have taken it meanwhile.
    let share = shares.take(owner, (room - body.room()) * CARRIED_OUT_FACTOR).ok_or_else(|| no_room::<M>(bytes))?;
    // Nobody else has it yet.
    if let Some(reserved) = Arc::get_mut(&mut request.reserved) {
        *reserved = std::mem::take(reserved).with_decoded(share);
    }
    Ok(message)
}

/// The message of somebody who is not known yet, and is charged for nothing.
pub(crate) fn decode_strangers<M: Message>(version: i16, body: Decoder) -> Result<M, Hangup> {
    let free = free(&body);
    M::decode(&mut body.granted(free), version).map_err(|error| malformed::<M>(version, &error))
}

/// What it may take uncharged, bytes.
fn free(body: &Decoder) -> usize {
    DECODED_FREE_BYTES + body.remaining()
}

fn malformed<M: Message>(version: i16, error: &DecodeError) -> Hangup {
    Hangup::Malformed(format!("{} version {version}: {error}", M::NAME))
}

fn no_room<M: Message>(bytes: usize) -> Hangup {
    metrics::counter!("tidelog_kafka_frames_given_up_total", "reason" => "no_room").increment(1);
    Hangup::Malformed(format!(
        "there is no room for all that a {} of {bytes} bytes names; it may be asked for in parts",
        M::NAME
    ))
}
