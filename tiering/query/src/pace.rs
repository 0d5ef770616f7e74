//! Makes joins let go of their thread: between two inputs that meet in memory millions of rows may be compared without a pause, so
//! that a query that was ended would go on. Decides only where a stream pauses, never what is in it.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::Stream;

use crate::limits::ROWS_PER_PACE;

/// Puts a pause behind every batch of every node with several inputs, and between a few rows at a time before a nested loop: it
/// compares each of them with all rows of its other side.
pub(crate) fn paced(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let rewritten = plan.transform_up(|node| {
        if node.children().len() < 2 {
            return Ok(Transformed::no(node));
        }
        let mut children: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
        let node = match children.pop() {
            Some(last) if node.as_any().is::<NestedLoopJoinExec>() => {
                children.push(Arc::new(PacedExec { input: last, rows: ROWS_PER_PACE }));
                node.with_new_children(children)?
            }
            _ => node,
        };
        Ok(Transformed::yes(Arc::new(PacedExec { input: node, rows: usize::MAX }) as Arc<dyn ExecutionPlan>))
    });
    rewritten.data()
}

/// Its input, at most so many rows at a time, and a pause before each batch.
#[derive(Debug)]
struct PacedExec {
    input: Arc<dyn ExecutionPlan>,
    rows: usize,
}

impl DisplayAs for PacedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacedExec")
    }
}

impl ExecutionPlan for PacedExec {
    fn name(&self) -> &str {
        "PacedExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().ok_or_else(|| DataFusionError::Internal("no input".to_owned()))?;
        Ok(Arc::new(PacedExec { input, rows: self.rows }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Paced { input, rows: self.rows, rest: None, pause: false }))
    }
}

struct Paced {
    input: SendableRecordBatchStream,
    rows: usize,
    /// What is left of a batch that is handed on in pieces.
    rest: Option<RecordBatch>,
    pause: bool,
}

impl Stream for Paced {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.pause) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let batch = match this.rest.take() {
            Some(rest) => rest,
            None => match std::task::ready!(this.input.as_mut().poll_next(context)) {
                Some(Ok(batch)) => batch,
                other => return Poll::Ready(other),
            },
        };
        this.pause = true;
        let rows = batch.num_rows().min(this.rows);
        if rows < batch.num_rows() {
            this.rest = Some(batch.slice(rows, batch.num_rows().saturating_sub(rows)));
        }
        Poll::Ready(Some(Ok(batch.slice(0, rows))))
    }
}

impl RecordBatchStream for Paced {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
