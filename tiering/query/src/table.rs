//! One topic as a SQL table: the files that commits name, and the log behind them. The end of the log is fixed when the query is
//! planned, so that an answer is one moment's.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use tidelog_model::{Offset, TopicIdPartition};
use tidelog_record::BatchError;
use tidelog_tables::columns::{RowBuilder, Shown, arrow_schema, decode};
use tidelog_tables::infer::{Inference, Schema};
use tidelog_tables::limits::READ_BYTES;
use tidelog_tables::{CommittedLog, CommittedRange, SourceError, TableView};

use crate::adapt::{FileAdapters, adapt_batch, plain_schema};
use crate::limits::FOOTER_BYTES;

/// Where DataFusion finds the tables' store; reachable through table providers alone.
pub(crate) const STORE_URL: &str = "tidelog://tables";

/// A topic's table at one moment.
#[derive(Clone)]
pub(crate) struct TopicTable {
    schema: SchemaRef,
    files: Vec<PartitionedFile>,
    tails: Vec<Tail>,
}

/// The committed records of one partition that no file has.
#[derive(Clone)]
struct Tail {
    log: Arc<dyn CommittedLog>,
    columns: Arc<Schema>,
    schema: SchemaRef,
    partition: TopicIdPartition,
    range: Range<Offset>,
}

impl fmt::Debug for TopicTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicTable({} files, {} tails)", self.files.len(), self.tails.len())
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tail({} [{}, {}))", self.partition, self.range.start, self.range.end)
    }
}

impl TopicTable {
    /// Lets the schema follow up to the end of the log. `ranges` are what the log had before `view` was taken, for every partition.
    pub(crate) async fn plan(
        view: TableView,
        ranges: Vec<(TopicIdPartition, CommittedRange)>,
        log: &Arc<dyn CommittedLog>,
    ) -> std::result::Result<Self, SourceError> {
        let mut columns = view.schema;
        let mut tails = Vec::new();
        for (partition, range) in ranges {
            let part = view.partitions.iter().find(|part| part.partition == partition.partition);
            let exported = part.and_then(|part| part.exported_end);
            let start = exported.unwrap_or(range.log_start).max(range.log_start);
            let unseen = part.and_then(|part| part.scanned).unwrap_or(start).max(start);
            show(log, &partition, unseen..range.end, &mut columns, &view.topic.settings.integers).await?;
            if start < range.end {
                tails.push((partition, start..range.end));
            }
        }
        let schema = plain_schema(&arrow_schema(&columns));
        let columns = Arc::new(columns);
        let tails = tails.into_iter().map(|(partition, range)| Tail {
            log: Arc::clone(log),
            columns: Arc::clone(&columns),
            schema: Arc::clone(&schema),
            partition,
            range,
        });
        let files = view.partitions.iter().flat_map(|part| &part.files);
        Ok(TopicTable {
            tails: tails.collect(),
            files: files.map(|file| PartitionedFile::new(file.key.clone(), file.bytes)).collect(),
            schema,
        })
    }

    fn scan_files(
        &self,
        groups: usize,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = ParquetSource::new(Arc::clone(&self.schema)).with_metadata_size_hint(FOOTER_BYTES);
        let mut files: Vec<Vec<PartitionedFile>> = vec![Vec::new(); groups.clamp(1, self.files.len().max(1))];
        for (group, file) in (0..files.len()).cycle().zip(&self.files) {
            if let Some(group) = files.get_mut(group) {
                group.push(file.clone());
            }
        }
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
            .with_file_groups(files.into_iter().map(FileGroup::new).collect())
            .with_expr_adapter(Some(Arc::new(FileAdapters)))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

#[async_trait]
impl TableProvider for TopicTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !self.files.is_empty() {
            inputs.push(self.scan_files(state.config_options().execution.target_partitions, projection, limit)?);
        }
        if !self.tails.is_empty() {
            let tails = self.tails.iter().map(|tail| Arc::new(tail.clone()) as Arc<dyn PartitionStream>).collect();
            let schema = Arc::clone(&self.schema);
            inputs.push(Arc::new(StreamingTableExec::try_new(schema, tails, projection, [], false, limit)?));
        }
        if inputs.is_empty() {
            let schema = projection
                .map_or_else(|| Ok(Arc::clone(&self.schema)), |columns| self.schema.project(columns).map(Arc::new))?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        UnionExec::try_new(inputs)
    }
}

impl PartitionStream for Tail {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let start = (self.clone(), self.range.start, VecDeque::new());
        let rows = futures::stream::try_unfold(start, |(tail, mut next, mut ready)| async move {
            loop {
                if let Some(batch) = ready.pop_front() {
                    return Ok(Some((batch, (tail, next, ready))));
                }
                if next >= tail.range.end {
                    return Ok(None);
                }
                (next, ready) = tail.read(next).await?;
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

impl Tail {
    /// Reads and converts what one read of the log returns: bounded by one chunk of batches.
    async fn read(&self, from: Offset) -> Result<(Offset, VecDeque<RecordBatch>)> {
        let external = |error: SourceError| DataFusionError::External(Box::new(error));
        let mut ready = VecDeque::new();
        let batches = match self.log.read(&self.partition, from, READ_BYTES).await {
            Ok(batches) => batches,
            Err(error) => return Ok((behind_damage(error, from).map_err(external)?, ready)),
        };
        let mut chunk = RowBuilder::new(&self.columns, self.partition.partition);
        let decoded = decode::<TailError>(&batches, from..self.range.end, |shown| {
            match shown {
                Shown::Record(row) => chunk.append(row),
                Shown::Opaque(row) => chunk.append_opaque(row),
            }
            if chunk.is_full() {
                ready.push_back(adapt_batch(&chunk.finish().map_err(DataFusionError::from)?, &self.schema)?);
            }
            Ok(())
        })
        .map_err(|error| error.0)?;
        if chunk.rows() > 0 {
            ready.push_back(adapt_batch(&chunk.finish()?, &self.schema)?);
        }
        if decoded.next <= from {
            return Err(external(stuck(from)));
        }
        Ok((decoded.next, ready))
    }
}

/// Lets the schema see records that the exporter has not shown it.
async fn show(
    log: &Arc<dyn CommittedLog>,
    partition: &TopicIdPartition,
    range: Range<Offset>,
    columns: &mut Schema,
    integers: &std::collections::BTreeSet<String>,
) -> std::result::Result<(), SourceError> {
    let mut next = range.start;
    while next < range.end {
        let batches = match log.read(partition, next, READ_BYTES).await {
            Ok(batches) => batches,
            Err(error) => {
                next = behind_damage(error, next)?;
                continue;
            }
        };
        let mut inference = Inference::new(columns, integers);
        let decoded = decode::<BatchError>(&batches, next..range.end, |shown| {
            if let Shown::Record(row) = shown
                && let Some(value) = row.value
            {
                inference.show(value);
            }
            Ok(())
        })
        .map_err(|error| SourceError::Unavailable(format!("{partition} holds damaged batches: {error}")))?;
        if decoded.next <= next {
            return Err(stuck(next));
        }
        next = decoded.next;
    }
    Ok(())
}

/// Where to read on if what was read at an offset is damaged: its records are lost, as they will be to the table's files. The log has told.
fn behind_damage(error: SourceError, at: Offset) -> std::result::Result<Offset, SourceError> {
    match error {
        SourceError::Damaged { end, .. } if end > at => Ok(end),
        error => Err(error),
    }
}

fn stuck(at: Offset) -> SourceError {
    SourceError::Unavailable(format!("no progress at offset {at}"))
}

struct TailError(DataFusionError);

impl From<BatchError> for TailError {
    fn from(error: BatchError) -> Self {
        TailError(DataFusionError::External(Box::new(error)))
    }
}

impl From<DataFusionError> for TailError {
    fn from(error: DataFusionError) -> Self {
        TailError(error)
    }
}
