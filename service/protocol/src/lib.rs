//! Kafka's wire messages: turns frames into structs and structs into pieces of frames; it never does I/O, never
//! validates what a request asks for, and never allocates by an announced length.
//!
//! - [`messages`]: one file per API, each a declarative description of its fields and versions.
//! - [`api`]: the table of the APIs that the Kafka door serves.
//! - [`header`]: request and response headers; whole frames in and out.
//! - [`Decoder`] reads from `Bytes`; strings, bytes and records are slices of the frame, not copies.
//! - [`Encoder`] yields [`Pieces`]: small fields in one buffer, large records shared, file ranges as holes.
//!
//! The grammar is Kafka's protocol guide with the flexible versions of KIP-482.

pub mod api;
mod decoder;
mod describe;
mod encoder;
mod error;
pub mod header;
mod layout;
pub mod limits;
pub mod messages;
mod text;
mod wire;

pub use api::{Api, ApiKey, TABLE};
pub use decoder::Decoder;
pub use describe::{Field, Message, RawTag, Request, Response, Versions};
pub use encoder::{Encoder, Piece, Pieces};
pub use error::{DecodeError, EncodeError};
pub use header::{HeaderError, RequestHeader};
pub use layout::{FieldLayout, Layout};
pub use text::Str;
pub use wire::{Context, Nullable, Records, Wire};
