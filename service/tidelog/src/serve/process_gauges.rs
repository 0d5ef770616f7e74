//! The process and its build, for whoever scrapes, under the names that Prometheus' own libraries give them. What this system does not tell
//! is left out.

use std::fmt::Write;

use rustix::process::{Resource, getrlimit};

use super::gauges::head;

/// Linux counts in these towards programs, whatever it does inside (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Name, kind, meaning, and the value if it is known.
type Number = (&'static str, &'static str, &'static str, fn() -> Option<f64>);

const NUMBERS: &[Number] = &[
    ("process_cpu_seconds_total", "counter", "Seconds of processors that the process has used.", || {
        let stat = stat()?;
        Some((field(&stat, 14)? + field(&stat, 15)?) / TICKS_PER_SECOND)
    }),
    ("process_max_fds", "gauge", "Most descriptors that the process may have open.", || {
        getrlimit(Resource::Nofile).current.map(|most| most as f64)
    }),
    ("process_open_fds", "gauge", "Descriptors that the process has open.", open_fds),
    ("process_resident_memory_bytes", "gauge", "Bytes of the process that are in memory.", || memory("VmRSS:")),
    ("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.", || {
        Some(booted()? + field(&stat()?, 22)? / TICKS_PER_SECOND)
    }),
    ("process_virtual_memory_bytes", "gauge", "Bytes of the address space of the process.", || memory("VmSize:")),
];

/// Always 1: its labels say what runs.
const BUILD: &str = "tidelog_build_info";

/// What is known of the process.
pub(crate) fn render(version: &str, commit: &str) -> String {
    let mut out = String::new();
    for (name, kind, meaning, value) in NUMBERS {
        head(&mut out, name, kind, meaning);
        if let Some(value) = value() {
            let _ = writeln!(out, "{name} {value}");
        }
    }
    head(&mut out, BUILD, "gauge", "1; which version runs, and of which commit it was built.");
    let _ = writeln!(out, "{BUILD}{{version=\"{version}\",commit=\"{commit}\"}} 1");
    out
}

fn open_fds() -> Option<f64> {
    // The directory itself is open while it is read.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

/// One line of the process's status, in bytes.
fn memory(name: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// When the system started, in seconds since 1970.
fn booted() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn stat() -> Option<String> {
    std::fs::read_to_string("/proc/self/stat").ok()
}

/// A field by its number in proc(5). The second is a name that may contain anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_described() {
        let text = render("1.2.3", "abc");
        assert!(text.contains("tidelog_build_info{version=\"1.2.3\",commit=\"abc\"} 1\n"), "{text}");
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.split(' ').next() == Some(name));
            line.and_then(|line| line.split(' ').nth(1)).unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"), "{text}");
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"), "{text}");
        assert!(value("process_resident_memory_bytes") > 1e6, "{text}");
        let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        // The system tells its own start in whole seconds.
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4 9 0 0 0 1 2 0 0 20 0 5 0 4711 1000 10";
        assert_eq!((field(stat, 14), field(stat, 22)), (Some(1.0), Some(4711.0)));
    }
}
