//! Every setting of `tidelog serve` but Kafka's own, once: the file's keys, variables, flags, help, `config show` and the reference
//! derive from this table. No setting holds a secret: it names the file or the variable that does.

/// The shape of a value: how the file writes it and whether a flag may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`; the bare flag is `true`.
    Boolean,
    /// Texts: an array in the file, or one alone; with this between them in a variable; a flag that may be repeated.
    List(char),
}

/// One setting. A change needs a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its key in the file.
    pub(crate) key: &'static str,
    /// Its flag, without the dashes.
    pub(crate) flag: &'static str,
    /// Its environment variable.
    pub(crate) env: &'static str,
    /// What stands for the value in help.
    pub(crate) value_name: &'static str,
    /// The shape of its value.
    pub(crate) kind: Kind,
    /// Its value when nobody sets it.
    pub(crate) default: Option<&'static str>,
    /// Without a default: what holds when nobody sets it.
    pub(crate) otherwise: &'static str,
    /// One sentence, without its full stop.
    pub(crate) doc: &'static str,
}

impl Setting {
    const fn new(key: &'static str, flag: &'static str, env: &'static str, doc: &'static str) -> Self {
        Setting { key, flag, env, value_name: "TEXT", kind: Kind::Text, default: None, otherwise: "none", doc }
    }

    const fn value(mut self, value_name: &'static str) -> Self {
        self.value_name = value_name;
        self
    }

    const fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// `true` or `false`, and nobody has said so.
    const fn boolean(self) -> Self {
        self.of(Kind::Boolean).value("true|false").default("false")
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn otherwise(mut self, otherwise: &'static str) -> Self {
        self.otherwise = otherwise;
        self
    }

    /// What holds when nobody sets it, in words.
    pub(crate) fn unset(&self) -> &'static str {
        self.default.unwrap_or(self.otherwise)
    }
}

pub(super) const DATA_DIR: Setting =
    Setting::new("data_dir", "data-dir", "TIDELOG_DATA_DIR", "Where everything local lives")
        .value("DIR")
        .default("./tidelog-data");
pub(super) const NODE_ID: Setting = Setting::new("node_id", "node-id", "TIDELOG_NODE_ID", "This node's number")
    .of(Kind::Integer)
    .value("N")
    .default("1");
pub(super) const KAFKA_LISTEN: Setting = Setting::new(
    "kafka.listen",
    "kafka-listen",
    "TIDELOG_KAFKA_LISTEN",
    "Where the Kafka door listens; port 0 takes a free one; PROTOCOL is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
)
.of(Kind::List(','))
.value("[NAME=][PROTOCOL://]ADDRESS:PORT")
.default("127.0.0.1:9092");
pub(super) const KAFKA_ADVERTISE: Setting = Setting::new(
    "kafka.advertise",
    "kafka-advertise",
    "TIDELOG_KAFKA_ADVERTISE",
    "Where Kafka clients are told to connect",
)
.of(Kind::List(','))
.value("[NAME=]HOST:PORT")
.otherwise("the address they connected to");
pub(super) const SASL_MECHANISMS: Setting = Setting::new(
    "kafka.sasl_mechanisms",
    "kafka-sasl-mechanism",
    "TIDELOG_KAFKA_SASL_MECHANISMS",
    "What clients of SASL listeners may authenticate with: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
)
.of(Kind::List(','))
.value("MECHANISM")
.otherwise("both SCRAM, and OAUTHBEARER if tokens are verified");
pub(super) const TLS_CERT: Setting = Setting::new(
    "tls.cert",
    "tls-cert",
    "TIDELOG_TLS_CERT",
    "Certificate of encrypted listeners, and what it is signed with (PEM); read again when it changes",
)
.value("FILE");
pub(super) const TLS_KEY: Setting = Setting::new(
    "tls.key",
    "tls-key",
    "TIDELOG_TLS_KEY",
    "Private key of encrypted listeners (PEM, without a password); read again when it changes",
)
.value("FILE");
pub(super) const TLS_CLIENT_CA: Setting = Setting::new(
    "kafka.tls.client_ca",
    "kafka-tls-client-ca",
    "TIDELOG_KAFKA_TLS_CLIENT_CA",
    "Who must have signed the certificates of clients of SSL listeners (PEM); read again when it changes",
)
.value("FILE");
pub(super) const TLS_CLIENT_AUTH: Setting = Setting::new(
    "kafka.tls.client_auth",
    "kafka-tls-client-auth",
    "TIDELOG_KAFKA_TLS_CLIENT_AUTH",
    "Must clients of SSL listeners have a certificate (Kafka's ssl.client.auth; SASL_SSL never asks)",
)
.value("none|requested|required")
.otherwise("required if there is a client CA, otherwise none");
pub(super) const TLS_PRINCIPAL_RULES: Setting = Setting::new(
    "kafka.tls.principal_rules",
    "kafka-tls-principal-rules",
    "TIDELOG_KAFKA_TLS_PRINCIPAL_RULES",
    "How the subject of a client's certificate becomes a principal, in the form of Kafka's ssl.principal.mapping.rules",
)
.value("RULES")
.default("DEFAULT");
pub(super) const AUDIT_LOG: Setting = Setting::new(
    "audit.file",
    "audit-log",
    "TIDELOG_AUDIT_LOG",
    "Write a line of JSON for each authentication (over HTTP each refused one), refusal and change to this file; one that is renamed is begun anew",
)
.value("FILE");
pub(super) const HTTP_LISTEN: Setting = Setting::new(
    "http.listen",
    "http-listen",
    "TIDELOG_HTTP_LISTEN",
    "Where HTTP and gRPC listen, encrypted behind https://; port 0 takes a free one",
)
.value("[http[s]://]ADDRESS:PORT")
.default("127.0.0.1:8082");
pub(super) const HTTP_BASIC: Setting = Setting::new(
    "http.basic",
    "http-basic",
    "TIDELOG_HTTP_BASIC",
    "Users with passwords may come in by HTTP Basic; each request is checked, which tokens do faster",
)
.boolean();
pub(super) const HTTP_ADVERTISE: Setting =
    Setting::new("http.advertise", "http-advertise", "TIDELOG_HTTP_ADVERTISE", "The URL that others are told for HTTP")
        .value("URL")
        .otherwise("the address it listens on");
pub(super) const ALLOWED_ORIGINS: Setting = Setting::new(
    "http.allowed_origins",
    "allowed-origin",
    "TIDELOG_ALLOWED_ORIGINS",
    "Web origins whose pages may call, such as https://example.org",
)
.of(Kind::List(','))
.value("ORIGIN");
pub(super) const STORE_URL: Setting = Setting::new(
    "store.url",
    "object-store",
    "TIDELOG_OBJECT_STORE",
    "Object store of cold segments and tables: file:///DIR or s3://BUCKET/PREFIX",
)
.value("URL")
.otherwise("a folder in the data directory");
pub(super) const STORE_ENDPOINT: Setting =
    Setting::new("store.endpoint", "s3-endpoint", "TIDELOG_S3_ENDPOINT", "Base URL of an S3-compatible service")
        .value("URL")
        .otherwise("AWS");
pub(super) const STORE_REGION: Setting =
    Setting::new("store.region", "s3-region", "TIDELOG_S3_REGION", "Region of the bucket")
        .value("REGION")
        .otherwise("what the AWS default chain says");
pub(super) const STORE_ALLOW_HTTP: Setting = Setting::new(
    "store.allow_http",
    "s3-allow-http",
    "TIDELOG_S3_ALLOW_HTTP",
    "Accept an http:// endpoint: requests are signed, but not encrypted",
)
.boolean();
pub(super) const STORE_NO_CHECKSUM: Setting = Setting::new(
    "store.no_checksum",
    "s3-no-checksum",
    "TIDELOG_S3_NO_CHECKSUM",
    "Send no checksums; some older services refuse them",
)
.boolean();
pub(super) const DURABILITY: Setting = Setting::new(
    "log.durability",
    "durability",
    "TIDELOG_DURABILITY",
    "When a record counts as safe: fsync, when it is flushed to the disk, so that no power cut takes it back; page-cache, when it is \
     written, as Kafka counts it",
)
.value("fsync|page-cache")
.default("fsync");
pub(super) const ALLOW_UNAUTHENTICATED: Setting = Setting::new(
    "auth.allow_unauthenticated",
    "allow-unauthenticated",
    "TIDELOG_ALLOW_UNAUTHENTICATED",
    "Listen beyond loopback without authentication",
)
.boolean();
pub(super) const AUTHORIZER: Setting = Setting::new(
    "auth.authorizer",
    "authorizer",
    "TIDELOG_AUTHORIZER",
    "Who may do what: none, whoever came in may do everything; acl, what Kafka's access rules allow",
)
.value("none|acl")
.default("none");
pub(super) const SUPER_USERS: Setting = Setting::new(
    "auth.super_users",
    "super-user",
    "TIDELOG_SUPER_USERS",
    "Principals that may do everything whatever the access rules say, such as User:admin",
)
.of(Kind::List(';'))
.value("PRINCIPAL");
pub(super) const ALLOW_EVERYONE: Setting = Setting::new(
    "auth.allow_everyone_if_no_acl_found",
    "allow-everyone-if-no-acl-found",
    "TIDELOG_ALLOW_EVERYONE_IF_NO_ACL_FOUND",
    "Everybody may do everything to a resource that no access rule is about",
)
.boolean();
pub(super) const JWT_SECRET_ENV: Setting = Setting::new(
    "auth.jwt.secret_env",
    "jwt-secret-env",
    "TIDELOG_JWT_SECRET_ENV",
    "Verify bearer tokens with the shared secret in this environment variable; their times are taken with 30 s of leeway",
)
.value("NAME");
pub(super) const JWT_JWKS: Setting = Setting::new(
    "auth.jwt.jwks",
    "jwt-jwks",
    "TIDELOG_JWT_JWKS",
    "Verify bearer tokens with the keys of this JWKS; a file is read again when it changes, an address in time and when a token names an unknown key",
)
.value("FILE|URL");
pub(super) const JWT_JWKS_REFRESH: Setting = Setting::new(
    "auth.jwt.jwks_refresh_ms",
    "jwt-jwks-refresh-ms",
    "TIDELOG_JWT_JWKS_REFRESH_MS",
    "How old keys from an address may become before it is asked again",
)
.of(Kind::Integer)
.value("MS")
.default("3600000");
pub(super) const JWT_SUBJECT_CLAIM: Setting = Setting::new(
    "auth.jwt.subject_claim",
    "jwt-subject-claim",
    "TIDELOG_JWT_SUBJECT_CLAIM",
    "The claim of a token that names its user",
)
.value("CLAIM")
.default("sub");
pub(super) const JWT_ISSUER: Setting =
    Setting::new("auth.jwt.issuer", "jwt-issuer", "TIDELOG_JWT_ISSUER", "The only accepted issuer of tokens")
        .value("ISS")
        .otherwise("any");
pub(super) const JWT_AUDIENCE: Setting =
    Setting::new("auth.jwt.audience", "jwt-audience", "TIDELOG_JWT_AUDIENCE", "Accepted audiences of tokens")
        .of(Kind::List(','))
        .value("AUD")
        .otherwise("any");
pub(super) const JWT_ANY_AUDIENCE: Setting = Setting::new(
    "auth.jwt.any_audience",
    "jwt-any-audience",
    "TIDELOG_JWT_ANY_AUDIENCE",
    "Take every token that a key has signed, whoever it was made for; without this, an audience or issuer must be named for keys from an address",
)
.boolean();
pub(super) const LOG_FILTER: Setting = Setting::new(
    "logging.filter",
    "log",
    "TIDELOG_LOG",
    "What is logged: error, warn, info, debug, trace, or a filter such as info,tidelog_broker=debug",
)
.value("FILTER")
.default("info");

/// All of them, in the order in which people read them.
pub(crate) const ALL: &[Setting] = &[
    DATA_DIR,
    NODE_ID,
    KAFKA_LISTEN,
    KAFKA_ADVERTISE,
    SASL_MECHANISMS,
    TLS_CERT,
    TLS_KEY,
    TLS_CLIENT_CA,
    TLS_CLIENT_AUTH,
    TLS_PRINCIPAL_RULES,
    AUDIT_LOG,
    HTTP_LISTEN,
    HTTP_BASIC,
    HTTP_ADVERTISE,
    ALLOWED_ORIGINS,
    STORE_URL,
    STORE_ENDPOINT,
    STORE_REGION,
    STORE_ALLOW_HTTP,
    STORE_NO_CHECKSUM,
    DURABILITY,
    ALLOW_UNAUTHENTICATED,
    AUTHORIZER,
    SUPER_USERS,
    ALLOW_EVERYONE,
    JWT_SECRET_ENV,
    JWT_JWKS,
    JWT_JWKS_REFRESH,
    JWT_SUBJECT_CLAIM,
    JWT_ISSUER,
    JWT_AUDIENCE,
    JWT_ANY_AUDIENCE,
    LOG_FILTER,
];

/// The setting with this key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    ALL.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_flags_and_variables_name_one_setting_each() {
        for (at, one) in ALL.iter().enumerate() {
            assert!(one.env.starts_with("TIDELOG_") && !one.doc.is_empty() && !one.doc.ends_with('.'), "{one:?}");
            assert!(!one.unset().is_empty(), "{one:?}");
            for other in ALL.iter().skip(at + 1) {
                assert!(one.key != other.key && one.flag != other.flag && one.env != other.env, "{one:?} {other:?}");
            }
        }
    }
}
