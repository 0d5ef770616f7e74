//! The description language of messages: which fields exist in which versions, and the code that follows from it.
//!
//! ```text
//! message! {
//!     /// What the message is for.
//!     ExampleRequest, versions(3, 13), flexible(9) {
//!         /// What the field means.
//!         transactional_id: Option<Str> = None, since(3).null(3);
//!         /// A field that left in version 13; older versions drop it silently.
//!         name: Str, between(0, 12).ignorable();
//!         /// A tagged field.
//!         leader: Leader, since(10).tag(0);
//!     }
//! }
//! structure! {
//!     /// A struct inside a message.
//!     Leader {
//!         /// The leader's number.
//!         leader_id: i32 = -1, since(0);
//!     }
//! }
//! ```
//!
//! Without `= value` a field's default is its type's. Versions follow Kafka's message schemas: a field that a version
//! lacks is skipped if it is `ignorable` or has its default, otherwise encoding fails. Tagged fields (KIP-482) are
//! declared in the order of their tags and written only if they differ from their default. A field that is tagged in
//! some versions is tagged in all that have it. `flexible(NEVER)` says that no version is flexible.

use bytes::Bytes;

use crate::{Context, DecodeError, Decoder, EncodeError, Encoder, Wire};

/// The versions of a message, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The first version.
    pub min: i16,
    /// The last version.
    pub max: i16,
}

impl Versions {
    /// All versions from `min` to `max`.
    pub const fn new(min: i16, max: i16) -> Self {
        Versions { min, max }
    }

    /// Does the range contain the version?
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Every version, ascending.
    pub fn iter(self) -> std::ops::RangeInclusive<i16> {
        self.min..=self.max
    }

    /// The highest version that both ranges contain; what a client uses against a server's range.
    pub fn highest_common(self, other: Versions) -> Option<i16> {
        let (low, high) = (self.min.max(other.min), self.max.min(other.max));
        (low <= high).then_some(high)
    }
}

/// A whole message: a request, a response, or the content of a record.
pub trait Message: Wire + Default {
    /// Kafka's name.
    const NAME: &'static str;
    /// The versions that exist here.
    const VERSIONS: Versions;
    /// The first version with compact lengths and tagged fields (KIP-482); `i16::MAX` if none has them.
    const FIRST_FLEXIBLE: i16;

    /// True if the version has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool {
        version >= Self::FIRST_FLEXIBLE
    }

    /// Reads the message; bytes may follow it.
    fn decode(from: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(DecodeError::Version { message: Self::NAME, version });
        }
        Self::get(from, Context { version, flexible: Self::is_flexible(version) })
    }

    /// Reads the message and checks that nothing follows it.
    fn decode_last(mut from: Decoder, version: i16) -> Result<Self, DecodeError> {
        let message = Self::decode(&mut from, version)?;
        from.finish()?;
        Ok(message)
    }

    /// Reads the message from bytes that hold nothing else.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::decode_last(Decoder::new(bytes), version)
    }

    /// Writes the message.
    fn encode(&self, to: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(EncodeError::Version { message: Self::NAME, version });
        }
        self.put(to, Context { version, flexible: Self::is_flexible(version) })
    }

    /// The message alone, without header, as one buffer.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut to = Encoder::new();
        self.encode(&mut to, version)?;
        to.finish().into_bytes()
    }
}

/// A request's body.
pub trait Request: Message {
    /// The API's key.
    const KEY: i16;
    /// The body of the answer, in the same version.
    type Response: Response;
}

/// A response's body.
pub trait Response: Message {
    /// The API's key.
    const KEY: i16;
}

/// A tagged field that this version of Tidelog does not know, kept as it came (KIP-482).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTag {
    /// The tag.
    pub tag: u32,
    /// The field's bytes.
    pub value: Bytes,
}

/// In which versions a field exists and how. Built by `since` and `between` in message descriptions.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    first: i16,
    last: i16,
    null_first: i16,
    null_last: i16,
    tag: Option<u32>,
    ignorable: bool,
}

/// The first flexible version of a message that has none.
pub(crate) const NEVER: i16 = i16::MAX;

/// A field of all versions from `first` on.
pub(crate) const fn since(first: i16) -> Field {
    between(first, i16::MAX)
}

/// A field of the versions `first` to `last`.
pub(crate) const fn between(first: i16, last: i16) -> Field {
    Field { first, last, null_first: i16::MAX, null_last: i16::MIN, tag: None, ignorable: false }
}

impl Field {
    /// May be null from version `first` on.
    pub const fn null(self, first: i16) -> Field {
        Field { null_first: first, null_last: i16::MAX, ..self }
    }

    /// Is tagged, wherever it exists.
    pub const fn tag(self, tag: u32) -> Field {
        Field { tag: Some(tag), ..self }
    }

    /// Versions without the field drop its value silently.
    pub const fn ignorable(self) -> Field {
        Field { ignorable: true, ..self }
    }

    /// Does the field stand in its place among the untagged ones?
    pub const fn in_order(self, version: i16) -> bool {
        self.tag.is_none() && self.exists(version)
    }

    /// Is the field written with its tag, if at all?
    pub const fn tagged(self, version: i16) -> Option<u32> {
        if self.exists(version) { self.tag } else { None }
    }

    /// May the field's value be lost in this version?
    pub(crate) const fn may_drop(self, version: i16) -> bool {
        self.ignorable || self.exists(version)
    }

    /// May the field be null in this version?
    pub const fn may_be_null(self, version: i16) -> bool {
        self.null_first <= version && version <= self.null_last
    }

    const fn exists(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }
}

/// Reads a field and checks that null is allowed.
pub(crate) fn get_field<T: Wire>(from: &mut Decoder, cx: Context, field: Field) -> Result<T, DecodeError> {
    let value = T::get(from, cx)?;
    if value.is_null() && !field.may_be_null(cx.version) {
        return Err(DecodeError::Null { at: from.position() });
    }
    Ok(value)
}

/// Writes a field after checking that null is allowed.
pub(crate) fn put_field<T: Wire>(
    value: &T,
    to: &mut Encoder,
    cx: Context,
    field: Field,
    name: &'static str,
) -> Result<(), EncodeError> {
    if value.is_null() && !field.may_be_null(cx.version) {
        return Err(EncodeError::Null { field: name, version: cx.version });
    }
    value.put(to, cx)
}

/// Reads the tagged fields at a struct's end. `known` reads a field that it knows and returns true, or false without
/// having read anything; the others are kept.
pub(crate) fn get_tags(
    from: &mut Decoder,
    mut known: impl FnMut(u32, &mut Decoder) -> Result<bool, DecodeError>,
) -> Result<Vec<RawTag>, DecodeError> {
    let mut unknown = Vec::new();
    for _ in 0..from.uvarint()? {
        let tag = from.uvarint()?;
        let length = from.uvarint()? as usize;
        let kept = from.section(length, |section| {
            if known(tag, section)? { Ok(None) } else { section.bytes(section.remaining()).map(Some) }
        })?;
        if let Some(value) = kept {
            from.charge(size_of::<RawTag>())?;
            unknown.push(RawTag { tag, value });
        }
    }
    Ok(unknown)
}

/// Writes the unknown tags that come before `tag` and have not been written yet.
pub(crate) fn put_unknown<'a>(
    unknown: &mut std::iter::Peekable<std::slice::Iter<'a, RawTag>>,
    before: Option<u32>,
    to: &mut Encoder,
) -> Result<(), EncodeError> {
    while let Some(raw) = unknown.next_if(|raw| before.is_none_or(|tag| raw.tag < tag)) {
        to.tagged(raw.tag, |to| {
            to.shared(&raw.value);
            Ok(())
        })?;
    }
    Ok(())
}

/// Sets one field, if it is the one that tells how long a client was throttled.
macro_rules! throttle_time {
    (throttle_time_ms, $message:expr, $ms:expr) => {
        $message.throttle_time_ms = $ms
    };
    ($other:ident, $message:expr, $ms:expr) => {};
}

/// Tells one field's error codes: those that are in it, or itself if it is one.
macro_rules! error_codes {
    (error_code, $message:expr, $found:expr) => {
        $found($message.error_code)
    };
    ($other:ident, $message:expr, $found:expr) => {
        $crate::Wire::error_codes(&$message.$other, $found)
    };
}

/// Describes a struct inside a message.
macro_rules! structure {
    (
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$field_doc:meta])* $field:ident : $type:ty $(= $default:expr)?, $spec:expr; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
            /// Tagged fields that are not known here, in the order they came.
            pub unknown_tags: Vec<$crate::RawTag>,
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $( $field: $crate::describe::default_of!($type $(, $default)?), )*
                    unknown_tags: Vec::new(),
                }
            }
        }

        impl $crate::Wire for $name {
            const LAYOUT: $crate::Layout = {
                #[allow(unused_imports)]
                use $crate::describe::{between, since};
                $crate::Layout::Struct {
                    name: stringify!($name),
                    fields: &[$(
                        $crate::FieldLayout {
                            name: stringify!($field),
                            field: $spec,
                            layout: &<$type as $crate::Wire>::LAYOUT,
                        },
                    )*],
                }
            };

            #[allow(unused_variables)]
            fn set_throttle_time(&mut self, ms: i32) {
                $( $crate::describe::throttle_time!($field, self, ms); )*
            }

            #[allow(unused_variables)]
            fn error_codes(&self, found: &mut dyn FnMut(i16)) {
                $( $crate::describe::error_codes!($field, self, found); )*
            }

            #[allow(unused_mut, unused_variables)]
            fn get(from: &mut $crate::Decoder, cx: $crate::Context) -> Result<Self, $crate::DecodeError> {
                #[allow(unused_imports)]
                use $crate::describe::{between, get_field, get_tags, since};
                let mut value = Self::default();
                $(
                    if ($spec).in_order(cx.version) {
                        value.$field = get_field(from, cx, $spec)?;
                    }
                )*
                if cx.flexible {
                    let unknown = get_tags(from, |tag, from| {
                        $(
                            if ($spec).tagged(cx.version) == Some(tag) {
                                value.$field = get_field(from, cx, $spec)?;
                                return Ok(true);
                            }
                        )*
                        Ok(false)
                    })?;
                    value.unknown_tags = unknown;
                }
                Ok(value)
            }

            #[allow(unused_variables)]
            fn put(&self, to: &mut $crate::Encoder, cx: $crate::Context) -> Result<(), $crate::EncodeError> {
                #[allow(unused_imports)]
                use $crate::describe::{between, default_of, put_field, put_unknown, since};
                $(
                    if ($spec).in_order(cx.version) {
                        put_field(&self.$field, to, cx, $spec, concat!(stringify!($name), ".", stringify!($field)))?;
                    } else if !($spec).may_drop(cx.version) && self.$field != default_of!($type $(, $default)?) {
                        return Err($crate::EncodeError::FieldNotInVersion {
                            field: concat!(stringify!($name), ".", stringify!($field)),
                            version: cx.version,
                        });
                    }
                )*
                if cx.flexible {
                    #[allow(unused_mut)]
                    let mut count = self.unknown_tags.len();
                    $(
                        if ($spec).tagged(cx.version).is_some() && self.$field != default_of!($type $(, $default)?) {
                            count = count.saturating_add(1);
                        }
                    )*
                    to.uvarint(u32::try_from(count).map_err(|_| $crate::EncodeError::TooLong { length: count })?);
                    if count > 0 {
                        let mut unknown = self.unknown_tags.iter().peekable();
                        $(
                            if let Some(tag) = ($spec).tagged(cx.version)
                                && self.$field != default_of!($type $(, $default)?)
                            {
                                put_unknown(&mut unknown, Some(tag), to)?;
                                to.tagged(tag, |to| {
                                    let name = concat!(stringify!($name), ".", stringify!($field));
                                    put_field(&self.$field, to, cx, $spec, name)
                                })?;
                            }
                        )*
                        put_unknown(&mut unknown, None, to)?;
                    }
                }
                Ok(())
            }
        }

        impl $crate::Nullable for $name {
            fn get_nullable(
                from: &mut $crate::Decoder,
                cx: $crate::Context,
            ) -> Result<Option<Self>, $crate::DecodeError> {
                match from.i8()? {
                    -1 => Ok(None),
                    1 => <Self as $crate::Wire>::get(from, cx).map(Some),
                    marker => Err($crate::DecodeError::Marker { at: from.position(), marker }),
                }
            }

            fn put_nullable(
                value: Option<&Self>,
                to: &mut $crate::Encoder,
                cx: $crate::Context,
            ) -> Result<(), $crate::EncodeError> {
                match value {
                    None => {
                        to.i8(-1);
                        Ok(())
                    }
                    Some(value) => {
                        to.i8(1);
                        $crate::Wire::put(value, to, cx)
                    }
                }
            }
        }
    };
}

/// A field's default: the given one, or its type's.
macro_rules! default_of {
    ($type:ty) => {
        <$type>::default()
    };
    ($type:ty, $default:expr) => {
        $default
    };
}

/// Describes a whole message.
macro_rules! message {
    (
        $(#[$doc:meta])*
        $name:ident, versions($min:literal, $max:literal), flexible($flexible:tt) {
            $($fields:tt)*
        }
    ) => {
        $crate::describe::structure! {
            $(#[$doc])*
            $name { $($fields)* }
        }

        impl $crate::Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: $crate::Versions = $crate::Versions::new($min, $max);
            const FIRST_FLEXIBLE: i16 = $flexible;
        }
    };
}

/// Joins a request and its response under their API's key.
macro_rules! api {
    ($key:literal, $request:ident => $response:ident) => {
        impl $crate::Request for $request {
            const KEY: i16 = $key;
            type Response = $response;
        }

        impl $crate::Response for $response {
            const KEY: i16 = $key;
        }
    };
}

pub(crate) use {api, default_of, error_codes, message, structure, throttle_time};
