//! A table's columns: what they are called, what they hold, their field ids. It never looks at a value.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{FIRST_VALUE_FIELD_ID, MAX_COLUMNS, MAX_FIELD_NAME_BYTES, MAX_NESTING};
use crate::settings::KeyFormat;

/// The columns' names that are ours; a top-level field that begins with one of them does not fit.
pub const OUR_NAMES: [&str; 7] = ["_partition", "_offset", "_timestamp", "_key", "_headers", "_raw", "_value"];

/// The columns of a table at one moment. Columns are only ever added; a field id is never used twice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Counts the changes: 0 is a table without a value column.
    pub id: u32,
    /// The field id that the next column gets.
    pub next_field_id: i32,
    /// What `_key` holds; fixed by the table's first file, because Iceberg knows no promotion between the two.
    pub key: KeyFormat,
    /// The value's columns in the order in which they appeared.
    pub fields: Fields,
}

impl Schema {
    /// A table without a value column.
    pub fn new(key: KeyFormat) -> Self {
        Schema { id: 0, next_field_id: FIRST_VALUE_FIELD_ID, key, fields: Fields::default() }
    }

    /// Leaf columns of values (those with data of their own).
    pub fn leaves(&self) -> usize {
        self.fields.list.iter().map(|field| field.kind.leaves()).sum()
    }

    /// Checks what a stored schema must hold before it is trusted: unique field ids below the next one, unique names,
    /// bounded depth and number of columns.
    pub fn check(&self) -> Result<(), String> {
        let mut ids = BTreeMap::new();
        self.fields.check(1, &mut ids)?;
        if let Some((id, _)) = ids.last_key_value()
            && *id >= self.next_field_id
        {
            return Err(format!("field id {id} is not below the next field id {}", self.next_field_id));
        }
        if self.leaves() > MAX_COLUMNS {
            return Err(format!("{} columns, at most {MAX_COLUMNS} are allowed", self.leaves()));
        }
        Ok(())
    }
}

/// Columns side by side: of a table or of a struct.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields {
    list: Vec<Field>,
    /// Position by folded name: readers that ignore case must not see two columns in one.
    folded: BTreeMap<String, usize>,
}

/// One column.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its field id.
    pub id: i32,
    /// Its name, as the first value spelled it.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: Kind,
}

/// What a column holds. Every column may be null.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// True or false.
    Boolean,
    /// BIGINT: a 64-bit integer, only by `tidelog.table.json.integers`.
    Long,
    /// DOUBLE.
    Double,
    /// UTF-8 text.
    Text,
    /// An object with known fields; at least one.
    Struct(Fields),
    /// An array.
    List(Box<Element>),
}

/// What a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    /// Its field id.
    pub id: i32,
    /// What each element is.
    #[serde(rename = "type")]
    pub kind: Kind,
}

/// Where a name stands among [`Fields`].
pub(crate) enum Place {
    At(usize),
    /// Equal to a column but for case.
    Clash,
    New,
}

impl Fields {
    /// The columns in order.
    pub fn list(&self) -> &[Field] {
        &self.list
    }

    /// Looks a name up; `guess` is where it would be if objects repeat their order, which they mostly do.
    pub(crate) fn place(&self, name: &str, guess: usize) -> Place {
        if self.list.get(guess).is_some_and(|field| field.name == name) {
            return Place::At(guess);
        }
        match self.folded.get(&fold(name)) {
            None => Place::New,
            Some(at) if self.list.get(*at).is_some_and(|field| field.name == name) => Place::At(*at),
            Some(_) => Place::Clash,
        }
    }

    pub(crate) fn kind_mut(&mut self, at: usize) -> Option<&mut Kind> {
        self.list.get_mut(at).map(|field| &mut field.kind)
    }

    /// Appends a column whose name [`Fields::place`] called new.
    pub(crate) fn push(&mut self, field: Field) {
        self.folded.insert(fold(&field.name), self.list.len());
        self.list.push(field);
    }

    fn check(&self, depth: usize, ids: &mut BTreeMap<i32, ()>) -> Result<(), String> {
        if self.folded.len() != self.list.len() {
            return Err("two columns have the same name but for case".to_owned());
        }
        for field in &self.list {
            if !acceptable(&field.name, depth == 1) {
                return Err(format!("a column cannot be called {:?}", field.name));
            }
            field.kind.check(field.id, depth, ids)?;
        }
        Ok(())
    }
}

impl Kind {
    /// Leaf columns of this one.
    pub(crate) fn leaves(&self) -> usize {
        match self {
            Kind::Boolean | Kind::Long | Kind::Double | Kind::Text => 1,
            Kind::Struct(fields) => fields.list.iter().map(|field| field.kind.leaves()).sum(),
            Kind::List(element) => element.kind.leaves(),
        }
    }

    fn check(&self, id: i32, depth: usize, ids: &mut BTreeMap<i32, ()>) -> Result<(), String> {
        if depth > MAX_NESTING {
            return Err(format!("columns are nested deeper than {MAX_NESTING}"));
        }
        if id < FIRST_VALUE_FIELD_ID || ids.insert(id, ()).is_some() {
            return Err(format!("field id {id} is reserved or used twice"));
        }
        match self {
            Kind::Boolean | Kind::Long | Kind::Double | Kind::Text => Ok(()),
            Kind::Struct(fields) if fields.list.is_empty() => Err("a struct has no field".to_owned()),
            Kind::Struct(fields) => fields.check(depth + 1, ids),
            Kind::List(element) => element.kind.check(element.id, depth + 1, ids),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::default();
        for field in Vec::<Field>::deserialize(deserializer)? {
            if fields.folded.contains_key(&fold(&field.name)) {
                return Err(D::Error::custom(format!("two columns are called {:?}", field.name)));
            }
            fields.push(field);
        }
        Ok(fields)
    }
}

/// The form in which names are compared.
fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// May a field of this name become a column? At the top level it must not begin with one of our names.
pub(crate) fn acceptable(name: &str, top: bool) -> bool {
    let shaped = !name.is_empty() && name.len() <= MAX_FIELD_NAME_BYTES && !name.chars().any(char::is_control);
    let ours = top && name.starts_with('_') && {
        let folded = fold(name);
        OUR_NAMES.iter().any(|our| folded.starts_with(our))
    };
    shaped && !ours
}
