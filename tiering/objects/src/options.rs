//! How a store is reached: what the URL does not say.

use std::sync::Arc;

use crate::Limits;

/// Where credentials for S3 come from.
#[derive(Clone, Default)]
pub enum Credentials {
    /// AWS's default chain: environment, profile files, web identity, container, instance metadata.
    #[default]
    Chain,
    /// A fixed pair.
    Static {
        /// The access key's id.
        access_key_id: String,
        /// The secret; never printed.
        secret_access_key: String,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credentials::Chain => f.write_str("Chain"),
            Credentials::Static { access_key_id, .. } => write!(f, "Static({access_key_id}, …)"),
        }
    }
}

/// Tells whether so many bytes may be written to a folder. Somebody else on its file system may need what is left.
#[derive(Clone)]
pub struct HasRoom(pub Arc<dyn Fn(u64) -> bool + Send + Sync>);

impl std::fmt::Debug for HasRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HasRoom")
    }
}

/// Options of a store, beside its URL.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Base URL of an S3-compatible service; none means AWS.
    pub endpoint: Option<String>,
    /// AWS region; none means what the AWS chain says, then `us-east-1`.
    pub region: Option<String>,
    /// Put the bucket into the path instead of the host name; none means yes if an endpoint is given.
    pub path_style: Option<bool>,
    /// Accept `http://` endpoints. Requests are signed but not encrypted then.
    pub allow_http: bool,
    /// Send a SHA-256 checksum with every put. Older stores refuse newer checksums; this one is the oldest.
    pub checksum: bool,
    /// Create a missing bucket instead of refusing it.
    pub create_bucket: bool,
    /// This store was opened and probed before: if it does not answer now, it is opened all the same. A start must not depend on it.
    pub known: bool,
    /// Where S3 credentials come from.
    pub credentials: Credentials,
    /// Asked before more than a little is written to a folder; none means that it may be filled.
    pub room: Option<HasRoom>,
    /// Bounds on waiting.
    pub limits: Limits,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            endpoint: None,
            region: None,
            path_style: None,
            allow_http: false,
            checksum: true,
            create_bucket: false,
            known: false,
            credentials: Credentials::Chain,
            room: None,
            limits: Limits::default(),
        }
    }
}

/// `scheme://user:password@host` without what stands before the `@`.
pub fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://…{}", rest.get(user.len()..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Objects;

    #[test]
    fn no_refusal_tells_an_endpoints_password() {
        let endpoint = Some("http://me:secret@s3.example".to_owned());
        let options = StoreOptions { endpoint, ..StoreOptions::default() };
        let refusal = Objects::check("s3://bucket", &options).unwrap_err().to_string();
        assert!(refusal.contains("http://…@s3.example is not encrypted"), "{refusal}");
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}
