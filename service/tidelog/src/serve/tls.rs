//! Certificates of encrypted listeners: those of the start, and those that listeners are given while the server runs.

mod held;
mod lifetimes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use parking_lot::RwLock;
use tidelog_broker::{InForce, TlsListeners};
use tidelog_handshake::{TlsSource, in_words};
use tidelog_kafka::TlsOptions;
use tidelog_metadata::BrokerConfig;
use tidelog_metadata::broker_config::ListenerTls;
use tidelog_security::alternative_names;
use tidelog_security::distinguished_name::{MappingRules, subject};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::held::{Held, Sources, check_paths, own_files};
pub(super) use self::held::{Stamp, stamp};
use super::config::{ClientAuth, KafkaListener, Protocol, ServeConfig, TlsConfig};
use super::safety;

/// How often the files are looked at: a renewed certificate holds within this time.
const LOOK: Duration = Duration::from_secs(1);

/// What a start and `config check` ask before anything is opened: can the files be used together? What comes back is to be warned of: a
/// certificate that is over makes clients turn away, which is no reason not to serve the others.
pub(super) fn check(config: &TlsConfig) -> Result<Vec<String>> {
    let sources = Sources::of_start(config);
    Ok(sources.read()?.warnings(&sources))
}

/// The certificates in force.
pub(super) struct Certificates {
    /// Those of the start.
    base: Arc<Held>,
    /// Those of listeners that have their own, by their names in small letters.
    own: RwLock<BTreeMap<String, Arc<Held>>>,
    /// The Kafka listeners by such names.
    listeners: BTreeMap<String, Protocol>,
    /// Those of them where a start would not go on without asking for certificates: others can reach them, and nothing else says who comes.
    guarded: BTreeSet<String>,
    rules: MappingRules,
    allow_dn_changes: bool,
    allow_san_changes: bool,
}

impl Certificates {
    /// Reads the files; a start with unusable ones fails.
    pub(super) fn load(config: &TlsConfig, serve: &ServeConfig, settings: &BrokerConfig) -> Result<Self> {
        let named = |listener: &KafkaListener| (listener.name.to_lowercase(), listener.protocol);
        let guarded =
            serve.kafka.iter().filter(|listener| !serve.allow_unauthenticated && safety::needs_certificates(listener));
        Ok(Certificates {
            base: Arc::new(Held::read(Sources::of_start(config))?),
            own: RwLock::default(),
            listeners: serve.kafka.iter().map(named).collect(),
            guarded: guarded.map(|listener| named(listener).0).collect(),
            rules: config.rules.clone(),
            allow_dn_changes: settings.ssl_allow_dn_changes,
            allow_san_changes: settings.ssl_allow_san_changes,
        })
    }

    /// Takes up what listeners were given before this start. It must be usable: who asks less of clients than somebody has set, or shows
    /// them another certificate, serves whom he should not.
    pub(super) fn begin(&self, own: &BTreeMap<String, ListenerTls>) -> Result<()> {
        for listener in own.keys() {
            if let Err(why) = self.encrypted(listener) {
                warn!("listener.name.{listener}.ssl.… has no effect: {why}");
            }
        }
        let mut read = BTreeMap::new();
        for (listener, tls) in own {
            let one = [(listener.clone(), tls.clone())].into();
            read.extend(self.read_own(&one, &BTreeSet::new()).map_err(|why| unusable(listener, tls, &why))?);
        }
        *self.own.write() = read;
        Ok(())
    }

    fn encrypted(&self, listener: &str) -> Result<(), String> {
        match self.listeners.get(listener) {
            Some(protocol) if protocol.has_tls() => Ok(()),
            Some(_) => Err(format!("listener {listener} is not encrypted")),
            None => Err(format!("{listener} is no encrypted Kafka listener")),
        }
    }

    /// What has not changed stays what it is; only of listeners in `set` the files are looked at for that. What is left of a listener that is
    /// not encrypted any more has no effect.
    fn read_own(
        &self,
        own: &BTreeMap<String, ListenerTls>,
        set: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Arc<Held>>, String> {
        let before = self.own.read().clone();
        let read = |(listener, tls): (&String, &ListenerTls)| {
            let sources = self.base.sources.with(listener, tls)?;
            if self.guarded.contains(listener) && sources.client_auth != ClientAuth::Required {
                return Err(format!(
                    "others can reach listener {listener}, and without ssl.client.auth=required nobody says who he is; a start with \
                     --allow-unauthenticated allows that"
                ));
            }
            let same = |held: &&Arc<Held>| held.sources == sources && (!set.contains(listener) || held.is_newest());
            let held = match before.get(listener).filter(same) {
                Some(held) => Arc::clone(held),
                None => Arc::new(Held::read(sources).map_err(|error| in_words(&format!("{error:#}")).into_owned())?),
            };
            Ok((listener.clone(), held))
        };
        own.iter().filter(|(listener, _)| self.encrypted(listener).is_ok()).map(read).collect()
    }

    /// Kafka's rule: a certificate is renewed while the server runs, not replaced by another's.
    fn check_names(&self, before: &Held, after: &Held) -> Result<(), String> {
        let (Some(old), Some(new)) = (before.certificate(), after.certificate()) else { return Ok(()) };
        let (old_name, new_name) = (subject(&old).unwrap_or_default(), subject(&new).unwrap_or_default());
        if !self.allow_dn_changes && !old_name.eq_ignore_ascii_case(&new_name) {
            return Err(format!(
                "the subject of {} is {new_name:?}, and that of the certificate in force {old_name:?}; a start with ssl.allow.dn.changes=true \
                 allows that",
                after.sources.cert
            ));
        }
        let (old_names, new_names) = (alternative_names(&old), alternative_names(&new));
        let lacking: Vec<&str> = old_names.difference(&new_names).map(String::as_str).collect();
        if !self.allow_san_changes && !lacking.is_empty() {
            return Err(format!(
                "{} lacks subject alternative names of the certificate in force: {}; a start with ssl.allow.san.changes=true allows that",
                after.sources.cert,
                lacking.join(", ")
            ));
        }
        Ok(())
    }

    /// What a listener has now.
    fn of(&self, listener: &str) -> Arc<Held> {
        self.own.read().get(listener).map_or_else(|| Arc::clone(&self.base), Arc::clone)
    }

    /// What a Kafka listener needs: always the newest.
    pub(super) fn options(self: &Arc<Self>, listener: &KafkaListener) -> TlsOptions {
        let (certificates, name, protocol) = (Arc::clone(self), listener.name.to_lowercase(), listener.protocol);
        let source = move || certificates.of(&name).for_kafka(protocol);
        TlsOptions { source: Arc::new(source), rules: self.rules.clone() }
    }

    /// What the HTTP listener needs.
    pub(super) fn https(self: &Arc<Self>) -> TlsSource {
        let base = Arc::clone(&self.base);
        Arc::new(move || base.for_http())
    }

    /// Reads files again whenever they have changed.
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
        self.base.look();
        let own: Vec<Arc<Held>> = self.own.read().values().cloned().collect();
        own.iter().for_each(|held| held.look());
    }
}

/// Why a start is refused for what a listener was given before it, and how to go on: what is stored can change only while a server runs.
fn unusable(listener: &str, tls: &ListenerTls, why: &str) -> anyhow::Error {
    let files: Vec<String> =
        own_files(listener, tls).iter().map(|(setting, path)| format!("{setting}={path}")).collect();
    let files = if files.is_empty() { String::new() } else { format!(" ({})", files.join(", ")) };
    anyhow!(
        "TLS that listener {listener} was given while the server ran cannot be used: {why}{files}; make that usable, or start with the \
         listener under another name in --kafka-listen and take its settings back with `tidelog broker config N --delete \
         listener.name.{listener}.ssl.…`"
    )
}

impl TlsListeners for Certificates {
    fn prepare(
        self: Arc<Self>,
        own: &BTreeMap<String, ListenerTls>,
        set: &BTreeSet<String>,
    ) -> Result<InForce, String> {
        set.iter().try_for_each(|listener| self.encrypted(listener))?;
        own.iter()
            .filter(|(listener, _)| set.contains(*listener))
            .try_for_each(|(name, tls)| check_paths(name, tls))?;
        let (before, after) = (self.own.read().clone(), self.read_own(own, set)?);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let mut changed = Vec::new();
        for name in names {
            let of = |all: &BTreeMap<String, Arc<Held>>| Arc::clone(all.get(name).unwrap_or(&self.base));
            let (old, new) = (of(&before), of(&after));
            if !Arc::ptr_eq(&old, &new) {
                self.check_names(&old, &new)?;
                let warnings = new.warnings();
                changed.push((name.clone(), new, warnings));
            }
        }
        Ok(Box::new(move || {
            *self.own.write() = after;
            for (listener, held, warnings) in changed {
                info!(listener, cert = %held.sources.cert, "new connections of a listener have other TLS settings");
                warnings.iter().for_each(|warning| warn!(listener, "{warning}"));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use tidelog_harness::rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tidelog_harness::tempfile::{TempDir, tempdir};
    use tidelog_metadata::broker_config::KeyStore;

    use super::*;

    /// A folder with a certificate that has ended and its key in one file.
    fn both() -> (TempDir, PathBuf) {
        let folder = tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2020, 1, 1);
        let file = folder.path().join("both.pem");
        std::fs::write(&file, params.self_signed(&key).unwrap().pem() + &key.serialize_pem()).unwrap();
        (folder, file)
    }

    fn certificates(file: &Path) -> Arc<Certificates> {
        let config = TlsConfig {
            cert: file.to_owned(),
            key: file.to_owned(),
            client_ca: Some(file.to_owned()),
            client_auth: ClientAuth::Required,
            rules: MappingRules::default(),
        };
        let (ssl, other) = (("ssl".to_owned(), Protocol::Ssl), ("other".to_owned(), Protocol::Ssl));
        Arc::new(Certificates {
            base: Arc::new(Held::read(Sources::of_start(&config)).unwrap()),
            own: RwLock::default(),
            listeners: [ssl, other, ("plain".to_owned(), Protocol::Plaintext)].into(),
            guarded: ["ssl".to_owned()].into(),
            rules: config.rules,
            allow_dn_changes: false,
            allow_san_changes: false,
        })
    }

    fn asking(auth: &str) -> ListenerTls {
        ListenerTls { client_auth: Some(auth.to_owned()), ..ListenerTls::default() }
    }

    fn with_file(path: &Path) -> ListenerTls {
        let keystore = Some(KeyStore::File(path.display().to_string()));
        ListenerTls { keystore, ..ListenerTls::default() }
    }

    fn of(own: &[(&str, &ListenerTls)]) -> BTreeMap<String, ListenerTls> {
        own.iter().map(|(listener, own)| ((*listener).to_owned(), (*own).clone())).collect()
    }

    #[test]
    fn a_listener_that_others_reach_goes_on_asking_for_certificates() {
        let (_folder, file) = both();
        let certificates = certificates(&file);
        let asks = |listener: &str, auth: &str| {
            let set = [listener.to_owned()].into();
            Arc::clone(&certificates).prepare(&of(&[(listener, &asking(auth))]), &set).map(drop)
        };
        assert_eq!(asks("ssl", "required"), Ok(()));
        for less in ["none", "requested"] {
            assert!(asks("ssl", less).unwrap_err().contains("--allow-unauthenticated"), "{less}");
        }
        assert_eq!(asks("plain", "none").unwrap_err(), "listener plain is not encrypted");
        assert_eq!(asks("http", "none").unwrap_err(), "http is no encrypted Kafka listener");
        assert!(certificates.begin(&of(&[("ssl", &asking("none"))])).is_err(), "nor does a start");
        assert!(certificates.begin(&of(&[("plain", &asking("none"))])).is_ok(), "it has no effect any more");
    }

    #[test]
    fn a_change_of_one_listener_leaves_what_others_have() {
        let (folder, file) = both();
        let certificates = certificates(&file);
        let others = folder.path().join("others.pem");
        std::fs::copy(&file, &others).unwrap();
        let prepare = |own: &[(&str, &ListenerTls)], set: &str| {
            Arc::clone(&certificates).prepare(&of(own), &[set.to_owned()].into())
        };
        let (gone, other) = (with_file(&folder.path().join("gone.pem")), with_file(&others));
        let left = [("away", &gone), ("plain", &gone), ("other", &other)];
        prepare(&left, "other").unwrap()();
        let held = certificates.of("other");
        assert!(!Arc::ptr_eq(&held, &certificates.base));
        assert!(Arc::ptr_eq(&certificates.of("plain"), &certificates.base));

        // Its file may be away for a moment: whoever changes another one has nothing to do with that.
        std::fs::remove_file(&others).unwrap();
        let asked = asking("required");
        let all: Vec<_> = left.into_iter().chain([("ssl", &asked)]).collect();
        prepare(&all, "ssl").unwrap()();
        assert!(Arc::ptr_eq(&certificates.of("other"), &held));
        let told = prepare(&all, "other").err().unwrap();
        assert!(told.contains("others.pem does not exist"), "{told}");
    }

    #[test]
    fn a_file_is_named_by_an_absolute_path_and_a_refused_start_names_the_setting() {
        let (folder, file) = both();
        let certificates = certificates(&file);
        for path in ["live.pem", "tls/live.pem", ""] {
            let own = with_file(Path::new(path));
            let told = Arc::clone(&certificates).prepare(&of(&[("other", &own)]), &["other".to_owned()].into()).err();
            let told = told.unwrap();
            let begins = format!("listener.name.other.ssl.keystore.location is {path:?}: it takes an absolute path");
            assert!(told.starts_with(&begins), "{told}");
        }
        let gone = with_file(&folder.path().join("gone.pem"));
        let told = certificates.begin(&of(&[("other", &gone)])).unwrap_err().to_string();
        for part in ["gone.pem does not exist (listener.name.other.ssl.keystore.location=/", "broker config N --delete"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn what_is_told_of_certificates_is_of_those_that_were_read() {
        let (_folder, file) = both();
        let certificates = certificates(&file);
        std::fs::remove_file(&file).unwrap();
        let told = certificates.base.warnings();
        assert!(told.len() == 2 && told.iter().all(|text| text.contains("has ended, on 2020-01-01")), "{told:?}");
    }
}
