//! Bounds how deep a statement can nest, before it is parsed: planners walk its tree by recursion and on threads that cannot be
//! interrupted. Pure.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use tidelog_model::limits::MAX_SQL_BYTES;

use crate::QueryError;
use crate::limits::MAX_NESTING_TOKENS;

/// Refuses a statement that is too long, or has too many operators, brackets and keywords. Lists of names and values are free: they
/// do not nest.
pub(crate) fn check(sql: &str) -> Result<(), QueryError> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(QueryError::Sql(format!(
            "the statement has {} bytes, at most {MAX_SQL_BYTES} are read",
            sql.len()
        )));
    }
    // What cannot be taken apart is for the parser to complain about.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let nesting = tokens.iter().filter(|token| nests(token)).count();
    if nesting > MAX_NESTING_TOKENS {
        return Err(QueryError::Sql(format!(
            "the statement has {nesting} operators, brackets and keywords, at most {MAX_NESTING_TOKENS} are read"
        )));
    }
    Ok(())
}

fn nests(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword != Keyword::NoKeyword,
        Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) | Token::EOF => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_free_and_chains_are_not() {
        let list = format!("SELECT a FROM t WHERE a IN ({})", vec!["1, 'x', magType"; 3_000].join(", "));
        assert_eq!(check(&list), Ok(()));
        for link in ["+1", " OR a", ".a", "[1]", "::int", " UNION SELECT 1", "||'a'"] {
            assert_eq!(check(&format!("SELECT 1{}", link.repeat(300))), Ok(()), "{link}");
            let error = check(&format!("SELECT 1{}", link.repeat(1_100))).unwrap_err();
            assert!(error.to_string().contains("at most 1000 are read"), "{link}: {error}");
        }
        assert!(check(&"x".repeat(70_000)).unwrap_err().to_string().contains("at most 65536 are read"));
        assert_eq!(check("SELECT 'open"), Ok(()));
    }
}
