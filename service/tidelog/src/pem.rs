//! Certificates and private keys in PEM form, as Kafka's stores of type PEM and its settings have them. Errors name the file or the setting,
//! never what is in it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::RootCertStore;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidelog_metadata::broker_config::HiddenText;

use crate::output::existing;

/// Where something in PEM form is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// The value of a setting.
    Setting {
        /// The setting.
        name: String,
        /// Its value.
        text: HiddenText,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Setting { name, .. } => f.write_str(name),
        }
    }
}

impl Source {
    /// A file.
    pub(crate) fn file(path: &Path) -> Self {
        Source::File(path.to_owned())
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        match self {
            Source::File(path) => {
                std::fs::read(existing(path)?).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))
            }
            Source::Setting { text, .. } => Ok(in_lines(&text.0).into_bytes()),
        }
    }

    /// What is wrong with it. Of what can be read nothing is shown.
    fn unusable(&self, what: &str) -> anyhow::Error {
        anyhow!("{self} has no usable {what}")
    }
}

/// The certificates of a file or setting, at least one.
pub(crate) fn certificates(source: &Source) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = || source.unusable("certificate in PEM form");
    let bytes = source.bytes()?;
    let certificates: Result<Vec<CertificateDer<'static>>, pem::Error> =
        CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|_| unusable())?;
    ensure!(!certificates.is_empty(), unusable());
    Ok(certificates)
}

/// Its certificates as authorities.
pub(crate) fn roots(source: &Source) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(source)? {
        roots.add(certificate).with_context(|| format!("{source} has an unusable certificate"))?;
    }
    Ok(roots)
}

/// Its first private key.
pub(crate) fn private_key(source: &Source) -> Result<PrivateKeyDer<'static>> {
    let unusable = |_| source.unusable("private key in PEM form (without a password)");
    PrivateKeyDer::from_pem_slice(&source.bytes()?).map_err(unusable)
}

/// Kafka takes PEM without line breaks, with spaces in their place: files of properties have one line a value.
fn in_lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 64);
    for part in text.split("-----") {
        if part.starts_with("BEGIN ") || part.starts_with("END ") {
            lines.push_str("-----");
            lines.push_str(part);
            lines.push_str("-----\n");
        } else {
            for word in part.split_whitespace() {
                lines.push_str(word);
                lines.push('\n');
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_is_not_one_without_a_certificate() {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
        std::fs::write(&empty, "hush").unwrap();
        let told = |result: Result<()>| result.unwrap_err().to_string();
        let certificates = |path: &Path| certificates(&Source::file(path)).map(drop);
        let key = |path: &Path| private_key(&Source::file(path)).map(drop);
        for read in [&certificates as &dyn Fn(&Path) -> Result<()>, &key] {
            assert!(told(read(&missing)).ends_with("missing.pem does not exist"));
            assert!(told(read(folder.path())).contains("cannot read"));
            let text = told(read(&empty));
            assert!(text.contains("empty.pem has no usable") && !text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn the_value_of_a_setting_may_be_in_one_line_and_is_never_shown() {
        let key = tidelog_harness::rcgen::KeyPair::generate().unwrap();
        let chain = tidelog_harness::rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = chain.self_signed(&key).unwrap();
        let setting = |text: String| Source::Setting { name: "a.setting".to_owned(), text: HiddenText(text) };
        let both = format!("Bag Attributes\n{}{}", certificate.pem(), key.serialize_pem());
        for text in [both.clone(), both.replace('\n', " "), both.replace('\n', "\r\n")] {
            let source = setting(text);
            assert_eq!(certificates(&source).unwrap(), [certificate.der().clone()]);
            assert_eq!(private_key(&source).unwrap().secret_der(), key.serialize_der());
            assert!(!format!("{source:?} {source}").contains("BEGIN"));
        }
        let wrong = setting(format!("hush {}", certificate.pem()));
        let told = private_key(&wrong).unwrap_err().to_string();
        assert_eq!(told, "a.setting has no usable private key in PEM form (without a password)");
    }
}
