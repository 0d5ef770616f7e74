//! RE2's dialect as Kafka's brokers speak it (RE2/J, KIP-848), in the words of the crate `regex`: decides what is an expression and what it
//! means; never matches. What both write alike goes through; what only one of them knows, or reads otherwise, is translated or refused.

use std::iter::Peekable;
use std::str::Chars;

/// Most repetitions that one operator may ask for, as RE2.
const MAX_REPEAT: u32 = 1000;

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
    let mut translation =
        Translation { out: String::with_capacity(expression.len() * 2), open: 0, before: Before::Nothing };
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
                let rest = class(rest, &mut self.out)?;
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
                let (quoted, rest) = chars.as_str().split_once(r"\E").unwrap_or((chars.as_str(), ""));
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
        let rest = match named_class(text)? {
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
            let (name, rest) = named.split_once('>').ok_or(SyntaxError::Group)?;
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

/// Bytes of `n}`, `n,}` or `n,m}`; `None` if it is none of these, and the brace before it is itself.
fn bounds(text: &str) -> Result<Option<usize>, SyntaxError> {
    let Some((inside, _)) = text.split_once('}') else { return Ok(None) };
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        // A number with a leading zero is none; one that is too large for anything is out of range.
        let plain = plain && (digits.len() == 1 || !digits.starts_with('0'));
        plain.then(|| digits.parse::<u32>().unwrap_or(u32::MAX))
    };
    let (least, most) = match inside.split_once(',') {
        None => (number(inside), number(inside)),
        Some((least, "")) => (number(least), number(least)),
        Some((least, most)) => (number(least), number(most)),
    };
    let (Some(least), Some(most)) = (least, most) else { return Ok(None) };
    if least > most || most > MAX_REPEAT {
        return Err(SyntaxError::RepeatSize);
    }
    Ok(Some(inside.len() + 1))
}

/// `\d`, `\pL` and the like, behind the backslash: ASCII only but for Unicode's own classes. `None` if it is no class.
fn named_class(text: &str) -> Result<Option<(String, &str)>, SyntaxError> {
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
                Some(text) => text.split_once('}').ok_or(SyntaxError::Class)?,
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
            let kind = if inverted == (kind == 'p') { 'P' } else { 'p' };
            return Ok(Some((format!(r"\{kind}{{{name}}}"), rest)));
        }
        _ => return Ok(None),
    };
    Ok(Some((plain.to_owned(), chars.as_str())))
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
                Some(text) => text.split_once('}').ok_or(SyntaxError::Escape)?,
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

/// A class, behind its bracket: what is inside of it stands for itself but for escapes, ranges and POSIX's names.
fn class<'a>(text: &'a str, out: &mut String) -> Result<&'a str, SyntaxError> {
    let mut rest = text.strip_prefix('^').unwrap_or(text);
    out.push('[');
    if rest.len() < text.len() {
        out.push('^');
    }
    let mut first = true;
    loop {
        if rest.is_empty() {
            return Err(SyntaxError::Class);
        }
        if let Some(end) = rest.strip_prefix(']').filter(|_| !first) {
            out.push(']');
            return Ok(end);
        }
        first = false;
        if let Some(text) = rest.strip_prefix("[:")
            && let Some((name, behind)) = text.split_once(":]")
        {
            if !is_posix(name.strip_prefix('^').unwrap_or(name)) {
                return Err(SyntaxError::Class);
            }
            out.push_str(&format!("[:{name}:]"));
            rest = behind;
            continue;
        }
        if let Some(text) = rest.strip_prefix('\\')
            && let Some((class, behind)) = named_class(text)?
        {
            out.push_str(&class);
            rest = behind;
            continue;
        }
        let (low, behind) = class_char(rest)?;
        rest = behind;
        push_literal(low, out);
        if let Some(text) = rest.strip_prefix('-').filter(|text| !text.starts_with(']')) {
            let (high, behind) = class_char(text)?;
            if high < low {
                return Err(SyntaxError::Class);
            }
            out.push('-');
            push_literal(high, out);
            rest = behind;
        }
    }
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
