//! RE2's dialect as Kafka's brokers speak it (RE2/J, KIP-848), in the words of the crate `regex`: decides what is an expression and what it
//! means; never matches. What both write alike goes through; what only one of them knows, or reads otherwise, is translated or refused.

use std::iter::Peekable;
use std::str::Chars;

use crate::limits::MAX_EXPRESSION_CLASSES;

/// Most repetitions that one operator may ask for, as RE2.
const MAX_REPEAT: u32 = 1000;

/// Characters that all classes together may have where case is disregarded, which is worked out character by character (20 ms for all of
/// them): nobody needs as many, and a few thousand such classes would hold up a thread for a minute.
const MAX_FOLDED: u32 = 8 * ALL;

/// Characters that there are.
const ALL: u32 = 0x11_0000;

/// As how many classes one of Unicode's counts: it has hundreds of ranges.
const UNICODE_CLASS: usize = 16;

/// What ends the name of one of POSIX's classes.
const POSIX_END: &str = ":]";

/// Why a text is no expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SyntaxError {
    /// An escape that RE2 does not know.
    #[error("there is no such escape sequence")]
    Escape,
    /// `*`, `+`, `?` or `{}` with nothing before it that could be repeated, or on top of another.
    #[error("a repetition has nothing to repeat")]
    Repeat,
    /// A repetition out of range.
    #[error("a repetition is out of range")]
    RepeatSize,
    /// Parentheses that do not fit together, or a group of a kind that there is not.
    #[error("a group is not well-formed")]
    Group,
    /// A class of characters that is not one.
    #[error("a class of characters is not well-formed")]
    Class,
    /// More classes than anybody needs.
    #[error("it has too many classes of characters")]
    Classes,
    /// More characters in classes, while case is disregarded, than anybody means.
    #[error("its classes have too many characters to disregard their case")]
    Wide,
}

/// What a repetition operator would find before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Atom,
    Repeat,
}

/// The expression in the syntax of the crate `regex`.
pub(super) fn translate(expression: &str) -> Result<String, SyntaxError> {
    let mut translation = Translation {
        out: String::with_capacity(expression.len() * 2),
        open: 0,
        before: Before::Nothing,
        posix: true,
        folds: false,
        folded: 0,
        classes: 0,
    };
    let mut rest = expression;
    while !rest.is_empty() {
        rest = translation.step(rest)?;
    }
    if translation.open > 0 { Err(SyntaxError::Group) } else { Ok(translation.out) }
}

struct Translation {
    out: String,
    /// Groups that are open.
    open: usize,
    before: Before,
    /// The end of a POSIX name may still come: where it was missed once it is not looked for again.
    posix: bool,
    /// Case may be disregarded from here on.
    folds: bool,
    /// Characters of classes whose case is, so far.
    folded: u32,
    /// Classes so far, one of Unicode's being several.
    classes: usize,
}

impl Translation {
    /// Takes one element; returns what follows it.
    fn step<'a>(&mut self, text: &'a str) -> Result<&'a str, SyntaxError> {
        let mut chars = text.chars();
        let Some(first) = chars.next() else { return Ok(text) };
        let rest = chars.as_str();
        match first {
            '\\' => self.escape(rest),
            '[' => {
                let rest = self.class(rest)?;
                self.before = Before::Atom;
                Ok(rest)
            }
            '(' => self.group(rest),
            ')' => {
                self.open = self.open.checked_sub(1).ok_or(SyntaxError::Group)?;
                self.out.push(')');
                self.before = Before::Atom;
                Ok(rest)
            }
            '|' => {
                self.out.push('|');
                self.before = Before::Nothing;
                Ok(rest)
            }
            '*' | '+' | '?' => self.repeat(&text[..1], rest),
            '{' => match bounds(rest)? {
                Some(length) => {
                    let (operator, rest) = text.split_at(1 + length);
                    self.repeat(operator, rest)
                }
                None => self.literal(first, rest),
            },
            '.' | '^' | '$' => {
                self.out.push(first);
                self.before = Before::Atom;
                Ok(rest)
            }
            other => self.literal(other, rest),
        }
    }

    fn literal<'a>(&mut self, literal: char, rest: &'a str) -> Result<&'a str, SyntaxError> {
        push_literal(literal, &mut self.out);
        self.before = Before::Atom;
        Ok(rest)
    }

    fn repeat<'a>(&mut self, operator: &str, rest: &'a str) -> Result<&'a str, SyntaxError> {
        if self.before != Before::Atom {
            return Err(SyntaxError::Repeat);
        }
        self.out.push_str(operator);
        self.before = Before::Repeat;
        Ok(match rest.strip_prefix('?') {
            Some(rest) => {
                self.out.push('?');
                rest
            }
            None => rest,
        })
    }

    fn escape<'a>(&mut self, text: &'a str) -> Result<&'a str, SyntaxError> {
        let mut chars = text.chars();
        match chars.next() {
            Some('Q') => {
                let (quoted, rest) = until(chars.as_str(), r"\E").unwrap_or((chars.as_str(), ""));
                for literal in quoted.chars() {
                    self.literal(literal, "")?;
                }
                return Ok(rest);
            }
            Some(position @ ('A' | 'b' | 'B' | 'z')) => {
                self.out.push('\\');
                self.out.push(position);
                self.before = Before::Atom;
                return Ok(chars.as_str());
            }
            _ => {}
        }
        let rest = match self.named_class(text)? {
            Some((class, rest)) => {
                self.out.push_str(&class);
                rest
            }
            None => {
                let (literal, rest) = escaped_char(text)?;
                push_literal(literal, &mut self.out);
                rest
            }
        };
        self.before = Before::Atom;
        Ok(rest)
    }

    fn group<'a>(&mut self, text: &'a str) -> Result<&'a str, SyntaxError> {
        let opened = |this: &mut Self| {
            this.open += 1;
            this.before = Before::Nothing;
        };
        let Some(text) = text.strip_prefix('?') else {
            self.out.push('(');
            opened(self);
            return Ok(text);
        };
        if let Some(named) = text.strip_prefix("P<").or_else(|| text.strip_prefix('<')) {
            let (name, rest) = until(named, ">").ok_or(SyntaxError::Group)?;
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(SyntaxError::Group);
            }
            // Names may begin with a digit here and not there; that a name is taken twice is found there.
            self.out.push_str("(?P<_");
            self.out.push_str(name);
            self.out.push('>');
            opened(self);
            return Ok(rest);
        }
        let end = text.find([':', ')']).ok_or(SyntaxError::Group)?;
        let (flags, rest) = text.split_at(end);
        let (on, off) = flags.split_once('-').map_or((flags, None), |(on, off)| (on, Some(off)));
        let known = |flags: &str| flags.chars().all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U'));
        if !known(on) || off.is_some_and(|off| off.is_empty() || !known(off)) {
            return Err(SyntaxError::Group);
        }
        self.folds |= on.contains('i');
        let is_group = rest.starts_with(':');
        if is_group || !flags.is_empty() {
            self.out.push_str("(?");
            push_once(on, &mut self.out);
            if let Some(off) = off {
                self.out.push('-');
                push_once(off, &mut self.out);
            }
            self.out.push(if is_group { ':' } else { ')' });
        }
        if is_group {
            opened(self);
        } else {
            self.before = Before::Nothing;
        }
        Ok(rest.get(1..).unwrap_or_default())
    }

    /// A class, behind its bracket: what is inside of it stands for itself but for escapes, ranges and POSIX's names.
    fn class<'a>(&mut self, text: &'a str) -> Result<&'a str, SyntaxError> {
        self.count_class(1)?;
        let mut rest = text.strip_prefix('^').unwrap_or(text);
        self.out.push('[');
        if rest.len() < text.len() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if rest.is_empty() {
                return Err(SyntaxError::Class);
            }
            if let Some(end) = rest.strip_prefix(']').filter(|_| !first) {
                self.out.push(']');
                return Ok(end);
            }
            first = false;
            if let Some(text) = rest.strip_prefix("[:").filter(|_| self.posix) {
                if let Some((name, behind)) = until(text, POSIX_END) {
                    if !is_posix(name.strip_prefix('^').unwrap_or(name)) {
                        return Err(SyntaxError::Class);
                    }
                    if name.starts_with('^') {
                        self.fold(ALL)?;
                    }
                    self.out.push_str(&format!("[:{name}:]"));
                    rest = behind;
                    continue;
                }
                self.posix = false;
            }
            if let Some(text) = rest.strip_prefix('\\')
                && let Some((class, behind)) = self.named_class(text)?
            {
                if text.starts_with(['D', 'S', 'W']) {
                    self.fold(ALL)?;
                }
                self.out.push_str(&class);
                rest = behind;
                continue;
            }
            let (low, behind) = class_char(rest)?;
            rest = behind;
            push_literal(low, &mut self.out);
            if let Some(text) = rest.strip_prefix('-').filter(|text| !text.starts_with(']')) {
                let (high, behind) = class_char(text)?;
                if high < low {
                    return Err(SyntaxError::Class);
                }
                self.fold(u32::from(high) - u32::from(low))?;
                self.out.push('-');
                push_literal(high, &mut self.out);
                rest = behind;
            }
        }
    }

    /// `\d`, `\pL` and the like, behind the backslash: ASCII only but for Unicode's own classes. `None` if it is no class.
    fn named_class<'a>(&mut self, text: &'a str) -> Result<Option<(String, &'a str)>, SyntaxError> {
        let mut chars = text.chars();
        let Some(kind) = chars.next() else { return Err(SyntaxError::Escape) };
        let plain = match kind {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            's' => r"[\t\n\f\r ]",
            'S' => r"[^\t\n\f\r ]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            'p' | 'P' => {
                let (name, rest) = match chars.as_str().strip_prefix('{') {
                    Some(text) => until(text, "}").ok_or(SyntaxError::Class)?,
                    None => {
                        let letter = chars.next().ok_or(SyntaxError::Class)?;
                        let text = text.get(kind.len_utf8()..).unwrap_or_default();
                        text.split_at(letter.len_utf8())
                    }
                };
                let (name, inverted) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
                // Names as Unicode writes them; the other side takes them in many ways.
                let known = name.starts_with(|c: char| c.is_ascii_uppercase())
                    && name.bytes().all(|c| c.is_ascii_alphabetic() || c == b'_');
                if !known {
                    return Err(SyntaxError::Class);
                }
                self.fold(ALL)?;
                self.count_class(UNICODE_CLASS)?;
                let kind = if inverted == (kind == 'p') { 'P' } else { 'p' };
                return Ok(Some((format!(r"\{kind}{{{name}}}"), rest)));
            }
            _ => return Ok(None),
        };
        self.count_class(1)?;
        Ok(Some((plain.to_owned(), chars.as_str())))
    }

    fn count_class(&mut self, weight: usize) -> Result<(), SyntaxError> {
        self.classes += weight;
        if self.classes > MAX_EXPRESSION_CLASSES { Err(SyntaxError::Classes) } else { Ok(()) }
    }

    /// So many characters more whose case may be disregarded.
    fn fold(&mut self, characters: u32) -> Result<(), SyntaxError> {
        if self.folds {
            self.folded = self.folded.saturating_add(characters);
        }
        if self.folded > MAX_FOLDED { Err(SyntaxError::Wide) } else { Ok(()) }
    }
}

/// Flags may be repeated here and not there.
fn push_once(flags: &str, out: &mut String) {
    ['i', 'm', 's', 'U'].into_iter().filter(|flag| flags.contains(*flag)).for_each(|flag| out.push(flag));
}

fn push_literal(literal: char, out: &mut String) {
    if literal.is_ascii_alphanumeric() || !literal.is_ascii() {
        out.push(literal);
    } else {
        out.push_str(&format!(r"\x{:02X}", u32::from(literal)));
    }
}

/// What is before `end` and behind it. Each byte of an expression is looked at a few times only: either there is an end, or the caller
/// does not look again.
fn until<'a>(text: &'a str, end: &str) -> Option<(&'a str, &'a str)> {
    let found = text.split_once(end);
    #[cfg(test)]
    looked(found.map_or(text.len(), |(before, _)| before.len() + end.len()));
    found
}

/// Bytes of `n}`, `n,}` or `n,m}`; `None` if it is none of these, and the brace before it is itself. Looks no further than they go.
fn bounds(text: &str) -> Result<Option<usize>, SyntaxError> {
    let Some((least, rest)) = number(text) else { return Ok(None) };
    let (most, rest) = match rest.strip_prefix(',') {
        None => (least, rest),
        Some(rest) if rest.starts_with('}') => (least, rest),
        Some(rest) => match number(rest) {
            None => return Ok(None),
            Some(found) => found,
        },
    };
    let Some(rest) = rest.strip_prefix('}') else { return Ok(None) };
    if least > most || most > MAX_REPEAT {
        return Err(SyntaxError::RepeatSize);
    }
    Ok(Some(text.len() - rest.len()))
}

/// The number at the front, and what follows it. One with a leading zero is none; one that is too large for anything is out of range.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    #[cfg(test)]
    looked(end + 1);
    let (digits, rest) = text.split_at_checked(end)?;
    let plain = !digits.is_empty() && (digits.len() == 1 || !digits.starts_with('0'));
    plain.then(|| (digits.parse().unwrap_or(u32::MAX), rest))
}

/// The character that an escape stands for, behind the backslash.
fn escaped_char(text: &str) -> Result<(char, &str), SyntaxError> {
    let mut chars = text.chars();
    let first = chars.next().ok_or(SyntaxError::Escape)?;
    let literal = match first {
        // One digit that is not 0 would be a reference to a group, which there is not.
        '1'..='7' if !chars.as_str().starts_with(|c: char| c.is_digit(8)) => return Err(SyntaxError::Escape),
        '0'..='7' => {
            let mut digits = chars.clone().peekable();
            let code = [(); 2].iter().fold(first.to_digit(8).unwrap_or(0), |code, ()| match octal(&mut digits) {
                Some(digit) => {
                    chars.next();
                    code * 8 + digit
                }
                None => code,
            });
            char::from_u32(code).ok_or(SyntaxError::Escape)?
        }
        'x' => {
            let (digits, rest) = match chars.as_str().strip_prefix('{') {
                Some(text) => until(text, "}").ok_or(SyntaxError::Escape)?,
                None => chars.as_str().split_at_checked(2).ok_or(SyntaxError::Escape)?,
            };
            if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(SyntaxError::Escape);
            }
            let code = u32::from_str_radix(digits, 16).map_err(|_| SyntaxError::Escape)?;
            return Ok((char::from_u32(code).ok_or(SyntaxError::Escape)?, rest));
        }
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        other if !other.is_ascii_alphanumeric() => other,
        _ => return Err(SyntaxError::Escape),
    };
    Ok((literal, chars.as_str()))
}

fn octal(digits: &mut Peekable<Chars<'_>>) -> Option<u32> {
    digits.next_if(|digit| digit.is_digit(8))?.to_digit(8)
}

fn class_char(text: &str) -> Result<(char, &str), SyntaxError> {
    let mut chars = text.chars();
    match chars.next().ok_or(SyntaxError::Class)? {
        '\\' => escaped_char(chars.as_str()),
        other => Ok((other, chars.as_str())),
    }
}

fn is_posix(name: &str) -> bool {
    matches!(
        name,
        "alnum"
            | "alpha"
            | "ascii"
            | "blank"
            | "cntrl"
            | "digit"
            | "graph"
            | "lower"
            | "print"
            | "punct"
            | "space"
            | "upper"
            | "word"
            | "xdigit"
    )
}

#[cfg(test)]
thread_local! {
    static LOOKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts the bytes that were looked at ahead of the place where the translation is.
#[cfg(test)]
fn looked(bytes: usize) {
    LOOKED.set(LOOKED.get() + bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What looks ahead, what ends it, and what is between.
    const PIECES: [&str; 26] = [
        "{", "{1", "{1,", "a{1", "{,", "}", "[", "[[:", "[[:a]", "[:", ":]", "]", "(?", "(?P<", "(?P<a>", ")", ">",
        ":", r"\Q", r"\E", r"\p{", r"\x{", r"\", "a", "1", "é",
    ];

    proptest! {
        /// Whoever sends an expression gets time by its length, whatever is in it.
        #[test]
        fn every_byte_is_looked_at_a_few_times_only(
            front in "[a(\\[]{0,2}",
            pieces in proptest::collection::vec(0..PIECES.len(), 1..4),
            times in 1usize..3_000,
            end in 0..PIECES.len(),
        ) {
            let middle: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
            let text = format!("{front}{}{}", middle.repeat(times), PIECES[end]);
            LOOKED.set(0);
            let _ = translate(&text);
            prop_assert!(LOOKED.get() <= 4 * text.len() + 4, "{} of {}", LOOKED.get(), text.len());
        }
    }

    #[test]
    fn what_takes_long_to_disregard_the_case_of_has_a_limit() {
        for piece in [r"\pL", r"\P{Greek}", r"[a\pN]", r"[ -\x{10ffff}]", r"[\Wa]", "[[:^alpha:]a]"] {
            assert!(translate(&piece.repeat(200)).is_ok(), "{piece}");
            assert!(translate(&format!("(?i){}", piece.repeat(8))).is_ok(), "{piece}");
            assert_eq!(translate(&format!("(?i){}", piece.repeat(9))), Err(SyntaxError::Wide), "{piece}");
            assert_eq!(translate(&format!("(?s-i:a(?mi:{}))", piece.repeat(9))), Err(SyntaxError::Wide), "{piece}");
        }
        for piece in ["[a-z]", r"\W", r"[\w.-]", "[^a]", "a", "[[:alpha:]]"] {
            assert!(translate(&format!("(?i){}", piece.repeat(2_000))).is_ok(), "{piece}");
        }
    }

    #[test]
    fn classes_are_counted() {
        for (piece, most) in [("[a]", 4_096), (r"\W", 4_096), (r"[\wb]", 2_048), (r"\pL", 256), (r"[\pL\PN]", 124)] {
            assert!(translate(&piece.repeat(most)).is_ok(), "{piece}");
            assert_eq!(translate(&piece.repeat(most + 1)), Err(SyntaxError::Classes), "{piece}");
        }
        assert!(translate(&"a.(b)[[:alpha:]]?".repeat(1_900)).is_ok());
    }

    #[test]
    fn what_opens_and_never_ends_is_looked_at_once() {
        for piece in ["{", "a{1", "{1,", "[[:a]", r"[\[[:]", "[[:"] {
            let text = piece.repeat(10_000);
            LOOKED.set(0);
            let _ = translate(&text);
            assert!(LOOKED.get() <= 4 * text.len(), "{piece}: {} of {}", LOOKED.get(), text.len());
        }
    }
}
