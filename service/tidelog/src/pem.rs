//! Certificates and private keys in PEM files, as Kafka's stores of type PEM have them. Errors name the file, never what is in it.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use rustls::RootCertStore;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::output::existing;

/// The certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let what = "certificate in PEM form";
    let read = CertificateDer::pem_file_iter(existing(path)?).map_err(|error| unusable(path, what, &error))?;
    let certificates: Result<Vec<CertificateDer<'static>>, pem::Error> = read.collect();
    let certificates = certificates.map_err(|error| unusable(path, what, &error))?;
    ensure!(!certificates.is_empty(), unusable(path, what, &pem::Error::NoItemsFound));
    Ok(certificates)
}

/// The certificates of a file as authorities.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).with_context(|| format!("{} has an unusable certificate", path.display()))?;
    }
    Ok(roots)
}

/// The first private key of a file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let what = "private key in PEM form (without a password)";
    PrivateKeyDer::from_pem_file(existing(path)?).map_err(|error| unusable(path, what, &error))
}

/// What is wrong with a file. Of a file that can be read nothing is shown.
fn unusable(path: &Path, what: &str, error: &pem::Error) -> anyhow::Error {
    match error {
        pem::Error::Io(error) => anyhow!("cannot read {}: {error}", path.display()),
        _ => anyhow!("{} has no usable {what}", path.display()),
    }
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
        for read in [|path: &Path| certificates(path).map(drop), |path: &Path| private_key(path).map(drop)] {
            assert!(told(read(&missing)).ends_with("missing.pem does not exist"));
            assert!(told(read(folder.path())).contains("cannot read"));
            let text = told(read(&empty));
            assert!(text.contains("empty.pem has no usable") && !text.contains("hush"), "{text}");
        }
    }
}
