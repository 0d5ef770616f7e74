//! How each type of field lies on the wire.

use bytes::Bytes;
use tidelog_model::TopicId;

use crate::limits::{MAX_RESERVED_BYTES, MIN_ELEMENT_BYTES};
use crate::{DecodeError, Decoder, EncodeError, Encoder, Layout, Str};

/// The version that is being read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The message's version.
    pub version: i16,
    /// True from the message's first flexible version on: compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
}

/// A value of a field.
pub trait Wire: Sized {
    /// How the value lies on the wire.
    const LAYOUT: Layout;

    /// Reads the value.
    fn get(from: &mut Decoder, cx: Context) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn put(&self, to: &mut Encoder, cx: Context) -> Result<(), EncodeError>;

    /// True for the null of a nullable type.
    fn is_null(&self) -> bool {
        false
    }

    /// Sets the field `throttle_time_ms` of a struct that has one.
    fn set_throttle_time(&mut self, _: i32) {}

    /// Tells every error code in it, 0 too: the fields `error_code` of structs.
    fn error_codes(&self, _: &mut dyn FnMut(i16)) {}
}

/// A value that has a null form on the wire; `Option<T>` is the field's type where versions allow null.
pub trait Nullable: Wire {
    /// Reads the value or null.
    fn get_nullable(from: &mut Decoder, cx: Context) -> Result<Option<Self>, DecodeError>;

    /// Writes the value or null.
    fn put_nullable(value: Option<&Self>, to: &mut Encoder, cx: Context) -> Result<(), EncodeError>;
}

impl<T: Nullable> Wire for Option<T> {
    const LAYOUT: Layout = Layout::Nullable(&T::LAYOUT);

    fn get(from: &mut Decoder, cx: Context) -> Result<Self, DecodeError> {
        T::get_nullable(from, cx)
    }

    fn put(&self, to: &mut Encoder, cx: Context) -> Result<(), EncodeError> {
        T::put_nullable(self.as_ref(), to, cx)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }

    fn error_codes(&self, found: &mut dyn FnMut(i16)) {
        if let Some(value) = self {
            value.error_codes(found);
        }
    }
}

macro_rules! plain {
    ($($type:ident)*) => {$(
        impl Wire for $type {
            const LAYOUT: Layout = Layout::Fixed(size_of::<$type>());

            fn get(from: &mut Decoder, _: Context) -> Result<Self, DecodeError> {
                from.$type()
            }

            fn put(&self, to: &mut Encoder, _: Context) -> Result<(), EncodeError> {
                to.$type(*self);
                Ok(())
            }
        }
    )*};
}

plain!(i8 i16 u16 i32 u32 i64 f64);

impl Wire for bool {
    const LAYOUT: Layout = Layout::Bool;

    /// Zero is false, everything else true, as Kafka reads it.
    fn get(from: &mut Decoder, _: Context) -> Result<Self, DecodeError> {
        Ok(from.i8()? != 0)
    }

    fn put(&self, to: &mut Encoder, _: Context) -> Result<(), EncodeError> {
        to.i8((*self).into());
        Ok(())
    }
}

impl Wire for TopicId {
    const LAYOUT: Layout = Layout::Fixed(16);

    fn get(from: &mut Decoder, _: Context) -> Result<Self, DecodeError> {
        from.uuid().map(TopicId::from_bytes)
    }

    fn put(&self, to: &mut Encoder, _: Context) -> Result<(), EncodeError> {
        to.slice(&self.bytes());
        Ok(())
    }
}

/// The non-null forms of nullable types.
macro_rules! never_null {
    ($($type:ty: $layout:expr;)*) => {$(
        impl Wire for $type {
            const LAYOUT: Layout = $layout;

            fn get(from: &mut Decoder, cx: Context) -> Result<Self, DecodeError> {
                Self::get_nullable(from, cx)?.ok_or(DecodeError::Null { at: from.position() })
            }

            fn put(&self, to: &mut Encoder, cx: Context) -> Result<(), EncodeError> {
                Self::put_nullable(Some(self), to, cx)
            }
        }
    )*};
}

never_null! {
    Str: Layout::Text;
    Bytes: Layout::Bytes;
    Records: Layout::Bytes;
}

impl<T: Wire> Wire for Vec<T> {
    const LAYOUT: Layout = Layout::Array(&T::LAYOUT);

    fn get(from: &mut Decoder, cx: Context) -> Result<Self, DecodeError> {
        Self::get_nullable(from, cx)?.ok_or(DecodeError::Null { at: from.position() })
    }

    fn put(&self, to: &mut Encoder, cx: Context) -> Result<(), EncodeError> {
        Self::put_nullable(Some(self), to, cx)
    }

    fn error_codes(&self, found: &mut dyn FnMut(i16)) {
        for element in self {
            element.error_codes(found);
        }
    }
}

impl Nullable for Str {
    fn get_nullable(from: &mut Decoder, cx: Context) -> Result<Option<Self>, DecodeError> {
        let Some(length) = from.string_length(cx.flexible)? else { return Ok(None) };
        let at = from.position();
        let text = Str::from_utf8(from.bytes(length)?).ok_or(DecodeError::NotUtf8 { at })?;
        Ok(Some(text))
    }

    fn put_nullable(value: Option<&Self>, to: &mut Encoder, cx: Context) -> Result<(), EncodeError> {
        to.string_length(value.map(|text| text.as_bytes().len()), cx.flexible)?;
        if let Some(text) = value {
            to.slice(text.as_bytes());
        }
        Ok(())
    }
}

impl Nullable for Bytes {
    fn get_nullable(from: &mut Decoder, cx: Context) -> Result<Option<Self>, DecodeError> {
        match from.length(cx.flexible)? {
            None => Ok(None),
            Some(length) => from.bytes(length).map(Some),
        }
    }

    fn put_nullable(value: Option<&Self>, to: &mut Encoder, cx: Context) -> Result<(), EncodeError> {
        to.length(value.map(Bytes::len), cx.flexible)?;
        if let Some(bytes) = value {
            to.shared(bytes);
        }
        Ok(())
    }
}

/// Record batches: a slice of the frame on the way in; on the way out bytes, or a range that the caller sends from a
/// file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// The batches themselves.
    Bytes(Bytes),
    /// `len` bytes from elsewhere: they become a [`Piece::Hole`](crate::Piece::Hole) with this token.
    External {
        /// The caller's name for the source.
        token: u32,
        /// How many bytes the source gives.
        len: u32,
    },
}

impl Records {
    /// Size of the batches, bytes.
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::External { len, .. } => *len as usize,
        }
    }

    /// True if there are no batches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches if they are here; those of a decoded message always are.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Records::Bytes(bytes) => Some(bytes),
            Records::External { .. } => None,
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Records::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Records::Bytes(bytes)
    }
}

impl Nullable for Records {
    fn get_nullable(from: &mut Decoder, cx: Context) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::get_nullable(from, cx)?.map(Records::Bytes))
    }

    fn put_nullable(value: Option<&Self>, to: &mut Encoder, cx: Context) -> Result<(), EncodeError> {
        to.length(value.map(Records::len), cx.flexible)?;
        match value {
            None => {}
            Some(Records::Bytes(bytes)) => to.shared(bytes),
            Some(Records::External { token, len }) => to.hole(*token, *len),
        }
        Ok(())
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn get_nullable(from: &mut Decoder, cx: Context) -> Result<Option<Self>, DecodeError> {
        let Some(length) = from.length(cx.flexible)? else { return Ok(None) };
        let size = size_of::<T>().max(1);
        let mut elements = Vec::with_capacity(length.min(MAX_RESERVED_BYTES / size));
        for _ in 0..length {
            from.charge(size.max(MIN_ELEMENT_BYTES))?;
            elements.push(T::get(from, cx)?);
        }
        Ok(Some(elements))
    }

    fn put_nullable(value: Option<&Self>, to: &mut Encoder, cx: Context) -> Result<(), EncodeError> {
        to.length(value.map(Vec::len), cx.flexible)?;
        for element in value.into_iter().flatten() {
            element.put(to, cx)?;
        }
        Ok(())
    }
}
