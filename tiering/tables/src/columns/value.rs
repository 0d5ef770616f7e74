//! Appends JSON values to the columns of a schema, and tells whether they fit. Decides nothing about the schema.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder, StringBuilder, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;

use super::arrow_schema::{element_field, value_fields};
use crate::infer::json::{self, Json};
use crate::infer::{Element, Fields, Kind, Place, acceptable};
use crate::limits::LIST_CELLS_PER_RECORD;

/// Builds one column.
enum Column {
    Boolean(BooleanBuilder),
    Long(Int64Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Struct(StructColumn),
    List(Box<ListColumn>),
}

/// Builds columns that stand side by side: those of the table, or of a struct.
pub(super) struct StructColumn {
    fields: Fields,
    columns: Vec<Column>,
    /// Per column, the row in which it last got a value; rows count from 1.
    filled: Vec<usize>,
    rows: usize,
    validity: NullBufferBuilder,
}

struct ListColumn {
    element: Element,
    /// Leaf columns below: what one element takes at least.
    leaves: usize,
    column: Column,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

/// How many cells the elements of one record's lists may still take: an element `{}` of two bytes has a cell in every leaf column
/// below, so that a small record could fill any memory.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
    taken: usize,
}

impl Room {
    /// The room of a value of so many bytes. A list of plain values always fits.
    pub(super) fn of(bytes: usize) -> Self {
        Room { left: bytes.max(LIST_CELLS_PER_RECORD), taken: 0 }
    }

    /// Cells taken so far.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    fn take(&mut self, cells: usize) -> bool {
        match self.left.checked_sub(cells) {
            Some(left) => {
                self.left = left;
                self.taken = self.taken.saturating_add(cells);
                true
            }
            None => false,
        }
    }
}

/// What became of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Appended {
    /// Everything in it is in the columns.
    pub(super) fits: bool,
    /// At least one column of its level is not null.
    pub(super) any: bool,
}

impl StructColumn {
    pub(super) fn new(fields: &Fields) -> Self {
        let columns: Vec<_> = fields.list().iter().map(|field| Column::new(&field.kind)).collect();
        let filled = vec![0; columns.len()];
        StructColumn { fields: fields.clone(), columns, filled, rows: 0, validity: NullBufferBuilder::new(0) }
    }

    /// Appends one object; elements of lists take from `room`. A name that comes twice keeps its first value and does not fit.
    pub(super) fn append_object(&mut self, object: &str, top: bool, room: &mut Room) -> Appended {
        let Some(pairs) = json::fields(object) else {
            self.append_null();
            return Appended { fits: false, any: false };
        };
        self.rows += 1;
        self.validity.append(true);
        let mut result = Appended { fits: true, any: false };
        for (guess, (name, value)) in pairs.iter().enumerate() {
            let null = matches!(value, Json::Null);
            let place = if acceptable(name, top) { self.fields.place(name, guess) } else { Place::Clash };
            let Place::At(at) = place else {
                // A null has no type: it needs no column and is what an absent field reads as.
                result.fits &= null;
                continue;
            };
            let (Some(column), Some(filled)) = (self.columns.get_mut(at), self.filled.get_mut(at)) else { continue };
            if *filled == self.rows {
                result.fits = false;
                continue;
            }
            *filled = self.rows;
            let fits = column.append(*value, room);
            result.fits &= fits;
            result.any |= !null && fits;
        }
        for (column, filled) in self.columns.iter_mut().zip(&self.filled) {
            if *filled != self.rows {
                column.append_null();
            }
        }
        result
    }

    /// Appends a null to every column.
    pub(super) fn append_null(&mut self) {
        self.rows += 1;
        self.validity.append(false);
        for column in &mut self.columns {
            column.append_null();
        }
    }

    /// The columns, one array each.
    pub(super) fn finish_columns(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows = 0;
        self.filled.fill(0);
        self.validity.finish();
        self.columns.iter_mut().map(Column::finish).collect()
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let validity = self.validity.finish();
        let arrays = self.finish_columns()?;
        Ok(Arc::new(StructArray::try_new(value_fields(&self.fields), arrays, validity)?))
    }
}

impl Column {
    fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Boolean => Column::Boolean(BooleanBuilder::new()),
            Kind::Long => Column::Long(Int64Builder::new()),
            Kind::Double => Column::Double(Float64Builder::new()),
            Kind::Text => Column::Text(StringBuilder::new()),
            Kind::Struct(fields) => Column::Struct(StructColumn::new(fields)),
            Kind::List(element) => Column::List(Box::new(ListColumn {
                element: Element::clone(element),
                leaves: element.kind.leaves().max(1),
                column: Column::new(&element.kind),
                offsets: vec![0],
                validity: NullBufferBuilder::new(0),
            })),
        }
    }

    /// Appends a value, or null if it does not fit; returns whether all of it fits.
    fn append(&mut self, value: Json<'_>, room: &mut Room) -> bool {
        match (self, value) {
            (column, Json::Null) => {
                column.append_null();
                true
            }
            (Column::Boolean(builder), Json::Bool(value)) => {
                builder.append_value(value);
                true
            }
            (Column::Long(builder), Json::Number(literal)) => {
                let value = json::long(literal);
                builder.append_option(value);
                value.is_some()
            }
            (Column::Double(builder), Json::Number(literal)) => {
                let value = json::double(literal);
                builder.append_option(value);
                value.is_some()
            }
            (Column::Text(builder), Json::Text(quoted)) => {
                let value = json::text(quoted);
                builder.append_option(value.as_deref());
                value.is_some()
            }
            (Column::Struct(column), Json::Object(object)) => column.append_object(object, false, room).fits,
            (Column::List(column), Json::Array(array)) => column.append(array, room),
            (column, _) => {
                column.append_null();
                false
            }
        }
    }

    fn append_null(&mut self) {
        match self {
            Column::Boolean(builder) => builder.append_null(),
            Column::Long(builder) => builder.append_null(),
            Column::Double(builder) => builder.append_null(),
            Column::Text(builder) => builder.append_null(),
            Column::Struct(column) => column.append_null(),
            Column::List(column) => column.end(false),
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Column::Boolean(builder) => Arc::new(builder.finish()),
            Column::Long(builder) => Arc::new(builder.finish()),
            Column::Double(builder) => Arc::new(builder.finish()),
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Struct(column) => column.finish()?,
            Column::List(column) => column.finish()?,
        })
    }
}

impl ListColumn {
    fn append(&mut self, array: &str, room: &mut Room) -> bool {
        let values = json::elements(array).filter(|values| room.take(values.len().saturating_mul(self.leaves)));
        let Some(values) = values else {
            self.end(false);
            return false;
        };
        let mut fits = true;
        let mut length = self.offsets.last().copied().unwrap_or(0);
        for value in values {
            fits &= self.column.append(value, room);
            // A chunk's text is far below 2 GiB, so its elements are too.
            length = length.saturating_add(1);
        }
        self.offsets.push(length);
        self.validity.append(true);
        fits
    }

    /// Ends an empty list: valid, or null.
    fn end(&mut self, valid: bool) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.validity.append(valid);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])));
        let field = element_field(self.element.id, &self.element.kind);
        let values = self.column.finish()?;
        Ok(Arc::new(ListArray::try_new(field, offsets, values, self.validity.finish())?))
    }
}
