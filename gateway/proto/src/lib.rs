//! The messages, clients and servers of `tidelog.v1`, generated from `proto/`, and the codec that bounds them.

mod codec;

pub use codec::{BoundedCodec, BoundedDecoder, Charge, MAX_FIELDS, MAX_INNER_FIELDS, charging};

// Generated code follows its own generator's style.
/// Package `tidelog.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub mod v1 {
    tonic::include_proto!("tidelog.v1");

    /// The encoded `FileDescriptorSet` of the package, for gRPC reflection and for clients that build on it.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tidelog.v1.bin"));
}
