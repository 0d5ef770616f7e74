//! The server as a process: started on free ports, killed, stopped, started again on the same directory and ports.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Output, wait_for};

/// A debug binary on a machine that compiles something else meanwhile; a start takes well under a second otherwise.
const START: Duration = Duration::from_secs(120);

/// The server gives its clients 10 s to let go.
const STOP: Duration = Duration::from_secs(90);

/// Longest run of a command of the command line.
const COMMAND: Duration = Duration::from_secs(120);

/// Lines of the server's log that a failed test shows.
const SHOWN_LINES: usize = 80;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    binary: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    strace: Option<String>,
}

impl Options {
    /// The binary is `$TIDELOG_BIN`, otherwise `built`.
    pub fn new(built: &str) -> Self {
        let binary = std::env::var_os("TIDELOG_BIN").map_or_else(|| PathBuf::from(built), PathBuf::from);
        Options { binary, args: Vec::new(), env: Vec::new(), strace: None }
    }

    /// Further arguments of `tidelog serve`.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// A broker setting under Kafka's name.
    #[must_use]
    pub fn set(self, key: &str, value: impl std::fmt::Display) -> Self {
        let pair = format!("{key}={value}");
        self.args(["-s", &pair])
    }

    /// A variable of the server's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs under strace, which writes these system calls (its `-e trace=`) to [`Server::trace`].
    #[must_use]
    pub fn strace(mut self, calls: &str) -> Self {
        self.strace = Some(calls.into());
        self
    }

    /// `tidelog` with nothing else; no settings of the test's own environment.
    pub fn tidelog(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDELOG_") {
                command.env_remove(name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running server and its directory. Dropping it kills the process and removes the directory.
pub struct Server {
    options: Options,
    folder: TempDir,
    child: Option<Child>,
    /// Where in the log the present process began to write.
    began: usize,
    kafka: String,
    http: String,
}

impl Server {
    /// Starts on an empty directory and waits until it is ready.
    pub fn start(options: Options) -> Self {
        Self::start_on(options, |_| {})
    }

    /// Starts on a directory that `prepare` has filled, and waits until it is ready.
    pub fn start_on(options: Options, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("tidelog-e2e-").tempdir().unwrap();
        let free = || "127.0.0.1:0".to_owned();
        let mut server = Server { options, folder, child: None, began: 0, kafka: free(), http: free() };
        fs::create_dir_all(server.data_dir()).unwrap();
        prepare(&server.data_dir());
        server.start_again();
        server
    }

    /// Starts on the same directory and the same ports, so that clients find the server again.
    pub fn start_again(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Starts and does not wait.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        // The server removes it too, but only after a moment in which a test could read it.
        let _ = fs::remove_file(self.data_dir().join("endpoints.json"));
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        self.began = self.log().len();
        let plain = self.serve_command(&self.data_dir());
        let mut command = match &self.options.strace {
            Some(calls) => self.traced(&plain, calls),
            None => plain,
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}")));
    }

    /// `tidelog serve` as this server is started, on another directory if wanted.
    pub fn serve_command(&self, data_dir: &Path) -> Command {
        let mut command = self.options.tidelog();
        command.arg("serve").arg("--data-dir").arg(data_dir);
        command.args(["--kafka-listen", &self.kafka, "--http-listen", &self.http]).args(&self.options.args);
        command
    }

    fn traced(&self, plain: &Command, calls: &str) -> Command {
        let mut command = Command::new("strace");
        // -D: the server stays our child, and signals reach it; -xx: bytes that can be taken apart.
        command.args(["-D", "-f", "-q", "-y", "-xx", "-s", "4096", "-e"]).arg(format!("trace={calls}"));
        command.arg("-o").arg(self.folder.path().join("strace.log"));
        command.arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Waits until all listeners accept and every partition is open.
    pub fn wait_ready(&mut self) {
        let endpoints = self.data_dir().join("endpoints.json");
        let text = wait_for(
            || {
                if let Some(status) = self.exited() {
                    assert!(self.found_its_port_taken(), "the server ended at its start: {status}");
                    self.child = None;
                    self.spawn();
                }
                fs::read_to_string(&endpoints).ok()
            },
            START,
            "the server is ready",
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let address = |door: &str| value[door].as_str().unwrap().to_owned();
        (self.kafka, self.http) = (address("kafka"), address("http"));
        // Listeners accept while partitions still recover.
        wait_for(|| self.is_ready().then_some(()), START, "every partition is open");
    }

    /// Does `/readyz` say so?
    pub fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut socket = std::net::TcpStream::connect(&self.http)?;
            socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Between a process and its successor, another test may be given the same port for a while.
    fn found_its_port_taken(&self) -> bool {
        !self.kafka.ends_with(":0") && self.log().get(self.began..).is_some_and(|log| log.contains("in use"))
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().unwrap().try_wait().unwrap()
    }

    /// Is the process there?
    pub fn is_running(&mut self) -> bool {
        self.child.is_some() && self.exited().is_none()
    }

    /// Kills it (SIGKILL), as a crash does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it (SIGTERM) and checks that it ends with status 0.
    pub fn stop(&mut self) {
        self.stop_within(STOP);
    }

    /// The same, of one that has much to close.
    pub fn stop_within(&mut self, deadline: Duration) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let status = wait_for(|| self.exited(), deadline, "the server stops");
        self.child = None;
        assert!(status.success(), "stopped with {status}");
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Where Kafka clients connect, `host:port`.
    pub fn kafka(&self) -> &str {
        &self.kafka
    }

    /// Where HTTP and gRPC clients connect, `host:port`.
    pub fn http(&self) -> &str {
        &self.http
    }

    /// A URL of this server; the path begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// A folder of this test's own; it goes with the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// All that the server logged, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What strace wrote.
    pub fn trace(&self) -> String {
        fs::read_to_string(self.folder.path().join("strace.log")).unwrap()
    }

    /// `tidelog …` as a client of this server.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.options.tidelog();
        command.env("TIDELOG_BROKERS", &self.kafka).env("TIDELOG_URL", self.url("")).args(args);
        command
    }

    /// Runs a client command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, b"")
    }

    /// Runs a client command with this input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Output {
        crate::run(&mut self.command(args), input, COMMAND)
    }

    /// Checks that no thread of the server panicked.
    pub fn assert_no_panic(&self) {
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            // Fifty internal partitions at every start would push out everything else.
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("leading partition=__")).collect();
            let last = lines.len().saturating_sub(SHOWN_LINES);
            eprintln!("--- the server's log ({} lines before) ---", last);
            lines.iter().skip(last).for_each(|line| eprintln!("{line}"));
            eprintln!("--- end of the server's log ---");
        } else {
            self.assert_no_panic();
        }
    }
}
