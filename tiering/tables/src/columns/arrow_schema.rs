//! A table's columns as Arrow and Parquet know them: names, types, field ids. Never looks at values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field as ArrowField, Fields as ArrowFields, Schema as ArrowSchema, SchemaRef, TimeUnit,
};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::infer::{Fields, Kind, Schema};
use crate::settings::KeyFormat;

/// Field ids of the columns of our own; value columns begin at `limits::FIRST_VALUE_FIELD_ID`.
mod ids {
    pub(super) const PARTITION: i32 = 1;
    pub(super) const OFFSET: i32 = 2;
    pub(super) const TIMESTAMP: i32 = 3;
    pub(super) const KEY: i32 = 4;
    pub(super) const HEADERS: i32 = 5;
    pub(super) const HEADER: i32 = 6;
    pub(super) const HEADER_KEY: i32 = 7;
    pub(super) const HEADER_VALUE: i32 = 8;
    pub(super) const RAW: i32 = 9;
    pub(super) const VALUE: i32 = 10;
}

/// The Arrow schema of a table: our columns, the value's, then `_raw` and `_value`. Every field carries its Parquet field id.
pub fn arrow_schema(schema: &Schema) -> SchemaRef {
    let key = match schema.key {
        KeyFormat::Binary => DataType::Binary,
        KeyFormat::String => DataType::Utf8,
    };
    let mut fields = vec![
        column(ids::PARTITION, "_partition", DataType::Int32, false),
        column(ids::OFFSET, "_offset", DataType::Int64, false),
        column(ids::TIMESTAMP, "_timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        column(ids::KEY, "_key", key, true),
        column(ids::HEADERS, "_headers", DataType::List(header_field()), true),
    ];
    fields.extend(value_fields(&schema.fields).iter().map(|field| field.as_ref().clone()));
    fields.push(column(ids::RAW, "_raw", DataType::Utf8, true));
    fields.push(column(ids::VALUE, "_value", DataType::Binary, true));
    Arc::new(ArrowSchema::new(fields))
}

/// The element of `_headers`.
pub(crate) fn header_field() -> Arc<ArrowField> {
    Arc::new(column(ids::HEADER, "element", DataType::Struct(header_fields()), false))
}

/// The fields of one header.
pub(crate) fn header_fields() -> ArrowFields {
    ArrowFields::from(vec![
        column(ids::HEADER_KEY, "key", DataType::Utf8, false),
        column(ids::HEADER_VALUE, "value", DataType::Binary, true),
    ])
}

/// The Arrow fields of value columns.
pub(crate) fn value_fields(fields: &Fields) -> ArrowFields {
    fields.list().iter().map(|field| column(field.id, &field.name, data_type(&field.kind), true)).collect()
}

/// The Arrow field of a list's elements; Parquet calls it `element`.
pub(crate) fn element_field(id: i32, kind: &Kind) -> Arc<ArrowField> {
    Arc::new(column(id, "element", data_type(kind), true))
}

fn data_type(kind: &Kind) -> DataType {
    match kind {
        Kind::Boolean => DataType::Boolean,
        Kind::Long => DataType::Int64,
        Kind::Double => DataType::Float64,
        Kind::Text => DataType::Utf8,
        Kind::Struct(fields) => DataType::Struct(value_fields(fields)),
        Kind::List(element) => DataType::List(element_field(element.id, &element.kind)),
    }
}

fn column(id: i32, name: &str, kind: DataType, nullable: bool) -> ArrowField {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
    ArrowField::new(name, kind, nullable).with_metadata(metadata)
}
