//! The audit log: one JSON object per line. A thread of its own writes; whoever answers requests never waits for the disk, and what does
//! not fit into the queue is counted in the log itself. A file that was renamed or removed is begun anew within a second.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tidelog_model::Door;
use tidelog_security::{Audit, AuditEvent};
use tracing::error;

/// Lines that wait for the disk: some seconds of a broker that refuses everything, and a few MiB.
const MAX_WAITING_LINES: usize = 10_000;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Longest name of a resource or reason that is written, bytes: clients make them up.
const MAX_TEXT_BYTES: usize = 1024;

/// The log of one process.
#[derive(Debug)]
pub(super) struct AuditLog {
    queue: Mutex<Option<SyncSender<String>>>,
    dropped: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AuditLog {
    /// Opens the file, or begins it; what is in it stays.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>> {
        let file = append(path).with_context(|| format!("cannot write the audit log {}", path.display()))?;
        let (queue, lines) = sync_channel(MAX_WAITING_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { path: path.to_owned(), file, dropped: Arc::clone(&dropped), failed: false };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || writer.run(&lines))?;
        Ok(Arc::new(AuditLog { queue: Mutex::new(Some(queue)), dropped, writer: Mutex::new(Some(thread)) }))
    }

    /// Writes what waits, and ends. Blocks.
    pub(super) fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            error!("the audit log's thread failed");
        }
    }
}

impl Audit for AuditLog {
    fn record(&self, event: &AuditEvent<'_>) {
        let line = line(event, &now());
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_none_or(|queue| queue.try_send(line).is_err()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    dropped: Arc<AtomicU64>,
    /// The last write failed; that has been told.
    failed: bool,
}

impl Writer {
    fn run(mut self, lines: &Receiver<String>) {
        loop {
            let mut text = match lines.recv_timeout(LOOK) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => String::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            for line in lines.try_iter().take(MAX_WAITING_LINES) {
                text.push_str(&line);
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                text.push_str(&as_line(&json!({ "time": now(), "event": "dropped", "count": dropped })));
            }
            match self.write(&text) {
                Ok(()) => self.failed = false,
                Err(failure) if !self.failed => {
                    self.failed = true;
                    error!(path = %self.path.display(), error = %failure, "cannot write the audit log");
                }
                Err(_) => {}
            }
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let inode = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        if std::fs::metadata(&self.path).ok().map(inode) != self.file.metadata().ok().map(inode) {
            self.file = append(&self.path)?;
        }
        self.file.write_all(text.as_bytes())
    }
}

fn append(path: &Path) -> io::Result<File> {
    // Who does what is nobody else's business.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn now() -> String {
    DateTime::<Utc>::from(std::time::SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn line(event: &AuditEvent<'_>, time: &str) -> String {
    as_line(&match event {
        AuditEvent::Authentication { principal, mechanism, host, door, reason } => json!({
            "time": time,
            "event": "authentication",
            "principal": principal.map(|principal| shortened(principal.as_str())),
            "mechanism": mechanism,
            "host": host.to_string(),
            "door": name(*door),
            "success": principal.is_some(),
            "reason": reason.map(shortened),
        }),
        AuditEvent::Authorization { caller, operation, resource, allowed } => json!({
            "time": time,
            "event": "authorization",
            "principal": shortened(caller.principal.as_str()),
            "host": caller.host.to_string(),
            "client_id": shortened(&caller.client_id),
            "door": name(caller.door),
            "operation": operation.name(),
            "resource_type": resource.kind().name(),
            "resource": shortened(resource.name()),
            "allowed": allowed,
        }),
    })
}

fn as_line(value: &Value) -> String {
    format!("{value}\n")
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or(text)
}

const fn name(door: Door) -> &'static str {
    match door {
        Door::Kafka => "kafka",
        Door::Rest => "rest",
        Door::Grpc => "grpc",
        Door::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::{Caller, Operation, Principal};
    use tidelog_security::Resource;

    use super::*;

    fn record(log: &AuditLog, topic: &str) {
        let caller = Caller { door: Door::Kafka, ..Caller::internal("a\"client") };
        let resource = Resource::Topic(topic);
        let (operation, allowed) = (Operation::Write, false);
        log.record(&AuditEvent::Authorization { caller: &caller, operation, resource: &resource, allowed });
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
            mechanism: "PLAIN",
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
            "resource": "new\nline", "allowed": false,
        });
        assert_eq!(second[0], expected);
    }
}
