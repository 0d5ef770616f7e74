//! Request and response headers, and whole frames in both directions.
//!
//! A frame is a 4-byte size, a header and a body. A request's header carries a tag section from the API's first
//! flexible version on (header v2), a response's too (v1), except ApiVersions, whose response header stays v0 so that
//! a client can read it before it knows the server's versions (KIP-511).

use bytes::Bytes;

use crate::describe::{get_tags, put_unknown};
use crate::limits::{MAX_DECODED_BYTES, MAX_HEADER_TAGS_BYTES};
use crate::messages::ApiVersionsResponse;
use crate::{
    ApiKey, Context, DecodeError, Decoder, EncodeError, Encoder, Message, Nullable, Pieces, RawTag, Request, Response,
    Str,
};

/// What stands before a request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API that is called.
    pub api: ApiKey,
    /// The version of the body, one that is implemented.
    pub version: i16,
    /// Returned in the answer.
    pub correlation_id: i32,
    /// The client's own name, for logs and quotas.
    pub client_id: Option<Str>,
    /// Tagged fields of the header that are not known here.
    pub unknown_tags: Vec<RawTag>,
}

/// Why a frame has no usable request header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Shorter than key, version and correlation id.
    #[error("a request of {length} bytes is shorter than a header")]
    TooShort {
        /// The frame's size, bytes.
        length: usize,
    },
    /// The API is not served.
    #[error("API key {key} ({name}) is not served", name = crate::api::kafka_name(*key).unwrap_or("unknown to Kafka"))]
    UnknownApi {
        /// The API key.
        key: i16,
        /// The version asked for.
        version: i16,
        /// The request's correlation id.
        correlation_id: i32,
    },
    /// The API is served, but not in this version. ApiVersions is then answered in version 0 with
    /// UNSUPPORTED_VERSION (KIP-511); for others the connection is closed.
    #[error("{api:?} version {version} is not served")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
        /// The request's correlation id.
        correlation_id: i32,
    },
    /// The header's own fields are broken.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

impl RequestHeader {
    /// Reads the header of a frame (without its 4-byte size); the decoder stands at the body.
    pub fn parse(frame: Bytes) -> Result<(RequestHeader, Decoder), HeaderError> {
        let length = frame.len();
        if length < 8 {
            return Err(HeaderError::TooShort { length });
        }
        let mut from = Decoder::new(frame).granted(MAX_HEADER_TAGS_BYTES);
        let key = from.i16()?;
        let version = from.i16()?;
        let correlation_id = from.i32()?;
        let api = ApiKey::from_code(key).ok_or(HeaderError::UnknownApi { key, version, correlation_id })?;
        if !api.row().implemented.contains(version) {
            return Err(HeaderError::UnsupportedVersion { api, version, correlation_id });
        }
        let (client_id, unknown_tags) = get_rest(&mut from, version >= api.row().first_flexible)?;
        let header = RequestHeader { api, version, correlation_id, client_id, unknown_tags };
        Ok((header, from.granted(MAX_DECODED_BYTES)))
    }
}

/// The fields after the correlation id. The client id keeps its two-byte length in all versions.
fn get_rest(from: &mut Decoder, flexible: bool) -> Result<(Option<Str>, Vec<RawTag>), DecodeError> {
    let client_id = Str::get_nullable(from, Context { version: 1, flexible: false })?;
    let tags = if flexible { get_tags(from, |_, _| Ok(false))? } else { Vec::new() };
    Ok((client_id, tags))
}

fn put_tags(tags: &[RawTag], to: &mut Encoder) -> Result<(), EncodeError> {
    to.uvarint(u32::try_from(tags.len()).map_err(|_| EncodeError::TooLong { length: tags.len() })?);
    put_unknown(&mut tags.iter().peekable(), None, to)
}

/// A request's frame with its 4-byte size, as a client sends it.
pub fn request_frame<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
    body: &R,
) -> Result<Pieces, EncodeError> {
    request_frame_with_tags(version, correlation_id, client_id, &[], body)
}

/// As [`request_frame`], with tagged fields in the header.
pub fn request_frame_with_tags<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
    tags: &[RawTag],
    body: &R,
) -> Result<Pieces, EncodeError> {
    let mut to = Encoder::frame();
    to.i16(R::KEY);
    to.i16(version);
    to.i32(correlation_id);
    Str::put_nullable(client_id, &mut to, Context { version, flexible: false })?;
    if R::is_flexible(version) {
        put_tags(tags, &mut to)?;
    }
    body.encode(&mut to, version)?;
    to.finish_frame()
}

/// A response's frame with its 4-byte size, as a server sends it.
pub fn response_frame<R: Response>(version: i16, correlation_id: i32, body: &R) -> Result<Pieces, EncodeError> {
    let mut to = Encoder::frame();
    to.i32(correlation_id);
    if has_response_tags::<R>(version) {
        put_tags(&[], &mut to)?;
    }
    body.encode(&mut to, version)?;
    to.finish_frame()
}

/// Reads a response (without its 4-byte size): its correlation id and body. Tagged fields of the header, of which
/// Kafka has none, are skipped.
pub fn read_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let mut from = Decoder::new(frame);
    let correlation_id = from.i32()?;
    if has_response_tags::<R::Response>(version) {
        get_tags(&mut from, |_, _| Ok(false))?;
    }
    Ok((correlation_id, R::Response::decode_last(from, version)?))
}

/// Reads the answer to ApiVersions. A server that does not know the version answers in version 0 with
/// UNSUPPORTED_VERSION (KIP-511), so its first two bytes decide.
pub fn read_api_versions_response(frame: Bytes, version: i16) -> Result<(i32, ApiVersionsResponse), DecodeError> {
    let mut from = Decoder::new(frame);
    let correlation_id = from.i32()?;
    let error = from.clone().i16()?;
    let unsupported = error == tidelog_model::KafkaError::UnsupportedVersion.code();
    let version = if unsupported { 0 } else { version };
    Ok((correlation_id, ApiVersionsResponse::decode_last(from, version)?))
}

fn has_response_tags<R: Response>(version: i16) -> bool {
    R::is_flexible(version) && R::KEY != ApiVersionsResponse::KEY
}
