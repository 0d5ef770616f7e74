//! Compiles the .proto files without a protoc binary and keeps the descriptors for gRPC reflection.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let sources = ["proto/tidelog/v1/event_service.proto", "proto/tidelog/v1/topic_service.proto"];
    let descriptors = protox::compile(sources, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("tidelog.v1.bin"), prost_message(&descriptors))?;
    tonic_prost_build::configure().bytes(".").codec_path("crate::BoundedCodec").compile_fds(descriptors)?;
    Ok(())
}

fn prost_message(descriptors: &impl prost::Message) -> Vec<u8> {
    descriptors.encode_to_vec()
}
