use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::limits::{FIRST_VALUE_FIELD_ID, MAX_COLUMNS};
use crate::settings::KeyFormat;

fn inferred(lines: &[&str]) -> Schema {
    inferred_with(lines, &[])
}

fn inferred_with(lines: &[&str], integers: &[&str]) -> Schema {
    let integers: BTreeSet<String> = integers.iter().map(|path| (*path).to_owned()).collect();
    let mut schema = Schema::new(KeyFormat::Binary);
    let mut inference = Inference::new(&mut schema, &integers);
    for line in lines {
        inference.show(line.as_bytes());
    }
    schema.check().unwrap();
    schema
}

/// `name type` per column, structs and lists in brackets, without ids.
fn shape(fields: &Fields) -> String {
    let columns: Vec<_> = fields.list().iter().map(|f| format!("{} {}", f.name, kind(&f.kind))).collect();
    columns.join(", ")
}

fn kind(kind_: &Kind) -> String {
    match kind_ {
        Kind::Boolean => "boolean".into(),
        Kind::Long => "bigint".into(),
        Kind::Double => "double".into(),
        Kind::Text => "text".into(),
        Kind::Struct(fields) => format!("({})", shape(fields)),
        Kind::List(element) => format!("[{}]", kind(&element.kind)),
    }
}

fn shown(lines: &[&str]) -> String {
    shape(&inferred(lines).fields)
}

#[test]
fn a_column_appears_with_its_first_value_that_is_not_null() {
    assert_eq!(shown(&[r#"{"a":null}"#]), "");
    assert_eq!(shown(&[r#"{"a":null,"b":1}"#, r#"{"a":"x"}"#]), "b double, a text");
    assert_eq!(
        shown(&[r#"{"t":true,"n":-1.5e3,"s":"","o":{"x":{"y":1}},"l":[[1],[2]]}"#]),
        "t boolean, n double, s text, o (x (y double)), l [[double]]"
    );
}

#[test]
fn a_column_never_changes_its_type() {
    assert_eq!(shown(&[r#"{"a":1}"#, r#"{"a":"x"}"#, r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#]), "a double");
    assert_eq!(shown(&[r#"{"a":{"b":1}}"#, r#"{"a":{"c":"x"}}"#, r#"{"a":7}"#]), "a (b double, c text)");
    assert_eq!(
        shown(&[r#"{"a":[null,{"b":1},{"c":true}]}"#, r#"{"a":[{"d":[]},{"d":["x"]}]}"#]),
        "a [(b double, c boolean, d [text])]"
    );
}

#[test]
fn what_shows_no_type_makes_no_column() {
    for value in ["{}", "[]", "[null]", "[[],[]]", r#"{"x":null}"#, r#"{"x":{}}"#, r#""\ud800""#, "9007199254740993"] {
        assert_eq!(shown(&[&format!(r#"{{"a":{value}}}"#)]), "", "{value}");
    }
    for line in ["1", "[1]", "\"x\"", "not json", "", "{\"a\":1", "null"] {
        assert_eq!(shown(&[line]), "", "{line}");
    }
}

#[test]
fn listed_fields_are_bigint_while_they_are_new() {
    let lines = [r#"{"id":1,"n":{"t":2,"u":3},"l":[4]}"#];
    assert_eq!(
        shape(&inferred_with(&lines, &["id", "n.t", "l"]).fields),
        "id bigint, n (t bigint, u double), l [bigint]"
    );
    assert_eq!(shape(&inferred_with(&[r#"{"id":1.5}"#], &["id"]).fields), "");

    let mut schema = inferred(&[r#"{"id":1}"#]);
    let integers = BTreeSet::from(["id".to_owned()]);
    assert!(!Inference::new(&mut schema, &integers).show(br#"{"id":2}"#));
    assert_eq!(shape(&schema.fields), "id double", "double to bigint is no promotion");
}

#[test]
fn names_that_would_clash_make_no_column() {
    assert_eq!(shown(&[r#"{"magType":"a","magtype":1,"MAGTYPE":2}"#]), "magType text");
    assert_eq!(shown(&[r#"{"_offset":1,"_Key_id":2,"_rawest":3,"_values":4,"_x":5,"":6,"a\nb":7}"#]), "_x double");
    assert_eq!(shown(&[r#"{"o":{"_offset":1,"x":1,"X":2}}"#]), "o (_offset double, x double)");
    assert_eq!(shown(&[&format!(r#"{{"{}":1}}"#, "n".repeat(256))]), "");
    assert_eq!(shown(&[r#"{"a":1,"a":{"b":1}}"#]), "a double");
}

#[test]
fn nesting_and_columns_are_bounded() {
    let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    assert_eq!(shown(&[&nested(16)]).matches('a').count(), 16);
    assert_eq!(shown(&[&nested(17)]), "");
    assert_eq!(shown(&[&format!(r#"{{"a":{}1{}}}"#, "[".repeat(15), "]".repeat(15))]).matches('[').count(), 15);
    assert_eq!(shown(&[&format!(r#"{{"a":{}1{}}}"#, "[".repeat(16), "]".repeat(16))]), "");

    let wide: Vec<_> = (0..MAX_COLUMNS + 5).map(|n| format!(r#""c{n}":{n}"#)).collect();
    let schema = inferred(&[&format!("{{{}}}", wide.join(",")), r#"{"o":{"p":1}}"#]);
    assert_eq!(schema.leaves(), MAX_COLUMNS);
    assert_eq!(schema.fields.list().len(), MAX_COLUMNS);
}

#[test]
fn field_ids_are_never_used_twice() {
    let mut schema = inferred(&[r#"{"a":{"b":1},"l":[{"c":2}]}"#]);
    let before = schema.next_field_id;
    assert_eq!(before, FIRST_VALUE_FIELD_ID + 6 - 1, "b, a, c, element, l");
    let none = BTreeSet::new();
    assert!(Inference::new(&mut schema, &none).show(br#"{"a":{"z":1}}"#));
    assert_eq!(schema.next_field_id, before + 1);
    schema.check().unwrap();
}

#[test]
fn a_schema_survives_its_json() {
    let schema = inferred(&[r#"{"a":{"b":1,"t":true},"l":[{"c":"x"}]}"#]);
    let text = serde_json::to_string(&schema).unwrap();
    assert_eq!(
        text,
        r#"{"id":0,"next_field_id":106,"key":"binary","fields":[{"id":102,"name":"a","type":{"struct":[{"id":100,"name":"b","type":"double"},{"id":101,"name":"t","type":"boolean"}]}},{"id":105,"name":"l","type":{"list":{"id":104,"type":{"struct":[{"id":103,"name":"c","type":"text"}]}}}}]}"#
    );
    assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
    for bad in [
        r#"{"id":0,"next_field_id":102,"key":"binary","fields":[{"id":100,"name":"a","type":"text"},{"id":100,"name":"b","type":"text"}]}"#,
        r#"{"id":0,"next_field_id":100,"key":"binary","fields":[{"id":100,"name":"a","type":"text"}]}"#,
        r#"{"id":0,"next_field_id":101,"key":"binary","fields":[{"id":100,"name":"_key","type":"text"}]}"#,
        r#"{"id":0,"next_field_id":101,"key":"binary","fields":[{"id":100,"name":"a","type":{"struct":[]}}]}"#,
    ] {
        assert!(serde_json::from_str::<Schema>(bad).unwrap().check().is_err(), "{bad}");
    }
    let twice = r#"{"id":0,"next_field_id":102,"key":"binary","fields":[{"id":100,"name":"a","type":"text"},{"id":101,"name":"A","type":"text"}]}"#;
    assert!(serde_json::from_str::<Schema>(twice).is_err());
}

proptest! {
    /// Whatever is shown, the schema stays one that can be stored and read back, and only grows.
    #[test]
    fn any_bytes_leave_a_valid_schema(lines in prop::collection::vec(crate::columns::any_line(), 1..12)) {
        let none = BTreeSet::new();
        let mut schema = Schema::new(KeyFormat::String);
        for line in &lines {
            let before = schema.clone();
            let changed = Inference::new(&mut schema, &none).show(line.as_bytes());
            prop_assert_eq!(changed, schema != before);
            prop_assert!(schema.check().is_ok(), "{:?}", schema.check());
            prop_assert!(schema.next_field_id >= before.next_field_id);
            let again = Inference::new(&mut schema, &none).show(line.as_bytes());
            prop_assert!(!again, "the same value shows nothing new: {}", line);
        }
        let text = serde_json::to_string(&schema).unwrap();
        prop_assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
    }
}
