//! What the kernel knows of the server's process.

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
pub(crate) fn ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(proc(server, "stat")).unwrap();
    // The name in parentheses may hold spaces; user and system time are the fields 14 and 15 of all.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// How often its threads have gone to sleep by themselves: each time something had woken them.
pub(crate) fn sleeps(server: &Server) -> u64 {
    let tasks = fs::read_dir(proc(server, "task")).unwrap();
    let of = |task: std::io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    tasks.filter_map(of).sum()
}
