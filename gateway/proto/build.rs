//! Compiles the .proto files without a protoc binary and keeps the descriptors for gRPC reflection.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let sources = ["proto/tidelog/v1/event_service.proto", "proto/tidelog/v1/topic_service.proto"];
    let descriptors = protox::compile(sources, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // What stands in the details of errors is there for reflection only: the gateway writes it itself.
    let details = "proto/google/rpc/error_details.proto";
    let described = protox::compile(sources.into_iter().chain([details]), ["proto"])?;
    std::fs::write(out.join("tidelog.v1.bin"), prost_message(&described))?;
    tonic_prost_build::configure().bytes(".").codec_path("crate::BoundedCodec").compile_fds(descriptors)?;
    Ok(())
}

fn prost_message(descriptors: &impl prost::Message) -> Vec<u8> {
    descriptors.encode_to_vec()
}
