//! Clients' regular expressions: decides what one matches. It matches names as a whole, in linear time, and its own size has a limit.

use regex::{Regex, RegexBuilder};

/// The expression, for whole names; `most_bytes` is the memory that it may take once compiled.
pub fn whole(expression: &str, most_bytes: usize) -> Result<Regex, regex::Error> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(most_bytes).build();
    // First by itself: `a)(b` is no expression, and would be one inside of parentheses.
    build(expression)?;
    build(&format!(r"\A(?:{expression})\z"))
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
    fn what_is_one_only_in_parentheses_is_none() {
        for wrong in ["a)(b", "(", "x{1000}{1000}"] {
            assert!(whole(wrong, 64 * 1024).is_err(), "{wrong}");
        }
    }
}
