//! Turns records into rows of a table, a bounded chunk at a time. Decides which column holds what; the schema is given.
//!
//! A record's value is, in this order of tries: absent (every value column null), a JSON object (its fields in the value columns,
//! and the whole text also in `_raw` if a part does not fit or if no column would show it), or anything else (`_value`).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, ListArray, NullBufferBuilder, RecordBatch, StringBuilder,
    StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use tidelog_model::{Offset, PartitionIndex, Timestamp};

use super::arrow_schema::{arrow_schema, header_field, header_fields};
use super::value::{Room, StructColumn};
use crate::infer::Schema;
use crate::infer::json::Json;
use crate::limits::{BYTES_PER_CHUNK, BYTES_PER_HEADER, CELLS_PER_CHUNK, ROWS_PER_CHUNK};
use crate::settings::KeyFormat;

/// One record as the tables see it.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its time; [`Timestamp::NONE`] becomes null.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its headers in order, repeated names included.
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

impl Row<'_> {
    /// Bytes of key, value and headers: what `tidelog.table.flush.bytes` counts.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len)).sum();
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers
    }
}

/// Collects rows until they make a chunk.
pub struct RowBuilder {
    arrow: SchemaRef,
    partition_index: PartitionIndex,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    key: Key,
    headers: Headers,
    values: StructColumn,
    raw: StringBuilder,
    value: BinaryBuilder,
    /// Leaf columns of the value.
    leaves: usize,
    rows: usize,
    bytes: usize,
    cells: usize,
}

enum Key {
    Binary(BinaryBuilder),
    Text(StringBuilder),
}

struct Headers {
    keys: StringBuilder,
    values: BinaryBuilder,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

impl RowBuilder {
    /// An empty chunk of one partition.
    pub fn new(schema: &Schema, partition: PartitionIndex) -> Self {
        let key = match schema.key {
            KeyFormat::Binary => Key::Binary(BinaryBuilder::new()),
            KeyFormat::String => Key::Text(StringBuilder::new()),
        };
        RowBuilder {
            arrow: arrow_schema(schema),
            partition_index: partition,
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            key,
            headers: Headers::new(),
            values: StructColumn::new(&schema.fields),
            raw: StringBuilder::new(),
            value: BinaryBuilder::new(),
            leaves: schema.leaves(),
            rows: 0,
            bytes: 0,
            cells: 0,
        }
    }

    /// Rows in the chunk.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of keys, values and headers in the chunk, and what they cost beside their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Is the chunk large enough to be passed on?
    pub fn is_full(&self) -> bool {
        self.rows >= ROWS_PER_CHUNK || self.bytes >= BYTES_PER_CHUNK || self.cells >= CELLS_PER_CHUNK
    }

    /// Appends a record.
    pub fn append(&mut self, row: &Row<'_>) {
        self.append_facts(row);
        match row.value.map(|bytes| (bytes, Json::parse(bytes))) {
            None => {
                self.values.append_null();
                self.raw.append_null();
                self.value.append_null();
            }
            Some((bytes, Some(Json::Object(object)))) => {
                let mut room = Room::of(bytes.len());
                let appended = self.values.append_object(object, true, &mut room);
                self.cells = self.cells.saturating_add(room.taken());
                // An object of nulls alone would read like a record without a value.
                let kept = appended.fits && appended.any;
                self.raw.append_option(if kept { None } else { std::str::from_utf8(bytes).ok() });
                self.value.append_null();
            }
            Some((bytes, _)) => self.append_bytes(bytes),
        }
    }

    /// Appends a record whose value goes to `_value` whatever it is.
    pub fn append_opaque(&mut self, row: &Row<'_>) {
        self.append_facts(row);
        self.append_bytes(row.value.unwrap_or_default());
    }

    fn append_bytes(&mut self, bytes: &[u8]) {
        self.values.append_null();
        self.raw.append_null();
        self.value.append_value(bytes);
    }

    fn append_facts(&mut self, row: &Row<'_>) {
        self.rows += 1;
        // A header may be empty, but not free.
        let headers = row.headers.len().saturating_mul(BYTES_PER_HEADER);
        self.bytes = self.bytes.saturating_add(row.bytes()).saturating_add(headers);
        self.cells = self.cells.saturating_add(self.leaves);
        self.partition.append_value(self.partition_index.get());
        self.offset.append_value(row.offset.get());
        let known = row.timestamp != Timestamp::NONE;
        self.timestamp.append_option(row.timestamp.get().checked_mul(1_000).filter(|_| known));
        match &mut self.key {
            Key::Binary(builder) => builder.append_option(row.key),
            Key::Text(builder) => builder.append_option(row.key.map(readable)),
        }
        self.headers.append(&row.headers);
    }

    /// The rows as one batch; the chunk is empty afterwards.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let key: ArrayRef = match &mut self.key {
            Key::Binary(builder) => Arc::new(builder.finish()),
            Key::Text(builder) => Arc::new(builder.finish()),
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
            key,
            self.headers.finish()?,
        ];
        columns.extend(self.values.finish_columns()?);
        columns.push(Arc::new(self.raw.finish()));
        columns.push(Arc::new(self.value.finish()));
        self.rows = 0;
        self.bytes = 0;
        self.cells = 0;
        RecordBatch::try_new(Arc::clone(&self.arrow), columns)
    }
}

impl Headers {
    fn new() -> Self {
        Headers {
            keys: StringBuilder::new(),
            values: BinaryBuilder::new(),
            offsets: vec![0],
            validity: NullBufferBuilder::new(0),
        }
    }

    /// A record without headers has null, not an empty list.
    fn append(&mut self, headers: &[(&[u8], Option<&[u8]>)]) {
        for (key, value) in headers {
            self.keys.append_value(readable(key));
            self.values.append_option(*value);
        }
        let end = self.offsets.last().copied().unwrap_or(0);
        self.offsets.push(end.saturating_add(i32::try_from(headers.len()).unwrap_or(i32::MAX)));
        self.validity.append(!headers.is_empty());
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let entries = StructArray::try_new(header_fields(), columns, None)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])));
        Ok(Arc::new(ListArray::try_new(header_field(), offsets, Arc::new(entries), self.validity.finish())?))
    }
}

/// Bytes as text; what is no UTF-8 shows as `\xNN`, so that no byte disappears.
fn readable(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => {
            let mut text = String::with_capacity(bytes.len() + 8);
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                for byte in chunk.invalid() {
                    text.push_str(&format!("\\x{byte:02x}"));
                }
            }
            text.into()
        }
    }
}
