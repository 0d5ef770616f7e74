//! Infers a table's columns from JSON values. Pure: it decides which columns a value adds, never how they are stored.
//!
//! A column appears with its first non-null value and keeps its type for ever: among the types here Iceberg knows no promotion
//! but "one more field in a struct". So what a column holds depends only on the order in which values are shown. An empty
//! object or an empty array shows no type and makes no column; where a column exists, it is held by it.

pub(crate) mod json;
mod schema;
#[cfg(test)]
mod tests;

pub use schema::{Element, Field, Fields, Kind, OUR_NAMES, Schema};
pub(crate) use schema::{Place, acceptable};

use std::collections::BTreeSet;

use crate::limits::{MAX_COLUMNS, MAX_NESTING};
use json::Json;

/// Shows values to a schema and adds the columns that they need.
pub struct Inference<'a> {
    schema: &'a mut Schema,
    walk: Walk<'a>,
}

struct Walk<'a> {
    /// Paths of the fields that are BIGINT.
    integers: &'a BTreeSet<String>,
    /// The path of the field that is being looked at, names joined by dots.
    path: String,
    next_field_id: i32,
    leaves: usize,
    changed: bool,
}

impl<'a> Inference<'a> {
    /// Starts from a schema; `integers` are the field paths (`id`, `properties.time`; a list's elements have the list's path)
    /// whose numbers are BIGINT if the column does not exist yet.
    pub fn new(schema: &'a mut Schema, integers: &'a BTreeSet<String>) -> Self {
        let walk = Walk {
            integers,
            path: String::new(),
            next_field_id: schema.next_field_id,
            leaves: schema.leaves(),
            changed: false,
        };
        Inference { schema, walk }
    }

    /// Adds the columns that a record's value needs; returns whether there were any. What is no JSON object needs none.
    pub fn show(&mut self, value: &[u8]) -> bool {
        self.walk.changed = false;
        if let Some(Json::Object(object)) = Json::parse(value) {
            self.walk.path.clear();
            self.walk.object(&mut self.schema.fields, object, 1);
        }
        self.schema.next_field_id = self.walk.next_field_id;
        self.walk.changed
    }
}

impl Walk<'_> {
    /// Merges an object into the columns of its level; `depth` is theirs.
    fn object(&mut self, fields: &mut Fields, object: &str, depth: usize) {
        let Some(pairs) = json::fields(object) else { return };
        let outer = self.path.len();
        for (guess, (name, value)) in pairs.iter().enumerate() {
            if matches!(value, Json::Null) || !acceptable(name, depth == 1) {
                continue;
            }
            if outer > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            match fields.place(name, guess) {
                Place::Clash => {}
                Place::At(at) => {
                    if let Some(kind) = fields.kind_mut(at) {
                        self.known(kind, *value, depth);
                    }
                }
                Place::New => {
                    if let Some(kind) = self.infer(*value, depth) {
                        let id = self.take_id();
                        fields.push(Field { id, name: name.clone().into_owned(), kind });
                    }
                }
            }
            self.path.truncate(outer);
        }
    }

    /// Looks for new fields inside a column that exists.
    fn known(&mut self, kind: &mut Kind, value: Json<'_>, depth: usize) {
        match (kind, value) {
            (Kind::Struct(fields), Json::Object(object)) => self.object(fields, object, depth + 1),
            (Kind::List(element), Json::Array(array)) => {
                for value in json::elements(array).unwrap_or_default() {
                    self.known(&mut element.kind, value, depth + 1);
                }
            }
            _ => {}
        }
    }

    /// The type that a value shows; `None` if it shows none that fits.
    fn infer(&mut self, value: Json<'_>, depth: usize) -> Option<Kind> {
        if depth > MAX_NESTING {
            return None;
        }
        match value {
            Json::Null => None,
            Json::Bool(_) => self.leaf(Kind::Boolean),
            Json::Text(quoted) => json::text(quoted).and_then(|_| self.leaf(Kind::Text)),
            Json::Number(literal) if self.integers.contains(&self.path) => {
                json::long(literal).and_then(|_| self.leaf(Kind::Long))
            }
            Json::Number(literal) => json::double(literal).and_then(|_| self.leaf(Kind::Double)),
            Json::Object(object) => {
                let mut fields = Fields::default();
                self.object(&mut fields, object, depth + 1);
                (!fields.list().is_empty()).then_some(Kind::Struct(fields))
            }
            Json::Array(array) => {
                let mut kind = None;
                for value in json::elements(array)? {
                    match &mut kind {
                        None => kind = self.infer(value, depth + 1),
                        Some(kind) => self.known(kind, value, depth + 1),
                    }
                }
                let kind = kind?;
                Some(Kind::List(Box::new(Element { id: self.take_id(), kind })))
            }
        }
    }

    fn leaf(&mut self, kind: Kind) -> Option<Kind> {
        if self.leaves >= MAX_COLUMNS {
            return None;
        }
        self.leaves += 1;
        Some(kind)
    }

    fn take_id(&mut self) -> i32 {
        let id = self.next_field_id;
        self.next_field_id = id.saturating_add(1);
        self.changed = true;
        id
    }
}
