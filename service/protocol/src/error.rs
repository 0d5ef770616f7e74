//! What can be wrong with bytes from outside, and with messages that do not fit a version.

/// Why bytes are no message. `at` is the position in the frame (after its 4-byte size) where reading stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("at byte {at}: {needed} bytes needed, {left} left")]
    Truncated {
        /// Position of the field.
        at: usize,
        /// Size of the field, bytes.
        needed: usize,
        /// Bytes left of the frame or of the tagged field.
        left: usize,
    },
    /// A string, bytes or array announces more than what is left.
    #[error("at byte {at}: a length of {announced} is announced, {left} bytes are left")]
    LengthBeyondFrame {
        /// Position after the length.
        at: usize,
        /// The announced length: bytes, or elements of at least one byte.
        announced: u64,
        /// Bytes left of the frame or of the tagged field.
        left: usize,
    },
    /// A length below −1.
    #[error("at byte {at}: negative length {length}")]
    NegativeLength {
        /// Position after the length.
        at: usize,
        /// The length.
        length: i32,
    },
    /// Null where the version does not allow it.
    #[error("at byte {at}: null in a field that cannot be null")]
    Null {
        /// Position after the null.
        at: usize,
    },
    /// A string that is not UTF-8.
    #[error("at byte {at}: a string is not UTF-8")]
    NotUtf8 {
        /// Position of the string's first byte.
        at: usize,
    },
    /// A variable-length number of more than 32 bits.
    #[error("at byte {at}: a variable-length number has more than 32 bits")]
    Varint {
        /// Position of the number's first byte.
        at: usize,
    },
    /// The marker before a nullable struct is neither −1 nor 1.
    #[error("at byte {at}: {marker} is no marker of a nullable struct")]
    Marker {
        /// Position after the marker.
        at: usize,
        /// The marker.
        marker: i8,
    },
    /// Bytes follow the last field of a message or of a tagged field.
    #[error("at byte {at}: {left} bytes follow the last field")]
    Trailing {
        /// Position after the last field.
        at: usize,
        /// How many bytes follow.
        left: usize,
    },
    /// The elements would occupy more than [`MAX_DECODED_BYTES`](crate::limits::MAX_DECODED_BYTES), or than was granted.
    #[error("at byte {at}: the message has too many elements")]
    TooManyElements {
        /// Position of the element that was too much.
        at: usize,
    },
    /// The message does not exist in this version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
}

/// Why a message cannot be written in a version. All of these are mistakes of our own code or configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message does not exist in this version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field has a value that the version cannot carry, and dropping it would change the meaning.
    #[error("version {version} has no field {field}")]
    FieldNotInVersion {
        /// The struct and the field, `FetchRequest.replica_id`.
        field: &'static str,
        /// The version.
        version: i16,
    },
    /// A field is null where the version does not allow it.
    #[error("{field} cannot be null in version {version}")]
    Null {
        /// The struct and the field.
        field: &'static str,
        /// The version.
        version: i16,
    },
    /// A string, bytes, array or frame is longer than its length field can say.
    #[error("a length of {length} does not fit its field")]
    TooLong {
        /// The length: bytes or elements.
        length: usize,
    },
    /// Records from a file where only bytes can be written.
    #[error("records from a file cannot be part of this message")]
    External,
}
