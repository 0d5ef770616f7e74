//! Compares decoded messages of two codecs by their `{:?}` text: a small reader of that text, and what the two codecs
//! are known to say differently.

pub mod debug_text;
