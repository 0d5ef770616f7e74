//! The rows of an answer, and their JSON: `{"columns":[{"name","type"}],"rows":[{…}]}`.
//!
//! Integers and doubles are JSON numbers (a double that is no number, and decimals, are strings), timestamps RFC 3339, binary values
//! base64, structs objects and lists arrays; anything else is its text.

use std::collections::BTreeSet;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::QueryError;
use crate::limits::QueryLimits;

/// A column of an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Column {
    /// Its name. Names that occur twice get `:2`, `:3` …
    pub name: String,
    /// Its SQL type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The answer to a query, within the limits.
#[derive(Clone, Debug, Serialize)]
pub struct QueryAnswer {
    /// The columns in order.
    pub columns: Vec<Column>,
    /// A JSON array with one object per row.
    pub rows: Box<RawValue>,
}

impl PartialEq for QueryAnswer {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns && self.rows.get() == other.rows.get()
    }
}

/// An answer in the making: its rows become JSON as they come.
pub(crate) struct AnswerBuilder {
    columns: Vec<Column>,
    json: Bounded,
    rows: usize,
    limits: QueryLimits,
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AnswerBuilder {
    pub(crate) fn new(schema: &Schema, limits: QueryLimits) -> Self {
        let mut used = BTreeSet::new();
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let mut name = field.name().clone();
            let mut count = 1;
            while !used.insert(name.clone()) {
                count += 1;
                name = format!("{}:{count}", field.name());
            }
            columns.push(Column { name, kind: sql_type(field.data_type()) });
        }
        let json = Bounded { bytes: vec![b'['], limit: limits.answer_bytes };
        AnswerBuilder { columns, json, rows: 0, limits }
    }

    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        for row in 0..batch.num_rows() {
            self.rows = self.rows.saturating_add(1);
            if self.rows > self.limits.rows {
                return Err(QueryError::TooLarge(format!("{} rows", self.limits.rows)));
            }
            self.write(batch, row)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch, row: usize) -> Result<(), QueryError> {
        if self.rows > 1 {
            self.json.bytes.push(b',');
        }
        let row = Row { columns: &self.columns, batch, row };
        serde_json::to_writer(&mut self.json, &row).map_err(|error| {
            if error.io_error_kind() == Some(io::ErrorKind::FileTooLarge) {
                QueryError::TooLarge(format!("{} bytes", self.limits.answer_bytes))
            } else {
                QueryError::Internal(error.to_string())
            }
        })
    }

    pub(crate) fn finish(self) -> Result<QueryAnswer, QueryError> {
        let mut json = self.json.bytes;
        json.push(b']');
        let text = String::from_utf8(json).map_err(|e| QueryError::Internal(e.to_string()))?;
        let rows = RawValue::from_string(text).map_err(|e| QueryError::Internal(e.to_string()))?;
        Ok(QueryAnswer { columns: self.columns, rows })
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
pub(crate) fn sql_type(kind: &DataType) -> String {
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
