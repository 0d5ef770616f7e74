//! One record as a line of JSON, the form in which REST and server-sent events give it out. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use tidelog_model::PartitionIndex;
use tidelog_record::Record;
use utoipa::ToSchema;

/// An event as REST gives it out.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventLine<'a> {
    /// The topic.
    topic: &'a str,
    /// Its partition.
    partition: i32,
    /// Its offset in the partition.
    offset: i64,
    /// Milliseconds since 1970-01-01T00:00Z; when it happened, or arrived, as the topic is set.
    timestamp: i64,
    /// Its key: text, or base64 if it is not UTF-8 (then `key_encoding` says so), or null.
    key: Option<String>,
    /// `base64` if the key is not UTF-8; otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
    /// Its headers in order; keys may repeat.
    headers: Vec<HeaderLine>,
    /// Its value: JSON as it is, text, or base64; null if there is none.
    #[schema(value_type = Option<Object>)]
    value: Option<Box<RawValue>>,
    /// How to read `value`: `json`, `text` or `base64`; null for a record without a value (a tombstone).
    #[schema(example = "json")]
    encoding: Option<&'static str>,
}

/// A header of an event.
#[derive(Serialize, ToSchema)]
pub(crate) struct HeaderLine {
    /// Its name.
    key: String,
    /// Its value: text, or base64 if it is not UTF-8 (then `encoding` says so), or null.
    value: Option<String>,
    /// `base64` if the value is not UTF-8; otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

/// Stands in the place of a batch that cannot be decoded.
#[derive(Serialize, ToSchema)]
pub(crate) struct UndecodableLine<'a> {
    /// The topic.
    topic: &'a str,
    /// Its partition.
    partition: i32,
    /// The first offset of the batch.
    offset: i64,
    /// The last offset of the batch.
    last_offset: i64,
    /// Kafka's name of the error.
    error_code: &'static str,
    /// What is wrong.
    message: String,
}

fn text_or_base64(bytes: &[u8]) -> (String, Option<&'static str>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (BASE64_STANDARD.encode(bytes), Some("base64")),
    }
}

/// A value as JSON and the name of its encoding.
fn value_of(bytes: &[u8]) -> (Option<Box<RawValue>>, &'static str) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return (serde_json::value::to_raw_value(&BASE64_STANDARD.encode(bytes)).ok(), "base64");
    };
    // A line break may stand between tokens of JSON, but not inside a line; within strings it cannot occur.
    let one_line = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text.to_owned() };
    match RawValue::from_string(one_line) {
        Ok(raw) => (Some(raw), "json"),
        Err(_) => (serde_json::value::to_raw_value(text).ok(), "text"),
    }
}

/// Writes a record as one line, without the line break.
pub(crate) fn write_record(out: &mut Vec<u8>, topic: &str, partition: PartitionIndex, record: &Record) {
    let (key, key_encoding) = record.key.as_deref().map(text_or_base64).map_or((None, None), |(k, e)| (Some(k), e));
    let headers = record.headers.iter().map(|header| {
        let (value, encoding) = header.value.as_deref().map(text_or_base64).map_or((None, None), |(v, e)| (Some(v), e));
        HeaderLine { key: String::from_utf8_lossy(&header.key).into_owned(), value, encoding }
    });
    let (value, encoding) = match record.value.as_deref() {
        Some(bytes) => {
            let (value, encoding) = value_of(bytes);
            (value, Some(encoding))
        }
        None => (None, None),
    };
    let line = EventLine {
        topic,
        partition: partition.0,
        offset: record.offset.0,
        timestamp: record.timestamp.0,
        key,
        key_encoding,
        headers: headers.collect(),
        value,
        encoding,
    };
    write_line(out, &line);
}

/// Writes a line for a batch that cannot be decoded.
pub(crate) fn write_undecodable(
    out: &mut Vec<u8>,
    topic: &str,
    partition: PartitionIndex,
    gap: &super::read::Undecodable,
) {
    let line = UndecodableLine {
        topic,
        partition: partition.0,
        offset: gap.base_offset.0,
        last_offset: gap.last_offset.0,
        error_code: tidelog_model::KafkaError::CorruptMessage.name(),
        message: gap.message.clone(),
    };
    write_line(out, &line);
}

fn write_line(out: &mut Vec<u8>, line: &impl Serialize) {
    let length = out.len();
    // Writing into a Vec fails only if a value refuses to be serialised, which none of these does.
    if serde_json::to_writer(&mut *out, line).is_err() {
        out.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::{Value, json};
    use tidelog_model::{Offset, Timestamp};
    use tidelog_record::Header;

    fn line(key: Option<&'static [u8]>, value: Option<&'static [u8]>, headers: Vec<Header>) -> (String, Value) {
        let record = Record {
            offset: Offset(41),
            timestamp: Timestamp(1234),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers,
        };
        let mut out = Vec::new();
        write_record(&mut out, "t", PartitionIndex(3), &record);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\n') && !text.contains('\r'), "{text}");
        let parsed = serde_json::from_str(&text).unwrap();
        (text, parsed)
    }

    #[test]
    fn json_values_keep_their_text() {
        let (text, parsed) = line(Some(b"k"), Some(b"{ \"a\":1.00,\n \"b\":\"\\n\" }"), vec![]);
        assert!(text.contains(r#""value":{ "a":1.00,  "b":"\n" },"encoding":"json""#), "{text}");
        assert_eq!(parsed["offset"], 41);
        assert_eq!(parsed["timestamp"], 1234);
        assert_eq!(parsed["partition"], 3);
        assert_eq!(parsed["key"], "k");
        assert!(parsed.get("key_encoding").is_none());
    }

    #[test]
    fn other_values_are_text_base64_or_null() {
        let (_, parsed) = line(None, Some(b"plain\ntext"), vec![]);
        assert_eq!((&parsed["value"], &parsed["encoding"]), (&json!("plain\ntext"), &json!("text")));
        let (_, parsed) = line(None, Some(b"\xff\x00"), vec![]);
        assert_eq!((&parsed["value"], &parsed["encoding"]), (&json!("/wA="), &json!("base64")));
        let (_, parsed) = line(None, Some(b""), vec![]);
        assert_eq!((&parsed["value"], &parsed["encoding"]), (&json!(""), &json!("text")));
        let (_, parsed) = line(None, Some(b"null"), vec![]);
        assert_eq!((&parsed["value"], &parsed["encoding"]), (&Value::Null, &json!("json")));
        let (_, parsed) = line(None, None, vec![]);
        assert_eq!((&parsed["key"], &parsed["value"], &parsed["encoding"]), (&Value::Null, &Value::Null, &Value::Null));
    }

    #[test]
    fn keys_and_headers_survive_whatever_they_are() {
        let header = |key: &'static [u8], value: Option<&'static [u8]>| Header {
            key: Bytes::from_static(key),
            value: value.map(Bytes::from_static),
        };
        let headers = vec![header(b"h", Some(b"v")), header(b"h", None), header(b"b", Some(b"\xfe"))];
        let (_, parsed) = line(Some(b"\xff"), None, headers);
        assert_eq!((&parsed["key"], &parsed["key_encoding"]), (&json!("/w=="), &json!("base64")));
        let expected = json!([
            {"key": "h", "value": "v"}, {"key": "h", "value": null}, {"key": "b", "value": "/g==", "encoding": "base64"}
        ]);
        assert_eq!(parsed["headers"], expected);
    }

    proptest::proptest! {
        #[test]
        fn every_value_makes_one_line_of_json(value: Vec<u8>) {
            let record = Record {
                offset: Offset(0), timestamp: Timestamp(0), key: None, value: Some(Bytes::from(value.clone())), headers: vec![],
            };
            let mut out = Vec::new();
            write_record(&mut out, "t", PartitionIndex(0), &record);
            proptest::prop_assert!(!out.contains(&b'\n'));
            let parsed: Value = serde_json::from_slice(&out).unwrap();
            if parsed["encoding"] == "base64" {
                let back = BASE64_STANDARD.decode(parsed["value"].as_str().unwrap()).unwrap();
                proptest::prop_assert_eq!(back, value);
            }
        }
    }
}
