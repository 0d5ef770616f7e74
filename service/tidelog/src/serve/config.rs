//! What `tidelog serve` runs with, after file, environment and flags have been read. Nothing here opens anything.

use std::net::SocketAddr;
use std::path::PathBuf;

use tidelog_model::NodeId;
use tidelog_partition::Durability;

/// The whole configuration of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServeConfig {
    /// Where everything local lives.
    pub(crate) data_dir: PathBuf,
    /// This node's number.
    pub(crate) node: NodeId,
    /// The Kafka listener.
    pub(crate) kafka: KafkaListener,
    /// Where HTTP listens.
    pub(crate) http: SocketAddr,
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
    /// Bearer tokens; `None` leaves HTTP open.
    pub(crate) jwt: Option<JwtConfig>,
    /// Settings under Kafka's names.
    pub(crate) broker: Vec<(String, String)>,
    /// Web origins that may call.
    pub(crate) allowed_origins: Vec<String>,
}

/// One Kafka listener.
#[derive(Clone, Debug)]
pub(crate) struct KafkaListener {
    /// Its name.
    pub(crate) name: String,
    /// Where it listens; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Host and port that clients are told; the address they connected to if `None`.
    pub(crate) advertise: Option<(String, u16)>,
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

/// Where tokens are verified from.
#[derive(Clone, Debug)]
pub(crate) struct JwtConfig {
    /// The environment variable that holds a shared secret.
    pub(crate) secret_env: Option<String>,
    /// A JWKS file.
    pub(crate) jwks: Option<PathBuf>,
    /// The only accepted issuer.
    pub(crate) issuer: Option<String>,
    /// Accepted audiences.
    pub(crate) audiences: Vec<String>,
}
