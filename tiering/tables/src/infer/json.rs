//! A view of one JSON text that keeps what the text says: number literals, repeated names, nesting of any depth.
//!
//! It decides nothing about columns. A level is parsed when it is entered; parsing is never recursive.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::MAX_SIGNIFICANT_DIGITS;

/// One JSON value; its inside is still text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    /// With its quotes.
    Text(&'a str),
    Array(&'a str),
    Object(&'a str),
}

impl<'a> Json<'a> {
    /// Parses bytes as exactly one JSON value, surrounded by white space at most.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Json<'a>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        Some(Json::of(raw.get()))
    }

    /// Classifies a valid JSON text by its first character.
    fn of(text: &'a str) -> Json<'a> {
        match text.as_bytes().first() {
            Some(b'{') => Json::Object(text),
            Some(b'[') => Json::Array(text),
            Some(b'"') => Json::Text(text),
            Some(b't') => Json::Bool(true),
            Some(b'f') => Json::Bool(false),
            Some(b'n') | None => Json::Null,
            Some(_) => Json::Number(text),
        }
    }
}

/// The fields of an object in the order of its text, repeated names included; `None` if a name is no Unicode text (a lone
/// surrogate).
pub(crate) fn fields(object: &str) -> Option<Vec<(Cow<'_, str>, Json<'_>)>> {
    serde_json::from_str::<Pairs<'_>>(object).ok().map(|pairs| pairs.0)
}

/// The elements of an array.
pub(crate) fn elements(array: &str) -> Option<Vec<Json<'_>>> {
    let raw: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    Some(raw.into_iter().map(|value| Json::of(value.get())).collect())
}

/// A string without its quotes and escapes; `None` if it is no Unicode text (a lone surrogate).
pub(crate) fn text(quoted: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(quoted).ok().map(|name| name.0)
}

/// The double that is this number.
///
/// An integer literal must be held exactly. Any other literal must come back when the double is rounded to as many
/// significant digits as the literal has: so every double that a program printed fits, whatever number of digits it printed.
pub(crate) fn double(literal: &str) -> Option<f64> {
    let value: f64 = literal.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    if is_integer_literal(literal) {
        // Up to 2^53 every integer is a double.
        let exact = value.abs() < 9_007_199_254_740_992.0 || format!("{value:.0}") == literal;
        return exact.then_some(value);
    }
    let digits = significant_digits(literal);
    if digits.is_empty() {
        return Some(value);
    }
    if digits.len() > MAX_SIGNIFICANT_DIGITS {
        return None;
    }
    let back = format!("{:.*e}", digits.len() - 1, value.abs());
    let mantissa = back.split('e').next().unwrap_or_default();
    mantissa.bytes().filter(u8::is_ascii_digit).eq(digits.bytes()).then_some(value)
}

/// The 64-bit integer that this literal is.
pub(crate) fn long(literal: &str) -> Option<i64> {
    if is_integer_literal(literal) { literal.parse().ok() } else { None }
}

fn is_integer_literal(literal: &str) -> bool {
    !literal.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// The mantissa's digits without leading and trailing zeros; empty for zero.
fn significant_digits(literal: &str) -> String {
    let mantissa = literal.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

struct Pairs<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    pairs.push((name.0, Json::of(value.get())));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_fit_a_double_only_exactly() {
        assert_eq!(double("0"), Some(0.0));
        assert_eq!(double("-0"), Some(0.0));
        assert_eq!(double("9007199254740991"), Some(9_007_199_254_740_991.0));
        assert_eq!(double("9007199254740992"), Some(9_007_199_254_740_992.0));
        assert_eq!(double("9007199254740993"), None, "2^53 + 1");
        assert_eq!(double("-9007199254740993"), None);
        assert_eq!(double("18446744073709551616"), Some(18_446_744_073_709_551_616.0), "2^64");
        assert_eq!(double("100000000000000000000000"), None, "10^23 lies between two doubles");
        assert_eq!(double(&"9".repeat(400)), None);
    }

    #[test]
    fn fractions_fit_a_double_if_they_come_back() {
        for literal in [
            "0.31",
            "-122.197",
            "1e23",
            "0.30000000000000004",
            "0.10000000000000001",
            "1.50000000000000000000",
            "0.0",
            "4.9e-324",
        ] {
            assert_eq!(double(literal), literal.parse().ok(), "{literal}");
        }
        for literal in ["9007199254740993.0", "0.123456789012345678", "1e400", "1e-400", "1.0000000000000001"] {
            assert_eq!(double(literal), None, "{literal}");
        }
    }

    #[test]
    fn longs_are_integer_literals() {
        assert_eq!(long("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(long("9223372036854775808"), None);
        assert_eq!(long("1.0"), None);
        assert_eq!(long("1e3"), None);
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(matches!(Json::parse(deep.as_bytes()), Some(Json::Array(_))));
    }

    #[test]
    fn what_is_no_json_is_none() {
        for bad in ["", " ", "{", "{}x", "nul", "\u{feff}{}", "{'a':1}", "01"] {
            assert!(Json::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(Json::parse(b"\xff").is_none());
        assert!(fields(r#"{"\ud800":1}"#).is_none());
        assert!(text(r#""\ud800""#).is_none());
        assert_eq!(fields(r#"{"a":1,"a":2}"#).unwrap().len(), 2);
    }
}
