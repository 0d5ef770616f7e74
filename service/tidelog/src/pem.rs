//! Certificates and private keys in PEM form, as Kafka's stores of type PEM and its settings have them. Errors name the file or the setting,
//! never what is in it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{Mode, OFlags};
use rustls::RootCertStore;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidelog_metadata::broker_config::HiddenText;

use crate::output::existing;

/// Most bytes of a file that a server reads: the certificates of some six hundred authorities.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Where something in PEM form is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A file that a server reads, at its start or when a client names it.
    File(PathBuf),
    /// A file, or a pipe, that whoever runs a command names to it.
    FileOrPipe(PathBuf),
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
            Source::File(path) | Source::FileOrPipe(path) => path.display().fmt(f),
            Source::Setting { name, .. } => f.write_str(name),
        }
    }
}

impl Source {
    /// A file that a server reads.
    pub(crate) fn file(path: &Path) -> Self {
        Source::File(path.to_owned())
    }

    /// A file, or a pipe, of whoever runs a command.
    pub(crate) fn file_or_pipe(path: &Path) -> Self {
        Source::FileOrPipe(path.to_owned())
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let unreadable = |error| anyhow!("cannot read {self}: {error}");
        match self {
            Source::File(path) => {
                let bytes = bounded(existing(path)?).map_err(unreadable)?;
                bytes.with_context(|| format!("{self} is not a regular file of at most {MAX_FILE_BYTES} bytes"))
            }
            Source::FileOrPipe(path) => std::fs::read(existing(path)?).map_err(unreadable),
            Source::Setting { text, .. } => Ok(in_lines(&text.0).into_bytes()),
        }
    }

    /// What is wrong with it. Of what can be read nothing is shown.
    fn unusable(&self, what: &str) -> anyhow::Error {
        anyhow!("{self} has no usable {what}")
    }
}

/// The bytes of a regular file that is not too large; `None`: it is something else. A client may have named it: neither a pipe in which
/// nothing comes nor a device without an end may hold the server up.
fn bounded(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    // Its length says nothing of what /proc has.
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((read as u64 <= MAX_FILE_BYTES).then_some(bytes))
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
    as_roots(source, certificates(source)?)
}

/// Certificates that were read there, as authorities.
pub(crate) fn as_roots(source: &Source, certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).with_context(|| format!("{source} has an unusable certificate"))?;
    }
    Ok(roots)
}

/// Its first private key.
pub(crate) fn private_key(source: &Source) -> Result<PrivateKeyDer<'static>> {
    let unusable = |_| source.unusable("private key in PEM form (without a password)");
    PrivateKeyDer::from_pem_slice(&source.bytes()?).map_err(unusable)
}

/// What is said of a certificate and a key that are not each other's; they may be in one file.
pub(crate) fn misfits(cert: &impl fmt::Display, key: &impl fmt::Display) -> String {
    let (cert, key) = (cert.to_string(), key.to_string());
    match cert == key {
        true => format!("certificate and key in {cert} cannot be used together"),
        false => format!("{cert} and {key} cannot be used together"),
    }
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
            assert!(told(read(folder.path())).contains("is not a regular file"));
            let text = told(read(&empty));
            assert!(text.contains("empty.pem has no usable") && !text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn a_server_reads_regular_files_of_some_size_only() {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        let [pipe, large, link] = ["pipe", "large.pem", "link.pem"].map(|name| folder.path().join(name));
        pipe_at(&pipe);
        let file = File::create(&large).unwrap();
        std::os::unix::fs::symlink(&large, &link).unwrap();
        let told = |path: &Path| private_key(&Source::file(path)).unwrap_err().to_string();
        for endless in [&*pipe, Path::new("/dev/zero")] {
            let text = told(endless);
            assert!(text.ends_with(" is not a regular file of at most 1048576 bytes"), "{text}");
        }
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(told(&link).ends_with("link.pem is not a regular file of at most 1048576 bytes"));
        file.set_len(MAX_FILE_BYTES).unwrap();
        assert!(told(&link).contains("link.pem has no usable private key"));
    }

    #[test]
    fn whoever_runs_a_command_may_give_it_a_pipe() {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        pipe_at(&pipe);
        let key = tidelog_harness::rcgen::KeyPair::generate().unwrap();
        let (into, text) = (pipe.clone(), key.serialize_pem());
        let writer = std::thread::spawn(move || std::fs::write(into, text).unwrap());
        assert_eq!(private_key(&Source::file_or_pipe(&pipe)).unwrap().secret_der(), key.serialize_der());
        writer.join().unwrap();
    }

    fn pipe_at(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
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
