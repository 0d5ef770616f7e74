use std::collections::BTreeSet;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use serde_json::{Map, Value};
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_record::{AbortedTransaction, BatchBuilder, BatchError, Codec, EndTransactionMarker, MarkerKind};

use super::*;
use crate::infer::{Inference, Schema};
use crate::settings::KeyFormat;
use crate::source::CommittedBatches;

/// JSON lines with the traps: few names (so that types collide), case variants, our names, numbers at the edge, repeated
/// names, empty containers, and now and then no JSON at all.
pub(crate) fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![8 => any_object(5), 1 => any_json(), 1 => ".{0,12}"]
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        (-50_i64..50).prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has none", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        Just("123456789012345678901234567890".to_owned()),
        Just("0.1234567890123456789012345".to_owned()),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        Just(r#""\ud800""#.to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((any_name(), inner), 0..4).prop_map(|pairs| object(&pairs)),
        ]
    })
}

fn any_object(fields: usize) -> impl Strategy<Value = String> {
    prop::collection::vec((any_name(), any_json()), 0..fields).prop_map(|pairs| object(&pairs))
}

fn any_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "A", "_key", "_raw", "", "é", "x.y", "\\u0061", "\\ud800"])
        .prop_map(str::to_owned)
}

fn object(pairs: &[(String, String)]) -> String {
    let fields: Vec<_> = pairs.iter().map(|(name, value)| format!(r#""{name}" : {value}"#)).collect();
    format!("{{{}}}", fields.join(","))
}

fn row(offset: i64, value: Option<&[u8]>) -> Row<'_> {
    Row { offset: Offset(offset), timestamp: Timestamp(1_000 + offset), key: None, headers: Vec::new(), value }
}

/// Infers from all lines, then converts them.
fn table(lines: &[&str]) -> RecordBatch {
    let none = BTreeSet::new();
    let mut schema = Schema::new(KeyFormat::Binary);
    let mut inference = Inference::new(&mut schema, &none);
    for line in lines {
        inference.show(line.as_bytes());
    }
    let mut builder = RowBuilder::new(&schema, PartitionIndex(0));
    for (offset, line) in lines.iter().enumerate() {
        builder.append(&row(offset as i64, Some(line.as_bytes())));
    }
    builder.finish().unwrap()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"))
}

fn text_at<'a>(batch: &'a RecordBatch, name: &str, row: usize) -> Option<&'a str> {
    let column = column(batch, name).as_string::<i32>();
    column.is_valid(row).then(|| column.value(row))
}

/// The JSON value that a reader of the columns sees; fields that are null are absent.
fn read_back(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let any = array.as_any();
    match array.data_type() {
        DataType::Boolean => any.downcast_ref::<BooleanArray>().unwrap().value(row).into(),
        DataType::Float64 => any.downcast_ref::<Float64Array>().unwrap().value(row).into(),
        DataType::Int64 => any.downcast_ref::<Int64Array>().unwrap().value(row).into(),
        DataType::Utf8 => any.downcast_ref::<StringArray>().unwrap().value(row).into(),
        DataType::List(_) => {
            let values = any.downcast_ref::<ListArray>().unwrap().value(row);
            (0..values.len()).map(|at| read_back(&values, at)).collect()
        }
        DataType::Struct(_) => {
            let columns = any.downcast_ref::<StructArray>().unwrap();
            let pairs = columns.fields().iter().zip(columns.columns());
            without_nulls(pairs.map(|(field, column)| (field.name().clone(), read_back(column, row))))
        }
        other => panic!("{other}"),
    }
}

fn without_nulls(pairs: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Object(pairs.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
}

/// The same JSON value with doubles for numbers and without fields that are null.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().unwrap().into(),
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Object(fields) => without_nulls(fields.iter().map(|(name, value)| (name.clone(), normal(value)))),
        other => other.clone(),
    }
}

/// Equal, but for the last bits of a double: the reader of this test rounds decimals less exactly than the columns do.
fn same(read: &Value, sent: &Value) -> bool {
    match (read, &normal(sent)) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a == b || (a - b).abs() <= 4.0 * f64::EPSILON * b.abs()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| x == y && same(a, b))
        }
        (a, b) => a == b,
    }
}

proptest! {
    /// Nothing is dropped: every value is in `_value` or `_raw` as it was sent, or the columns say all of it.
    #[test]
    fn every_value_can_be_read_back(lines in prop::collection::vec(any_line(), 1..12)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let batch = table(&lines);
        let names: Vec<_> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
        for (at, line) in lines.iter().enumerate() {
            let other = column(&batch, "_value").as_binary::<i32>();
            let raw = text_at(&batch, "_raw", at);
            if other.is_valid(at) {
                prop_assert_eq!(other.value(at), line.as_bytes());
                prop_assert!(raw.is_none());
            } else if let Some(raw) = raw {
                prop_assert_eq!(raw, *line);
            } else {
                let values = names.iter().zip(batch.columns()).filter(|(name, _)| !name.starts_with('_'));
                let read = without_nulls(values.map(|(name, column)| (name.clone(), read_back(column, at))));
                let sent: Value = serde_json::from_str(line).unwrap();
                prop_assert!(same(&read, &sent), "{} became {}", line, read);
                prop_assert!(sent != Value::Object(Map::new()), "an empty object reads like no value");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_null_and_in_raw() {
    let lines = [
        r#"{"a":1,"o":{"x":1,"y":"s"},"l":[1,2]}"#,
        r#"{"a":"one","o":{"x":2,"y":3},"l":[1,"two"]}"#,
        r#"{"a":9007199254740993}"#,
        r#"{"a":2,"A":3}"#,
        r#"{"a":2,"_offset":3}"#,
        r#"{"a":2,"a":3}"#,
        r#" { } "#,
        r#"{"a":null}"#,
        r#"{"a":3,"l":[]}"#,
        r#"{"o":{}}"#,
    ];
    let batch = table(&lines);
    let raw: Vec<_> = (0..lines.len()).map(|row| text_at(&batch, "_raw", row).is_some()).collect();
    assert_eq!(raw, [false, true, true, true, true, true, true, true, false, false]);
    assert_eq!(text_at(&batch, "_raw", 6), Some(" { } "), "as it was sent");
    let a = column(&batch, "a").as_primitive::<Float64Type>();
    let values: Vec<_> = a.iter().collect();
    assert_eq!(values, [Some(1.0), None, None, Some(2.0), Some(2.0), Some(2.0), None, None, Some(3.0), None]);
    assert_eq!(read_back(column(&batch, "o"), 1), serde_json::json!({"x": 2.0}));
    assert_eq!(read_back(column(&batch, "l"), 1), serde_json::json!([1.0, null]));
    assert_eq!(read_back(column(&batch, "l"), 8), serde_json::json!([]));
    assert_eq!(read_back(column(&batch, "o"), 9), serde_json::json!({}));
    assert!(column(&batch, "o").is_null(8));
}

#[test]
fn a_value_that_is_no_object_is_value() {
    let lines = ["[1,2]", "7", "\"s\"", "plain text", "", "null"];
    let batch = table(&lines);
    let value = column(&batch, "_value").as_binary::<i32>();
    for (row, line) in lines.iter().enumerate() {
        assert_eq!(value.value(row), line.as_bytes());
        assert!(text_at(&batch, "_raw", row).is_none());
    }
}

#[test]
fn facts_have_their_columns() {
    let schema = Schema::new(KeyFormat::String);
    let mut builder = RowBuilder::new(&schema, PartitionIndex(3));
    builder.append(&Row {
        offset: Offset(7),
        timestamp: Timestamp(1_517_363_399_650),
        key: Some(b"k\xffy"),
        headers: vec![(b"h", Some(b"1")), (b"h", None), (b"", Some(b"\xff"))],
        value: None,
    });
    builder.append(&Row { offset: Offset(8), timestamp: Timestamp::NONE, key: None, headers: Vec::new(), value: None });
    let batch = builder.finish().unwrap();
    assert_eq!(column(&batch, "_partition").as_primitive::<Int32Type>().values(), &[3, 3]);
    assert_eq!(column(&batch, "_offset").as_primitive::<Int64Type>().values(), &[7, 8]);
    let time = column(&batch, "_timestamp").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(time.iter().collect::<Vec<_>>(), [Some(1_517_363_399_650_000), None]);
    assert_eq!(text_at(&batch, "_key", 0), Some("k\\xffy"));
    assert_eq!(text_at(&batch, "_key", 1), None);
    let headers = column(&batch, "_headers").as_list::<i32>();
    assert!(headers.is_null(1));
    let first = headers.value(0);
    let entries = first.as_struct();
    assert_eq!(entries.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("h"), Some("h"), Some("")]);
    assert_eq!(
        entries.column(1).as_binary::<i32>().iter().collect::<Vec<_>>(),
        [Some(&b"1"[..]), None, Some(&b"\xff"[..])]
    );
    for name in ["_raw", "_value"] {
        assert_eq!(column(&batch, name).null_count(), 2);
    }
}

fn batch(base: i64, values: &[&str], codec: Codec, producer: Option<i64>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(base)).codec(codec);
    if let Some(id) = producer {
        builder = builder.producer(ProducerId(id), ProducerEpoch(0), Sequence(0)).transactional(true);
    }
    for value in values {
        builder.push(Timestamp(base), None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap().into_bytes().to_vec()
}

fn offsets(batches: &CommittedBatches, range: std::ops::Range<i64>) -> (Vec<(i64, bool)>, Decoded) {
    let mut seen = Vec::new();
    let decoded = decode::<BatchError>(batches, Offset(range.start)..Offset(range.end), |shown| {
        match shown {
            Shown::Record(row) => seen.push((row.offset.get(), false)),
            Shown::Opaque(row) => seen.push((row.offset.get(), true)),
        }
        Ok(())
    })
    .unwrap();
    (seen, decoded)
}

#[test]
fn readers_see_committed_records_of_the_range_alone() {
    let marker = EndTransactionMarker { kind: MarkerKind::Abort, coordinator_epoch: 0 };
    let marker = marker.batch(Offset(6), LeaderEpoch(0), ProducerId(9), ProducerEpoch(0), Timestamp(1)).unwrap();
    let bytes = [
        batch(0, &["{}", "{}"], Codec::None, None),
        batch(2, &["{}", "{}"], Codec::Zstd, Some(9)),
        batch(4, &["{}", "{}"], Codec::Lz4, Some(8)),
        marker.into_bytes().to_vec(),
        batch(7, &["{}", "{}"], Codec::Snappy, Some(9)),
    ];
    let aborted = AbortedTransaction {
        producer_id: ProducerId(9),
        first_offset: Offset(2),
        last_offset: Offset(6),
        last_stable_offset: Offset(7),
    };
    let batches = CommittedBatches { batches: bytes.concat().into(), aborted: vec![aborted], next: Offset(9) };
    let (seen, decoded) = offsets(&batches, 1..8);
    assert_eq!(seen, [(1, false), (4, false), (5, false), (7, false)]);
    // What lies behind the range is for the next walk, although it has been read.
    assert_eq!(decoded, Decoded { next: Offset(8), rows: 4 });
    assert_eq!(
        offsets(&batches, 1..7),
        (vec![(1, false), (4, false), (5, false)], Decoded { next: Offset(7), rows: 3 })
    );
    assert_eq!(offsets(&batches, 7..20).1, Decoded { next: Offset(9), rows: 2 });
}

#[test]
fn a_batch_that_cannot_be_read_is_one_opaque_row() {
    let mut damaged = batch(2, &["{}", "{}", "{}"], Codec::Zstd, None);
    let length = damaged.len();
    damaged[length - 12..].fill(0xee);
    // One good record and then garbage is not shown in part.
    let mut cut = batch(5, &["{}", "{\"a\":1}"], Codec::None, None);
    let at = cut.len() - 9;
    cut[at..].fill(0xff);
    let bytes = [batch(0, &["{}", "{}"], Codec::None, None), damaged.clone(), cut.clone()].concat();
    let batches = CommittedBatches { batches: bytes.into(), aborted: Vec::new(), next: Offset(7) };
    let (seen, decoded) = offsets(&batches, 0..7);
    assert_eq!(seen, [(0, false), (1, false), (2, true), (5, true)]);
    assert_eq!(decoded.rows, 4);

    let schema = Schema::new(KeyFormat::Binary);
    let mut builder = RowBuilder::new(&schema, PartitionIndex(0));
    decode::<BatchError>(&batches, Offset(3)..Offset(7), |shown| {
        if let Shown::Opaque(row) = shown {
            builder.append_opaque(row);
        }
        Ok(())
    })
    .unwrap();
    let rows = builder.finish().unwrap();
    assert_eq!(
        column(&rows, "_offset").as_primitive::<Int64Type>().values(),
        &[3, 5],
        "the log starts inside the first"
    );
    assert_eq!(column(&rows, "_value").as_binary::<i32>().value(0), damaged);
    let headers = column(&rows, "_headers").as_list::<i32>().value(0);
    let keys: Vec<_> = headers.as_struct().column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(keys, [UNDECODABLE_HEADER, "tidelog.last.offset"]);
    assert_eq!(headers.as_struct().column(1).as_binary::<i32>().value(1), b"4");
}

#[test]
fn the_sample_has_the_types_that_its_traps_call_for() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/earthquakes.ndjson");
    let sample = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = sample.lines().collect();
    assert_eq!(lines.len(), 1_707);
    let batch = table(&lines);
    assert_eq!(column(&batch, "_raw").null_count(), 1_707, "everything fits");
    assert_eq!(column(&batch, "_value").null_count(), 1_707);
    let properties = column(&batch, "properties").as_struct();
    let property = |name: &str| properties.column_by_name(name).unwrap();
    for (name, nulls) in [("mag", 0), ("gap", 303), ("felt", 1_580), ("cdi", 1_580), ("time", 0)] {
        assert_eq!(property(name).data_type(), &DataType::Float64, "{name}");
        assert_eq!(property(name).null_count(), nulls, "{name}");
    }
    assert_eq!(property("alert").data_type(), &DataType::Utf8);
    assert_eq!(property("alert").null_count(), 1_695);
    assert_eq!(property("magType").null_count(), 0);
    let coordinates = column(&batch, "geometry").as_struct().column_by_name("coordinates").unwrap();
    assert_eq!(coordinates.as_list::<i32>().value_type(), DataType::Float64);
    for (row, line) in lines.iter().enumerate() {
        let sent = normal(&serde_json::from_str(line).unwrap());
        assert_eq!(read_back(properties, row), sent["properties"]);
        assert_eq!(read_back(column(&batch, "geometry"), row), sent["geometry"]);
        assert_eq!(text_at(&batch, "id", row), sent["id"].as_str());
    }
}

/// Two bytes of JSON have a cell in every leaf column below their list.
#[test]
fn a_small_record_does_not_fill_the_memory() {
    let wide: Vec<String> = (0..500).map(|n| format!("\"c{n}\":1")).collect();
    let first = format!(r#"{{"a":1,"l":[{{{}}}]}}"#, wide.join(","));
    let second = format!(r#"{{"a":2,"l":[{}]}}"#, vec!["{}"; 10_000].join(","));
    let numbers = format!(r#"{{"a":3,"m":[{}]}}"#, vec!["0"; 2_000_000].join(","));
    let lines = [first.as_str(), second.as_str(), numbers.as_str()];
    let batch = table(&lines);
    let list = column(&batch, "l").as_list::<i32>();
    assert_eq!((list.is_valid(0), list.is_null(1)), (true, true));
    assert_eq!(text_at(&batch, "_raw", 1), Some(second.as_str()));
    assert_eq!(column(&batch, "a").as_primitive::<Float64Type>().values()[1], 2.0);
    assert_eq!(column(&batch, "m").as_list::<i32>().value(2).len(), 2_000_000, "a list of plain values always fits");
    assert!(text_at(&batch, "_raw", 2).is_none());
}

#[test]
fn a_chunk_is_full_by_what_it_takes() {
    let count = |schema: &Schema, row: &Row<'_>| {
        let mut builder = RowBuilder::new(schema, PartitionIndex(0));
        while !builder.is_full() {
            builder.append(row);
        }
        builder.rows()
    };
    let plain = Schema::new(KeyFormat::Binary);
    assert_eq!(count(&plain, &row(0, None)), 8_192);
    // Empty headers take two bytes each in the log.
    let headers = Row { headers: vec![(b"", None); 100_000], ..row(0, None) };
    assert_eq!(count(&plain, &headers), 11);
    let mut wide = Schema::new(KeyFormat::Binary);
    let fields: Vec<String> = (0..1_000).map(|n| format!("\"c{n}\":1")).collect();
    let none = BTreeSet::new();
    Inference::new(&mut wide, &none).show(format!("{{{}}}", fields.join(",")).as_bytes());
    assert_eq!(count(&wide, &row(0, Some(b"{}"))), 4_195);
}
