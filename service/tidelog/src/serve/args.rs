//! Options of `tidelog serve`, and how file, environment and flags become one configuration (in that order of strength).

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tidelog_model::NodeId;
use tidelog_partition::Durability;

use super::config::{JwtConfig, KafkaListener, ServeConfig, StoreConfig};
use super::file::FileConfig;

/// When a record counts as safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// When it is flushed to the disk: no power cut takes it back.
    Fsync,
    /// When it is written, as Kafka counts it.
    PageCache,
}

impl From<DurabilityArg> for Durability {
    fn from(arg: DurabilityArg) -> Self {
        match arg {
            DurabilityArg::Fsync => Durability::Fsync,
            DurabilityArg::PageCache => Durability::PageCache,
        }
    }
}

/// Options of `tidelog serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file (TOML); environment and flags override it.
    #[arg(short, long, env = "TIDELOG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where everything local lives [default: ./tidelog-data]
    #[arg(long, env = "TIDELOG_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// This node's number [default: 1]
    #[arg(long, env = "TIDELOG_NODE_ID", value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    node_id: Option<i32>,

    /// Where the Kafka door listens; port 0 takes a free one [default: 127.0.0.1:9092]
    #[arg(long, env = "TIDELOG_KAFKA_LISTEN", value_name = "HOST:PORT")]
    kafka_listen: Option<SocketAddr>,

    /// Where Kafka clients are told to connect [default: the address they connected to]
    #[arg(long, env = "TIDELOG_KAFKA_ADVERTISE", value_name = "[NAME=]HOST:PORT")]
    kafka_advertise: Option<String>,

    /// Where HTTP and gRPC listen; port 0 takes a free one [default: 127.0.0.1:8082]
    #[arg(long, env = "TIDELOG_HTTP_LISTEN", value_name = "HOST:PORT")]
    http_listen: Option<SocketAddr>,

    /// The URL that others are told for HTTP [default: the address it listens on]
    #[arg(long, env = "TIDELOG_HTTP_ADVERTISE", value_name = "URL")]
    http_advertise: Option<String>,

    /// Object store of cold segments and tables: file:///DIR or s3://BUCKET/PREFIX [default: a folder in the data directory]
    #[arg(long, env = "TIDELOG_OBJECT_STORE", value_name = "URL")]
    object_store: Option<String>,

    /// Base URL of an S3-compatible service [default: AWS]
    #[arg(long, env = "TIDELOG_S3_ENDPOINT", value_name = "URL")]
    s3_endpoint: Option<String>,

    /// Region of the bucket.
    #[arg(long, env = "TIDELOG_S3_REGION", value_name = "REGION")]
    s3_region: Option<String>,

    /// Accept an http:// endpoint: requests are signed, but not encrypted.
    #[arg(long, env = "TIDELOG_S3_ALLOW_HTTP")]
    s3_allow_http: bool,

    /// Send no checksums; some older services refuse them.
    #[arg(long, env = "TIDELOG_S3_NO_CHECKSUM")]
    s3_no_checksum: bool,

    /// When a record counts as safe [default: fsync]
    #[arg(long, env = "TIDELOG_DURABILITY", value_enum)]
    durability: Option<DurabilityArg>,

    /// Listen beyond loopback without authentication.
    #[arg(long, env = "TIDELOG_ALLOW_UNAUTHENTICATED")]
    allow_unauthenticated: bool,

    /// Verify bearer tokens with the shared secret in this environment variable.
    #[arg(long, env = "TIDELOG_JWT_SECRET_ENV", value_name = "NAME")]
    jwt_secret_env: Option<String>,

    /// Verify bearer tokens with the keys of this JWKS file.
    #[arg(long, env = "TIDELOG_JWT_JWKS", value_name = "FILE")]
    jwt_jwks: Option<PathBuf>,

    /// The only accepted issuer of tokens.
    #[arg(long, env = "TIDELOG_JWT_ISSUER", value_name = "ISS")]
    jwt_issuer: Option<String>,

    /// An accepted audience of tokens; may be repeated.
    #[arg(long, env = "TIDELOG_JWT_AUDIENCE", value_name = "AUD", value_delimiter = ',')]
    jwt_audience: Vec<String>,

    /// A web origin whose pages may call, such as https://example.org; may be repeated.
    #[arg(long, env = "TIDELOG_ALLOWED_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    allowed_origin: Vec<String>,

    /// A broker setting under Kafka's name; may be repeated.
    #[arg(short = 's', long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,

    /// What to log: error, warn, info, debug, trace, or a filter such as info,tidelog_broker=debug
    #[arg(long, env = "TIDELOG_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// `[NAME=]HOST:PORT`.
fn advertised(text: &str) -> Result<(Option<String>, (String, u16))> {
    let (name, address) = match text.split_once('=') {
        Some((name, address)) => (Some(name.to_owned()), address),
        None => (None, text),
    };
    let (host, port) = address.rsplit_once(':').with_context(|| format!("{text:?} is not [NAME=]HOST:PORT"))?;
    let port = port.parse().with_context(|| format!("{port:?} in {text:?} is not a port"))?;
    Ok((name, (host.trim_matches(['[', ']']).to_owned(), port)))
}

impl ServeArgs {
    /// One configuration from all sources.
    pub(crate) fn resolve(self) -> Result<ServeConfig> {
        let file = match &self.config {
            Some(path) => FileConfig::read(path)?,
            None => FileConfig::default(),
        };
        let advertise = self.kafka_advertise.or(file.kafka.advertise).map(|text| advertised(&text)).transpose()?;
        let (name, advertise) = advertise.map_or((None, None), |(name, address)| (name, Some(address)));
        let durability = match (self.durability, file.log.durability.as_deref()) {
            (Some(arg), _) => arg.into(),
            (None, Some(text)) => DurabilityArg::from_str(text, true)
                .map_err(|_| anyhow::anyhow!("log.durability is {text:?}; it can be fsync or page-cache"))?
                .into(),
            (None, None) => Durability::Fsync,
        };
        let jwt_file = file.auth.jwt;
        let or_file = |flags: Vec<String>, file: Vec<String>| if flags.is_empty() { file } else { flags };
        let jwt = JwtConfig {
            secret_env: self.jwt_secret_env.or(jwt_file.secret_env),
            jwks: self.jwt_jwks.or(jwt_file.jwks),
            issuer: self.jwt_issuer.or(jwt_file.issuer),
            audiences: or_file(self.jwt_audience, jwt_file.audience),
        };
        let has_jwt = jwt.secret_env.is_some() || jwt.jwks.is_some();
        if !has_jwt && (jwt.issuer.is_some() || !jwt.audiences.is_empty()) {
            anyhow::bail!("an issuer or audience of tokens is set, but no key: pass --jwt-secret-env or --jwt-jwks");
        }
        // A flag replaces the file's value of the same name.
        let mut broker: Vec<(String, String)> = file.broker.into_iter().collect();
        broker.retain(|(key, _)| !self.settings.iter().any(|(set, _)| set == key));
        broker.extend(self.settings);
        Ok(ServeConfig {
            data_dir: self.data_dir.or(file.data_dir).unwrap_or_else(|| PathBuf::from("tidelog-data")),
            node: NodeId(self.node_id.or(file.node_id).unwrap_or(1)),
            kafka: KafkaListener {
                name: name.unwrap_or_else(|| "PLAINTEXT".into()),
                listen: address(self.kafka_listen, file.kafka.listen.as_deref(), "kafka.listen", 9092)?,
                advertise,
            },
            http: address(self.http_listen, file.http.listen.as_deref(), "http.listen", 8082)?,
            http_advertise: self.http_advertise.or(file.http.advertise),
            object_store: self.object_store.or(file.store.url),
            store: StoreConfig {
                endpoint: self.s3_endpoint.or(file.store.endpoint),
                region: self.s3_region.or(file.store.region),
                allow_http: self.s3_allow_http || file.store.allow_http,
                no_checksum: self.s3_no_checksum || file.store.no_checksum,
            },
            durability,
            allow_unauthenticated: self.allow_unauthenticated || file.auth.allow_unauthenticated,
            jwt: has_jwt.then_some(jwt),
            broker,
            allowed_origins: or_file(self.allowed_origin, file.http.allowed_origins),
        })
    }
}

fn address(flag: Option<SocketAddr>, file: Option<&str>, key: &str, port: u16) -> Result<SocketAddr> {
    match (flag, file) {
        (Some(address), _) => Ok(address),
        (None, Some(text)) => text.parse().with_context(|| format!("{key} is {text:?}, not an ADDRESS:PORT")),
        (None, None) => Ok(([127, 0, 0, 1], port).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses_may_have_a_name() {
        assert_eq!(advertised("db.example:9092").unwrap(), (None, ("db.example".into(), 9092)));
        assert_eq!(advertised("IN=[::1]:19092").unwrap(), (Some("IN".into()), ("::1".into(), 19092)));
        assert!(advertised("nohost").is_err());
        assert!(advertised("a:b").is_err());
    }

    #[test]
    fn settings_are_pairs() {
        assert_eq!(setting("num.partitions = 3"), Ok(("num.partitions".into(), "3".into())));
        assert!(setting("num.partitions").is_err());
    }
}
