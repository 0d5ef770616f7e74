//! Gives older columns the shape of the table's current schema: fields that a file does not have are null, at any depth.
//! Decides nothing about the schema.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, lit};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::scalar::ScalarValue;

/// The schema without metadata at any depth: field ids matter to files, not to queries.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(plain_fields(schema.fields())))
}

fn plain_fields(fields: &Fields) -> Fields {
    fields.iter().map(|field| plain_field(field)).collect()
}

fn plain_field(field: &Field) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(plain_fields(fields)),
        DataType::List(element) => DataType::List(plain_field(element)),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}

/// A batch of rows with the columns of `schema`, matched by name.
pub(crate) fn adapt_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => adapt(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
}

/// An array with the type `target`, whose structs may have more fields.
fn adapt(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), target) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let source = array.as_struct();
            let columns = fields.iter().map(|field| match source.column_by_name(field.name()) {
                Some(column) => adapt(column, field.data_type()),
                None => Ok(new_null_array(field.data_type(), source.len())),
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, source.nulls().cloned())?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let source = array.as_list::<i32>();
            let values = adapt(source.values(), element.data_type())?;
            let list =
                ListArray::try_new(Arc::clone(element), source.offsets().clone(), values, source.nulls().cloned())?;
            Ok(Arc::new(list))
        }
        (from, to) => Err(DataFusionError::Execution(format!("a file has {from} where the table has {to}"))),
    }
}

/// Makes a [`FileAdapter`] per file.
#[derive(Debug)]
pub(crate) struct FileAdapters;

impl PhysicalExprAdapterFactory for FileAdapters {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        Ok(Arc::new(FileAdapter { logical, physical }))
    }
}

/// Rewrites expressions over the table's columns into expressions over one file's columns.
#[derive(Debug)]
struct FileAdapter {
    logical: SchemaRef,
    physical: SchemaRef,
}

impl PhysicalExprAdapter for FileAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let rewritten = expr.transform_up(|expr| match expr.as_any().downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::yes(self.column(column.name())?)),
            None => Ok(Transformed::no(expr)),
        });
        rewritten.data()
    }
}

impl FileAdapter {
    fn column(&self, name: &str) -> Result<Arc<dyn PhysicalExpr>> {
        let target = self.logical.field_with_name(name)?;
        let Ok(index) = self.physical.index_of(name) else {
            return Ok(lit(ScalarValue::try_from(target.data_type())?));
        };
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, index));
        if self.physical.field(index).data_type() == target.data_type() {
            return Ok(column);
        }
        Ok(Arc::new(Adapted { column, target: target.data_type().clone() }))
    }
}

/// A file's column in the shape of the table's.
#[derive(Debug)]
struct Adapted {
    column: Arc<dyn PhysicalExpr>,
    target: DataType,
}

// A derive would move out of the trait object.
impl PartialEq for Adapted {
    fn eq(&self, other: &Self) -> bool {
        self.column.eq(&other.column) && self.target == other.target
    }
}

impl Eq for Adapted {}

impl Hash for Adapted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.column.hash(state);
        self.target.hash(state);
    }
}

impl fmt::Display for Adapted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.column)
    }
}

impl PhysicalExpr for Adapted {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.column.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.column.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(adapt(&array, &self.target)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.column]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let column = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.column));
        Ok(Arc::new(Adapted { column, target: self.target.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.column.fmt_sql(f)
    }
}
