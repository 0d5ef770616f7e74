//! Finds a record's key by a JSON pointer (RFC 6901) in its text. Decides the key's bytes; never builds the value's tree.

use std::fmt;

use bytes::Bytes;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::MAX_POINTER_DEPTH;

/// A parsed JSON pointer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pointer(Vec<String>);

impl Pointer {
    /// Parses `/a/b~1c`; the empty pointer is the whole value. `None` if it does not begin with `/`, an escape is wrong, or it
    /// is too deep.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Pointer(Vec::new()));
        }
        if text.split('/').skip(1).count() > MAX_POINTER_DEPTH {
            return None;
        }
        text.strip_prefix('/')?.split('/').map(unescape).collect::<Option<Vec<_>>>().map(Pointer)
    }

    /// The key: a string's characters, otherwise the value's JSON text. `None` if nothing is there, or null.
    pub(crate) fn key_of(&self, value: &Bytes) -> Option<Bytes> {
        let text = std::str::from_utf8(value).ok()?;
        let mut found: &RawValue = serde_json::from_str(text).ok()?;
        for token in &self.0 {
            let mut deserializer = serde_json::Deserializer::from_str(found.get());
            found = deserializer.deserialize_any(Step(token)).ok()??;
        }
        match found.get() {
            "null" => None,
            text if text.starts_with('"') => serde_json::from_str::<String>(text).ok().map(Bytes::from),
            text => Some(value.slice_ref(text.as_bytes())),
        }
    }
}

/// `~1` is `/`, `~0` is `~`.
fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut letters = token.chars();
    while let Some(letter) = letters.next() {
        out.push(match letter {
            '~' => match letters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

/// One step down: a member by name or an element by index.
struct Step<'t>(&'t str);

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(same) = members.next_key_seed(SameName(self.0))? {
            if same {
                // Of members with the same name the last counts, as in most parsers.
                found = Some(members.next_value::<&'de RawValue>()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        // RFC 6901 §4: no leading zeros, no sign.
        let index = self.0.parse::<usize>().ok().filter(|index| index.to_string() == self.0);
        let mut found = None;
        let mut at = 0;
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            if Some(at) == index {
                found = Some(element);
            }
            at += 1;
        }
        Ok(found)
    }
}

/// Compares a member's name without allocating.
struct SameName<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for SameName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for SameName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pointer: &str, value: &'static str) -> Option<String> {
        let key = Pointer::parse(pointer).unwrap().key_of(&Bytes::from_static(value.as_bytes()));
        key.map(|key| String::from_utf8(key.to_vec()).unwrap())
    }

    #[test]
    fn keys_are_found_where_the_pointer_says() {
        let value = r#"{"id":"us7000","n":1.00,"a/b":{"~x":["p",{"q":true}]},"id2":null,"\u0069d3":"esc\u00e9"}"#;
        assert_eq!(key("/id", value).as_deref(), Some("us7000"));
        assert_eq!(key("/n", value).as_deref(), Some("1.00"));
        assert_eq!(key("/a~1b/~0x/1/q", value).as_deref(), Some("true"));
        assert_eq!(key("/a~1b/~0x/1", value).as_deref(), Some(r#"{"q":true}"#));
        assert_eq!(key("/id3", value).as_deref(), Some("escé"));
        assert_eq!(key("", "\"x\"").as_deref(), Some("x"));
        assert_eq!(key("/a", r#"{"a":1,"a":2}"#).as_deref(), Some("2"));
    }

    #[test]
    fn what_is_not_there_is_no_key() {
        for (pointer, value) in [
            ("/id2", r#"{"id2":null}"#),
            ("/x", "{}"),
            ("/x/y", r#"{"x":1}"#),
            ("/01", "[1,2]"),
            ("/-", "[1]"),
            ("/2", "[1,2]"),
            ("/x", "7"),
            ("/x", "not json"),
        ] {
            assert_eq!(key(pointer, value), None, "{pointer} in {value}");
        }
        assert_eq!(Pointer::parse("id"), None);
        assert_eq!(Pointer::parse("/~2"), None);
        assert_eq!(Pointer::parse("/~"), None);
        assert!(Pointer::parse(&"/a".repeat(MAX_POINTER_DEPTH)).is_some());
        assert_eq!(Pointer::parse(&"/a".repeat(MAX_POINTER_DEPTH + 1)), None);
    }

    #[test]
    fn the_key_agrees_with_serde_json() {
        let value = r#"{"a":{"b":[10,{"c":"d"}]},"":{"":5}}"#;
        let tree: serde_json::Value = serde_json::from_str(value).unwrap();
        for pointer in ["/a/b/0", "/a/b/1/c", "//", "/a/b/2"] {
            let expected = tree.pointer(pointer).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
            assert_eq!(key(pointer, value), expected, "{pointer}");
        }
    }
}
