//! Subscriptions to clients' metrics (resource type CLIENT_METRICS, KIP-714). They are checked, stored and returned for Kafka's tools; no client
//! is asked for its metrics, because the APIs for that are not offered. Decides what such a subscription may say; never acts on one.

use crate::config::{Check, ConfigDef, ConfigError, ConfigSource, find, parse_list, unknown};
use crate::described::{Described, Synonym, unknown_ones};
use crate::overrides::{Overrides, Settings};

const INTERVAL: &str = "interval.ms";
const MATCH: &str = "match";
const NO_METRICS: &str = "clients are not asked for their metrics";

/// Kafka's bounds of the interval, ms.
const SHORTEST_INTERVAL_MS: i64 = 100;
const LONGEST_INTERVAL_MS: i64 = 60 * 60 * 1000;

/// What a pattern may be about.
const PARAMETERS: &[&str] = &[
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Every setting of a subscription, ascending by name.
pub static CLIENT_METRICS_CONFIGS: &[ConfigDef] = &[
    // Its bounds are a matter of the whole (Kafka's code is another one).
    ConfigDef::int(INTERVAL, "300000", i32::MIN as i64, i32::MAX as i64, "How often clients send their metrics, ms.")
        .inert(NO_METRICS),
    ConfigDef::list(MATCH, "", Check::Any, "Which clients: parameter=expression, all of them.").inert(NO_METRICS),
    ConfigDef::list("metrics", "", Check::Any, "How the names of the metrics begin.").inert(NO_METRICS),
];

/// The setting of this name, if there is one.
pub fn client_metrics_config(name: &str) -> Option<&'static ConfigDef> {
    find(CLIENT_METRICS_CONFIGS, name)
}

/// Marks what a subscription to clients' metrics says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OfClientMetrics;

/// What one subscription says, and what is stored of it and does not hold.
pub type ClientMetricsOverrides = Overrides<OfClientMetrics>;

impl Settings for OfClientMetrics {
    fn def(name: &str) -> Option<&'static ConfigDef> {
        client_metrics_config(name)
    }

    fn check(name: &str, value: &str) -> Result<(), ConfigError> {
        let def = client_metrics_config(name).ok_or_else(|| unknown(CLIENT_METRICS_CONFIGS, "client metrics", name))?;
        def.validate(value)?;
        let bad = parse_list(value).into_iter().find(|pattern| name == MATCH && !is_pattern(pattern));
        match bad {
            None => Ok(()),
            Some(_) => Err(ConfigError::Value {
                name: name.to_owned(),
                value: value.chars().take(100).collect(),
                reason: format!("expected a list of parameter=expression; parameters are {}", PARAMETERS.join(", ")),
            }),
        }
    }
}

impl ClientMetricsOverrides {
    /// Does the interval lie within Kafka's bounds? The text says why not.
    pub fn check_interval(&self) -> Result<(), String> {
        let interval = self.get(INTERVAL).and_then(|value| value.parse::<i64>().ok());
        match interval.filter(|interval| !(SHORTEST_INTERVAL_MS..=LONGEST_INTERVAL_MS).contains(interval)) {
            None => Ok(()),
            Some(interval) => Err(format!(
                "Invalid value {interval} for {INTERVAL}, interval must be between {SHORTEST_INTERVAL_MS} and {LONGEST_INTERVAL_MS} (1 hour)"
            )),
        }
    }

    /// Every setting of the subscription as DescribeConfigs answers it, ascending by name; stored ones of unknown names last.
    pub fn describe(&self) -> Vec<Described> {
        let source = ConfigSource::DynamicClientMetrics;
        let described = CLIENT_METRICS_CONFIGS.iter().map(|def| {
            // Kafka names no default among the synonyms.
            let own = self.get(def.name).map(|value| Synonym::new(def.name, value, source));
            Described::new(def, own.into_iter().collect(), false).with_unfit(self.unfit_ones().get(def.name), source)
        });
        described.chain(unknown_ones(self.unfit_ones(), client_metrics_config, source)).collect()
    }
}

/// Is it a parameter of clients, `=`, and an expression?
fn is_pattern(pattern: &str) -> bool {
    let Some((parameter, expression)) = pattern.split_once('=') else { return false };
    let expression = expression.trim();
    PARAMETERS.contains(&parameter.trim()) && !expression.contains('=') && is_expression(expression)
}

/// Could it be a regular expression? It is never matched here: only what no dialect takes is refused.
fn is_expression(text: &str) -> bool {
    let (mut open, mut in_class, mut can_repeat) = (0_u32, false, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next().is_none() => return false,
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            '(' => open += 1,
            ')' if open == 0 => return false,
            ')' => open -= 1,
            '*' | '+' | '?' if !can_repeat => return false,
            _ => {}
        }
        // `(?…)` begins a group of a kind of its own.
        can_repeat = letter == '(' && letters.as_str().starts_with('?') || !matches!(letter, '(' | '|');
    }
    !text.is_empty() && !in_class && open == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> Result<ClientMetricsOverrides, ConfigError> {
        ClientMetricsOverrides::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    /// Each as a Kafka 4.3 answered.
    #[test]
    fn a_subscription_is_judged_as_kafka_does() {
        for good in ["client_id=a.*, client_software_name=b", "client_id=a,client_id=b", "client_id =a", " ", ""] {
            assert!(overrides(&[(MATCH, good)]).is_ok(), "{good}");
        }
        for good in ["client_source_port=80|90", "client_id=^(?:a|b)+[(x]?$", "client_id=a\\)", "client_id=(?i)x"] {
            assert!(overrides(&[(MATCH, good)]).is_ok(), "{good}");
        }
        for bad in [
            "client_id",
            "nope=a",
            "client_id=[",
            "client_id=a=b",
            "client_id=",
            "client_id=a,",
            "client_id=(",
            "client_id=*",
        ] {
            assert!(overrides(&[(MATCH, bad)]).is_err(), "{bad}");
        }
        for good in ["*", "", "a,a", "org.apache.kafka.consumer.", "bad metric"] {
            assert!(overrides(&[("metrics", good)]).is_ok(), "{good}");
        }
        for bad in [",", "a,"] {
            assert!(overrides(&[("metrics", bad)]).is_err(), "{bad}");
        }
        assert!(overrides(&[(INTERVAL, "x")]).is_err() && overrides(&[("foo", "1")]).is_err());
        for (interval, fits) in [("99", false), ("100", true), ("3600000", true), ("3600001", false), ("-1", false)] {
            assert_eq!(overrides(&[(INTERVAL, interval)]).unwrap().check_interval().is_ok(), fits, "{interval}");
        }
    }

    #[test]
    fn what_is_set_has_a_source_and_the_rest_has_kafkas_default() {
        assert!(CLIENT_METRICS_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        let described = overrides(&[(INTERVAL, " 1000 "), ("metrics", "a., b.")]).unwrap().describe();
        let shown: Vec<_> = described
            .iter()
            .map(|one| (one.name.as_str(), one.value.as_deref().unwrap(), one.source.code(), one.synonyms.len()))
            .collect();
        assert_eq!(shown, [(INTERVAL, "1000", 7, 1), (MATCH, "", 5, 0), ("metrics", "a.,b.", 7, 1)]);
        assert_eq!(ClientMetricsOverrides::default().describe()[0].value.as_deref(), Some("300000"));
    }
}
