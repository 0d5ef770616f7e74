//! Record batches to Arrow: which column holds what. Pure: it never decides about the schema and never does I/O.

mod arrow_schema;
mod decode;
mod rows;
#[cfg(test)]
mod tests;
mod value;

pub use arrow_schema::arrow_schema;
#[cfg(test)]
pub(crate) use tests::any_line;

pub use decode::{Decoded, Shown, UNDECODABLE_HEADER, decode};
pub use rows::{Row, RowBuilder};
