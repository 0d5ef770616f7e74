//! Certificates of encrypted listeners: read from PEM files, and read again when these change. A change that cannot be used leaves the old
//! ones in force.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tidelog_handshake::{TlsSource, in_words};
use tidelog_kafka::TlsOptions;
use tidelog_model::Timestamp;
use tidelog_security::validity;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::config::{ClientAuth, Protocol, TlsConfig};
use crate::output::time_for_people;
use crate::pem;

/// How often the files are looked at: a renewed certificate holds within this time.
const LOOK: Duration = Duration::from_secs(1);

/// A certificate that ends within this time is told of at a start and by `config check`.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What a start and `config check` ask before anything is opened: can the files be used together? What comes back is to be warned of: a
/// certificate that is over makes clients turn away, which is no reason not to serve the others.
pub(super) fn check(config: &TlsConfig) -> Result<Vec<String>> {
    read(config)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let mut warnings = Vec::new();
    if let Some(own) = pem::certificates(&config.cert)?.first() {
        warnings.extend(told_of(&config.cert, "clients turn away", own, now));
    }
    if let Some(path) = &config.client_ca {
        let authorities = pem::certificates(path)?;
        warnings.extend(
            authorities.iter().filter_map(|one| told_of(path, "clients that it has signed are refused", one, now)),
        );
    }
    Ok(warnings)
}

/// What is to be told of how long a certificate is valid, if anything.
fn told_of(path: &Path, then: &str, certificate: &[u8], now: Timestamp) -> Option<String> {
    let (first, last) = validity(certificate)?;
    let soon = Timestamp(now.get().saturating_add(i64::try_from(ENDS_SOON.as_millis()).unwrap_or(i64::MAX)));
    let (path, day) = (path.display(), |time: Timestamp| time_for_people(time.get()));
    if now < first {
        Some(format!("a certificate in {path} is not valid before {}: {then}", day(first)))
    } else if now > last {
        Some(format!("a certificate in {path} has ended, on {}: {then}", day(last)))
    } else if soon > last {
        Some(format!("a certificate in {path} ends on {}; then {then}", day(last)))
    } else {
        None
    }
}

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
    if let Some(own) = chain.first() {
        // Otherwise the key would be blamed too.
        let parsed = ParsedCertificate::try_from(own);
        parsed.with_context(|| format!("{} has an unusable certificate", config.cert.display()))?;
    }
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

#[cfg(test)]
mod tests {
    use tidelog_harness::rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    #[test]
    fn who_starts_hears_of_certificates_that_are_over_or_will_be() {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 3, 1));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let begins = 1_767_225_600_000;
        let ends = begins + 59 * DAY;
        for (now, told) in [
            (begins - 1, Some("is not valid before 2026-01-01T00:00:00.000Z")),
            (begins, None),
            (ends - 14 * DAY, None),
            (ends - 14 * DAY + 1, Some("ends on 2026-03-01T00:00:00.000Z; then clients turn away")),
            (ends + 1, Some("has ended, on 2026-03-01T00:00:00.000Z: clients turn away")),
        ] {
            let heard = told_of(Path::new("x.pem"), "clients turn away", certificate.der(), Timestamp(now));
            match (heard, told) {
                (None, None) => {}
                (Some(heard), Some(told)) => assert!(heard.contains(told) && heard.contains("x.pem"), "{heard}"),
                other => panic!("{now}: {other:?}"),
            }
        }
    }
}
