//! Certificates of encrypted listeners: read from PEM files, and read again when these change. A change that cannot be used leaves the old
//! ones in force.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tidelog_handshake::{TlsSource, in_words};
use tidelog_kafka::TlsOptions;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::config::{ClientAuth, Protocol, TlsConfig};
use crate::pem;

/// How often the files are looked at: a renewed certificate holds within this time.
const LOOK: Duration = Duration::from_secs(1);

/// The certificates in force.
pub(super) struct Certificates {
    config: TlsConfig,
    current: RwLock<Current>,
    watch: Mutex<Watch>,
}

/// What handshakes use.
struct Current {
    /// Where SASL or nobody says who a client is.
    without_client: Arc<ServerConfig>,
    /// Where a client's certificate does.
    with_client: Arc<ServerConfig>,
    /// Where HTTP/2 may be chosen.
    https: Arc<ServerConfig>,
}

/// What is known of the files.
struct Watch {
    /// As they were when what is in force was read.
    used: Vec<Stamp>,
    /// As they were when they could not be used.
    failed: Vec<Stamp>,
    /// That failure has been told.
    told: bool,
}

/// Tells whether a file, or what a link points to, has been replaced; none: there is no file.
pub(super) type Stamp = Option<(SystemTime, u64, u64)>;

impl Certificates {
    /// Reads the files; a start with unusable ones fails.
    pub(super) fn load(config: &TlsConfig) -> Result<Self> {
        let watch = Watch { used: stamps(config), failed: Vec::new(), told: false };
        let current = read(config)?;
        Ok(Certificates { config: config.clone(), current: RwLock::new(current), watch: Mutex::new(watch) })
    }

    /// What a listener of this protocol needs: always the newest.
    pub(super) fn options(self: &Arc<Self>, protocol: Protocol) -> TlsOptions {
        let certificates = Arc::clone(self);
        let source = move || {
            let current = certificates.current.read();
            // As Kafka: whoever says by SASL who he is, is not asked for a certificate.
            Arc::clone(if protocol.has_sasl() { &current.without_client } else { &current.with_client })
        };
        TlsOptions { source: Arc::new(source), rules: self.config.rules.clone() }
    }

    /// What the HTTP listener needs.
    pub(super) fn https(self: &Arc<Self>) -> TlsSource {
        let certificates = Arc::clone(self);
        Arc::new(move || Arc::clone(&certificates.current.read().https))
    }

    /// Reads the files again whenever they have changed.
    pub(super) async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
            let certificates = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || certificates.look()).await.is_err() {
                error!("looking for new certificates failed");
            }
        }
    }

    fn look(&self) {
        let now = stamps(&self.config);
        let mut watch = self.watch.lock();
        if watch.used == now || (watch.told && watch.failed == now) {
            return;
        }
        match read(&self.config) {
            Ok(current) => {
                *self.current.write() = current;
                *watch = Watch { used: now, failed: Vec::new(), told: false };
                info!(cert = %self.config.cert.display(), "read new certificates");
            }
            // The files are rarely replaced in one moment: what does not fit together yet has one more look before anybody is told.
            Err(error) => {
                watch.told = watch.failed == now;
                watch.failed = now;
                if watch.told {
                    let error = format!("{error:#}");
                    error!("the new certificates cannot be used; the old ones stay: {}", in_words(&error));
                }
            }
        }
    }
}

fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let files = [Some(&config.cert), Some(&config.key), config.client_ca.as_ref()];
    files.into_iter().flatten().map(|path| stamp(path)).collect()
}

/// The stamp of what is there now.
pub(super) fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

fn read(config: &TlsConfig) -> Result<Current> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = pem::certificates(&config.cert)?;
    let key = pem::private_key(&config.key)?;
    let fit = || format!("{} and {} cannot be used together", config.cert.display(), config.key.display());
    let builder = || ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let without_client = builder()?.with_no_client_auth().with_single_cert(chain.clone(), key.clone_key());
    let without_client = Arc::new(without_client.with_context(fit)?);
    let with_client = match &config.client_ca {
        Some(path) if config.client_auth != ClientAuth::None => {
            let roots = Arc::new(pem::roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let verifier = match config.client_auth {
                ClientAuth::Required => verifier,
                ClientAuth::None | ClientAuth::Requested => verifier.allow_unauthenticated(),
            };
            let builder = builder()?.with_client_cert_verifier(verifier.build()?);
            Arc::new(builder.with_single_cert(chain, key).with_context(fit)?)
        }
        _ => Arc::clone(&without_client),
    };
    let mut https = (*without_client).clone();
    https.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Current { without_client, with_client, https: Arc::new(https) })
}
