//! A data directory on a disk that is really small, whoever runs the test.
//!
//! The test runs again inside the first of these that the machine allows; `TIDELOG_SMALL_DISK` asks for one of them by name:
//!
//! 1. `user`: a user and mount namespace of its own, where anybody may mount a tmpfs of a few MiB. Writes fail with ENOSPC.
//! 2. `mount`: a mount namespace alone, where user namespaces are switched off and root runs the tests.
//! 3. `limit`: RLIMIT_FSIZE with SIGXFSZ ignored, which needs no right at all. No file grows beyond the limit, and writes fail with
//!    EFBIG: the same way through the server with another number.
//!
//! None of them leaves a mount behind: the namespace ends with the test.

use std::path::Path;
use std::process::Command;

use tidelog_harness::{Server, tempfile};

/// Names a way.
const WANTED: &str = "TIDELOG_SMALL_DISK";

/// Set inside: `tmpfs` or `limit`.
const INSIDE: &str = "TIDELOG_SMALL_DISK_INSIDE";

const MIB: u64 = 1024 * 1024;

/// How the disk is kept small.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// A file system of its own for the data directory.
    Tmpfs,
    /// A limit on the size of every file.
    Limit,
}

/// Runs `test`, whose name is `name`, where a small disk can be had.
pub(crate) fn on_a_small_disk(name: &str, test: impl FnOnce(Disk)) {
    match std::env::var(INSIDE).as_deref() {
        Ok("tmpfs") => return test(Disk::Tmpfs),
        Ok("limit") => return test(Disk::Limit),
        _ => {}
    }
    let (way, mut inside) = way(Disk::Limit.bytes(0));
    println!("the small disk is had by `{way}`");
    let exe = std::env::current_exe().unwrap();
    inside.arg(exe).args([name, "--exact", "--nocapture", "--test-threads=1"]);
    let status = inside.status().unwrap();
    assert!(status.success(), "{name} inside `{way}`: {status}");
}

/// The first way that works, and the command that goes it.
fn way(limit: u64) -> (&'static str, Command) {
    let wanted = std::env::var(WANTED).ok();
    let folder = tempfile::tempdir().unwrap();
    for name in ["user", "mount", "limit"] {
        if wanted.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let command = || match name {
            "user" => args("unshare", &["--user", "--map-root-user", "--mount", "--"]),
            "mount" => args("unshare", &["--mount", "--"]),
            _ => {
                let soft = format!("--fsize={limit}:");
                args("prlimit", &[&soft, "sh", "-c", r#"trap "" XFSZ; exec "$0" "$@""#])
            }
        };
        let probe = if name == "limit" { args("true", &[]) } else { mount(folder.path(), MIB) };
        let mut tried = command();
        tried.arg(probe.get_program()).args(probe.get_args());
        if tried.output().is_ok_and(|output| output.status.success()) {
            let mut inside = command();
            inside.env(INSIDE, if name == "limit" { "limit" } else { "tmpfs" });
            return (name, inside);
        }
        println!("a small disk cannot be had by `{name}` here");
    }
    panic!("no way to a small disk: neither namespaces nor prlimit (util-linux) work, or {WANTED}={wanted:?} is none");
}

fn args(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn mount(at: &Path, bytes: u64) -> Command {
    let mut command = args("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "small"]);
    command.arg(at);
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Disk {
    /// What fits on it after it has grown so often.
    fn bytes(self, growth: u64) -> u64 {
        match self {
            Disk::Tmpfs => (24 + 16 * growth) * MIB,
            // Below the size of a segment, or no file would ever meet it.
            Disk::Limit => (5 + growth) * MIB,
        }
    }

    /// Puts the empty data directory of a stopped server on it.
    pub(crate) fn put_under(self, server: &Server) {
        if self == Disk::Tmpfs {
            run(&mut mount(&server.data_dir(), self.bytes(0)));
        }
    }

    /// Makes it larger, under a server that runs or not.
    pub(crate) fn grow(self, server: &Server, growth: u64, running: bool) {
        let bytes = self.bytes(growth);
        match self {
            Disk::Tmpfs => {
                // With the source named, mount(8) does not add the present options, whose user ids are unknown inside.
                run(args("mount", &["-o", &format!("remount,size={bytes}"), "small"]).arg(server.data_dir()));
            }
            Disk::Limit => {
                let mut pids = vec![std::process::id().to_string()];
                if running {
                    pids.push(server.pid().as_raw_nonzero().to_string());
                }
                for pid in pids {
                    run(&mut args("prlimit", &["--pid", &pid, &format!("--fsize={bytes}:")]));
                }
            }
        }
    }

    /// Takes the data directory off it again, so that it can be removed.
    pub(crate) fn leave(self, server: &Server) {
        if self == Disk::Tmpfs {
            run(args("umount", &[]).arg(server.data_dir()));
        }
    }
}
