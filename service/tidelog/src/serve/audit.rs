//! The audit log: one JSON object per line. A thread of its own writes; whoever answers requests never waits for the disk. What cannot be
//! written is kept and tried again; what finds no room meanwhile is counted in the log itself. Nobody makes room for his changes by being
//! refused, and what is refused again and again is counted. A file that was renamed or removed is begun anew within a second.

mod file;
mod line;
mod repeats;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use tidelog_security::{Audit, AuditEvent};
use tracing::{error, info};

use file::LineFile;
use line::{body, dropped, stamped};
use repeats::Repeats;

/// Bytes of lines that wait for the disk, and as many that are being written: some seconds of a broker that refuses everything. What was
/// refused and may come again is part of them.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// Of these refusals have so many: whoever has no rights makes as many as he likes.
const MAX_REFUSED_BYTES: usize = MAX_WAITING_BYTES / 2;

/// And those who are not believed: refusals hide no guesses, nor do guesses hide what was changed.
const MAX_UNKNOWN_BYTES: usize = MAX_WAITING_BYTES / 4 * 3;

/// How often the file is looked at, and a write that failed tried again.
const LOOK: Duration = Duration::from_secs(1);

/// The log of one process.
#[derive(Debug)]
pub(super) struct AuditLog {
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AuditLog {
    /// Opens the file, or begins it; what is in it stays.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>> {
        let file = LineFile::open(path).with_context(|| format!("cannot write the audit log {}", path.display()))?;
        let queue = Arc::new(Queue::default());
        let writer = Writer { queue: Arc::clone(&queue), file, batch: String::new(), failed: false };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        Ok(Arc::new(AuditLog { queue, writer: Mutex::new(Some(thread)) }))
    }

    /// Writes what waits, and ends. Blocks.
    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
        self.queue.more.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            error!("the audit log's thread failed");
        }
    }
}

impl Audit for AuditLog {
    fn record(&self, event: &AuditEvent<'_>) {
        self.queue.push(event, &now());
    }
}

/// How full the queue may be with an event like this one.
fn share(event: &AuditEvent<'_>) -> usize {
    match event {
        AuditEvent::Authorization { allowed: false, .. }
        | AuditEvent::Change { refused: Some(_), .. }
        | AuditEvent::DelegationToken { refused: Some(_), .. } => MAX_REFUSED_BYTES,
        AuditEvent::Authentication { principal: None, .. } => MAX_UNKNOWN_BYTES,
        AuditEvent::Authorization { .. }
        | AuditEvent::Change { .. }
        | AuditEvent::DelegationToken { .. }
        | AuditEvent::Authentication { .. } => MAX_WAITING_BYTES,
    }
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: String,
    repeats: Repeats,
    /// Lines that found no room.
    dropped: u64,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: &AuditEvent<'_>, time: &str) {
        let body = body(event);
        let share = share(event);
        let is_refusal = share == MAX_REFUSED_BYTES;
        let line = stamped(&body, time, 1);
        let mut waiting = self.lock();
        if is_refusal && !waiting.closed && waiting.repeats.again(&body, time) {
            return;
        }
        if waiting.closed || waiting.text.len() + waiting.repeats.bytes() + line.len() > share {
            waiting.dropped += 1;
            metrics::counter!("tidelog_audit_lines_total", "result" => "dropped").increment(1);
            return;
        }
        if is_refusal {
            waiting.repeats.told(&body, Instant::now());
        }
        waiting.text.push_str(&line);
        self.more.notify_one();
    }

    /// What waits, as soon as there is something or after a while; and whether that was all. Nothing is taken while `later`.
    fn take(&self, later: bool) -> (String, bool) {
        let idle = |waiting: &mut Waiting| !waiting.closed && (later || waiting.text.is_empty());
        let waited = self.more.wait_timeout_while(self.lock(), LOOK, idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if later && !waiting.closed {
            return (String::new(), false);
        }
        let mut text = std::mem::take(&mut waiting.text);
        let all = waiting.closed;
        text.push_str(&waiting.repeats.due(Instant::now(), all));
        let lost = std::mem::take(&mut waiting.dropped);
        if lost > 0 {
            text.push_str(&dropped(lost, &now()));
        }
        (text, waiting.closed)
    }
}

struct Writer {
    queue: Arc<Queue>,
    file: LineFile,
    /// Lines that are not written yet.
    batch: String,
    /// The last write failed; that has been told.
    failed: bool,
}

impl Writer {
    fn run(mut self) {
        for result in ["written", "dropped"] {
            metrics::counter!("tidelog_audit_lines_total", "result" => result).increment(0);
        }
        loop {
            // While the disk refuses one batch the next waits: memory stays bounded.
            let (text, closed) = self.queue.take(!self.batch.is_empty());
            self.batch.push_str(&text);
            self.write();
            if closed {
                if !self.batch.is_empty() {
                    let lines = count_lines(self.batch.as_bytes());
                    metrics::counter!("tidelog_audit_lines_total", "result" => "dropped").increment(lines);
                    error!(lines, "the audit log lacks its last lines: they could not be written");
                }
                return;
            }
        }
    }

    /// Writes what is left of the batch. Also nothing: the file may have been renamed.
    fn write(&mut self) {
        let written = match self.file.append(&self.batch) {
            Ok(()) => {
                if std::mem::take(&mut self.failed) {
                    info!("the audit log is written again");
                }
                self.batch.len()
            }
            Err((whole, failure)) => {
                metrics::counter!("tidelog_audit_failed_writes_total").increment(1);
                if !std::mem::replace(&mut self.failed, true) {
                    error!(error = %failure, "cannot write the audit log; trying again every second");
                }
                whole
            }
        };
        let lines = self.batch.as_bytes().get(..written).map_or(0, count_lines);
        metrics::counter!("tidelog_audit_lines_total", "result" => "written").increment(lines);
        self.batch.drain(..written);
    }
}

fn count_lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn now() -> String {
    DateTime::<Utc>::from(std::time::SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidelog_model::{Caller, Door, Operation, Principal};
    use tidelog_security::Resource;

    use super::line::MAX_TEXT_BYTES;
    use super::*;

    fn record(log: &AuditLog, topic: &str) {
        let caller = Caller { door: Door::Kafka, ..Caller::internal("a\"client") };
        let resource = Resource::Topic(topic);
        let (operation, allowed) = (Operation::Write, false);
        let event = AuditEvent::Authorization {
            caller: &caller,
            operation,
            resource: &resource,
            about: Some(&"a, b"),
            allowed,
        };
        log.record(&event);
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn each_event_is_a_line_and_a_renamed_file_is_begun_anew() {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
        std::fs::write(&path, "{}\n").unwrap();
        let log = AuditLog::open(&path).unwrap();
        let alice = Principal::user("alice");
        let event = AuditEvent::Authentication {
            principal: Some(&alice),
            claimed: None,
            mechanism: "PLAIN",
            token_id: None,
            host: [127, 0, 0, 1].into(),
            door: Door::Kafka,
            reason: None,
        };
        log.record(&event);
        record(&log, &"x".repeat(5000));
        while lines(&path).len() < 3 {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &old).unwrap();
        record(&log, "new\nline");
        while lines(&path).is_empty() {
            std::thread::yield_now();
        }
        log.close();
        record(&log, "after the end");
        let first = lines(&old);
        assert_eq!(first[1]["principal"], "User:alice");
        assert_eq!((&first[1]["event"], &first[1]["success"]), (&json!("authentication"), &json!(true)));
        assert_eq!(first[2]["resource"].as_str().unwrap().len(), MAX_TEXT_BYTES);
        let second = lines(&path);
        assert_eq!(second.len(), 1);
        let expected = json!({
            "time": second[0]["time"], "event": "authorization", "principal": "User:tidelog", "host": "127.0.0.1",
            "client_id": "a\"client", "door": "kafka", "operation": "WRITE", "resource_type": "TOPIC",
            "resource": "new\nline", "about": "a, b", "allowed": false,
        });
        assert_eq!(second[0], expected);
    }

    /// A log whose disk refuses everything, with the writer on its first line; and what gives it a better one.
    fn on_a_full_disk(folder: &Path) -> (Arc<AuditLog>, impl FnOnce() -> std::path::PathBuf) {
        let (path, real, link) = (folder.join("audit.log"), folder.join("real.log"), folder.join("link"));
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let log = AuditLog::open(&path).unwrap();
        record(&log, "first");
        // The writer holds that one, and what follows finds only the queue.
        while !log.queue.lock().text.is_empty() {
            std::thread::yield_now();
        }
        let mend = move || {
            std::os::unix::fs::symlink(&real, &link).unwrap();
            std::fs::rename(&link, &path).unwrap();
            real
        };
        (log, mend)
    }

    #[test]
    fn the_same_refusal_again_is_counted_and_not_told_each_time() {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = AuditLog::open(&path).unwrap();
        // One request of many partitions.
        for _ in 0..20_000 {
            record(&log, "secret");
        }
        record(&log, "another");
        log.close();
        let lines = lines(&path);
        let of = |topic: &str| lines.iter().filter(|line| line["resource"] == topic).collect::<Vec<_>>();
        let count = |line: &&Value| line["count"].as_u64().unwrap_or(1);
        assert_eq!(of("secret").iter().map(count).sum::<u64>(), 20_000);
        // Each second has at most two: what is new, and how often it came again.
        assert!(of("secret").len() < 40, "{} lines", of("secret").len());
        assert_eq!((of("another").len(), &of("another")[0]["count"]), (1, &Value::Null));
        assert!(!lines.iter().any(|line| line["event"] == "dropped"));
    }

    #[test]
    fn who_is_refused_everything_leaves_room_for_what_others_do() {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        let (log, mend) = on_a_full_disk(folder.path());
        // With long ones, and what room they leave with short ones.
        let flood = |event: &dyn Fn(&str)| {
            for length in [900, 1] {
                let before = log.queue.lock().dropped;
                let mut number = 0;
                while log.queue.lock().dropped == before {
                    number += 1;
                    event(&format!("{number}-{}", "x".repeat(length)));
                }
            }
        };
        flood(&|topic| record(&log, topic));
        let (alice, host) = (Principal::user("alice"), [127, 0, 0, 1].into());
        let login = |principal, claimed: Option<&str>| {
            let (mechanism, reason) = ("PLAIN", None);
            let (token_id, door) = (None, Door::Kafka);
            log.record(&AuditEvent::Authentication { principal, claimed, mechanism, token_id, host, door, reason });
        };
        for number in 0..10 {
            login(None, Some(&format!("guess {number}")));
        }
        flood(&|name| login(None, Some(name)));
        for _ in 0..10 {
            login(Some(&alice), None);
        }
        let caller = Caller { door: Door::Kafka, ..Caller::internal("test") };
        let about: Option<&dyn std::fmt::Display> = Some(&"a new password");
        let (operation, resource, allowed) = (Operation::Alter, Resource::Cluster, true);
        log.record(&AuditEvent::Authorization { caller: &caller, operation, resource: &resource, about, allowed });
        let real = mend();
        log.close();
        let lines = lines(&real);
        let count = |field: &str, value: &str| {
            let is_it = |line: &&Value| line[field].as_str().is_some_and(|text| text.starts_with(value));
            lines.iter().filter(is_it).count()
        };
        assert_eq!(count("claimed", "guess "), 10);
        assert_eq!((count("principal", "User:alice"), count("about", "a new password")), (10, 1));
        assert_eq!(lines.last().unwrap()["count"], 4, "what ended each flood found no room");
    }

    #[test]
    fn what_a_full_disk_refuses_is_kept_and_what_finds_no_room_is_counted() {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        let (log, mend) = on_a_full_disk(folder.path());
        let mut kept = 1;
        while log.queue.lock().dropped < 3 {
            record(&log, &format!("{kept}{}", "x".repeat(1000)));
            kept += 1;
        }
        kept -= 3;
        assert!(log.queue.lock().text.len() <= MAX_WAITING_BYTES);
        let real = mend();
        log.close();
        let lines = lines(&real);
        assert_eq!((lines.len(), &lines[0]["resource"]), (kept + 1, &json!("first")));
        assert_eq!((&lines[kept]["event"], &lines[kept]["count"]), (&json!("dropped"), &json!(3)));
    }
}
