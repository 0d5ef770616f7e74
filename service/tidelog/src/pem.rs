//! Certificates and private keys in PEM files, as Kafka's stores of type PEM have them. Errors name the file, never what is in it.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = || format!("{} has no usable certificate in PEM form", path.display());
    let read = CertificateDer::pem_file_iter(path).with_context(unusable)?;
    let certificates: Vec<CertificateDer<'static>> = read.collect::<Result<_, _>>().with_context(unusable)?;
    ensure!(!certificates.is_empty(), unusable());
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
    PrivateKeyDer::from_pem_file(path)
        .map_err(|_| anyhow!("{} has no usable private key in PEM form (without a password)", path.display()))
}
