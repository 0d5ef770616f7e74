//! The configuration file: TOML, every key known, Kafka's broker settings under Kafka's names in `[broker]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tidelog_metadata::config::nearest;

/// Every key but those of `[broker]`, which the broker's own table knows.
const KEYS: &[&str] = &[
    "data_dir",
    "node_id",
    "kafka.listen",
    "kafka.advertise",
    "http.listen",
    "http.advertise",
    "http.allowed_origins",
    "store.url",
    "store.endpoint",
    "store.region",
    "store.allow_http",
    "store.no_checksum",
    "log.durability",
    "auth.allow_unauthenticated",
    "auth.jwt.secret_env",
    "auth.jwt.jwks",
    "auth.jwt.issuer",
    "auth.jwt.audience",
];

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileConfig {
    pub(super) data_dir: Option<PathBuf>,
    pub(super) node_id: Option<i32>,
    pub(super) kafka: KafkaFile,
    pub(super) http: HttpFile,
    pub(super) store: StoreFile,
    pub(super) log: LogFile,
    pub(super) auth: AuthFile,
    #[serde(skip)]
    pub(super) broker: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KafkaFile {
    pub(super) listen: Option<String>,
    pub(super) advertise: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HttpFile {
    pub(super) listen: Option<String>,
    pub(super) advertise: Option<String>,
    pub(super) allowed_origins: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StoreFile {
    pub(super) url: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) allow_http: bool,
    pub(super) no_checksum: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogFile {
    pub(super) durability: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthFile {
    pub(super) allow_unauthenticated: bool,
    pub(super) jwt: JwtFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JwtFile {
    pub(super) secret_env: Option<String>,
    pub(super) jwks: Option<PathBuf>,
    pub(super) issuer: Option<String>,
    pub(super) audience: Vec<String>,
}

impl FileConfig {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no usable configuration", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut table: toml::Table = text.parse()?;
        let broker = match table.remove("broker") {
            Some(toml::Value::Table(broker)) => flatten(&broker)?,
            Some(_) => bail!("broker must be a table of Kafka's settings"),
            None => BTreeMap::new(),
        };
        check_keys(&table, "")?;
        let config: FileConfig = table.try_into()?;
        Ok(FileConfig { broker, ..config })
    }
}

/// `[broker]` with names in quotes or as nested tables: `"num.partitions" = 3` and `num.partitions = 3` are the same.
fn flatten(table: &toml::Table) -> Result<BTreeMap<String, String>> {
    fn walk(table: &toml::Table, prefix: &str, into: &mut BTreeMap<String, String>) -> Result<()> {
        for (key, value) in table {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                toml::Value::Table(inner) => walk(inner, &name, into)?,
                toml::Value::String(text) => drop(into.insert(name, text.clone())),
                toml::Value::Integer(number) => drop(into.insert(name, number.to_string())),
                toml::Value::Float(number) => drop(into.insert(name, number.to_string())),
                toml::Value::Boolean(flag) => drop(into.insert(name, flag.to_string())),
                _ => bail!("broker.{name} must be a text, a number or true or false"),
            }
        }
        Ok(())
    }
    let mut settings = BTreeMap::new();
    walk(table, "", &mut settings)?;
    Ok(settings)
}

fn check_keys(table: &toml::Table, prefix: &str) -> Result<()> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if let toml::Value::Table(inner) = value {
            check_keys(inner, &name)?;
        } else if !KEYS.contains(&name.as_str()) {
            match nearest(&name, KEYS.iter().copied()) {
                Some(known) => bail!("unknown key {name}; did you mean {known}?"),
                None => bail!("unknown key {name}; known are {} and Kafka's settings in [broker]", KEYS.join(", ")),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_understood() {
        let config = FileConfig::parse(
            "data_dir = '/data'\n[kafka]\nlisten = '127.0.0.1:1'\n[store]\nurl = 's3://b'\n[auth.jwt]\naudience = ['a']\n\
             [broker]\n'num.partitions' = 3\nauto.create.topics.enable = false\n",
        )
        .unwrap();
        assert_eq!(config.data_dir, Some(PathBuf::from("/data")));
        assert_eq!(config.store.url.as_deref(), Some("s3://b"));
        assert_eq!(config.auth.jwt.audience, ["a"]);
        assert_eq!(config.broker["num.partitions"], "3");
        assert_eq!(config.broker["auto.create.topics.enable"], "false");
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let error = FileConfig::parse("[kafka]\nlisen = '127.0.0.1:1'\n").unwrap_err().to_string();
        assert!(error.contains("kafka.listen"), "{error}");
        assert!(FileConfig::parse("x = 1").is_err());
        assert!(FileConfig::parse("not toml").is_err());
    }
}
