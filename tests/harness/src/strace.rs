//! Reads what strace wrote (`-f -y -xx`): system calls with the order in which they began and ended.

use std::collections::HashMap;

/// One system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Everything between the parentheses.
    pub args: String,
    /// Behind the equals sign.
    pub result: String,
    /// Line on which it began.
    pub began: usize,
    /// Line on which it ended.
    pub ended: usize,
}

impl Call {
    /// The paths and sockets behind its file descriptors, as `-y` names them, in the order of its arguments.
    pub fn targets(&self) -> Vec<String> {
        let plain = |part: &str| match part.contains("\\x") {
            // -xx writes paths as bytes too.
            true => String::from_utf8_lossy(&unescape(part)).into_owned(),
            false => part.to_owned(),
        };
        // A socket's name has an arrow in it.
        let args = self.args.replace("->", "→");
        let named = args.split('<').skip(1).filter_map(|part| part.split_once('>'));
        named.map(|(name, _)| plain(name).replace('→', "->")).collect()
    }

    /// The bytes of its quoted arguments, one after another, as far as strace kept them.
    pub fn bytes(&self) -> Vec<u8> {
        self.args.split('"').skip(1).step_by(2).flat_map(unescape).collect()
    }

    /// Did it succeed?
    pub fn succeeded(&self) -> bool {
        !self.result.starts_with('-')
    }
}

fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok()).collect()
}

/// The calls of a trace, in the order in which they ended. Calls that never ended are left out.
pub fn parse(trace: &str) -> Vec<Call> {
    let mut open: HashMap<&str, (String, usize)> = HashMap::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            open.insert(thread, (begun.trim_end().to_owned(), at));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (Some((_, end)), Some((begun, began))) = (resumed.split_once("resumed>"), open.remove(thread)) else {
                continue;
            };
            calls.extend(call(&format!("{begun}{end}"), began, at));
        } else {
            calls.extend(call(rest, at, at));
        }
    }
    calls
}

fn call(text: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (args, result) = rest.rsplit_once(" = ")?;
    let args = args.trim_end().strip_suffix(')')?;
    Some(Call { name: name.into(), args: args.into(), result: result.into(), began, ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_were_interrupted_are_put_together() {
        let trace = "\
7 pwritev(5</d/t-0/0.log>, [{iov_base=\"\\x61\\x62\", iov_len=2}, {iov_base=\"\\x63\", iov_len=1}], 2, 0) = 3
8 fdatasync(5</d/t-0/0.log> <unfinished ...>
7 writev(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base=\"\\x00\", iov_len=1}], 1) = 1
8 <... fdatasync resumed>)          = 0
9 +++ exited with 0 +++
7 fdatasync(5</d/t-0/0.log>) = -1 EIO (Input/output error)
";
        let calls = parse(trace);
        let seen: Vec<_> = calls.iter().map(|c| (c.name.as_str(), c.began, c.ended, c.succeeded())).collect();
        let expected =
            [("pwritev", 0, 0, true), ("writev", 2, 2, true), ("fdatasync", 1, 3, true), ("fdatasync", 5, 5, false)];
        assert_eq!(seen, expected);
        assert_eq!(calls[0].bytes(), b"abc");
        assert_eq!(calls[0].targets(), ["/d/t-0/0.log"]);
        assert_eq!(calls[1].targets(), ["TCP:[127.0.0.1:1->127.0.0.1:2]"]);
    }
}
