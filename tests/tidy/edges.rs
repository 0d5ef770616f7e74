//! Every edge between our own crates. A new edge is the rarest change and the most discussed.

/// `(crate, the crates it may name)`; names without the prefix `tidelog-`. Dev-dependencies are free.
pub(crate) const EDGES: &[(&str, &[&str])] = &[
    // vocabulary
    ("model", &[]),
    ("record", &["model"]),
    // codecs
    ("protocol", &["model", "record"]),
    // bytes, I/O
    ("log", &["model", "record"]),
    ("client", &["model", "record", "protocol", "security"]),
    ("objects", &["model"]),
    ("handshake", &["model"]),
    // machines
    ("partition", &["model", "record"]),
    ("coordinator", &["model", "record", "protocol"]),
    ("metadata", &["model", "record"]),
    ("security", &["model"]),
    // the metadata store implements the port that `metadata` defines
    ("store", &["model", "metadata"]),
    // use cases
    ("broker", &["model", "record", "log", "partition", "coordinator", "metadata", "security", "store"]),
    ("segments", &["model", "record", "log", "objects"]),
    ("tables", &["model", "record", "objects"]),
    // doors
    ("proto", &[]),
    ("kafka", &["model", "record", "protocol", "log", "coordinator", "metadata", "security", "handshake", "broker"]),
    ("gateway", &["model", "record", "log", "coordinator", "metadata", "security", "handshake", "broker", "proto"]),
    ("query", &["model", "record", "objects", "tables"]),
];

/// Crates that never see tokio, files, sockets, clocks or chance.
pub(crate) const PURE: &[&str] = &["model", "record", "protocol", "partition", "coordinator", "metadata"];

/// What a pure crate must not reach, directly or not.
pub(crate) const IMPURE: &[&str] = &["tokio", "mio", "socket2", "rand", "rustix", "parking_lot", "async-io"];
