//! What `tidelog serve` runs with, after file, environment and flags have been read. Nothing here opens anything.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidelog_model::NodeId;
use tidelog_partition::Durability;
use tidelog_security::AclDefaults;
use tidelog_security::distinguished_name::MappingRules;
use tidelog_security::sasl::Mechanism;

/// The whole configuration of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServeConfig {
    /// Where everything local lives.
    pub(crate) data_dir: PathBuf,
    /// This node's number.
    pub(crate) node: NodeId,
    /// The Kafka listeners, at least one.
    pub(crate) kafka: Vec<KafkaListener>,
    /// Certificates of listeners with TLS.
    pub(crate) tls: Option<TlsConfig>,
    /// What clients of listeners with SASL may choose.
    pub(crate) sasl_mechanisms: Vec<Mechanism>,
    /// May users with passwords come in by HTTP Basic?
    pub(crate) http_basic: bool,
    /// Where the audit log is written, if it is.
    pub(crate) audit_log: Option<PathBuf>,
    /// Where HTTP listens.
    pub(crate) http: SocketAddr,
    /// Is HTTP encrypted?
    pub(crate) https: bool,
    /// The URL that others are told for HTTP.
    pub(crate) http_advertise: Option<String>,
    /// The object store's URL; `None` is a folder in the data directory.
    pub(crate) object_store: Option<String>,
    /// How the store is reached.
    pub(crate) store: StoreConfig,
    /// When a record counts as safe.
    pub(crate) durability: Durability,
    /// Listen beyond loopback without authentication.
    pub(crate) allow_unauthenticated: bool,
    /// Kafka's access rules bind, with this beside them; `None`: whoever came in may do everything.
    pub(crate) acls: Option<AclDefaults>,
    /// Bearer tokens; `None` leaves HTTP open.
    pub(crate) jwt: Option<JwtConfig>,
    /// Settings under Kafka's names.
    pub(crate) broker: Vec<(String, String)>,
    /// Web origins that may call.
    pub(crate) allowed_origins: Vec<String>,
}

impl ServeConfig {
    /// How URLs of the HTTP listener begin.
    pub(crate) const fn http_scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Kafka's security protocols that are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// Neither encryption nor authentication.
    Plaintext,
    /// Encryption; a client's certificate may say who it is.
    Ssl,
    /// Authentication without encryption.
    SaslPlaintext,
    /// Both.
    SaslSsl,
}

impl Protocol {
    /// Every protocol.
    pub(crate) const ALL: &'static [Protocol] =
        &[Protocol::Plaintext, Protocol::Ssl, Protocol::SaslPlaintext, Protocol::SaslSsl];

    /// Kafka's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Protocol::Plaintext => "PLAINTEXT",
            Protocol::Ssl => "SSL",
            Protocol::SaslPlaintext => "SASL_PLAINTEXT",
            Protocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|protocol| protocol.name() == name)
    }

    /// Do clients say who they are?
    pub(crate) const fn has_sasl(self) -> bool {
        matches!(self, Protocol::SaslPlaintext | Protocol::SaslSsl)
    }

    /// Is it encrypted?
    pub(crate) const fn has_tls(self) -> bool {
        matches!(self, Protocol::Ssl | Protocol::SaslSsl)
    }
}

/// One Kafka listener.
#[derive(Clone, Debug)]
pub(crate) struct KafkaListener {
    /// Its name.
    pub(crate) name: String,
    /// How clients speak to it.
    pub(crate) protocol: Protocol,
    /// Where it listens; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Host and port that clients are told; the address they connected to if `None`.
    pub(crate) advertise: Option<(String, u16)>,
}

/// How listeners encrypt.
#[derive(Clone, Debug)]
pub(crate) struct TlsConfig {
    /// PEM file of the certificate and what it is signed with.
    pub(crate) cert: PathBuf,
    /// PEM file of the private key.
    pub(crate) key: PathBuf,
    /// PEM file of whom clients' certificates must be signed by.
    pub(crate) client_ca: Option<PathBuf>,
    /// Must clients have a certificate?
    pub(crate) client_auth: ClientAuth,
    /// How the subject of a client's certificate becomes a principal.
    pub(crate) rules: MappingRules,
}

/// Kafka's `ssl.client.auth`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientAuth {
    /// Nobody is asked for a certificate.
    None,
    /// Whoever has one shows it.
    Requested,
    /// Nobody gets in without one.
    Required,
}

impl ClientAuth {
    /// Kafka's words for it.
    pub(crate) fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(ClientAuth::None),
            "requested" => Ok(ClientAuth::Requested),
            "required" => Ok(ClientAuth::Required),
            _ => Err(format!("{name:?} is none of none, requested and required")),
        }
    }
}

/// How an S3 store is reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreConfig {
    /// Base URL of an S3-compatible service.
    pub(crate) endpoint: Option<String>,
    /// Region.
    pub(crate) region: Option<String>,
    /// Accept `http://` endpoints.
    pub(crate) allow_http: bool,
    /// Send checksums; older stores refuse them.
    pub(crate) no_checksum: bool,
}

/// Where a JWKS is (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JwksPlace {
    /// A file.
    File(PathBuf),
    /// What answers a GET with it.
    Url(reqwest::Url),
}

/// Where tokens are verified from.
#[derive(Clone, Debug)]
pub(crate) struct JwtConfig {
    /// The environment variable that holds a shared secret.
    pub(crate) secret_env: Option<String>,
    /// Where the issuer's public keys are.
    pub(crate) jwks: Option<JwksPlace>,
    /// How old keys from an address may become before it is asked again.
    pub(crate) jwks_refresh: Duration,
    /// The claim that names the user.
    pub(crate) subject_claim: String,
    /// The only accepted issuer.
    pub(crate) issuer: Option<String>,
    /// Accepted audiences.
    pub(crate) audiences: Vec<String>,
    /// Somebody has said that every token of the issuer is meant.
    pub(crate) any_audience: bool,
}
