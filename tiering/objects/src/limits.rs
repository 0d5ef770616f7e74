//! The limits of store access, each with its reason.

use std::time::Duration;

/// Bytes of one part of a multipart upload; 64 parts to a GiB keep the request cost bounded. S3's least part is 5 MiB.
pub const PART_BYTES: u64 = 16 * 1024 * 1024;

/// The last part takes up to two more parts' bytes, so that the requests which frame a multipart upload (create, complete) and the
/// two of a manifest commit stay within 3 per segment beside the 64 per GiB; anything below is one plain put.
pub const SINGLE_PUT_BYTES: u64 = 3 * PART_BYTES;

/// Parts of one upload in flight: one travels while the next is read; more would only hold memory.
pub const PARTS_IN_FLIGHT: usize = 2;

/// Objects in one answer of LIST, and keys in one bulk delete (S3).
pub const PAGE: usize = 1000;

/// Writers that race for one key when a store is probed; real races need few, and a start must not wait for many.
pub const PROBE_WRITERS: usize = 6;

/// Unfinished files of a `file://` store older than this belong to a process that died, also where files cannot be locked.
pub const STAGING_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Small requests that a local store carries out at the same time. Each is a thread, which keeps allocator memory of its own after
/// its work; one disk gains little from more. Parts of large objects are bounded by their uploads.
pub(crate) const LOCAL_REQUESTS: usize = 4;

/// Largest write to a folder that its file system's last room is never kept from, bytes: commits and manifests, which a deletion needs to
/// make room.
pub(crate) const ALWAYS_WRITTEN_BYTES: u64 = 64 * 1024;

/// Longest name of a file, on every usual file system.
pub const MAX_NAME_BYTES: usize = 255;

/// Bytes of a longer name that go into one folder's name of a `file://` store.
pub const NAME_PIECE_BYTES: usize = 200;

const _: () = assert!(NAME_PIECE_BYTES < MAX_NAME_BYTES);
const _: () = assert!(PART_BYTES >= 5 * 1024 * 1024);

/// Bounds on waiting for a store; constructor argument, not an operator's setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest wait for one small request's answer; S3's slowest percentile is far below.
    pub request_timeout: Duration,
    /// Longest wait for one part or one large put: 48 MiB on a slow line.
    pub part_timeout: Duration,
    /// Tries of a request that may be repeated (everything but a create-only put and a streamed one).
    pub attempts: u32,
    /// Wait before the second try; doubles with each further one.
    pub backoff: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_timeout: Duration::from_secs(30),
            part_timeout: Duration::from_secs(120),
            attempts: 3,
            backoff: Duration::from_millis(100),
        }
    }
}
