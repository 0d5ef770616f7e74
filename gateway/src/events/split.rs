//! Decides which records a request's body holds. A record's value is its text byte for byte; nothing is parsed and
//! written again.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidelog_model::KafkaError;

use crate::error::ApiError;
use crate::limits::MAX_RECORDS_PER_REQUEST;
use crate::media::Media;

const HINT: &str = "The body is not JSON. Name its type: -H 'Content-Type: application/json' for one value or an array, \
                    application/x-ndjson for values one after another, application/octet-stream for one record of bytes.";

/// The values of a body, in order, as slices of it; and whether they are JSON.
pub(crate) fn split(media: Media, body: &Bytes) -> Result<(Vec<Bytes>, bool), ApiError> {
    match media {
        Media::Other => Ok((vec![body.clone()], false)),
        Media::Ndjson => Ok((consecutive(body)?, true)),
        Media::Json => Ok((document(body, StatusCode::BAD_REQUEST)?, true)),
        Media::Unsaid => Ok((document(body, StatusCode::UNSUPPORTED_MEDIA_TYPE)?, true)),
    }
}

/// One value is one record, an array one record per element.
fn document(body: &Bytes, malformed: StatusCode) -> Result<Vec<Bytes>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::invalid("The body is empty."));
    }
    let text = std::str::from_utf8(body).map_err(|_| not_json(malformed, None))?;
    let is_array = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('[');
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values = if is_array {
        deserializer.deserialize_seq(Elements)
    } else {
        <&RawValue as serde::Deserialize>::deserialize(&mut deserializer).map(|value| Some(vec![value]))
    };
    let values = values.and_then(|values| deserializer.end().map(|()| values));
    let values = values.map_err(|error| not_json(malformed, Some(&error)))?.ok_or_else(too_many)?;
    Ok(values.into_iter().map(|value| slice_of(body, value.get())).collect())
}

/// Values one after another; white space between them is optional.
fn consecutive(body: &Bytes) -> Result<Vec<Bytes>, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| not_json(StatusCode::BAD_REQUEST, None))?;
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(|error| not_json(StatusCode::BAD_REQUEST, Some(&error)))?;
        if values.len() >= MAX_RECORDS_PER_REQUEST {
            return Err(too_many());
        }
        values.push(slice_of(body, value.get()));
    }
    Ok(values)
}

/// The part of the body that `text` is: it was borrowed from there, so nothing is copied.
fn slice_of(body: &Bytes, text: &str) -> Bytes {
    body.slice_ref(text.as_bytes())
}

fn not_json(status: StatusCode, error: Option<&serde_json::Error>) -> ApiError {
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return ApiError::with_status(status, KafkaError::InvalidRequest, HINT);
    }
    let reason = error.map_or_else(|| "it is not UTF-8".to_owned(), ToString::to_string);
    ApiError::with_status(status, KafkaError::InvalidRequest, format!("The body is not valid JSON: {reason}."))
}

fn too_many() -> ApiError {
    ApiError::with_status(
        StatusCode::PAYLOAD_TOO_LARGE,
        KafkaError::InvalidRequest,
        format!("The body has more than {MAX_RECORDS_PER_REQUEST} records. Send it in several requests."),
    )
}

/// Collects an array's elements; `None` if there are too many.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element::<&'de RawValue>()? {
            if values.len() >= MAX_RECORDS_PER_REQUEST {
                // The rest must still be read, or the deserializer reports it as trailing characters.
                while elements.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            values.push(value);
        }
        Ok(Some(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(media: Media, body: &'static str) -> Vec<String> {
        let (values, _) = split(media, &Bytes::from_static(body.as_bytes())).unwrap();
        values.iter().map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    fn status(media: Media, body: &'static [u8]) -> u16 {
        split(media, &Bytes::from_static(body)).unwrap_err().status().as_u16()
    }

    #[test]
    fn texts_are_kept_byte_for_byte() {
        let odd = r#"{ "b":1.00,  "a" : 1e400, "a":"\u00e9ö", "big":123456789012345678901234567890 }"#;
        assert_eq!(values(Media::Json, " { \"x\": 1 }\n"), ["{ \"x\": 1 }"]);
        assert_eq!(split(Media::Json, &Bytes::from_static(odd.as_bytes())).unwrap().0, [odd.as_bytes()]);
        assert_eq!(
            values(Media::Json, "[ {\"a\" : 1} ,\n2, \"x\",[3] , null]"),
            ["{\"a\" : 1}", "2", "\"x\"", "[3]", "null"]
        );
        assert_eq!(values(Media::Unsaid, "{\"a\":1}"), ["{\"a\":1}"]);
        assert_eq!(values(Media::Json, "[]"), Vec::<String>::new());
        assert_eq!(values(Media::Json, "7"), ["7"]);
        assert_eq!(values(Media::Other, "  not json "), ["  not json "]);
    }

    #[test]
    fn newlines_between_values_are_optional() {
        assert_eq!(values(Media::Ndjson, "{\"a\":1}{\"b\":2}"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(values(Media::Ndjson, "{\"a\":1}\r\n\n {\"b\":\n2}\n"), ["{\"a\":1}", "{\"b\":\n2}"]);
        assert_eq!(values(Media::Ndjson, "1 2\n3"), ["1", "2", "3"]);
        // In a sequence an array is a value like any other.
        assert_eq!(values(Media::Ndjson, "[1,2]\n[3]"), ["[1,2]", "[3]"]);
        assert_eq!(values(Media::Ndjson, ""), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in [
            &b"{"[..],
            b"{\"a\":1}{\"b\":2}",
            b"[1,]",
            b"[1",
            b"{\"a\":1}]",
            b"nul",
            b"\xff",
            b"'x'",
            b"\xef\xbb\xbf{}",
        ] {
            assert_eq!(status(Media::Json, bad), 400, "{bad:?}");
            assert_eq!(status(Media::Unsaid, bad), 415, "{bad:?}");
        }
        for bad in [&b"{\"a\":1}{"[..], b"1,2", b"\xff", b"{} x"] {
            assert_eq!(status(Media::Ndjson, bad), 400, "{bad:?}");
        }
        assert_eq!(status(Media::Json, b" \n"), 400);
        assert_eq!(status(Media::Unsaid, b""), 400);
    }

    #[test]
    fn the_number_of_records_is_limited() {
        let array = format!("[{}1]", "1,".repeat(MAX_RECORDS_PER_REQUEST));
        let error = split(Media::Json, &Bytes::from(array)).unwrap_err();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let lines = "1\n".repeat(MAX_RECORDS_PER_REQUEST + 1);
        assert_eq!(split(Media::Ndjson, &Bytes::from(lines)).unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
        let full = format!("[{}1]", "1,".repeat(MAX_RECORDS_PER_REQUEST - 1));
        assert_eq!(split(Media::Json, &Bytes::from(full)).unwrap().0.len(), MAX_RECORDS_PER_REQUEST);
    }

    #[test]
    fn deep_nesting_overflows_no_stack() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(split(Media::Json, &Bytes::from(deep.clone())).unwrap_err().status(), StatusCode::BAD_REQUEST);
        assert_eq!(split(Media::Ndjson, &Bytes::from(deep)).unwrap_err().status(), StatusCode::BAD_REQUEST);
    }

    proptest::proptest! {
        #[test]
        fn values_written_one_after_another_come_back(numbers in proptest::collection::vec(0u32..1000, 0..20), gap in "[ \n\t]{0,3}") {
            let texts: Vec<String> = numbers.iter().map(|n| format!("{{\"n\":{n}}}")).collect();
            let body = Bytes::from(texts.join(&gap));
            let (values, json) = split(Media::Ndjson, &body).unwrap();
            proptest::prop_assert!(json);
            proptest::prop_assert_eq!(values.iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect::<Vec<_>>(), texts.clone());
            let array = Bytes::from(format!("[{}]", texts.join(&format!("{gap},{gap}"))));
            let (elements, _) = split(Media::Json, &array).unwrap();
            proptest::prop_assert_eq!(elements, values);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(body: Vec<u8>) {
            let body = Bytes::from(body);
            for media in [Media::Json, Media::Ndjson, Media::Unsaid, Media::Other] {
                let _ = split(media, &body);
            }
        }
    }
}
