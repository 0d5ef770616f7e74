//! The rows of an answer, and their JSON: `{"columns":[{"name","type"}],"rows":[{…}]}`.
//!
//! Integers and doubles are JSON numbers (a double that is no number, and decimals, are strings), timestamps RFC 3339, binary values
//! base64, structs objects and lists arrays; anything else is its text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::limits::QueryLimits;
use crate::{QueryError, format_table};

/// A column of an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Column {
    /// Its name. Names that occur twice get `:2`, `:3` …
    pub name: String,
    /// Its SQL type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The answer to a query. Its rows are bounded by the limits.
#[derive(Clone, PartialEq, Debug)]
pub struct QueryAnswer {
    columns: Vec<Column>,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl QueryAnswer {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let mut columns: Vec<Column> = Vec::new();
        for field in schema.fields() {
            let mut name = field.name().clone();
            let mut count = 1;
            while columns.iter().any(|column| column.name == name) {
                count += 1;
                name = format!("{}:{count}", field.name());
            }
            columns.push(Column { name, kind: sql_type(field.data_type()) });
        }
        QueryAnswer { columns, schema, batches: Vec::new(), rows: 0, bytes: 0 }
    }

    pub(crate) fn push(&mut self, batch: RecordBatch, limits: &QueryLimits) -> Result<(), QueryError> {
        self.rows = self.rows.saturating_add(batch.num_rows());
        self.bytes = self.bytes.saturating_add(batch.get_array_memory_size());
        if self.rows > limits.rows {
            return Err(QueryError::TooLarge(format!("{} rows", limits.rows)));
        }
        if self.bytes > limits.answer_bytes {
            return Err(QueryError::TooLarge(format!("{} bytes", limits.answer_bytes)));
        }
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        Ok(())
    }

    /// The columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// The rows as Arrow batches.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The Arrow schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The answer as a table for people (see [`format_table`]).
    pub fn to_text(&self) -> String {
        match serde_json::to_value(self) {
            Ok(answer) => format_table(&answer),
            Err(error) => error.to_string(),
        }
    }
}

impl Serialize for QueryAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("columns", &self.columns)?;
        map.serialize_entry("rows", &Rows(self))?;
        map.end()
    }
}

struct Rows<'a>(&'a QueryAnswer);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.rows))?;
        for batch in &self.0.batches {
            for row in 0..batch.num_rows() {
                rows.serialize_element(&Row { columns: &self.0.columns, batch, row })?;
            }
        }
        rows.end()
    }
}

struct Row<'a> {
    columns: &'a [Column],
    batch: &'a RecordBatch,
    row: usize,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, array) in self.columns.iter().zip(self.batch.columns()) {
            map.serialize_entry(&column.name, &Cell { array: array.as_ref(), row: self.row })?;
        }
        map.end()
    }
}

struct Cell<'a> {
    array: &'a dyn Array,
    row: usize,
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let Cell { array, row } = *self;
        if array.is_null(row) {
            return s.serialize_none();
        }
        match array.data_type() {
            DataType::Null => s.serialize_none(),
            DataType::Boolean => s.serialize_bool(array.as_boolean().value(row)),
            DataType::Int8 => s.serialize_i8(array.as_primitive::<Int8Type>().value(row)),
            DataType::Int16 => s.serialize_i16(array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => s.serialize_i32(array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => s.serialize_i64(array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt8 => s.serialize_u8(array.as_primitive::<UInt8Type>().value(row)),
            DataType::UInt16 => s.serialize_u16(array.as_primitive::<UInt16Type>().value(row)),
            DataType::UInt32 => s.serialize_u32(array.as_primitive::<UInt32Type>().value(row)),
            DataType::UInt64 => s.serialize_u64(array.as_primitive::<UInt64Type>().value(row)),
            DataType::Float32 => double(f64::from(array.as_primitive::<Float32Type>().value(row)), s),
            DataType::Float64 => double(array.as_primitive::<Float64Type>().value(row), s),
            DataType::Utf8 => s.serialize_str(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => s.serialize_str(array.as_string::<i64>().value(row)),
            DataType::Utf8View => s.serialize_str(array.as_string_view().value(row)),
            DataType::Binary => s.serialize_str(&STANDARD.encode(array.as_binary::<i32>().value(row))),
            DataType::LargeBinary => s.serialize_str(&STANDARD.encode(array.as_binary::<i64>().value(row))),
            DataType::BinaryView => s.serialize_str(&STANDARD.encode(array.as_binary_view().value(row))),
            DataType::List(_) => list(array.as_list::<i32>().value(row).as_ref(), s),
            DataType::LargeList(_) => list(array.as_list::<i64>().value(row).as_ref(), s),
            DataType::FixedSizeList(_, _) => list(array.as_fixed_size_list().value(row).as_ref(), s),
            DataType::Struct(fields) => {
                let mut map = s.serialize_map(Some(fields.len()))?;
                for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                    map.serialize_entry(field.name(), &Cell { array: column.as_ref(), row })?;
                }
                map.end()
            }
            _ => text(array, row, s),
        }
    }
}

fn double<S: Serializer>(value: f64, s: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { s.serialize_f64(value) } else { s.collect_str(&value) }
}

fn list<S: Serializer>(values: &dyn Array, s: S) -> Result<S::Ok, S::Error> {
    let mut items = s.serialize_seq(Some(values.len()))?;
    for row in 0..values.len() {
        items.serialize_element(&Cell { array: values, row })?;
    }
    items.end()
}

fn text<S: Serializer>(array: &dyn Array, row: usize, s: S) -> Result<S::Ok, S::Error> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(serde::ser::Error::custom)?;
    s.collect_str(&formatter.value(row))
}

/// The type's usual SQL name; structs and lists as DuckDB writes them.
fn sql_type(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "UTINYINT".to_owned(),
        DataType::UInt16 => "USMALLINT".to_owned(),
        DataType::UInt32 => "UINTEGER".to_owned(),
        DataType::UInt64 => "UBIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BLOB".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Interval(_) => "INTERVAL".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::List(element) | DataType::LargeList(element) => format!("{}[]", sql_type(element.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|field| format!("\"{}\" {}", field.name(), sql_type(field.data_type()))).collect();
            format!("STRUCT({})", fields.join(", "))
        }
        other => other.to_string().to_uppercase(),
    }
}
