//! Lines of standard input or a file, read by a thread so that a slow terminal or pipe holds up nothing else.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::output::existing;

/// Longest line, bytes: no record may be larger (the client's own limit).
const MAX_LINE_BYTES: usize = tidelog_client::limits::MAX_RECORD_BYTES;

/// Lines handed over at a time, and how many such portions may wait.
const PORTION_LINES: usize = 1024;
const PORTION_BYTES: usize = 1024 * 1024;
const WAITING_PORTIONS: usize = 4;

/// A portion of lines without their line breaks.
pub(crate) type Portion = io::Result<Vec<Bytes>>;

/// Starts to read; the channel ends with the input.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<mpsc::Receiver<Portion>> {
    let (sender, receiver) = mpsc::channel(WAITING_PORTIONS);
    let input: Box<dyn Read + Send> = match file {
        Some(path) => Box::new(File::open(existing(path)?).with_context(|| format!("cannot open {}", path.display()))?),
        None => Box::new(io::stdin()),
    };
    std::thread::Builder::new().name("lines".into()).spawn(move || {
        let mut input = BufReader::with_capacity(256 * 1024, input);
        loop {
            let portion = portion(&mut input);
            let (empty, failed) = (portion.as_ref().is_ok_and(Vec::is_empty), portion.is_err());
            // The receiver is gone if the command has ended.
            if empty || sender.blocking_send(portion).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// As many lines as are at hand, at least one; none at the end.
fn portion(input: &mut BufReader<impl Read>) -> io::Result<Vec<Bytes>> {
    let (mut lines, mut size) = (Vec::new(), 0usize);
    loop {
        let Some(line) = line(input)? else { return Ok(lines) };
        size = size.saturating_add(line.len());
        lines.push(line);
        // Never wait for more while someone waits for these.
        let at_hand = input.buffer().contains(&b'\n');
        if !at_hand || lines.len() >= PORTION_LINES || size >= PORTION_BYTES {
            return Ok(lines);
        }
    }
}

fn line(input: &mut impl BufRead) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    let read = input.take(MAX_LINE_BYTES as u64 + 2).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        line.pop_if(|byte| *byte == b'\r');
    }
    if line.len() > MAX_LINE_BYTES {
        return Err(io::Error::other(format!("a line has more than {MAX_LINE_BYTES} bytes")));
    }
    Ok(Some(Bytes::from(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<Bytes> {
        let mut input = BufReader::with_capacity(8, input);
        let mut lines = Vec::new();
        loop {
            let portion = portion(&mut input).unwrap();
            if portion.is_empty() {
                return lines;
            }
            lines.extend(portion);
        }
    }

    #[test]
    fn lines_lose_their_breaks_and_nothing_else() {
        assert_eq!(all(b"a\r\n\nlonger than the buffer\r\nlast"), ["a", "", "longer than the buffer", "last"]);
        assert_eq!(all(b"x\n"), ["x"]);
        assert!(all(b"").is_empty());
        assert_eq!(all(b"\xff\0\n"), [&b"\xff\0"[..]]);
    }
}
