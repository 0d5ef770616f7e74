//! What a setting is: name, type, default, bounds, doc. Decides whether a text is a value of it; knows no setting by name.

use std::collections::BTreeMap;

use crate::broker_config::parse_hosts;
use crate::limits::MAX_CONFIG_VALUE_BYTES;

/// A setting's type; the number is DescribeConfigs' code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// A real number.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
    /// The name of a class in Java.
    Class = 8,
    /// Text that nobody is shown.
    Password = 9,
}

impl ConfigType {
    /// DescribeConfigs' code.
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name, `LONG`.
    pub const fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::String => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }
}

/// Where a value comes from; the number is DescribeConfigs' code. Lower wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic = 1,
    /// Set on this broker while it runs.
    DynamicBroker = 2,
    /// Set for all brokers while they run.
    DynamicDefaultBroker = 3,
    /// The broker's configuration at its start.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
    /// The level of a broker's logger (KIP-412).
    DynamicBrokerLogger = 6,
    /// Said by the subscription to clients' metrics.
    DynamicClientMetrics = 7,
    /// Set on the group.
    DynamicGroup = 8,
}

impl ConfigSource {
    /// DescribeConfigs' code.
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// What values a setting takes, beyond its type.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Check {
    /// Whatever the type allows.
    Any,
    /// A whole number, both ends included.
    Range(i64, i64),
    /// −1 or a whole number, both ends included.
    RangeOrMinusOne(i64, i64),
    /// A real number, both ends included.
    RealRange(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A list of these texts.
    EachOneOf(&'static [&'static str]),
    /// This text alone, for a reason.
    Only(&'static str, &'static str),
    /// Kafka's throttled replicas: empty, `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// Kafka's connections by host: a list of `host:count`.
    ConnectionsByHost,
    /// Fields of JSON objects: a list of names with dots between levels.
    FieldPaths,
    /// Where a share group begins: `earliest`, `latest`, or `by_duration:` and a duration of ISO 8601.
    OffsetReset,
}

/// The largest bounds that Kafka's tables have, of a whole number of 64 bits and of one of 32.
pub(crate) const MAX: i64 = i64::MAX;
pub(crate) const MAX_INT: i64 = i32::MAX as i64;

/// [`MAX`] as text: "never" in Kafka's tables.
pub(crate) const NEVER: &str = "9223372036854775807";

/// One setting.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ConfigDef {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Its value when nobody sets it; `None` = not set.
    pub default: Option<&'static str>,
    /// What values it takes.
    pub check: Check,
    /// One or two sentences, with the unit.
    pub doc: &'static str,
    /// For a topic's or a group's setting: the broker's setting that is its default.
    pub broker_name: Option<&'static str>,
    /// Why the setting is stored and returned but changes nothing here; `None` = it is honoured.
    pub inert: Option<&'static str>,
    /// For a broker's setting: may it be changed while the broker runs?
    pub dynamic: bool,
}

impl ConfigDef {
    pub(crate) const fn new(
        name: &'static str,
        kind: ConfigType,
        default: &'static str,
        check: Check,
        doc: &'static str,
    ) -> Self {
        ConfigDef { name, kind, default: Some(default), check, doc, broker_name: None, inert: None, dynamic: false }
    }

    /// A 64-bit number between `min` and `max`.
    pub const fn long(name: &'static str, default: &'static str, min: i64, max: i64, doc: &'static str) -> Self {
        Self::new(name, ConfigType::Long, default, Check::Range(min, max), doc)
    }

    /// A 32-bit number between `min` and `max`.
    pub const fn int(name: &'static str, default: &'static str, min: i64, max: i64, doc: &'static str) -> Self {
        Self::new(name, ConfigType::Int, default, Check::Range(min, max), doc)
    }

    /// A 16-bit number between `min` and `max`.
    pub const fn short(name: &'static str, default: &'static str, min: i64, max: i64, doc: &'static str) -> Self {
        Self::new(name, ConfigType::Short, default, Check::Range(min, max), doc)
    }

    /// `true` or `false`.
    pub const fn boolean(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, ConfigType::Boolean, default, Check::Any, doc)
    }

    /// A real number between `min` and `max`.
    pub const fn double(name: &'static str, default: &'static str, min: f64, max: f64, doc: &'static str) -> Self {
        Self::new(name, ConfigType::Double, default, Check::RealRange(min, max), doc)
    }

    /// One of some texts.
    pub const fn one_of(
        name: &'static str,
        default: &'static str,
        choices: &'static [&'static str],
        doc: &'static str,
    ) -> Self {
        Self::new(name, ConfigType::String, default, Check::OneOf(choices), doc)
    }

    /// A list.
    pub const fn list(name: &'static str, default: &'static str, check: Check, doc: &'static str) -> Self {
        Self::new(name, ConfigType::List, default, check, doc)
    }

    /// A text.
    pub const fn text(name: &'static str, default: &'static str, check: Check, doc: &'static str) -> Self {
        Self::new(name, ConfigType::String, default, check, doc)
    }

    /// A secret, not set by default.
    pub const fn password(name: &'static str, doc: &'static str) -> Self {
        Self::new(name, ConfigType::Password, "", Check::Any, doc).unset()
    }

    /// The same with another check.
    #[must_use]
    pub const fn checked(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// The same with one value that it may have.
    #[must_use]
    pub const fn only(self, value: &'static str, reason: &'static str) -> Self {
        self.checked(Check::Only(value, reason))
    }

    /// The same without a default value.
    #[must_use]
    pub const fn unset(mut self) -> Self {
        self.default = None;
        self
    }

    /// The same with its default taken from a broker's setting.
    #[must_use]
    pub const fn from_broker(mut self, broker_name: &'static str) -> Self {
        self.broker_name = Some(broker_name);
        self
    }

    /// The same, stored and returned only.
    #[must_use]
    pub const fn inert(mut self, reason: &'static str) -> Self {
        self.inert = Some(reason);
        self
    }

    /// The same, changeable while the broker runs.
    #[must_use]
    pub const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// What clients are told of the setting: what it means, and, if it changes nothing here, why.
    pub fn documentation(&self) -> String {
        match self.inert {
            None => self.doc.to_string(),
            Some(reason) => format!("{} Stored and returned, but without effect here: {reason}.", self.doc),
        }
    }

    /// Is its value shown to nobody?
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, ConfigType::Password)
    }

    /// A value of the setting as Kafka shows it: no spaces around it and its items, each item once, numbers without needless digits.
    pub(crate) fn normal(&self, value: &str) -> String {
        let value = value.trim();
        match self.kind {
            ConfigType::Boolean => value.to_ascii_lowercase(),
            ConfigType::Short | ConfigType::Int | ConfigType::Long => {
                value.parse::<i64>().map_or_else(|_| value.to_owned(), |number| number.to_string())
            }
            ConfigType::List => {
                let mut items: Vec<&str> = Vec::new();
                for item in parse_list(value) {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
                items.join(",")
            }
            ConfigType::String | ConfigType::Double | ConfigType::Class | ConfigType::Password => value.to_owned(),
        }
    }

    /// Is this text a value of the setting?
    pub fn validate(&self, value: &str) -> Result<(), ConfigError> {
        let fail = |reason: String| {
            let mut shown = if self.is_secret() { "(hidden)".to_string() } else { value.to_string() };
            shown.truncate(shown.floor_char_boundary(100));
            Err(ConfigError::Value { name: self.name.to_string(), value: shown, reason })
        };
        if value.len() > MAX_CONFIG_VALUE_BYTES {
            return fail(format!("the value has {} bytes, at most {MAX_CONFIG_VALUE_BYTES} are allowed", value.len()));
        }
        let whole = match self.kind {
            ConfigType::Short => value.parse::<i16>().ok().map(i64::from),
            ConfigType::Int => value.parse::<i32>().ok().map(i64::from),
            ConfigType::Long => value.parse::<i64>().ok(),
            ConfigType::Boolean if parse_bool(value).is_none() => return fail("expected true or false".into()),
            ConfigType::Double if value.parse::<f64>().is_err() => return fail("not a number of type DOUBLE".into()),
            _ => None,
        };
        if matches!(self.kind, ConfigType::Short | ConfigType::Int | ConfigType::Long) && whole.is_none() {
            return fail(format!("not a number of type {}", self.kind.name()));
        }
        if self.kind == ConfigType::List && has_empty_item(value) {
            return fail("an item is empty".into());
        }
        match self.check {
            Check::Any => Ok(()),
            Check::Range(min, max) => match whole {
                Some(n) if n < min => fail(format!("the value must be at least {min}")),
                Some(n) if n > max => fail(format!("the value must be at most {max}")),
                _ => Ok(()),
            },
            Check::RangeOrMinusOne(min, max) => match whole {
                Some(n) if n != -1 && !(min..=max).contains(&n) => {
                    fail(format!("the value must be -1 or between {min} and {max}"))
                }
                _ => Ok(()),
            },
            Check::RealRange(min, max) => match value.parse::<f64>() {
                Ok(n) if (min..=max).contains(&n) => Ok(()),
                _ => fail(format!("the value must be between {min} and {max}")),
            },
            Check::OneOf(choices) if choices.contains(&value) => Ok(()),
            Check::OneOf(choices) => fail(format!("the value must be one of {}", choices.join(", "))),
            Check::EachOneOf(choices) => {
                let items = parse_list(value);
                if items.iter().any(|item| !choices.contains(item)) {
                    return fail(format!("each item must be one of {}", choices.join(", ")));
                }
                Ok(())
            }
            Check::Only(one, _) if value.eq_ignore_ascii_case(one) => Ok(()),
            Check::Only(one, reason) => fail(format!("it can only be {one}, because {reason}")),
            Check::ThrottledReplicas => {
                let items = parse_list(value);
                let pair = |item: &&str| {
                    item.split_once(':').is_some_and(|(p, b)| p.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
                };
                if items == ["*"] || items.iter().all(pair) {
                    Ok(())
                } else {
                    fail("expected *, or a list of partition:broker".into())
                }
            }
            Check::ConnectionsByHost if parse_hosts(value).is_some() => Ok(()),
            Check::ConnectionsByHost => fail("expected a list of host:count".into()),
            Check::FieldPaths => match parse_list(value).into_iter().find(|path| path.split('.').any(str::is_empty)) {
                Some(path) => {
                    fail(format!("{path:?} has a level without a name; expected fields as id or properties.time"))
                }
                None => Ok(()),
            },
            Check::OffsetReset
                if matches!(value, "earliest" | "latest")
                    || value.strip_prefix("by_duration:").is_some_and(is_duration) =>
            {
                Ok(())
            }
            Check::OffsetReset => fail("expected earliest, latest or by_duration:<PnDTnHnMn.nS>".into()),
        }
    }
}

/// Why a setting or its value is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nobody knows this name.
    #[error("Unknown {scope} config name: {name}{}", .nearest.map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    Unknown {
        /// `topic` or `broker`.
        scope: &'static str,
        /// The name, shortened if very long.
        name: String,
        /// The known name that looks most like it.
        nearest: Option<&'static str>,
    },
    /// The value does not fit.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Value {
        /// The setting.
        name: String,
        /// The value, shortened if very long.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Values that exclude each other.
    #[error("{0}")]
    Conflict(String),
}

impl ConfigError {
    /// The same about a setting of this name, which is judged as another one is.
    pub(crate) fn about(self, name: &str) -> Self {
        match self {
            ConfigError::Value { value, reason, .. } => ConfigError::Value { name: name.to_owned(), value, reason },
            other => other,
        }
    }
}

/// Texts of settings that were checked, by name.
pub(crate) type Values = BTreeMap<String, String>;

/// Finds a setting in a table that is sorted by name.
pub(crate) fn find(table: &'static [ConfigDef], name: &str) -> Option<&'static ConfigDef> {
    let at = table.binary_search_by(|def| def.name.cmp(name)).ok()?;
    table.get(at)
}

/// The error for a name that is in no row of the table.
pub(crate) fn unknown(
    table: impl IntoIterator<Item = &'static ConfigDef>,
    scope: &'static str,
    name: &str,
) -> ConfigError {
    let mut name = name.to_string();
    name.truncate(name.floor_char_boundary(100));
    let nearest = nearest(&name, table.into_iter().map(|def| def.name));
    ConfigError::Unknown { scope, name, nearest }
}

/// The candidate that looks most like `name`, if any looks like it at all.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, best) = candidates.map(|candidate| (edits(name, candidate), candidate)).min()?;
    // More than a third of the letters wrong is another word.
    (distance * 3 <= name.chars().count().max(best.len())).then_some(best)
}

/// Single-letter insertions, deletions and replacements that make `a` into `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = i + 1;
        next.push(left);
        for (y, (above_left, above)) in b.iter().zip(row.iter().zip(row.iter().skip(1))) {
            let replace = above_left + usize::from(x != *y);
            left = replace.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Kafka's booleans: any case.
pub(crate) fn parse_bool(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Kafka's lists: commas, spaces around items do not count, an empty text is an empty list.
pub(crate) fn parse_list(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Is it a duration as `P1DT2H3M4.5S`? A negative one is none.
fn is_duration(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let is_number = |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(rest) = text.strip_prefix('P') else { return false };
    let (days, time) = rest.split_once('T').map_or((rest, None), |(days, time)| (days, Some(time)));
    let has_days = days.strip_suffix('D').is_some_and(is_number);
    let Some(mut time) = time else { return has_days };
    let mut has_time = false;
    for unit in ['H', 'M', 'S'] {
        if let Some((number, rest)) = time.split_once(unit) {
            let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
            if !is_number(whole) || !is_number(part) || (unit != 'S' && number.contains('.')) {
                return false;
            }
            (time, has_time) = (rest, true);
        }
    }
    has_time && time.is_empty() && (has_days || days.is_empty())
}

/// Does a list name nothing somewhere (`a,,b`)? An empty text is an empty list.
fn has_empty_item(value: &str) -> bool {
    !value.trim().is_empty() && value.split(',').any(|item| item.trim().is_empty())
}

#[cfg(test)]
impl ConfigDef {
    /// Some value that is not the default.
    pub(crate) fn another_value(&self) -> String {
        let texts = match self.check {
            Check::OneOf(choices) | Check::EachOneOf(choices) => choices,
            Check::ThrottledReplicas => &["*"],
            Check::ConnectionsByHost => &["10.0.0.1:5"],
            _ => &["false", "true", "20000", "2000000", "1", "2", "name"],
        };
        let mut texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        if let Check::Range(min, max) = self.check {
            texts.extend([min, max].map(|bound| bound.to_string()));
        }
        let fits = |text: &String| self.default != Some(text) && self.validate(text).is_ok();
        texts.into_iter().find(fits).unwrap_or_else(|| panic!("no other value of {}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_by_type_and_bounds() {
        let long = ConfigDef::long("l", "0", -1, 10, "");
        for good in ["-1", "0", "10"] {
            assert_eq!(long.validate(good), Ok(()));
        }
        for bad in ["-2", "11", "", "1.5", "9223372036854775808", "ten"] {
            assert!(long.validate(bad).is_err(), "{bad}");
        }
        let int = ConfigDef::int("i", "0", 0, i64::MAX, "");
        assert!(int.validate("2147483648").is_err());
        let boolean = ConfigDef::boolean("b", "true", "");
        assert_eq!(boolean.validate("TRUE"), Ok(()));
        assert!(boolean.validate("yes").is_err());
        let double = ConfigDef::double("d", "0.5", 0.0, 1.0, "");
        assert_eq!(double.validate("1e-1"), Ok(()));
        assert!(double.validate("NaN").is_err());
        assert!(double.validate("1.1").is_err());
        let list = ConfigDef::list("p", "", Check::EachOneOf(&["delete", "compact"]), "");
        assert_eq!(list.validate("compact, delete"), Ok(()));
        assert_eq!(list.validate("compact,compact"), Ok(()), "Kafka takes it as one");
        for bad in ["both", "compact,", ",compact", "compact,,delete", ","] {
            assert!(list.validate(bad).is_err(), "{bad}");
        }
        let throttled = ConfigDef::list("t", "", Check::ThrottledReplicas, "");
        for good in ["", "*", "0:1,1:2"] {
            assert_eq!(throttled.validate(good), Ok(()), "{good}");
        }
        for bad in ["*,0:1", "a:b", "0"] {
            assert!(throttled.validate(bad).is_err(), "{bad}");
        }
        let level = ConfigDef::int("g", "-1", 0, 0, "").checked(Check::RangeOrMinusOne(1, 9));
        assert_eq!(level.validate("-1"), Ok(()));
        assert!(level.validate("0").is_err());
    }

    #[test]
    fn values_are_kept_as_kafka_shows_them() {
        let long = ConfigDef::long("l", "0", -1, 10, "");
        let boolean = ConfigDef::boolean("b", "true", "");
        let double = ConfigDef::double("d", "0.5", 0.0, 1.0, "");
        let list = ConfigDef::list("p", "", Check::EachOneOf(&["delete", "compact"]), "");
        for (def, text, normal) in [
            (long, " +07 ", "7"),
            (boolean, " TRUE ", "true"),
            (double, " 0.25 ", "0.25"),
            (list, " delete , compact,delete", "delete,compact"),
            (list, " ", ""),
        ] {
            assert_eq!(def.normal(text), normal);
        }
    }

    #[test]
    fn the_nearest_name_is_found_or_nothing() {
        let names = ["retention.ms", "retention.bytes", "segment.ms"];
        assert_eq!(nearest("retention.msec", names.into_iter()), Some("retention.ms"));
        assert_eq!(nearest("retentionms", names.into_iter()), Some("retention.ms"));
        assert_eq!(nearest("zzz", names.into_iter()), None);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
    }
}
