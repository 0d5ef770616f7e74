//! Which topics a statement names, and what to tell about a name that is none. Pure.

use datafusion::sql::TableReference;
use tidelog_model::TopicName;

use crate::QueryError;
use crate::limits::NAMES_IN_HINT;

/// The topic that a table reference means. Identifiers keep their case; a reference of several parts is an unquoted name with dots.
pub(crate) fn topic_name(reference: &TableReference, topics: &[TopicName]) -> Result<String, QueryError> {
    match reference {
        TableReference::Bare { table } => Ok(table.to_string()),
        parts => {
            let name = parts.to_vec().join(".");
            let hint = format!("; a name with '.' or '-' needs double quotes: FROM \"{name}\"");
            let known = topics.iter().any(|topic| topic.as_str() == name);
            let hint = if known { hint } else { format!("{hint}{}", alike(&name, topics).unwrap_or_default()) };
            Err(QueryError::UnknownTopic { name, hint })
        }
    }
}

/// A name that no topic has. Whatever is meant, only a table helps whoever asks.
pub(crate) fn unknown(name: &str, topics: &[TopicName], tables: &[TopicName]) -> QueryError {
    let hint = alike(name, topics).unwrap_or_else(|| listed(tables));
    QueryError::UnknownTopic { name: name.to_owned(), hint }
}

/// A hint for a statement that cannot be parsed, if it names a topic that needs quotes without them.
pub(crate) fn quote_hint(sql: &str, topics: &[TopicName]) -> Option<String> {
    let special = topics.iter().map(TopicName::as_str).filter(|name| name.contains(['.', '-']));
    let mut unquoted = special.filter(|name| sql.contains(*name) && !sql.contains(&format!("\"{name}\"")));
    unquoted.next().map(|name| format!("; a name with '.' or '-' needs double quotes: \"{name}\""))
}

/// A topic whose name may be meant.
fn alike(name: &str, topics: &[TopicName]) -> Option<String> {
    let folded = name.to_lowercase();
    if let Some(other) = topics.iter().find(|topic| topic.as_str().to_lowercase() == folded && topic.as_str() != name) {
        return Some(format!("; did you mean \"{other}\"? Names keep their case"));
    }
    // `FROM my-topic` is read as `my` minus `topic`.
    let cut =
        topics.iter().find(|topic| topic.as_str().strip_prefix(name).is_some_and(|rest| rest.starts_with(['-', '.'])));
    cut.map(|other| format!("; a name with '.' or '-' needs double quotes: FROM \"{other}\""))
}

fn listed(tables: &[TopicName]) -> String {
    let mut names: Vec<_> = tables.iter().map(TopicName::as_str).collect();
    names.sort_unstable();
    let more = if names.len() > NAMES_IN_HINT { ", …" } else { "" };
    names.truncate(NAMES_IN_HINT);
    match names.is_empty() {
        true => "; no topic is a table yet".into(),
        false => format!("; tables are {}{more}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(names: &[&str]) -> Vec<TopicName> {
        names.iter().map(|name| TopicName::new(name).unwrap()).collect()
    }

    #[test]
    fn names_that_need_quotes_are_explained() {
        let known = topics(&["earth-quakes", "a.b", "Orders", "__consumer_offsets"]);
        let text = |error: QueryError| error.to_string();
        let dotted = topic_name(&TableReference::partial("a", "b"), &known).unwrap_err();
        assert_eq!(text(dotted), r#"there is no topic "a.b"; a name with '.' or '-' needs double quotes: FROM "a.b""#);
        assert_eq!(
            text(unknown("earth", &known, &known)),
            r#"there is no topic "earth"; a name with '.' or '-' needs double quotes: FROM "earth-quakes""#
        );
        assert_eq!(
            text(unknown("orders", &known, &known)),
            r#"there is no topic "orders"; did you mean "Orders"? Names keep their case"#
        );
        let tables = topics(&["earth-quakes", "Orders"]);
        assert_eq!(text(unknown("x", &known, &tables)), r#"there is no topic "x"; tables are Orders, earth-quakes"#);
        assert_eq!(text(unknown("x", &known, &[])), r#"there is no topic "x"; no topic is a table yet"#);
        assert_eq!(
            quote_hint("SELECT 1 FROM earth-quakes", &known).unwrap(),
            r#"; a name with '.' or '-' needs double quotes: "earth-quakes""#
        );
        assert_eq!(quote_hint("SELECT x y FROM \"earth-quakes\"", &known), None);
    }
}
