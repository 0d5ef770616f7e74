//! Decides which of file, environment and flags counts (in that order of strength) and what the texts mean: one configuration, the
//! origin of each value, and everything that is wrong. Opens nothing but the configuration file.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use reqwest::Url;
use tidelog_metadata::broker_config::{broker_config, check_broker_config, check_listener};
use tidelog_metadata::{BrokerConfig, BrokerOverrides, ConfigSource};
use tidelog_model::{HTTP_LISTENER, NodeId};
use tidelog_objects::without_password;
use tidelog_partition::Durability;
use tidelog_security::AclDefaults;
use tidelog_security::distinguished_name::MappingRules;
use tracing_subscriber::EnvFilter;

use super::args::ServeArgs;
use super::config::{ClientAuth, JwksPlace, JwtConfig, KafkaListener, ServeConfig, StoreConfig, TlsConfig};
use super::file::{self, FileContents};
use super::kafkas;
use super::listeners::{listeners, mechanisms, socket_address};
use super::origin::{Origin, Problem, Problems};
use super::settings::{self, Kind, Setting};

/// What the sources add up to.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// The configuration; where a value is wrong its default stands.
    pub(crate) config: ServeConfig,
    /// What is logged.
    pub(crate) log: String,
    /// Every setting with its value and origin.
    pub(crate) effective: Vec<Effective>,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
}

/// A setting as it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    /// Its key in the file.
    pub(crate) key: String,
    /// Its value; `None` if it has none.
    pub(crate) value: Option<Shown>,
    /// Without a value: what holds.
    pub(crate) otherwise: &'static str,
    /// Where the value comes from.
    pub(crate) origin: Origin,
}

/// A value that may be shown: a URL's password is not in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    /// One text.
    Text(String),
    /// A list's items.
    List(Vec<String>),
}

impl Resolution {
    /// The configuration, if nothing is wrong with it.
    pub(crate) fn valid(self) -> Result<(ServeConfig, String), Problems> {
        if self.problems.is_empty() { Ok((self.config, self.log)) } else { Err(Problems(self.problems)) }
    }
}

/// One configuration from all sources.
pub(crate) fn resolve(args: ServeArgs) -> Result<Resolution> {
    let mut problems = Vec::new();
    let contents = match &args.config {
        Some(path) => read(path, &mut problems),
        None => FileContents::default(),
    };
    let path = args.config.unwrap_or_default();
    let from_file =
        contents.values.into_iter().map(|(setting, texts, line)| (setting, texts, Origin::file(&path, line)));
    // The later source replaces the earlier one.
    let given = from_file.chain(args.given.0).map(|(setting, texts, origin)| (setting.key, (texts, origin))).collect();
    let mut values = Values { given, problems };
    let log = values.required(&settings::LOG_FILTER, |text| {
        EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| format!("no filter of log lines: {error}"))
    })?;
    let mut config = build(&mut values)?;
    let flags = args.settings.into_iter().map(|(name, value)| (name, value, Origin::Flag("set"))).collect();
    let file =
        contents.broker.into_iter().map(|(name, value, line)| (name, value, Origin::file(&path, line))).collect();
    let broker = broker_settings(file, flags, &config.kafka, &mut values.problems);
    let effective = effective(&values.given, &broker);
    config.broker = broker.into_iter().map(|(name, (value, _))| (name, value)).collect();
    Ok(Resolution { config, log, effective, problems: values.problems })
}

fn read(path: &Path, problems: &mut Vec<Problem>) -> FileContents {
    let contents = match std::fs::read_to_string(path) {
        Ok(text) => file::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            problems.push(Problem::missing(path));
            return FileContents::default();
        }
        Err(error) => {
            problems.push(Problem::of_all(format!("cannot read {}: {error}", path.display())));
            return FileContents::default();
        }
    };
    problems.extend(contents.problems.iter().map(|(line, text)| Problem::at(Origin::file(path, *line), text)));
    contents
}

type Given = BTreeMap<&'static str, (Vec<String>, Origin)>;

/// What was given; a text that is no value of its setting is taken out and told.
struct Values {
    given: Given,
    problems: Vec<Problem>,
}

impl Values {
    fn optional<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (texts, origin) = self.given.get(setting.key)?;
        match parse(texts.first().map(|text| text.trim()).unwrap_or_default()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problems.push(Problem::at(origin.clone(), message));
                self.given.remove(setting.key);
                None
            }
        }
    }

    /// The value that was given, or the default.
    fn required<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> Result<T> {
        if let Some(value) = self.optional(setting, &parse) {
            return Ok(value);
        }
        let default = setting.default.with_context(|| format!("{} has no default", setting.key))?;
        parse(default).map_err(|message| anyhow!("the default of {}: {message}", setting.key))
    }

    /// What a list means; what nothing at all means, if it is no value.
    fn of_list<T>(&mut self, setting: &Setting, parse: impl Fn(&[String]) -> Result<T>) -> Result<T> {
        match parse(&self.list(setting)) {
            Ok(value) => Ok(value),
            Err(error) => {
                self.wrong(setting, error.to_string());
                parse(&[])
            }
        }
    }

    /// The setting's value cannot be used.
    fn wrong(&mut self, setting: &Setting, message: String) {
        self.problems.push(match self.given.remove(setting.key) {
            Some((_, origin)) => Problem::at(origin, message),
            None => Problem::of_all(message),
        });
    }

    fn list(&self, setting: &Setting) -> Vec<String> {
        let given = self.given.get(setting.key).map(|(texts, _)| texts.as_slice()).unwrap_or_default();
        given.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    }
}

fn build(values: &mut Values) -> Result<ServeConfig> {
    let kafka = kafka(values)?;
    let tls = tls(values)?;
    let (https, http) = values.required(&settings::HTTP_LISTEN, http_address)?;
    if tls.is_none() && (https || kafka.iter().any(|listener| listener.protocol.has_tls())) {
        let message = "a listener is to be encrypted: pass --tls-cert and --tls-key";
        values.problems.push(Problem::of_all(message));
    }
    let jwt = JwtConfig {
        secret_env: values.optional(&settings::JWT_SECRET_ENV, text),
        jwks: values.optional(&settings::JWT_JWKS, jwks),
        jwks_refresh: values.required(&settings::JWT_JWKS_REFRESH, refresh)?,
        subject_claim: values.required(&settings::JWT_SUBJECT_CLAIM, text)?,
        issuer: values.optional(&settings::JWT_ISSUER, text),
        audiences: values.list(&settings::JWT_AUDIENCE),
        any_audience: values.required(&settings::JWT_ANY_AUDIENCE, boolean)?,
    };
    let has_jwt = jwt.secret_env.is_some() || jwt.jwks.is_some();
    if jwt.any_audience && !jwt.audiences.is_empty() {
        let message = "either every audience is meant (--jwt-any-audience) or those that are named (--jwt-audience)";
        values.problems.push(Problem::of_all(message));
    }
    if !has_jwt && (jwt.issuer.is_some() || !jwt.audiences.is_empty()) {
        let message = "an issuer or audience of tokens is set, but no key: pass --jwt-secret-env or --jwt-jwks";
        values.problems.push(Problem::of_all(message));
    }
    Ok(ServeConfig {
        data_dir: values.required(&settings::DATA_DIR, path)?,
        node: NodeId(values.required(&settings::NODE_ID, node_id)?),
        kafka,
        tls,
        sasl_mechanisms: values.of_list(&settings::SASL_MECHANISMS, |named| mechanisms(named, has_jwt))?,
        audit_log: values.optional(&settings::AUDIT_LOG, path),
        http,
        https,
        http_basic: values.required(&settings::HTTP_BASIC, boolean)?,
        http_advertise: values.optional(&settings::HTTP_ADVERTISE, text),
        object_store: values.optional(&settings::STORE_URL, text),
        store: StoreConfig {
            endpoint: values.optional(&settings::STORE_ENDPOINT, text),
            region: values.optional(&settings::STORE_REGION, text),
            allow_http: values.required(&settings::STORE_ALLOW_HTTP, boolean)?,
            no_checksum: values.required(&settings::STORE_NO_CHECKSUM, boolean)?,
        },
        durability: values.required(&settings::DURABILITY, durability)?,
        allow_unauthenticated: values.required(&settings::ALLOW_UNAUTHENTICATED, boolean)?,
        acls: acls(values)?,
        jwt: has_jwt.then_some(jwt),
        broker: Vec::new(),
        allowed_origins: values.of_list(&settings::ALLOWED_ORIGINS, origins)?,
    })
}

/// The listeners and what clients are told of them.
fn kafka(values: &mut Values) -> Result<Vec<KafkaListener>> {
    let alone = values.of_list(&settings::KAFKA_LISTEN, |listen| listeners(listen, &[]))?;
    let advertise = values.list(&settings::KAFKA_ADVERTISE);
    match listeners(&values.list(&settings::KAFKA_LISTEN), &advertise) {
        Ok(listeners) => Ok(listeners),
        Err(error) => {
            values.wrong(&settings::KAFKA_ADVERTISE, error.to_string());
            Ok(alone)
        }
    }
}

/// Certificates of encrypted listeners.
fn tls(values: &mut Values) -> Result<Option<TlsConfig>> {
    let cert = values.optional(&settings::TLS_CERT, path);
    let key = values.optional(&settings::TLS_KEY, path);
    let client_ca = values.optional(&settings::TLS_CLIENT_CA, path);
    let asked = values.optional(&settings::TLS_CLIENT_AUTH, ClientAuth::from_name);
    let rules = values.required(&settings::TLS_PRINCIPAL_RULES, |text| {
        MappingRules::parse(text).map_err(|error| error.to_string())
    })?;
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) if client_ca.is_none() && asked.is_none() => return Ok(None),
        _ => {
            let message = "--tls-cert and --tls-key belong together, and --kafka-tls-client-ca and --kafka-tls-client-auth to both";
            values.problems.push(Problem::of_all(message));
            return Ok(None);
        }
    };
    let client_auth = match asked {
        None if client_ca.is_some() => ClientAuth::Required,
        None => ClientAuth::None,
        Some(asked) => asked,
    };
    if client_auth != ClientAuth::None && client_ca.is_none() {
        let message = "clients are asked for certificates: pass --kafka-tls-client-ca, so that these can be verified";
        values.problems.push(Problem::of_all(message));
    }
    Ok(Some(TlsConfig { cert, key, client_ca, client_auth, rules }))
}

/// Access rules and what holds beside them.
fn acls(values: &mut Values) -> Result<Option<AclDefaults>> {
    let has_acls = values.required(&settings::AUTHORIZER, authorizer)?;
    let super_users = values.of_list(&settings::SUPER_USERS, principals)?;
    let allow_everyone = values.required(&settings::ALLOW_EVERYONE, boolean)?;
    if !has_acls && (allow_everyone || !super_users.is_empty()) {
        // Somebody believes that rules bind.
        let message =
            "super users or allow_everyone_if_no_acl_found are set, but no access rules bind: pass --authorizer acl";
        values.problems.push(Problem::of_all(message));
    }
    Ok(has_acls.then_some(AclDefaults { super_users, allow_everyone }))
}

fn authorizer(text: &str) -> Result<bool, String> {
    match text {
        "none" => Ok(false),
        "acl" => Ok(true),
        _ => Err(format!("{text:?} is no authorizer; it can be none or acl")),
    }
}

fn principals(texts: &[String]) -> Result<BTreeSet<String>> {
    if let Some(bad) = texts.iter().find(|principal| !principal.contains(':')) {
        anyhow::bail!("{bad:?} is no principal; one looks like User:admin");
    }
    Ok(texts.iter().cloned().collect())
}

/// Origins as browsers send them, or none would ever fit.
fn origins(texts: &[String]) -> Result<Vec<String>> {
    let is_origin = |text: &str| {
        let authority = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        authority.is_some_and(|authority| !authority.is_empty() && !authority.contains(['/', '?', '#', '@']))
    };
    if let Some(bad) = texts.iter().find(|text| !is_origin(text)) {
        anyhow::bail!(
            "{bad:?} is no origin; one looks like https://example.org or http://localhost:3000, without a path"
        );
    }
    Ok(texts.to_vec())
}

type BrokerSettings = BTreeMap<String, (String, Origin)>;

/// Kafka's settings that hold: a flag replaces the file's value of the same name.
fn broker_settings(
    mut file: Vec<(String, String, Origin)>,
    flags: Vec<(String, String, Origin)>,
    kafka: &[KafkaListener],
    problems: &mut Vec<Problem>,
) -> BrokerSettings {
    let listeners = kafka.iter().map(|listener| listener.name.as_str()).chain([HTTP_LISTENER]);
    file.retain(|(name, _, _)| !flags.iter().any(|(flag, _, _)| flag == name));
    let mut settings = BrokerSettings::new();
    for (name, value, origin) in file.into_iter().chain(flags) {
        let checked = match broker_config(&name) {
            Some(_) => check_broker_config(&name, value.trim()).and_then(|()| check_listener(&name, listeners.clone())),
            // Its own words for a name that it does not know, and that is none of Kafka's either.
            None => BrokerConfig::new([(&name, &value)]).map(drop),
        };
        match (checked, settings.entry(name)) {
            (Err(error), entry) => {
                let known = broker_config(entry.key()).is_none().then(|| kafkas::advice(entry.key())).flatten();
                problems.push(Problem::at(origin, known.unwrap_or_else(|| error.to_string())));
            }
            (Ok(()), Entry::Occupied(first)) => {
                problems.push(Problem::at(origin, format!("{} is given twice", first.key())));
            }
            (Ok(()), Entry::Vacant(place)) => drop(place.insert((value.trim().to_owned(), origin))),
        }
    }
    if let Err(error) = BrokerConfig::new(settings.iter().map(|(name, (value, _))| (name, value))) {
        problems.push(Problem::of_all(error.to_string()));
    }
    settings
}

fn effective(given: &Given, broker: &BrokerSettings) -> Vec<Effective> {
    let own = settings::ALL.iter().map(|setting| {
        let (value, origin) = match given.get(setting.key) {
            Some((texts, origin)) => (Some(shown(setting, texts)), origin.clone()),
            None => (setting.default.map(|text| shown(setting, &[text.to_owned()])), Origin::Default),
        };
        Effective { key: setting.key.to_owned(), value, otherwise: setting.otherwise, origin }
    });
    // What is wrong has been told.
    let config = BrokerConfig::new(broker.iter().map(|(name, (value, _))| (name, value))).unwrap_or_default();
    let none = BrokerOverrides::default();
    let of_broker = config.describe(&none, &none).into_iter().map(|described| {
        let origin = match (described.source, broker.get(&described.name)) {
            (ConfigSource::StaticBroker, Some((_, origin))) => origin.clone(),
            _ => Origin::Default,
        };
        if described.is_secret()
            && let Some((_, origin)) = broker.get(&described.name)
        {
            let value = Some(Shown::Text("(hidden)".into()));
            return Effective {
                key: format!("broker.{}", described.name),
                value,
                otherwise: "not set",
                origin: origin.clone(),
            };
        }
        let key = format!("broker.{}", described.name);
        Effective { key, value: described.value.map(Shown::Text), otherwise: "not set", origin }
    });
    own.chain(of_broker).collect()
}

fn shown(setting: &Setting, texts: &[String]) -> Shown {
    let texts: Vec<String> = texts.iter().map(|text| without_password(text.trim())).collect();
    match (setting.kind, texts.first()) {
        (Kind::List(_), _) => Shown::List(texts),
        (_, first) => Shown::Text(first.cloned().unwrap_or_default()),
    }
}

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the value is empty".into()) } else { Ok(text.to_owned()) }
}

fn path(value: &str) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

/// A file, or an address. Over plain HTTP whoever stands in between would say which tokens are good.
fn jwks(value: &str) -> Result<JwksPlace, String> {
    if !value.starts_with("http://") && !value.starts_with("https://") {
        return path(value).map(JwksPlace::File);
    }
    let url = Url::parse(value).map_err(|error| format!("this is no address: {error}"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if url.scheme() == "http" && !here {
        return Err(format!("{:?}: keys are taken over https:// only, but from this machine", without_password(value)));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address of a JWKS must not name a user: its keys are public".into());
    }
    Ok(JwksPlace::Url(url))
}

fn refresh(text: &str) -> Result<Duration, String> {
    let milliseconds = text.parse().ok().filter(|number| *number >= 1_000);
    milliseconds.map(Duration::from_millis).ok_or_else(|| format!("{text:?} is not a whole number of at least 1000"))
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

fn node_id(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| format!("{text:?} is not a whole number from 0 to {}", i32::MAX))
}

/// Is it encrypted, and where?
fn http_address(text: &str) -> Result<(bool, SocketAddr), String> {
    match text.split_once("://") {
        None => Ok((false, address(text)?)),
        Some(("http", rest)) => Ok((false, address(rest)?)),
        Some(("https", rest)) => Ok((true, address(rest)?)),
        Some((other, _)) => Err(format!("{other:?} is neither http nor https")),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    socket_address(text).ok_or_else(|| {
        format!("{text:?} is not an ADDRESS:PORT such as 127.0.0.1:8082 or [::1]:8082; ADDRESS is an IP address or localhost")
    })
}

fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "fsync" => Ok(Durability::Fsync),
        "page-cache" => Ok(Durability::PageCache),
        _ => Err(format!("{text:?} is no durability; it can be fsync or page-cache")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn resolved(args: &[&str]) -> Resolution {
        let command = ServeArgs::augment_args(Command::new("serve").no_binary_name(true));
        resolve(ServeArgs::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn every_default_is_a_value() {
        let resolution = resolved(&[]);
        assert_eq!(resolution.problems, []);
        assert_eq!(resolution.config.kafka[0].listen.to_string(), "127.0.0.1:9092");
        assert_eq!((resolution.log.as_str(), resolution.config.node), ("info", NodeId(1)));
        assert!(resolution.effective.iter().all(|setting| setting.origin == Origin::Default));
        assert!(resolution.effective.iter().any(|setting| setting.key == "broker.num.partitions"));
    }

    #[test]
    fn keys_come_from_a_file_or_a_safe_address() {
        let place = |value: &str| {
            let resolution = resolved(&["--jwt-jwks", value]);
            let jwks = resolution.config.jwt.and_then(|jwt| jwt.jwks);
            if resolution.problems.is_empty() { jwks } else { None }
        };
        assert_eq!(place("keys.json"), Some(JwksPlace::File("keys.json".into())));
        for good in
            ["https://issuer.example/keys", "http://localhost:8080/keys", "http://[::1]/keys", "http://127.1.2.3/"]
        {
            assert!(matches!(place(good), Some(JwksPlace::Url(_))), "{good}");
        }
        for bad in ["http://issuer.example/keys", "http://10.0.0.1/keys", "https://me:hush@issuer/keys", "https://"] {
            let problems = resolved(&["--jwt-jwks", bad]).problems;
            assert_eq!(problems.len(), 1, "{bad}");
            assert!(!problems[0].to_string().contains("hush"), "{}", problems[0]);
        }
        assert_eq!(resolved(&["--jwt-jwks=k", "--jwt-jwks-refresh-ms=999"]).problems.len(), 1);
    }

    #[test]
    fn who_asks_clients_for_certificates_has_one() {
        let told = resolved(&["--kafka-tls-client-auth=required"]).problems;
        assert!(told.iter().any(|problem| problem.to_string().contains("--tls-cert")), "{told:?}");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let resolution = resolved(&[
            "--kafka-listen=here",
            "--node-id=-1",
            "--durability=never",
            "--s3-allow-http=perhaps",
            "--jwt-issuer=x",
            "--log=tidelog=loud",
            "-snum.partition=3",
            "-snum.partitions=none",
            "-slog.retention.ms=1",
            "-slog.retention.ms=2",
            "--config=/no/such/file",
        ]);
        let told: Vec<String> = resolution.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 10, "{told:#?}");
        for part in [
            "--kafka-listen: \"here\" is not",
            "--node-id: ",
            "--durability: ",
            "--s3-allow-http: ",
            "no key",
            "--log: ",
            "did you mean num.partitions?",
            "--set: Invalid value none",
            "log.retention.ms is given twice",
            "/no/such/file does not exist",
        ] {
            assert!(told.iter().any(|text| text.contains(part)), "{part} is not in {told:#?}");
        }
        // The defaults stand, so that what follows from the rest can be judged too.
        assert_eq!(resolution.config.kafka[0].listen.to_string(), "127.0.0.1:9092");
        assert!(resolution.valid().unwrap_err().to_string().starts_with("the configuration has 10 errors\n  "));
    }

    #[test]
    fn a_listeners_settings_are_about_one_that_there_is() {
        let told =
            |args: &[&str]| resolved(args).problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let of = |listener: &str, value: &str| format!("--set=listener.name.{listener}.max.connections={value}");
        assert_eq!(told(&[&of("plaintext", "5"), &of("http", "6")]), "");
        assert_eq!(told(&["--kafka-listen=IN=127.0.0.1:1", &of("in", "5")]), "");
        assert!(told(&[&of("in", "5")]).contains("there are plaintext, http"));
        let wrong = told(&[&of("http", "many")]);
        assert!(wrong.contains("for configuration listener.name.http.max.connections: not a number"), "{wrong}");
        assert!(told(&["--set=listener.name.http.ssl.x=1"]).contains("all other options hold for all listeners"));
    }

    #[test]
    fn what_belongs_to_access_rules_needs_them() {
        let told = |args: &[&str]| resolved(args).problems.iter().map(ToString::to_string).collect::<String>();
        assert!(told(&["--super-user=User:admin"]).contains("--authorizer acl"));
        assert!(told(&["--allow-everyone-if-no-acl-found"]).contains("--authorizer acl"));
        assert!(told(&["--authorizer=acls"]).contains("none or acl"));
        assert!(told(&["--authorizer=acl", "--super-user=admin"]).contains("no principal"));
        assert!(told(&["--kafka-sasl-mechanism=GSSAPI"]).contains("GSSAPI"));
        assert!(told(&["--kafka-advertise=nohost"]).contains("--kafka-advertise: "));
        assert!(told(&["--kafka-advertise=A=foo:1"]).contains("there is PLAINTEXT"));
        assert!(told(&["--allowed-origin=example.org"]).contains("https://example.org"));
        assert_eq!(told(&["--allowed-origin=https://example.org,http://localhost:3000"]), "");
        assert!(told(&["--set=advertised.listeners=x"]).contains("--kafka-advertise"));
        let config = resolved(&["--authorizer=acl", "--super-user=User:a;User:b"]).valid().unwrap().0;
        assert_eq!(config.acls.unwrap().super_users, ["User:a".to_owned(), "User:b".to_owned()].into());
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(without_password("https://me:secret@s3.example/x@y"), "https://…@s3.example/x@y");
        for plain in ["https://s3.example/x@y", "127.0.0.1:9092", "a@b"] {
            assert_eq!(without_password(plain), plain);
        }
        let resolution = resolved(&["--s3-endpoint", "https://me:secret@s3.example"]);
        assert!(!format!("{:?}", resolution.effective).contains("secret@"));
        assert_eq!(resolution.config.store.endpoint.as_deref(), Some("https://me:secret@s3.example"));
    }
}
