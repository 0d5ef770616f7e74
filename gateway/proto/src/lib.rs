//! The messages, clients and servers of `tidelog.v1`, generated from `proto/`; nothing here is written by hand.

// Generated code follows its own generator's style.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// Package `tidelog.v1`.
pub mod v1 {
    tonic::include_proto!("tidelog.v1");

    /// The encoded `FileDescriptorSet` of the package, for gRPC reflection and for clients that build on it.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tidelog.v1.bin"));
}
