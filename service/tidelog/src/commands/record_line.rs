//! A record as text: by a format such as `%o %s\n`, or as one line of JSON in the form that REST gives out. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use tidelog_model::PartitionIndex;
use tidelog_record::Record;

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Timestamp,
    Headers,
    KeySize,
    ValueSize,
}

/// How a record is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineFormat(Vec<Part>);

impl LineFormat {
    /// Reads a format: `%t` topic, `%p` partition, `%o` offset, `%k` key, `%s` value, `%T` timestamp in milliseconds, `%h` headers,
    /// `%K` and `%S` sizes of key and value (−1 for null), `%%`; `\n`, `\t`, `\r`, `\0`, `\\`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let part = match (letter, if matches!(letter, '%' | '\\') { letters.next() } else { None }) {
                ('%', Some('t')) => Part::Topic,
                ('%', Some('p')) => Part::Partition,
                ('%', Some('o')) => Part::Offset,
                ('%', Some('k')) => Part::Key,
                ('%', Some('s')) => Part::Value,
                ('%', Some('T')) => Part::Timestamp,
                ('%', Some('h')) => Part::Headers,
                ('%', Some('K')) => Part::KeySize,
                ('%', Some('S')) => Part::ValueSize,
                (sign @ ('%' | '\\'), next) => {
                    let byte = match (sign, next) {
                        ('%', Some('%')) => b'%',
                        ('\\', Some('n')) => b'\n',
                        ('\\', Some('t')) => b'\t',
                        ('\\', Some('r')) => b'\r',
                        ('\\', Some('0')) => 0,
                        ('\\', Some('\\')) => b'\\',
                        (_, next) => return Err(format!("unknown sequence {sign}{}", next.unwrap_or(' '))),
                    };
                    plain.push(byte);
                    continue;
                }
                (letter, _) => {
                    plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part);
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(LineFormat(parts))
    }

    /// Writes a record.
    pub(crate) fn write(&self, out: &mut Vec<u8>, topic: &str, partition: PartitionIndex, record: &Record) {
        let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or_else(|| "-1".into(), |b| b.len().to_string());
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Topic => out.extend_from_slice(topic.as_bytes()),
                Part::Partition => out.extend_from_slice(partition.to_string().as_bytes()),
                Part::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Part::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Part::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Part::Timestamp => out.extend_from_slice(record.timestamp.get().to_string().as_bytes()),
                Part::KeySize => out.extend_from_slice(size(&record.key).as_bytes()),
                Part::ValueSize => out.extend_from_slice(size(&record.value).as_bytes()),
                Part::Headers => {
                    for (at, header) in record.headers.iter().enumerate() {
                        if at > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(&header.key);
                        out.push(b'=');
                        out.extend_from_slice(header.value.as_deref().unwrap_or(b"NULL"));
                    }
                }
            }
        }
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
    headers: Vec<JsonHeader>,
    value: Option<Box<RawValue>>,
    encoding: Option<&'static str>,
}

#[derive(Serialize)]
struct JsonHeader {
    key: String,
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

/// Writes a record as one line of JSON. A value that is JSON stands as it is; other text as a string, other bytes as base64.
pub(crate) fn write_json(
    out: &mut Vec<u8>,
    topic: &str,
    partition: PartitionIndex,
    record: &Record,
) -> serde_json::Result<()> {
    let (key, key_encoding) = text_of(record.key.as_deref());
    let headers = record.headers.iter().map(|header| {
        let (value, encoding) = text_of(header.value.as_deref());
        JsonHeader { key: String::from_utf8_lossy(&header.key).into_owned(), value, encoding }
    });
    let (value, encoding) = match record.value.as_deref() {
        None => (None, None),
        Some(bytes) => value_of(bytes)?,
    };
    let line = JsonLine {
        topic,
        partition: partition.get(),
        offset: record.offset.get(),
        timestamp: record.timestamp.get(),
        key,
        key_encoding,
        headers: headers.collect(),
        value,
        encoding,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

fn text_of(bytes: Option<&[u8]>) -> (Option<String>, Option<&'static str>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (None, None),
        Some((_, Ok(text))) => (Some(text.to_owned()), None),
        Some((bytes, Err(_))) => (Some(BASE64_STANDARD.encode(bytes)), Some("base64")),
    }
}

fn value_of(bytes: &[u8]) -> serde_json::Result<(Option<Box<RawValue>>, Option<&'static str>)> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok((Some(serde_json::value::to_raw_value(&BASE64_STANDARD.encode(bytes))?), Some("base64")));
    };
    // Line breaks in JSON stand only between tokens; a line must have none.
    match RawValue::from_string(text.replace(['\n', '\r'], " ")) {
        Ok(raw) => Ok((Some(raw), Some("json"))),
        Err(_) => Ok((Some(serde_json::value::to_raw_value(text)?), Some("text"))),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidelog_model::{Offset, Timestamp};
    use tidelog_record::Header;

    use super::*;

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Record {
        Record {
            offset: Offset(41),
            timestamp: Timestamp(7),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: vec![
                Header { key: Bytes::from_static(b"h"), value: Some(Bytes::from_static(b"v")) },
                Header { key: Bytes::from_static(b"h"), value: None },
            ],
        }
    }

    fn formatted(format: &str, record: &Record) -> String {
        let mut out = Vec::new();
        LineFormat::parse(format).unwrap().write(&mut out, "t", PartitionIndex(2), record);
        String::from_utf8(out).unwrap()
    }

    fn json(record: &Record) -> String {
        let mut out = Vec::new();
        write_json(&mut out, "t", PartitionIndex(2), record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn formats() {
        let one = record(Some(b"key"), Some(b"value"));
        assert_eq!(formatted("%t-%p@%o %k=%s %T%%\\t%h\\n", &one), "t-2@41 key=value 7%\th=v,h=NULL\n");
        assert_eq!(formatted("%K %S|%k%s", &record(None, Some(b""))), "-1 0|");
        assert!(
            LineFormat::parse("%x").is_err() && LineFormat::parse("100%").is_err() && LineFormat::parse("\\q").is_err()
        );
    }

    #[test]
    fn json_values_stand_as_they_are() {
        let line = json(&record(Some(b"k"), Some(b"{\"a\": 1.50,\n \"b\":\"\\n\"}")));
        let expected = r#"{"topic":"t","partition":2,"offset":41,"timestamp":7,"key":"k","headers":[{"key":"h","value":"v"},{"key":"h","value":null}],"value":{"a": 1.50,  "b":"\n"},"encoding":"json"}"#;
        assert_eq!(line, format!("{expected}\n"));
        assert!(json(&record(None, Some(b"plain"))).contains(r#""key":null,"#));
        assert!(json(&record(None, Some(b"plain"))).contains(r#""value":"plain","encoding":"text""#));
        assert!(json(&record(Some(b"\xff"), Some(b"\xff"))).contains(r#""key":"/w==","key_encoding":"base64""#));
        assert!(json(&record(None, Some(b"\xff"))).contains(r#""value":"/w==","encoding":"base64""#));
        assert!(json(&record(None, None)).contains(r#""value":null,"encoding":null"#));
    }
}
