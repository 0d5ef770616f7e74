//! The codec's limits, each with its reason.

use tidelog_model::limits::MAX_REQUEST_BYTES;

/// What the decoded array elements and unknown tags of one message may occupy, bytes. Beside the frame itself this
/// is all that a message can allocate. Without it a frame of 100 MiB full of one-byte elements would grow to
/// several GiB of structs. 64 MiB hold about half a million partitions in one request. A caller may grant less.
pub const MAX_DECODED_BYTES: usize = 64 * 1024 * 1024;

/// What an element of an array counts as at least, bytes: whoever gets a number makes something of its own of it.
pub const MIN_ELEMENT_BYTES: usize = 96;

/// What the unknown tags of a request's header may occupy, bytes: no client sends any.
pub const MAX_HEADER_TAGS_BYTES: usize = 4 * 1024;

/// What an array reserves before its first element is read, bytes. A longer array grows while its elements prove to
/// be there, so that an announced length alone costs at most this much.
pub const MAX_RESERVED_BYTES: usize = 16 * 1024;

/// Bytes fields up to this size are copied into the frame's buffer; larger ones become pieces of their own. Below
/// it a copy is cheaper than one more entry in a vectored write.
pub const MAX_COPIED_BYTES: usize = 4 * 1024;

/// First capacity of an encoder's buffer, bytes: most answers without records fit.
pub const INITIAL_BUFFER_BYTES: usize = 256;

const _: () = assert!(MAX_RESERVED_BYTES < MAX_DECODED_BYTES);
const _: () = assert!(MAX_DECODED_BYTES <= MAX_REQUEST_BYTES);
