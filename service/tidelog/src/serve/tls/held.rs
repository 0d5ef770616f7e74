//! What an encrypted listener serves with: certificate, key and authorities, read from where they are, and again when a file has changed. A
//! change that cannot be used leaves the old ones in force.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls_pki_types::CertificateDer;
use tidelog_handshake::in_words;
use tidelog_metadata::broker_config::{KeyStore, ListenerTls, TrustStore};
use tracing::{error, info};

use super::lifetimes::{now, told_of};
use crate::pem::{self, Source};
use crate::serve::config::{ClientAuth, Protocol, TlsConfig};

/// Where all of it is.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sources {
    /// The certificate and what it is signed with.
    pub(super) cert: Source,
    key: Source,
    /// Whom clients' certificates must be signed by.
    pub(super) client_ca: Option<Source>,
    pub(super) client_auth: ClientAuth,
    /// Are those asked for a certificate, too, who say by SASL who they are?
    beside_sasl: bool,
}

impl Sources {
    /// What all listeners have from the start. As with Kafka, whoever says by SASL who he is, is not asked for a certificate.
    pub(super) fn of_start(config: &TlsConfig) -> Self {
        Sources {
            cert: Source::file(&config.cert),
            key: Source::file(&config.key),
            client_ca: config.client_ca.as_deref().map(Source::file),
            client_auth: config.client_auth,
            beside_sasl: false,
        }
    }

    /// The same with what a listener says itself. As with Kafka (KIP-684), what it says of clients' certificates holds beside SASL too.
    pub(super) fn with(&self, listener: &str, own: &ListenerTls) -> Result<Self, String> {
        let of_setting = |setting: &str| format!("listener.name.{listener}.ssl.{setting}");
        let value = |setting: &str, text| Source::Setting { name: of_setting(setting), text };
        let mut sources = self.clone();
        match own.keystore.clone() {
            None => {}
            Some(KeyStore::File(path)) => {
                sources.cert = Source::File(PathBuf::from(&path));
                sources.key = Source::File(PathBuf::from(path));
            }
            Some(KeyStore::Values { chain, key }) => {
                sources.cert = value("keystore.certificate.chain", chain);
                sources.key = value("keystore.key", key);
            }
        }
        match own.truststore.clone() {
            None => {}
            Some(TrustStore::File(path)) => sources.client_ca = Some(Source::File(PathBuf::from(path))),
            Some(TrustStore::Value(text)) => sources.client_ca = Some(value("truststore.certificates", text)),
        }
        if let Some(asked) = &own.client_auth {
            sources.client_auth = ClientAuth::from_name(asked)?;
            sources.beside_sasl = true;
        }
        if sources.client_auth != ClientAuth::None && sources.client_ca.is_none() {
            let (file, value) = (of_setting("truststore.location"), of_setting("truststore.certificates"));
            return Err(format!(
                "clients are asked for certificates: set {file} or {value}, so that these can be verified"
            ));
        }
        Ok(sources)
    }

    fn all(&self) -> impl Iterator<Item = &Source> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca)
    }

    /// What tells whether a file of these has changed; values of settings do not.
    fn stamps(&self) -> Vec<Stamp> {
        let files = self.all().filter_map(|source| match source {
            Source::File(path) | Source::FileOrPipe(path) => Some(stamp(path)),
            Source::Setting { .. } => None,
        });
        files.collect()
    }

    /// Reads everything, and fails if it cannot be used together.
    pub(super) fn read(&self) -> Result<Current> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = pem::certificates(&self.cert)?;
        let certificate = chain.first().cloned();
        if let Some(own) = &certificate {
            // Otherwise the key would be blamed too.
            let parsed = ParsedCertificate::try_from(own);
            parsed.with_context(|| format!("{} has an unusable certificate", self.cert))?;
        }
        let key = pem::private_key(&self.key)?;
        let fit = || pem::misfits(&self.cert, &self.key);
        let builder =
            || ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let without_client = builder()?.with_no_client_auth().with_single_cert(chain.clone(), key.clone_key());
        let without_client = Arc::new(without_client.with_context(fit)?);
        let mut authorities = Vec::new();
        let mut roots = None;
        if let Some(source) = &self.client_ca {
            authorities = pem::certificates(source)?;
            roots = Some(pem::as_roots(source, authorities.clone())?);
        }
        let with_client = match roots {
            Some(roots) if self.client_auth != ClientAuth::None => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                let verifier = match self.client_auth {
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
        Ok(Current { certificate, authorities, without_client, with_client, https: Arc::new(https) })
    }
}

/// The files that a listener names itself, each behind the setting that does.
pub(super) fn own_files<'a>(listener: &str, own: &'a ListenerTls) -> Vec<(String, &'a str)> {
    let mut files = Vec::new();
    let mut add = |setting: &str, path: &'a str| files.push((format!("listener.name.{listener}.ssl.{setting}"), path));
    if let Some(KeyStore::File(path)) = &own.keystore {
        add("keystore.location", path);
    }
    if let Some(TrustStore::File(path)) = &own.truststore {
        add("truststore.location", path);
    }
    files
}

/// Refuses a path that means another file, or none, where the next start has another working directory.
pub(super) fn check_paths(listener: &str, own: &ListenerTls) -> Result<(), String> {
    let files = own_files(listener, own);
    match files.iter().find(|(_, path)| !Path::new(path).is_absolute()) {
        Some((setting, path)) => Err(format!(
            "{setting} is {path:?}: it takes an absolute path, for the next start may be in another directory"
        )),
        None => Ok(()),
    }
}

/// What handshakes use.
pub(super) struct Current {
    /// The certificate that clients are shown.
    certificate: Option<CertificateDer<'static>>,
    /// Who signs the certificates of clients.
    authorities: Vec<CertificateDer<'static>>,
    /// Where SASL or nobody says who a client is.
    without_client: Arc<ServerConfig>,
    /// Where a client's certificate does, or lets him in.
    with_client: Arc<ServerConfig>,
    /// Where HTTP/2 may be chosen.
    https: Arc<ServerConfig>,
}

impl Current {
    /// What is to be told of how long this is valid, which was read there.
    pub(super) fn warnings(&self, sources: &Sources) -> Vec<String> {
        let now = now();
        let own = self.certificate.iter().filter_map(|own| told_of(&sources.cert, "clients turn away", own, now));
        let told = |(source, one): (&Source, &CertificateDer<'_>)| {
            told_of(source, "clients that it has signed are refused", one, now)
        };
        let authorities =
            sources.client_ca.iter().flat_map(|source| self.authorities.iter().map(move |one| (source, one)));
        own.chain(authorities.filter_map(told)).collect()
    }
}

/// What is in force, and where it is from.
pub(super) struct Held {
    pub(super) sources: Sources,
    current: RwLock<Current>,
    watch: Mutex<Watch>,
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
pub(in crate::serve) type Stamp = Option<(SystemTime, u64, u64)>;

/// The stamp of what is there now.
pub(in crate::serve) fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

impl Held {
    /// Reads what is there.
    pub(super) fn read(sources: Sources) -> Result<Self> {
        let watch = Watch { used: sources.stamps(), failed: Vec::new(), told: false };
        let current = sources.read()?;
        Ok(Held { sources, current: RwLock::new(current), watch: Mutex::new(watch) })
    }

    /// What handshakes of a listener of this protocol use.
    pub(super) fn for_kafka(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let current = self.current.read();
        let asked = self.sources.beside_sasl || !protocol.has_sasl();
        Arc::clone(if asked { &current.with_client } else { &current.without_client })
    }

    /// What those of HTTP use.
    pub(super) fn for_http(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().https)
    }

    /// The certificate that clients are shown.
    pub(super) fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.current.read().certificate.clone()
    }

    /// What is to be told of how long what was read is valid.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.current.read().warnings(&self.sources)
    }

    /// Have the files not changed since they were read?
    pub(super) fn is_newest(&self) -> bool {
        self.watch.lock().used == self.sources.stamps()
    }

    /// Reads the files again if they have changed.
    pub(super) fn look(&self) {
        let now = self.sources.stamps();
        let mut watch = self.watch.lock();
        if watch.used == now || (watch.told && watch.failed == now) {
            return;
        }
        match self.sources.read() {
            Ok(current) => {
                *self.current.write() = current;
                *watch = Watch { used: now, failed: Vec::new(), told: false };
                info!(cert = %self.sources.cert, "read new certificates");
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
