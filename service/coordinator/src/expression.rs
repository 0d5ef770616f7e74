//! Clients' regular expressions: decides what one matches. It matches names as a whole, in linear time, and its own size has a limit.

mod re2;

use regex::{Regex, RegexBuilder};

use crate::limits::MAX_EXPRESSION_TEXT_BYTES;

pub use re2::SyntaxError;

/// Why a text is no expression, or none that is taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExpressionError {
    /// Longer than any expression may be; nothing of it was looked at.
    #[error("an expression of {0} bytes is too long, {MAX_EXPRESSION_TEXT_BYTES} are allowed")]
    TooLong(usize),
    /// Not RE2's syntax.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// Too large, or with a name that nobody knows.
    #[error(transparent)]
    Regex(#[from] regex::Error),
}

/// The expression, written in RE2's dialect, for whole names; `most_bytes` is the memory that it may take once compiled.
/// Compiling may take a while: no async worker does it.
pub fn whole(expression: &str, most_bytes: usize) -> Result<Regex, ExpressionError> {
    if expression.len() > MAX_EXPRESSION_TEXT_BYTES {
        return Err(ExpressionError::TooLong(expression.len()));
    }
    // Parentheses fit together once it is translated: `a)(b` is no expression, and would be one inside of others.
    let expression = re2::translate(expression)?;
    Ok(RegexBuilder::new(&format!(r"\A(?:{expression})\z")).size_limit(most_bytes).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_whole_names_only() {
        let found = |name: &str| whole("a|bc", 64 * 1024).unwrap().is_match(name);
        assert!(found("a") && found("bc"));
        assert!(!found("ab") && !found("bcd") && !found("a\n"));
    }

    #[test]
    fn an_expression_has_a_limit() {
        assert!(matches!(whole("(x{1000}){1000}", 64 * 1024), Err(ExpressionError::Regex(_))));
    }

    #[test]
    fn a_longer_text_than_any_expression_is_not_looked_at() {
        let longest = "a".repeat(MAX_EXPRESSION_TEXT_BYTES);
        assert!(whole(&longest, 1 << 22).unwrap().is_match(&longest));
        assert!(matches!(whole(&format!("{longest}("), 1 << 22), Err(ExpressionError::TooLong(32_768))));
    }

    /// What RE2/J 1.8, the library of Kafka 4.3, made of each expression: refused, or the names that it matches by their number.
    #[test]
    fn expressions_mean_what_they_mean_to_kafka() {
        let names = [
            "", "a", "p", "pq", "a-b", "a.b", "p1", "P", "e0", "[p", "p{", "p{,5}", "p]", "&", "p&", "a&", "p-", "x<",
            "Ep", "p\n", "é", "_", "Q", "pp", "ppp", "a{01}", "1", "8", "-", "^", "\u{a0}",
        ];
        let mut wrong = Vec::new();
        let mut count = 0;
        for line in include_str!("expression/re2j.txt").lines() {
            let (expression, expected) = line.rsplit_once('\t').unwrap();
            let found = match whole(expression, 1 << 20) {
                Err(_) => "refused".to_owned(),
                Ok(regex) => {
                    let matched =
                        (0..names.len()).filter(|index| regex.is_match(names[*index])).map(|index| index.to_string());
                    format!("[{}]", matched.collect::<Vec<_>>().join(" "))
                }
            };
            if found != expected {
                wrong.push(format!("{expression:?} is {found}, to Kafka {expected}"));
            }
            count += 1;
        }
        assert!(wrong.is_empty() && count > 180, "{wrong:#?}");
    }

    proptest::proptest! {
        /// Whatever comes, it is an expression or it is refused.
        #[test]
        fn any_text_has_an_answer(text in r#"[\\QEpPdxuz0-9{}\[\]()*+?|^$.:,<>&~\-#a é]{0,24}"#) {
            let _ = whole(&text, 1 << 16);
        }
    }
}
