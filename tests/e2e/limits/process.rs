//! What the kernel knows of the server's process.

use std::collections::BTreeMap;
use std::fs;

use tidelog_harness::Server;

fn proc(server: &Server, file: &str) -> String {
    format!("/proc/{}/{file}", server.pid().as_raw_nonzero())
}

/// Its open sockets.
pub(crate) fn sockets(server: &Server) -> usize {
    let is_socket = |entry: std::io::Result<fs::DirEntry>| {
        // A descriptor may be closed while the list is read.
        let target = entry.ok().and_then(|entry| fs::read_link(entry.path()).ok());
        target.is_some_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    fs::read_dir(proc(server, "fd")).unwrap().map(is_socket).filter(|is| *is).count()
}

/// Its open files, sockets and all else.
pub(crate) fn descriptors(server: &Server) -> usize {
    fs::read_dir(proc(server, "fd")).unwrap().count()
}

/// Memory of its own in use, bytes: not the pages of the binary.
pub(crate) fn own_memory(server: &Server) -> u64 {
    let status = fs::read_to_string(proc(server, "status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Processor time it has used, in ticks of 10 ms.
fn ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(proc(server, "stat")).unwrap();
    // The name in parentheses may hold spaces; user and system time are the fields 14 and 15 of all.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// What the process has done so far, or between two moments.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Processor time, in ticks of 10 ms.
    pub(crate) ticks: u64,
    /// How often each thread has gone to sleep by itself: each time something had woken it. By name and number.
    threads: BTreeMap<(String, u32), u64>,
}

impl Activity {
    pub(crate) fn of(server: &Server) -> Self {
        let field = |status: &str, name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().to_owned())
        };
        let of = |task: std::io::Result<fs::DirEntry>| {
            // A thread may end while they are listed.
            let task = task.ok()?;
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let id = task.file_name().to_str()?.parse().ok()?;
            Some(((field(&status, "Name:")?, id), field(&status, "voluntary_ctxt_switches:")?.parse().ok()?))
        };
        let threads = fs::read_dir(proc(server, "task")).unwrap().filter_map(of).collect();
        Activity { ticks: ticks(server), threads }
    }

    /// What was done since `before`; threads that slept through it are left out.
    pub(crate) fn since(self, before: &Activity) -> Activity {
        let past = |thread: &(String, u32)| before.threads.get(thread).copied().unwrap_or(0);
        let threads = self.threads.into_iter().map(|(thread, count)| (thread.clone(), count - past(&thread)));
        Activity { ticks: self.ticks - before.ticks, threads: threads.filter(|(_, count)| *count > 0).collect() }
    }

    pub(crate) fn sleeps(&self) -> u64 {
        self.threads.values().sum()
    }
}
