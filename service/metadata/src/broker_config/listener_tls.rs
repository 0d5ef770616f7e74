//! What a listener may say of its own TLS while the broker runs (KIP-226, KIP-651), above what all have from the start. Decides what belongs
//! together; reads no certificate.

use std::collections::{BTreeMap, BTreeSet};

use super::listeners::{listener_of, own_name};
use super::{BrokerOverrides, HiddenText};
use crate::config::{Check, ConfigDef, ConfigError};

const CLIENT_AUTH: &str = "ssl.client.auth";
const CHAIN: &str = "ssl.keystore.certificate.chain";
const KEY: &str = "ssl.keystore.key";
const KEYSTORE: &str = "ssl.keystore.location";
const AUTHORITIES: &str = "ssl.truststore.certificates";
const TRUSTSTORE: &str = "ssl.truststore.location";

/// Why stores are of one type.
const PEM_ONLY: Check =
    Check::Only("PEM", "stores of Java (JKS, PKCS12) are not read: put key and certificates into a file in PEM form");

/// Every one of them, ascending by name.
pub(super) static LISTENER_TLS: &[ConfigDef] = &[
    ConfigDef::one_of(
        CLIENT_AUTH,
        "",
        &["none", "requested", "required"],
        "Must clients of the listener have a certificate? It holds beside SASL too.",
    )
    .unset()
    .dynamic(),
    ConfigDef::password(CHAIN, "The listener's certificate and what it is signed with, in PEM form; with ssl.keystore.key.").dynamic(),
    ConfigDef::password(KEY, "The private key of that certificate, in PEM form and without a password.").dynamic(),
    ConfigDef::text(
        KEYSTORE,
        "",
        Check::Any,
        "A file with the listener's private key and certificates in PEM form, instead of both; read again when it changes.",
    )
    .unset()
    .dynamic(),
    ConfigDef::text("ssl.keystore.type", "", PEM_ONLY, "The form of the listener's certificate.").unset().dynamic(),
    ConfigDef::password(AUTHORITIES, "Whom certificates of the listener's clients must be signed by, in PEM form.").dynamic(),
    ConfigDef::text(
        TRUSTSTORE,
        "",
        Check::Any,
        "A file with them, instead; read again when it changes.",
    )
    .unset()
    .dynamic(),
    ConfigDef::text("ssl.truststore.type", "", PEM_ONLY, "The form of these certificates.").unset().dynamic(),
];

/// What Kafka has beside them, and why it is refused.
const PASSWORDS: &[(&str, &str)] = &[
    ("ssl.key.password", "private keys with a password are not read: give the key without one"),
    ("ssl.keystore.password", "stores are read in PEM form only, which has no password"),
    ("ssl.truststore.password", "stores are read in PEM form only, which has no password"),
];

/// What one listener says of its TLS; what it leaves out is as at the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListenerTls {
    /// Its certificate.
    pub keystore: Option<KeyStore>,
    /// Who signs the certificates of its clients.
    pub truststore: Option<TrustStore>,
    /// Must clients have one: `none`, `requested` or `required`?
    pub client_auth: Option<String>,
}

/// Where a private key and its certificates are, in PEM form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyStore {
    /// In one file.
    File(String),
    /// In settings.
    Values {
        /// The certificates, the listener's own first.
        chain: HiddenText,
        /// The private key.
        key: HiddenText,
    },
}

/// Where certificates of authorities are, in PEM form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrustStore {
    /// In a file.
    File(String),
    /// In a setting.
    Value(HiddenText),
}

/// The listener whose own TLS a setting is about, and the setting.
pub(super) fn listener_tls_config(name: &str) -> Option<(&str, &'static ConfigDef)> {
    LISTENER_TLS.iter().find_map(|def| Some((listener_of(name, def.name)?, def)))
}

/// Is this a listener's own, about its TLS?
pub fn is_listener_tls(name: &str) -> bool {
    listener_tls_config(name).is_some()
}

/// Why a password of a store is refused, if the setting is one.
pub(super) fn refused_password(name: &str) -> Option<&'static str> {
    PASSWORDS.iter().find_map(|(base, why)| listener_of(name, base).map(|_| *why))
}

impl BrokerOverrides {
    /// What listeners say of their own TLS, by their names in small letters.
    pub fn listener_tls(&self) -> Result<BTreeMap<String, ListenerTls>, ConfigError> {
        let listeners: BTreeSet<&str> =
            self.iter().filter_map(|(name, _)| Some(listener_tls_config(name)?.0)).collect();
        let all = listeners.into_iter().map(|listener| {
            let wrong = |why: &str| ConfigError::Conflict(format!("Listener {listener}: {why}"));
            Ok((listener.to_owned(), self.tls_of(listener).map_err(wrong)?))
        });
        all.filter(|one| !one.as_ref().is_ok_and(|(_, tls)| *tls == ListenerTls::default())).collect()
    }

    /// Kafka's rules of what excludes what, in its words.
    fn tls_of(&self, listener: &str) -> Result<ListenerTls, &'static str> {
        let of = |base: &str| self.get(&own_name(listener, base)).map(str::to_owned);
        let keystore = match (of(KEYSTORE), of(CHAIN), of(KEY)) {
            (None, None, None) => None,
            (Some(file), None, None) => Some(KeyStore::File(file)),
            (None, Some(chain), Some(key)) => Some(KeyStore::Values { chain: HiddenText(chain), key: HiddenText(key) }),
            (_, None, Some(_)) => return Err("SSL private key is specified, but certificate chain is not specified."),
            (_, Some(_), None) => return Err("SSL certificate chain is specified, but private key is not specified."),
            (Some(_), Some(_), Some(_)) => {
                return Err("Both SSL key store location and separate private key are specified.");
            }
        };
        let truststore = match (of(TRUSTSTORE), of(AUTHORITIES)) {
            (None, None) => None,
            (Some(file), None) => Some(TrustStore::File(file)),
            (None, Some(value)) => Some(TrustStore::Value(HiddenText(value))),
            (Some(_), Some(_)) => {
                return Err("Both SSL trust store location and separate trust certificates are specified.");
            }
        };
        Ok(ListenerTls { keystore, truststore, client_auth: of(CLIENT_AUTH) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker_config::{BrokerConfig, broker_config};

    fn set(pairs: &[(&str, &str)]) -> Result<BrokerOverrides, ConfigError> {
        let named = |(name, value): &(&str, &str)| (format!("listener.name.{name}"), (*value).to_owned());
        BrokerOverrides::new(pairs.iter().map(named))
    }

    fn told(pairs: &[(&str, &str)]) -> String {
        set(pairs).and_then(|set| set.listener_tls().map(drop)).unwrap_err().to_string()
    }

    #[test]
    fn a_listener_has_certificates_in_a_file_or_in_settings() {
        assert!(LISTENER_TLS.is_sorted_by(|a, b| a.name < b.name));
        assert!(LISTENER_TLS.iter().all(|def| def.dynamic && def.default.is_none()));
        let own = set(&[
            ("in.ssl.keystore.type", "PEM"),
            ("in.ssl.keystore.location", "/in.pem"),
            ("in.ssl.client.auth", "required"),
            ("out.ssl.keystore.certificate.chain", "chain"),
            ("out.ssl.keystore.key", "hush"),
            ("out.ssl.truststore.certificates", "ca"),
            ("types.ssl.truststore.type", "pem"),
        ]);
        let own = own.unwrap();
        let tls = own.listener_tls().unwrap();
        assert_eq!(tls.keys().collect::<Vec<_>>(), ["in", "out"], "a type alone says nothing");
        let file = ListenerTls {
            keystore: Some(KeyStore::File("/in.pem".into())),
            client_auth: Some("required".into()),
            truststore: None,
        };
        assert_eq!(tls["in"], file);
        let hidden = |text: &str| HiddenText(text.to_owned());
        assert_eq!(tls["out"].keystore, Some(KeyStore::Values { chain: hidden("chain"), key: hidden("hush") }));
        assert_eq!(tls["out"].truststore, Some(TrustStore::Value(hidden("ca"))));
        assert!(!format!("{own:?} {tls:?}").contains("hush"));
        let described = BrokerConfig::default().describe(&BrokerOverrides::default(), &own);
        assert!(!format!("{described:?}").contains("hush"));
        let key = described.iter().find(|one| one.name == "listener.name.out.ssl.keystore.key").unwrap();
        assert!(key.is_secret() && key.value.is_none() && !key.read_only && key.synonyms.len() == 1);
    }

    #[test]
    fn what_does_not_fit_together_is_told_in_kafkas_words() {
        let (chain, key) = (("in.ssl.keystore.certificate.chain", "c"), ("in.ssl.keystore.key", "hush"));
        let (file, trust) = (("in.ssl.keystore.location", "f"), ("in.ssl.truststore.location", "f"));
        for (pairs, said) in [
            (&[key][..], "private key is specified, but certificate chain is not"),
            (&[chain], "certificate chain is specified, but private key is not"),
            (&[chain, key, file], "Both SSL key store location"),
            (&[trust, ("in.ssl.truststore.certificates", "c")], "Both SSL trust store location"),
            (&[("in.ssl.keystore.type", "JKS")], "can only be PEM, because stores of Java"),
            (&[("in.ssl.keystore.password", "hush")], "PEM form only, which has no password"),
            (&[("in.ssl.truststore.password", "hush")], "PEM form only, which has no password"),
            (&[("in.ssl.key.password", "hush")], "give the key without one"),
            (&[("in.ssl.client.auth", "maybe")], "one of none, requested, required"),
            (&[("in.ssl.enabled.protocols", "TLSv1.3")], "cannot be updated dynamically for existing listener in: ["),
            (&[("in.sasl.enabled.mechanisms", "PLAIN")], "cannot be updated dynamically for existing listener in: ["),
            (&[("in.ssl.nonsense", "1")], "Unknown broker config name"),
        ] {
            let heard = told(pairs);
            assert!(heard.contains(said) && !heard.contains("hush"), "{pairs:?}: {heard}");
        }
        let base = BrokerOverrides::new([("ssl.keystore.key".to_owned(), "hush".to_owned())]).unwrap_err().to_string();
        assert!(base.contains("only per-listener using the listener prefix: [ssl.keystore.key]"), "{base}");
        assert!(broker_config("ssl.keystore.key").is_none());
        let at_start = BrokerConfig::new([("listener.name.in.ssl.keystore.location", "f")]).unwrap_err().to_string();
        assert!(at_start.contains("only while the server runs"), "{at_start}");
    }
}
