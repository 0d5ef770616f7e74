//! How keys are spelled on a file system, whose names have at most 255 bytes. Decides nothing but that.
//!
//! Each part of a key is a folder, and its last part a file. A part of more than 255 bytes becomes several levels: pieces of 200 bytes
//! (197 at least, where a character would be cut), each but the last with a `~` behind it. So every key has one name, every name one
//! key, and keys without such parts are what they look like. Parts that could be taken for pieces are refused; nothing of ours has a `~`.

use std::path::{Path as FsPath, PathBuf};

use object_store::path::Path;
use object_store::{Error, Result};

use crate::limits::{MAX_NAME_BYTES, NAME_PIECE_BYTES};

/// Stands behind every piece of a long part but the last.
const MORE: char = '~';

/// Most bytes that a piece is short of the usual, because characters stay whole.
const SLACK: usize = 3;

/// The file's path below the store's root.
pub(crate) fn file(key: &Path) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    for part in key.parts() {
        push(&mut path, part.as_ref())?;
    }
    Ok(path)
}

/// The same as a key of the file system, for readers that speak in keys.
pub(crate) fn stored(key: &Path) -> Result<Path> {
    if key.parts().all(|part| part.as_ref().len() <= MAX_NAME_BYTES) {
        return Ok(key.clone());
    }
    let path = file(key)?;
    let text = path.to_str().unwrap_or_default();
    Path::parse(text).map_err(|error| Error::InvalidPath { source: error })
}

fn push(path: &mut PathBuf, part: &str) -> Result<()> {
    let long = part.len() > MAX_NAME_BYTES;
    if is_piece(part) || (long && part.contains(MORE)) {
        return Err(Error::NotSupported { source: format!("the key is reserved: {part}").into() });
    }
    let mut rest = part;
    while long && rest.len() > NAME_PIECE_BYTES {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(NAME_PIECE_BYTES));
        path.push(format!("{piece}{MORE}"));
        rest = more;
    }
    path.push(rest);
    Ok(())
}

/// Does another piece of the same part follow?
fn is_piece(name: &str) -> bool {
    let usual = NAME_PIECE_BYTES + MORE.len_utf8();
    name.ends_with(MORE) && (usual - SLACK..=usual).contains(&name.len())
}

/// The key of a file with this path below the root; `None` if no key can name it.
pub(crate) fn key(path: &FsPath) -> Option<Path> {
    let mut key = String::new();
    for name in path.iter() {
        let name = name.to_str()?;
        if is_piece(name) {
            key.push_str(name.strip_suffix(MORE)?);
        } else {
            key.push_str(name);
            key.push('/');
        }
    }
    Path::parse(key.strip_suffix('/')?).ok()
}
