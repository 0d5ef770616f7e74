//! The subject of a client's certificate as Kafka's principal (KIP-371). Reads a certificate's DER, whose chain somebody else has verified;
//! decides the name, verifies nothing.

use std::fmt::Write;

use regex::Regex;

use crate::der::{Field, element, from_field};
use crate::limits::MAX_SUBJECT_BYTES;

/// The subject in RFC 2253's form, as Java's `X500Principal.getName` writes it: the last part first, `CN=alice,OU=events,O=Example`. Nothing if the certificate
/// makes no sense or has no subject.
pub fn subject(certificate: &[u8]) -> Option<String> {
    let (_, parts, _) = element(from_field(certificate, Field::Subject)?)?;
    let name = name(parts)?;
    (!name.is_empty() && name.len() <= MAX_SUBJECT_BYTES).then_some(name)
}

/// A name's parts, `CN=alice+UID=a` one of several values.
fn name(mut parts: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    while !parts.is_empty() {
        let (_, mut set, after) = element(parts)?;
        let mut both = Vec::new();
        while !set.is_empty() {
            let (_, pair, more) = element(set)?;
            both.push(attribute(pair)?);
            set = more;
        }
        names.push(both.join("+"));
        parts = after;
    }
    names.reverse();
    Some(names.join(","))
}

/// `CN=alice`; a type that RFC 2253 has no word for is dotted, with its value in hexadecimal.
fn attribute(pair: &[u8]) -> Option<String> {
    let (_, kind, value) = element(pair)?;
    let (tag, text, _) = element(value)?;
    let keyword = match kind {
        [0x55, 4, 3] => Some("CN"),
        [0x55, 4, 6] => Some("C"),
        [0x55, 4, 7] => Some("L"),
        [0x55, 4, 8] => Some("ST"),
        [0x55, 4, 9] => Some("STREET"),
        [0x55, 4, 10] => Some("O"),
        [0x55, 4, 11] => Some("OU"),
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => Some("UID"),
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => Some("DC"),
        _ => None,
    };
    // UTF8String, PrintableString, T61String, IA5String, GeneralString, BMPString: Java reads each as UTF-8, even those that are not.
    let text = matches!(tag, 0x0c | 0x13 | 0x14 | 0x16 | 0x1b | 0x1e).then(|| String::from_utf8_lossy(text));
    match (keyword, text) {
        (Some(keyword), Some(text)) => Some(format!("{keyword}={}", escaped(&text))),
        (keyword, _) => {
            let mut shown = keyword.map_or_else(|| dotted(kind), |keyword| Some(keyword.to_owned()))?;
            shown.push_str("=#");
            for byte in value {
                let _ = write!(shown, "{byte:02x}");
            }
            Some(shown)
        }
    }
}

/// RFC 2253 §2.4 as Java applies it: `=` and `#` wherever they are, every space at either end, and NUL in hexadecimal.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (begin, end) = (text.len() - text.trim_start_matches(' ').len(), text.trim_end_matches(' ').len());
    for (at, letter) in text.char_indices() {
        let outside = letter == ' ' && (at < begin || at >= end);
        if outside || matches!(letter, ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\') {
            out.push('\\');
        }
        match letter {
            '\0' => out.push_str("\\00"),
            letter => out.push(letter),
        }
    }
    out
}

/// An object identifier in dots.
fn dotted(bytes: &[u8]) -> Option<String> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0u64;
    for byte in bytes {
        number = number.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    let (first, rest) = numbers.split_first()?;
    let top = (first / 40).min(2);
    let all = [top, first - top * 40].into_iter().chain(rest.iter().copied());
    Some(all.map(|number| number.to_string()).collect::<Vec<_>>().join("."))
}

/// `ssl.principal.mapping.rules`: how a subject becomes a name.
#[derive(Clone, Debug)]
pub struct MappingRules(Vec<Rule>);

#[derive(Clone, Debug)]
enum Rule {
    /// The subject itself.
    Default,
    Replace {
        pattern: Regex,
        replacement: String,
        case: Case,
    },
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Same,
    Lower,
    Upper,
}

/// Why rules cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no rule: expected DEFAULT or RULE:pattern/replacement/ with L or U behind it")]
pub struct RuleError(String);

impl Default for MappingRules {
    fn default() -> Self {
        MappingRules(vec![Rule::Default])
    }
}

impl MappingRules {
    /// Reads rules in Kafka's form, separated by commas: `RULE:^CN=(.*?),.*$/$1/L, DEFAULT`. A `/` in a pattern is written `\/`.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let wrong = || RuleError(rest.chars().take(200).collect());
            let after = if let Some(after) = rest.strip_prefix("DEFAULT") {
                rules.push(Rule::Default);
                after
            } else {
                let body = rest.strip_prefix("RULE:").ok_or_else(wrong)?;
                let (pattern, body) = until_slash(body).ok_or_else(wrong)?;
                let (replacement, body) = until_slash(body).ok_or_else(wrong)?;
                let (case, after) = match body.as_bytes().first() {
                    Some(b'L') => (Case::Lower, body.get(1..).unwrap_or_default()),
                    Some(b'U') => (Case::Upper, body.get(1..).unwrap_or_default()),
                    _ => (Case::Same, body),
                };
                // Kafka's rule must match the whole subject.
                let pattern = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| wrong())?;
                rules.push(Rule::Replace { pattern, replacement: references(&replacement), case });
                after
            };
            rest = after.trim_start();
            match rest.strip_prefix(',') {
                Some(more) => rest = more.trim_start(),
                None if rest.is_empty() => {}
                None => return Err(wrong()),
            }
        }
        if rules.is_empty() { Ok(MappingRules::default()) } else { Ok(MappingRules(rules)) }
    }

    /// The name that the first fitting rule gives; nothing if none fits.
    pub fn name(&self, subject: &str) -> Option<String> {
        self.0.iter().find_map(|rule| match rule {
            Rule::Default => Some(subject.to_owned()),
            Rule::Replace { pattern, replacement, case } => {
                let name = pattern.is_match(subject).then(|| pattern.replace(subject, replacement.as_str()))?;
                Some(match case {
                    Case::Same => name.into_owned(),
                    Case::Lower => name.to_lowercase(),
                    Case::Upper => name.to_uppercase(),
                })
            }
        })
    }
}

/// Up to the next `/` that is not escaped, without the escapes; and what follows it.
fn until_slash(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '/' => return Some((out, text.get(at + 1..)?)),
            '\\' if letters.peek().is_some_and(|(_, next)| *next == '/') => {
                out.push('/');
                letters.next();
            }
            _ => out.push(letter),
        }
    }
    None
}

/// `$1` as our regular expressions spell it: they would read `$1@example` right, but `$1x` as a group called `1x`.
fn references(replacement: &str) -> String {
    let mut out = String::new();
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        out.push(letter);
        if letter == '$' && letters.peek().is_some_and(char::is_ascii_digit) {
            out.push('{');
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                out.push(digit);
            }
            out.push('}');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element of at most 127 bytes, or of at most 65,535.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            short @ 0..=127 => out.push(short as u8),
            long => out.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        out.extend_from_slice(content);
        out
    }

    fn certificate(names: &[(&[u8], u8, &str)]) -> Vec<u8> {
        let part = |(kind, tag, text): &(&[u8], u8, &str)| {
            der(0x31, &der(0x30, &[der(6, kind), der(*tag, text.as_bytes())].concat()))
        };
        let subject = der(0x30, &names.iter().map(part).collect::<Vec<_>>().concat());
        let other = der(0x30, &[]);
        let fields = [der(0xa0, &der(2, &[2])), der(2, &[1]), other.clone(), other.clone(), other, subject].concat();
        der(0x30, &der(0x30, &fields))
    }

    const C: &[u8] = &[0x55, 4, 6];
    const O: &[u8] = &[0x55, 4, 10];
    const CN: &[u8] = &[0x55, 4, 3];

    #[test]
    fn subjects_read_as_java_writes_them() {
        let plain = certificate(&[(C, 0x13, "DE"), (O, 0x0c, "Example, Inc."), (CN, 0x0c, "alice")]);
        assert_eq!(subject(&plain).unwrap(), "CN=alice,O=Example\\, Inc.,C=DE");
        let email: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
        let odd = certificate(&[(email, 0x16, "a@b")]);
        assert_eq!(subject(&odd).unwrap(), "1.2.840.113549.1.9.1=#1603614062");
        assert_eq!(subject(&certificate(&[])), None);
        let long = "x".repeat(300);
        assert_eq!(subject(&certificate(&[(CN, 0x0c, &long)])).unwrap(), format!("CN={long}"));
        assert_eq!(subject(&certificate(&[(CN, 0x0c, &"x".repeat(2000))])), None);
    }

    /// What Java wrote of some hundred names (`testdata/x500-names/Names.java`).
    #[test]
    fn names_are_letter_by_letter_javas() {
        let names = include_str!("../testdata/x500-names/names.txt");
        let lines = names.lines().filter(|line| !line.starts_with('#'));
        let mut compared = 0;
        for (bytes, expected) in lines.filter_map(|line| line.split_once('\t')) {
            let der: Vec<u8> = bytes.as_bytes().chunks(2).map(hexadecimal).collect();
            let (_, parts, _) = element(&der).unwrap();
            let mut shown = String::new();
            for unit in name(parts).unwrap().encode_utf16() {
                match u8::try_from(unit) {
                    Ok(letter @ 32..=126) => shown.push(char::from(letter)),
                    _ => shown.push_str(&format!("\\u{{{unit:x}}}")),
                }
            }
            assert_eq!(shown, expected, "{bytes}");
            compared += 1;
        }
        assert!(compared > 120, "{compared}");
    }

    fn hexadecimal(two: &[u8]) -> u8 {
        u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()
    }

    #[test]
    fn injured_certificates_never_panic() {
        let good = certificate(&[(CN, 0x0c, "alice")]);
        for length in 0..good.len() {
            let _ = subject(&good[..length]);
            for byte in [0x00, 0x80, 0x84, 0xff] {
                let mut bad = good.clone();
                bad[length] = byte;
                let _ = subject(&bad);
            }
        }
    }

    #[test]
    fn rules_are_kafkas() {
        // The examples of Kafka's documentation.
        let text = concat!(
            r"RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,",
            r" RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,",
            r" RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U, DEFAULT"
        );
        let rules = MappingRules::parse(text).unwrap();
        let name = |subject: &str| rules.name(subject).unwrap();
        assert_eq!(name("CN=serviceuser,OU=ServiceUsers,O=U,L=U,ST=U,C=U"), "serviceuser");
        assert_eq!(name("CN=adminUser,OU=Admin,O=U,L=U,ST=U,C=U"), "adminuser@admin");
        assert_eq!(name("OU=x,CN=bob"), "BOB");
        assert_eq!(name("O=nobody"), "O=nobody");
        assert_eq!(MappingRules::parse("RULE:^CN=(.*)$/x$1y\\/z/").unwrap().name("CN=a").unwrap(), "xay/z");
        assert_eq!(MappingRules::parse("RULE:CN=a/b/").unwrap().name("CN=abc"), None, "the whole subject");
        assert_eq!(MappingRules::default().name("CN=a").unwrap(), "CN=a");
        for bad in ["RULE", "RULE:a", "RULE:a/b", "RULE:(/b/", "default", "DEFAULT DEFAULT", "RULE:a/b/X"] {
            assert!(MappingRules::parse(bad).is_err(), "{bad}");
        }
    }
}
