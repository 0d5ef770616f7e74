//! The key that credentials of users who do not exist are made with. It stays in the data directory: salts that change with each start
//! would tell whose they are. Worth nothing to whoever has the directory, and readable by its owner only all the same.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

/// The file, in the data directory.
const NAME: &str = "strangers.key";

/// A key that nobody has.
pub(crate) type StrangersKey = [u8; 32];

/// Reads the key of this directory; makes one where there is none. Blocks.
pub(crate) fn open(directory: &Path) -> io::Result<StrangersKey> {
    let path = directory.join(NAME);
    match read(&path) {
        Ok(Some(key)) => return Ok(key),
        // One that was torn is as good as none.
        Ok(None) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key = random();
    let temporary = directory.join(format!("{NAME}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(key)
}

/// `None` if it is no key.
fn read(path: &Path) -> io::Result<Option<StrangersKey>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(size_of::<StrangersKey>() as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.try_into().ok())
}

/// 244 random bits.
pub(crate) fn random() -> StrangersKey {
    let mut key = StrangersKey::default();
    for half in key.chunks_mut(16) {
        half.copy_from_slice(Uuid::new_v4().as_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_has_one_key_that_others_cannot_read() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = open(one.path()).unwrap();
        assert_eq!(open(one.path()).unwrap(), key);
        assert_ne!(open(other.path()).unwrap(), key);
        let mode = std::fs::metadata(one.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(one.path().join(NAME), b"torn").unwrap();
        let new = open(one.path()).unwrap();
        assert_eq!(open(one.path()).unwrap(), new, "what is no key is replaced");
    }
}
