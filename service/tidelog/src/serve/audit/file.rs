//! A file of whole lines that others may rename. Decides what of a write that failed stays in it: never half a line.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file at a path, or what has been put in its place.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    file: File,
    /// It ends in half a line, of somebody who died or because that could not be taken back.
    torn: bool,
}

impl LineFile {
    /// Opens the file, or begins it; what is in it stays.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Who does what is nobody else's business.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(LineFile { path: path.to_owned(), torn: ends_in_half_a_line(path), file })
    }

    /// Appends lines, to the file that is at the path now. With an error: how many bytes of `text`, whole lines, are there nevertheless.
    pub(super) fn append(&mut self, text: &str) -> Result<(), (usize, io::Error)> {
        let inode = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        if std::fs::metadata(&self.path).ok().map(inode) != self.file.metadata().ok().map(inode) {
            *self = LineFile::open(&self.path).map_err(|error| (0, error))?;
        }
        append(&mut self.file, text, &mut self.torn)
    }
}

/// What lines are appended to.
trait Target: Write {
    /// Removes so many bytes at the end.
    fn take_back(&mut self, bytes: u64) -> io::Result<()>;
}

impl Target for File {
    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        let metadata = self.metadata()?;
        if !metadata.is_file() {
            return Err(ErrorKind::Unsupported.into());
        }
        self.set_len(metadata.len().saturating_sub(bytes))
    }
}

fn append(target: &mut impl Target, text: &str, torn: &mut bool) -> Result<(), (usize, io::Error)> {
    if *torn && !text.is_empty() {
        target.write_all(b"\n").map_err(|error| (0, error))?;
        *torn = false;
    }
    let bytes = text.as_bytes();
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let error = match target.write(rest) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(more) => {
                written += more;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let whole = bytes.iter().take(written).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let half = written - whole;
        *torn = half > 0 && target.take_back(half as u64).is_err();
        return Err((whole, error));
    }
    Ok(())
}

/// A process that died in the middle of a write leaves half a line. What is no plain file is not looked at: reading it may wait.
fn ends_in_half_a_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        if !std::fs::metadata(path)?.is_file() {
            return Ok(b'\n');
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last[0])
    };
    // An empty file has no last byte.
    last().is_ok_and(|last| last != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    struct Small {
        text: Vec<u8>,
        room: usize,
        takes_back: bool,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // In pieces, as a disk that fills up does.
            let some = bytes.len().min(self.room - self.text.len()).min(4);
            if some == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.text.extend_from_slice(&bytes[..some]);
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Target for Small {
        fn take_back(&mut self, bytes: u64) -> io::Result<()> {
            if !self.takes_back {
                return Err(ErrorKind::Other.into());
            }
            self.text.truncate(self.text.len() - bytes as usize);
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_fills_up_at_any_byte_has_whole_lines_each_once() {
        let text = "one\ntwo two\nthree\n";
        for room in 0..=text.len() {
            for takes_back in [true, false] {
                let mut disk = Small { text: Vec::new(), room, takes_back };
                let mut torn = false;
                let there = append(&mut disk, text, &mut torn).err().map(|(whole, error)| {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    whole
                });
                let Some(there) = there else {
                    assert_eq!((room, disk.text), (text.len(), text.as_bytes().to_vec()));
                    continue;
                };
                if takes_back {
                    assert_eq!(disk.text, text.as_bytes()[..there], "{room}");
                }
                disk.room = 1000;
                append(&mut disk, &text[there..], &mut torn).unwrap();
                let lines = String::from_utf8(disk.text).unwrap();
                let is_whole = |line: &&str| text.lines().any(|whole| whole == *line);
                let mut good: Vec<&str> = lines.lines().filter(is_whole).collect();
                // What lacked nothing but its end is there twice.
                good.dedup();
                assert_eq!(good, ["one", "two two", "three"], "{room} {lines:?}");
                assert_eq!(lines.lines().count(), if takes_back || there == room { 3 } else { 4 }, "{room} {lines:?}");
            }
        }
    }

    #[test]
    fn half_a_line_of_somebody_who_died_is_ended() {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        for (before, after) in [("", "new\n"), ("old\n", "old\nnew\n"), ("old\nha", "old\nha\nnew\n")] {
            let path = folder.path().join("log");
            std::fs::write(&path, before).unwrap();
            let mut file = LineFile::open(&path).unwrap();
            file.append("").unwrap();
            file.append("new\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }
}
