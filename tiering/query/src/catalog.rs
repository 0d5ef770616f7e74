//! SHOW TABLES and DESCRIBE: which statements ask for them, and their answers. Pure; DataFusion's own come from an information schema,
//! which would list what the caller may not read.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::sql::TableReference;
use datafusion::sql::parser::Statement;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{self, ShowStatementOptions};

use crate::answer::{AnswerBuilder, sql_type};
use crate::limits::QueryLimits;
use crate::{QueryAnswer, QueryError};

/// What a statement asks about tables instead of their rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Which tables are there?
    Tables,
    /// Which columns has this one?
    Columns(TableReference),
}

/// The question of `SHOW TABLES`, `DESCRIBE t`, `SHOW COLUMNS FROM t`; `None` for every other statement, also for those with filters.
pub(crate) fn question(statement: &Statement) -> Option<Question> {
    let Statement::Statement(statement) = statement else { return None };
    let table = |name: &ast::ObjectName| object_name_to_table_reference(name.clone(), false).ok();
    match statement.as_ref() {
        ast::Statement::ShowTables { show_options, .. } if *show_options == nothing() => Some(Question::Tables),
        ast::Statement::ExplainTable { table_name, .. } => table(table_name).map(Question::Columns),
        ast::Statement::ShowColumns { show_options, .. } => {
            let place = show_options.show_in.clone()?;
            let rest = ShowStatementOptions { show_in: None, ..show_options.clone() };
            let name = place.parent_name.filter(|_| rest == nothing())?;
            table(&name).map(Question::Columns)
        }
        _ => None,
    }
}

fn nothing() -> ShowStatementOptions {
    ShowStatementOptions { show_in: None, starts_with: None, limit: None, limit_from: None, filter_position: None }
}

/// The answer of SHOW TABLES.
pub(crate) fn tables(names: Vec<String>, limits: QueryLimits) -> Result<QueryAnswer, QueryError> {
    answer([("table_name", names)], limits)
}

/// The answer of DESCRIBE.
pub(crate) fn columns(schema: &Schema, limits: QueryLimits) -> Result<QueryAnswer, QueryError> {
    let of = |text: fn(&Field) -> String| schema.fields().iter().map(|field| text(field)).collect();
    let columns: [(&str, Vec<String>); 3] = [
        ("column_name", of(|field| field.name().clone())),
        ("data_type", of(|field| sql_type(field.data_type()))),
        ("is_nullable", of(|field| if field.is_nullable() { "YES" } else { "NO" }.to_owned())),
    ];
    answer(columns, limits)
}

fn answer<const N: usize>(columns: [(&str, Vec<String>); N], limits: QueryLimits) -> Result<QueryAnswer, QueryError> {
    let fields: Vec<Field> = columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, false)).collect();
    let arrays: Vec<ArrayRef> =
        columns.into_iter().map(|(_, texts)| Arc::new(StringArray::from(texts)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
    let batch = batch.map_err(|error| QueryError::Internal(error.to_string()))?;
    let mut answer = AnswerBuilder::new(&batch.schema(), limits);
    answer.push(&batch)?;
    answer.finish()
}
