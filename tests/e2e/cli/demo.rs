//! The demo as a user runs it: beside another one, again on the same directory, interrupted, and with something missing.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tidelog_harness::serde_json::Value;
use tidelog_harness::{Output, run, tempfile, wait_for};

/// Seconds on a quiet machine.
const LONG: Duration = Duration::from_secs(300);

fn demo(temporary: &Path, args: &[&str]) -> Command {
    let mut command = tidelog_harness::options!().tidelog();
    command.env("TMPDIR", temporary).arg("demo").args(args);
    command
}

fn to_its_end(mut command: Command) -> Output {
    run(&mut command, b"", LONG)
}

/// A demo in the background; killed if the test fails.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> (Self, impl Iterator<Item = String>) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        (Running(child), lines)
    }

    fn interrupt(&mut self) -> ExitStatus {
        let killed = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap();
        assert!(killed.success());
        wait_for(|| self.0.try_wait().unwrap(), LONG, "the end of the demo")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

/// Runs a printed line in a shell, as a user who pastes it.
fn paste(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).env("NO_PROXY", "127.0.0.1").output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn is_installed(tool: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status().unwrap().success()
}

#[test]
fn what_it_prints_can_be_pasted_and_another_demo_finds_other_ports() {
    let temporary = tempfile::tempdir().unwrap();
    let (mut first, lines) = Running::start(demo(temporary.path(), &[]));
    let mut printed = Vec::new();
    for line in lines {
        let is_last = line.trim_start().starts_with("duckdb");
        printed.push(line.trim().to_owned());
        if is_last {
            break;
        }
    }
    let line = |tool: &str| printed.iter().find(|line| line.starts_with(tool)).unwrap_or_else(|| panic!("{printed:?}"));
    for (tool, records) in [("curl", 2), ("kcat", 2), ("duckdb", 1)] {
        if is_installed(tool) {
            assert!(paste(line(tool)).lines().count() >= records, "{tool}");
        }
    }
    // DuckDB or not: the pattern that it is given finds the files.
    let files = line("duckdb").split('\'').nth(1).unwrap();
    assert!(paste(&format!("ls {files}")).lines().all(|file| file.ends_with(".parquet")), "{files}");

    // Both well-known ports are taken now, by this demo or by somebody else.
    let kept = tempfile::tempdir().unwrap();
    let data = kept.path().join("data");
    let again = || {
        let mut command = demo(temporary.path(), &["--exit", "--output", "json", "--data-dir"]);
        command.arg(&data);
        to_its_end(command).expect(0).json()
    };
    let stages = |figures: &Value| -> Vec<String> {
        let stages = figures["stages"].as_array().unwrap();
        let published = stages.iter().filter(|stage| stage["stage"] == "publish" && stage["records"].is_u64());
        published.map(|stage| stage["what"].as_str().unwrap().to_owned()).collect()
    };
    let _held: Vec<_> = [9092, 8082].iter().map(|port| TcpListener::bind(("127.0.0.1", *port))).collect();
    let second = again();
    assert_eq!(stages(&second).len(), 3, "{second}");
    // It says so; whoever else had a port may have let go of it meanwhile.
    let start = second["stages"][0]["what"].as_str().unwrap();
    for (door, port) in [("kafka", 9092), ("http", 8082)] {
        let got_it = second[door].as_str().unwrap().ends_with(&format!(":{port}"));
        assert_eq!(start.contains(&format!("({port} is taken)")), !got_it, "{start}");
    }
    let first_url = printed.iter().find(|line| line.starts_with("curl")).unwrap();
    assert!(!first_url.contains(second["http"].as_str().unwrap()), "{first_url}");
    // The directory is kept, and a second run reads what lies in it.
    let third = again();
    assert!(stages(&third).is_empty(), "{third}");
    let seen = third["stages"].as_array().unwrap().iter().filter(|stage| stage["distinct_ids"] == 1707).count();
    assert_eq!(seen, 6, "{third}");

    assert!(first.interrupt().success());
    assert!(is_empty(temporary.path()), "the temporary directory is left");
}

#[test]
fn interrupted_in_the_middle_it_removes_its_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let (mut demo, mut lines) = Running::start(demo(temporary.path(), &[]));
    assert!(lines.next().unwrap().starts_with("start"));
    assert_eq!(demo.interrupt().code(), Some(130));
    assert!(is_empty(temporary.path()), "the temporary directory is left");
}

#[test]
fn without_a_place_to_write_it_says_what_to_do() {
    let refused = to_its_end(demo(Path::new("/proc/none"), &["--exit"])).expect(1);
    assert!(refused.stderr.contains("--data-dir"), "{}", refused.stderr);
}

#[test]
fn a_reader_that_misses_events_fails_it() {
    let temporary = tempfile::tempdir().unwrap();
    let store = tempfile::tempdir().unwrap();
    let url = format!("file://{}", store.path().display());
    let over = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        // Somebody who removes every table file as soon as it is there.
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                remove_parquet(store.path());
            }
        });
        let ended = to_its_end(demo(temporary.path(), &["--exit", "--object-store", &url]));
        over.store(true, Ordering::SeqCst);
        ended
    });
    let ended = ended.expect(1);
    assert!(ended.stdout.contains("from the object store"), "it got as far as the cold reader: {}", ended.stdout);
    assert!(!ended.stdout.contains("every reader saw every event"), "{}", ended.stdout);
    assert!(is_empty(temporary.path()), "the temporary directory is left");
}

/// Directories come and go meanwhile; what cannot be read is looked at again.
fn remove_parquet(folder: &Path) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_parquet(&path);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            let _ = std::fs::remove_file(path);
        }
    }
}
