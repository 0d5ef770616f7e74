//! `endpoints.json` in the data directory: where a running server listens, for scripts and tests that let it choose its ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tidelog_log::{OsDisk, replace_file};

/// The file's name.
pub(crate) const FILE: &str = "endpoints.json";

/// An earlier server's addresses mislead: they go first.
pub(super) fn remove(data_dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(data_dir.join(FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All listeners accept: says where, atomically.
pub(super) fn write(
    data_dir: &Path,
    kafka: SocketAddr,
    http: SocketAddr,
    listeners: &[(String, SocketAddr)],
) -> std::io::Result<()> {
    let listeners: BTreeMap<&str, String> =
        listeners.iter().map(|(name, address)| (name.as_str(), address.to_string())).collect();
    let text = json!({ "kafka": kafka.to_string(), "http": http.to_string(), "listeners": listeners }).to_string();
    replace_file(&OsDisk, &data_dir.join(FILE), text.as_bytes())
}
