//! What can go wrong with a query, as its caller has to tell it apart.

use std::time::Duration;

use datafusion::error::DataFusionError;
use tidelog_tables::SourceError;

use crate::limits::MESSAGE_BYTES;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is no SQL, or names a column or function that does not exist. The caller's mistake.
    #[error("{0}")]
    Sql(String),
    /// Anything but SELECT, EXPLAIN, SHOW TABLES and DESCRIBE.
    #[error("only SELECT, EXPLAIN, SHOW TABLES and DESCRIBE are possible: {0}")]
    ReadOnly(String),
    /// No topic has this name.
    #[error("there is no topic {name:?}{hint}")]
    UnknownTopic {
        /// The name as the query has it.
        name: String,
        /// Empty, or a sentence that begins with `; `.
        hint: String,
    },
    /// The topic is not exported.
    #[error(
        "topic {name:?} is not a table: set its configuration tidelog.table.enable=true \
         (`tidelog topic config {name} --set tidelog.table.enable=true`, or PATCH /v1/topics/{name} with \
         {{\"config\":{{\"tidelog.table.enable\":\"true\"}}}}) and ask again"
    )]
    NotATable {
        /// The topic.
        name: String,
    },
    /// The caller may not read the topic.
    #[error("not authorized to read topic {0:?}")]
    Denied(String),
    /// The statement names no topic, and the caller may read none.
    #[error("statements that name no topic need the right to read one, or to describe the cluster")]
    DeniedWithoutTopic,
    /// The log or the store does not answer right now.
    #[error("{0}")]
    Unavailable(String),
    /// It took too long.
    #[error("the query took longer than {} s and was ended", .0.as_secs_f32())]
    Time(Duration),
    /// All memory of queries is used.
    #[error("the query needs more memory than queries may have: {0}")]
    Memory(String),
    /// The answer is too large.
    #[error("the answer has more than {0}; add a LIMIT or aggregate")]
    TooLarge(String),
    /// Our mistake.
    #[error("the query failed: {0}")]
    Internal(String),
}

impl QueryError {
    /// May the same query succeed later without a change?
    pub fn is_retriable(&self) -> bool {
        matches!(self, QueryError::Unavailable(_))
    }

    /// Sorts DataFusion's errors; its types appear nowhere else.
    pub(crate) fn from_datafusion(error: &DataFusionError) -> Self {
        let text = |text: String| QueryError::Sql(bounded(text));
        match error.find_root() {
            DataFusionError::ResourcesExhausted(text) => QueryError::Memory(first_line(text)),
            DataFusionError::SQL(error, _) => text(error.to_string()),
            DataFusionError::NotImplemented(text) if text.contains("single SQL statement") => {
                QueryError::Sql("one statement at a time: there is a ; with another one behind it".to_owned())
            }
            DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => {
                QueryError::Sql(bounded(text.clone()))
            }
            DataFusionError::SchemaError(error, _) => text(error.to_string()),
            DataFusionError::Execution(text) => QueryError::Sql(bounded(text.clone())),
            DataFusionError::ArrowError(error, _) => text(error.to_string()),
            DataFusionError::ObjectStore(error) => QueryError::Unavailable(format!("the object store failed: {error}")),
            DataFusionError::External(error) => match error.downcast_ref::<SourceError>() {
                Some(error) => QueryError::Unavailable(error.to_string()),
                None => QueryError::Internal(error.to_string()),
            },
            other => QueryError::Internal(other.to_string()),
        }
    }
}

/// The text, or its beginning.
fn bounded(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES));
        text.push('…');
    }
    text
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
