//! The configuration file: TOML, every key known, Kafka's broker settings under Kafka's names in `[broker]`. Decides which keys a file
//! may have and of which shape their values are; never what a value means.

use tidelog_metadata::broker_config::broker_config;
use tidelog_metadata::config::nearest;
use toml::de::{DeTable, DeValue};

use super::kafkas;
use super::settings::{ALL, Kind, Setting, find};

/// The table of Kafka's settings.
const BROKER: &str = "broker";

/// What a file says, with the line of each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FileContents {
    /// Settings of our own, by key.
    pub(super) values: Vec<(&'static Setting, Vec<String>, usize)>,
    /// Kafka's settings.
    pub(super) broker: Vec<(String, String, usize)>,
    /// What cannot be used.
    pub(super) problems: Vec<(usize, String)>,
}

/// Reads a file's text. What is wrong with it is told without its values, which may be secrets in the wrong place.
pub(super) fn parse(text: &str) -> FileContents {
    let mut walk = Walk { text, contents: FileContents::default() };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        walk.table(table.get_ref(), "");
    }
    let kafkas = if errors.is_empty() { None } else { kafkas::properties(text, |name| broker_config(name).is_some()) };
    if let Some(lines) = kafkas {
        let message = "this is a properties file of Kafka's, and ours are TOML: its settings of the broker go under [broker], texts in \
                       quotes (num.partitions = 3, log.cleanup.policy = \"delete\"); `tidelog config reference` lists all keys";
        walk.contents.problems.push((1, message.into()));
        walk.contents.problems.extend(lines);
        return walk.contents;
    }
    for error in errors {
        let line = walk.line(error.span().map_or(0, |span| span.start));
        walk.contents.problems.push((line, error.message().to_owned()));
    }
    // The walk goes by the names of keys, a reader by lines.
    walk.contents.problems.sort();
    walk.contents
}

struct Walk<'a> {
    text: &'a str,
    contents: FileContents,
}

impl Walk<'_> {
    /// The number of the line in which this byte stands.
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    fn table(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (key, value) in table {
            let line = self.line(key.span().start);
            let name = joined(prefix, key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if name == BROKER => self.broker(inner, ""),
                DeValue::Table(inner) => {
                    if inner.is_empty() && !ALL.iter().any(|setting| is_below(setting.key, &name)) {
                        self.unknown(&name, line);
                    }
                    self.table(inner, &name);
                }
                value => self.value(&name, value, line),
            }
        }
    }

    fn value(&mut self, name: &str, value: &DeValue<'_>, line: usize) {
        if name == BROKER {
            self.contents.problems.push((line, "broker must be a table of Kafka's settings".into()));
            return;
        }
        let Some(setting) = find(name) else { return self.unknown(name, line) };
        let texts = match (setting.kind, value) {
            (Kind::Text | Kind::List(_), DeValue::String(text)) => Some(vec![text.clone().into_owned()]),
            (Kind::Integer, DeValue::Integer(_)) | (Kind::Boolean, DeValue::Boolean(_)) => {
                scalar(value).map(|text| vec![text])
            }
            (Kind::List(_), DeValue::Array(items)) => {
                let text = |item: &DeValue<'_>| item.as_str().map(str::to_owned);
                items.iter().map(|item| text(item.get_ref())).collect()
            }
            _ => None,
        };
        match texts {
            Some(texts) => self.contents.values.push((setting, texts, line)),
            None => {
                let expected = match setting.kind {
                    Kind::Text => "a text in quotes",
                    Kind::Integer => "a whole number",
                    Kind::Boolean => "true or false",
                    Kind::List(_) => "an array of texts",
                };
                self.contents.problems.push((line, format!("{name} must be {expected}")));
            }
        }
    }

    fn unknown(&mut self, name: &str, line: usize) {
        let mut shown = name.to_owned();
        shown.truncate(shown.floor_char_boundary(100));
        let keys = || ALL.iter().map(|setting| setting.key);
        let message = match (kafkas::advice(name), nearest(&shown, keys())) {
            _ if broker_config(name).is_some() => format!("{shown} is a setting of Kafka's: put it under [{BROKER}]"),
            (Some(advice), _) => advice,
            (None, Some(known)) => format!("unknown key {shown}; did you mean {known}?"),
            (None, None) => {
                let known: Vec<&str> = keys().collect();
                format!("unknown key {shown}; known are {} and Kafka's settings in [{BROKER}]", known.join(", "))
            }
        };
        self.contents.problems.push((line, message));
    }

    /// `[broker]` with names in quotes or as nested tables: `"num.partitions" = 3` and `num.partitions = 3` are the same.
    fn broker(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (key, value) in table {
            let line = self.line(key.span().start);
            let name = joined(prefix, key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => self.broker(inner, &name),
                value => match scalar(value) {
                    Some(text) => self.contents.broker.push((name, text, line)),
                    None => {
                        let message = format!("broker.{name} must be a text, a number, true or false");
                        self.contents.problems.push((line, message));
                    }
                },
            }
        }
    }
}

fn joined(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn is_below(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

/// A text, number or boolean as text; numbers in decimal.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(|number| number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_understood() {
        let contents = parse(
            "data_dir = '/data'\nnode_id = 0x10\n[kafka]\nlisten = '127.0.0.1:1'\n\n[auth.jwt]\naudience = ['a', 'b']\n\
             [broker]\n'num.partitions' = 3\nauto.create.topics.enable = false\nlog.cleaner.min.cleanable.ratio = 0.5\n",
        );
        let mut values: Vec<_> =
            contents.values.iter().map(|(s, texts, line)| (s.key, texts.join(" "), *line)).collect();
        values.sort_by_key(|(_, _, line)| *line);
        let expected = [
            ("data_dir", "/data", 1),
            ("node_id", "16", 2),
            ("kafka.listen", "127.0.0.1:1", 4),
            ("auth.jwt.audience", "a b", 7),
        ];
        assert_eq!(values, expected.map(|(key, text, line)| (key, text.to_owned(), line)));
        let mut broker = contents.broker;
        broker.sort_by_key(|(_, _, line)| *line);
        let expected = [
            ("num.partitions", "3", 9),
            ("auto.create.topics.enable", "false", 10),
            ("log.cleaner.min.cleanable.ratio", "0.5", 11),
        ];
        assert_eq!(broker, expected.map(|(name, value, line)| (name.to_owned(), value.to_owned(), line)));
        assert_eq!(contents.problems, []);
    }

    #[test]
    fn every_unknown_key_is_told_with_its_line_and_the_nearest() {
        let contents = parse("[kafka]\nlisen = '127.0.0.1:1'\n[htpp]\n[store]\nurl = 3\nx.y = 1\n[broker]\na = []\n");
        let told: Vec<_> = contents.problems.iter().map(|(line, text)| format!("{line}: {text}")).collect();
        for part in [
            "2: unknown key kafka.lisen; did you mean kafka.listen?",
            "3: unknown key htpp; known are data_dir, ",
            "5: store.url must be a text in quotes",
            "6: unknown key store.x.y",
            "8: broker.a must be",
        ] {
            assert!(told.iter().any(|text| text.starts_with(part)), "{part} is not in {told:?}");
        }
        assert_eq!(told.len(), 5, "{told:?}");
        assert_eq!(parse("broker = 1").problems.len(), 1);
    }

    #[test]
    fn what_is_kafkas_is_sent_where_it_belongs() {
        let told = |text: &str| {
            parse(text).problems.into_iter().map(|(line, text)| format!("{line}: {text}\n")).collect::<String>()
        };
        assert!(
            told("log.retention.hours = 5\n")
                .starts_with("1: log.retention.hours is a setting of Kafka's: put it under [broker]")
        );
        assert!(told("node.id = 1\n").contains("--node-id"));
        let properties = told("broker.id=0\nlisteners=PLAINTEXT://:9092\nlog.retention.hours=168\n");
        assert!(properties.contains("ours are TOML") && properties.contains("2: listeners is"), "{properties}");
    }

    #[test]
    fn a_text_that_is_no_toml_is_told_with_its_line_and_without_its_words() {
        let contents = parse("node_id = 1\n[store]\nendpoint = hunter2'\n");
        let (line, text) = &contents.problems[0];
        assert_eq!(*line, 3, "{contents:?}");
        assert!(!text.contains("hunter2") && contents.values.is_empty(), "{contents:?}");
    }
}
