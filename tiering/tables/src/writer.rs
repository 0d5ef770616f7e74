//! Writes the Parquet file of one range. The bytes follow from the rows, the schema and the range alone, so that a retry writes
//! the same object. It decides nothing about ranges and never touches the store.
//!
//! Columns are zstd-compressed, pages are of the first data page version (every reader has it), row groups end at 32 MiB encoded,
//! at records of 64 MiB or at a million rows. Where rows are handed to the encoder depends on them alone, not on how the log was read.
//! The key-value metadata names topic, partition and range.

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use tidelog_model::{Offset, TopicIdPartition};
use tidelog_record::BatchError;

use crate::columns::{RowBuilder, Shown, arrow_schema, decode};
use crate::infer::Schema;
use crate::limits::{ROW_GROUP_BYTES, ROW_GROUP_RECORD_BYTES, ROW_GROUP_ROWS};
use crate::source::CommittedBatches;

/// Rows of a file; `None` if it is none.
pub(crate) fn rows_of(file: bytes::Bytes) -> Option<u64> {
    let reader = SerializedFileReader::new(file).ok()?;
    u64::try_from(reader.metadata().file_metadata().num_rows()).ok()
}

#[cfg(test)]
mod tests;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The log's bytes are no record batches.
    #[error("the log holds damaged batches: {0}")]
    Batches(#[from] BatchError),
    /// Arrow refused columns that we built.
    #[error("converting records failed: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Parquet refused them.
    #[error("writing Parquet failed: {0}")]
    Parquet(#[from] ParquetError),
}

/// One file in the making. Holds at most one chunk of rows, one encoded row group and the bytes so far.
pub struct FileWriter {
    start: Offset,
    end: Offset,
    next: Offset,
    rows: u64,
    chunk: RowBuilder,
    groups: RowGroups,
}

/// The encoder, and the bytes of the records in its present row group.
struct RowGroups {
    writer: ArrowWriter<Vec<u8>>,
    bytes: usize,
}

/// A finished file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileBytes {
    /// The object's bytes.
    pub bytes: Vec<u8>,
    /// Its rows.
    pub rows: u64,
}

impl FileWriter {
    /// Begins the file of `[start, end)` of a partition.
    pub fn new(schema: &Schema, partition: TopicIdPartition, start: Offset, end: Offset) -> Result<Self, WriteError> {
        let fact = |key: &str, value: String| KeyValue::new(format!("tidelog.{key}"), value);
        let facts = vec![
            fact("format", "1".to_owned()),
            fact("topic", partition.topic.to_string()),
            fact("topic.id", partition.id.to_string()),
            fact("partition", partition.partition.to_string()),
            fact("offset.start", start.to_string()),
            fact("offset.end", end.to_string()),
            fact("schema.id", schema.id.to_string()),
        ];
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by("tidelog".to_owned())
            .set_key_value_metadata(Some(facts))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), arrow_schema(schema), Some(properties))?;
        let chunk = RowBuilder::new(schema, partition.partition);
        Ok(FileWriter { start, end, next: start, rows: 0, chunk, groups: RowGroups { writer, bytes: 0 } })
    }

    /// The offset from which the file needs more batches; at or above its end it has all.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Adds batches that begin at [`FileWriter::next`].
    pub fn add(&mut self, batches: &CommittedBatches) -> Result<(), WriteError> {
        let (chunk, groups) = (&mut self.chunk, &mut self.groups);
        let decoded = decode(batches, self.next..self.end, |shown| {
            match shown {
                Shown::Record(row) => chunk.append(row),
                Shown::Opaque(row) => chunk.append_opaque(row),
            }
            if chunk.is_full() { groups.write(chunk) } else { Ok(()) }
        })?;
        self.next = decoded.next;
        self.rows += decoded.rows;
        Ok(())
    }

    /// What lies between [`FileWriter::next`] and this offset was deleted or is damaged: it is lost to this file.
    pub fn skip_to(&mut self, offset: Offset) {
        self.next = self.next.max(offset.min(self.end));
    }

    /// First offset of the range.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<FileBytes, WriteError> {
        self.groups.write(&mut self.chunk)?;
        Ok(FileBytes { bytes: self.groups.writer.into_inner()?, rows: self.rows })
    }
}

impl RowGroups {
    fn write(&mut self, chunk: &mut RowBuilder) -> Result<(), WriteError> {
        if chunk.rows() == 0 {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(chunk.bytes());
        self.writer.write(&chunk.finish()?)?;
        if self.bytes >= ROW_GROUP_RECORD_BYTES || self.writer.in_progress_size() >= ROW_GROUP_BYTES {
            self.writer.flush()?;
            self.bytes = 0;
        }
        Ok(())
    }
}
