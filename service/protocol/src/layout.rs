//! The layout of messages as data: what documentation, tests and fuzzers derive from the same descriptions that the
//! codec is made of.

use crate::Field;

/// How a value lies on the wire.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    /// One byte, 0 or 1.
    Bool,
    /// A number or id of this many bytes.
    Fixed(usize),
    /// A length and UTF-8.
    Text,
    /// A length and bytes.
    Bytes,
    /// A count and that many elements.
    Array(&'static Layout),
    /// The same with a null.
    Nullable(&'static Layout),
    /// Fields in order, then the tagged ones.
    Struct {
        /// Its name.
        name: &'static str,
        /// Its fields, tagged ones included, in the order of their description.
        fields: &'static [FieldLayout],
    },
}

/// One field of a struct.
#[derive(Debug, Clone, Copy)]
pub struct FieldLayout {
    /// Its name.
    pub name: &'static str,
    /// Its versions.
    pub field: Field,
    /// Its value.
    pub layout: &'static Layout,
}
