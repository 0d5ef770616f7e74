//! An answer as a table for people. It reads the answer's JSON, so that a client of `POST /v1/query` prints what the server prints.

use serde_json::Value;

use crate::limits::CELL_CHARS;

/// Formats `{"columns":[{"name","type"}],"rows":[{…}]}`: a line of names, a rule, a line per row, and the number of rows. Numbers stand right,
/// null is empty, long cells end with `…`, control characters are shown as spaces.
pub fn format_table(answer: &Value) -> String {
    let none = Vec::new();
    let columns = answer.get("columns").and_then(Value::as_array).unwrap_or(&none);
    let rows = answer.get("rows").and_then(Value::as_array).unwrap_or(&none);
    let names: Vec<&str> = columns.iter().filter_map(|column| column.get("name")?.as_str()).collect();
    let right: Vec<bool> = names
        .iter()
        .map(|name| {
            let mut values = rows.iter().filter_map(|row| row.get(*name)).filter(|value| !value.is_null()).peekable();
            values.peek().is_some() && values.all(Value::is_number)
        })
        .collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| names.iter().map(|name| cell(row.get(*name).unwrap_or(&Value::Null))).collect())
        .collect();
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let longest = cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
            longest.unwrap_or(0).max(name.chars().count())
        })
        .collect();
    let mut text = String::new();
    let header: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    line(&mut text, &header, &widths, &right);
    let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    line(&mut text, &rules, &widths, &right);
    for row in &cells {
        line(&mut text, row, &widths, &right);
    }
    let plural = if cells.len() == 1 { "" } else { "s" };
    text.push_str(&format!("({} row{plural})\n", cells.len()));
    text
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        other => other.to_string(),
    };
    if text.chars().count() <= CELL_CHARS {
        return text;
    }
    text.chars().take(CELL_CHARS.saturating_sub(1)).chain(['…']).collect()
}

fn line(text: &mut String, cells: &[String], widths: &[usize], right: &[bool]) {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths.iter().zip(right))
        .map(|(cell, (width, right))| if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") })
        .collect();
    text.push_str(padded.join("  ").trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned() {
        let answer = json!({
            "columns": [{"name": "net", "type": "VARCHAR"}, {"name": "events", "type": "BIGINT"}, {"name": "note", "type": "VARCHAR"}],
            "rows": [{"net": "us", "events": 12, "note": null}, {"net": "é\n", "events": 3.5, "note": "x".repeat(80)}],
        });
        let expected = format!(
            "net  events  note\n───  ──────  {}\nus       12\né       3.5  {}…\n(2 rows)\n",
            "─".repeat(60),
            "x".repeat(59)
        );
        assert_eq!(format_table(&answer), expected);
        assert_eq!(format_table(&json!({})), "\n\n(0 rows)\n");
    }
}
