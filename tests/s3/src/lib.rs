//! A signed S3 server in the test's own process: s3s over a temporary folder, on 127.0.0.1 and a port chosen by the system.
//!
//! s3s-fs checks `If-None-Match` and then writes, so that two racing creates both win. A lock per key around every write makes
//! its conditional puts as exclusive as S3's.

mod hold;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};

use hold::{Fate, Trap, Traps};
pub use hold::{Held, Point};

/// The one bucket that exists from the start.
pub const BUCKET: &str = "tidelog-test";

/// The access key id that the server knows.
pub const ACCESS_KEY_ID: &str = "TESTACCESSKEY";

/// Its secret.
pub const SECRET_ACCESS_KEY: &str = "test-secret-of-no-value";

/// Most bytes of a request that is looked into or held.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// One running server; dropping it stops it and removes its data.
pub struct S3Server {
    endpoint: String,
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    service: S3Service,
    folder: PathBuf,
    away: AtomicBool,
    forbidden: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    traps: Traps,
}

impl S3Server {
    /// Starts a server with the bucket [`BUCKET`]. Needs a tokio runtime.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let files = s3s_fs::FileSystem::new(folder.path()).map_err(|e| anyhow::anyhow!("s3s-fs: {e:?}"))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let shared = Arc::new(Shared {
            service: builder.build(),
            folder: folder.path().to_owned(),
            away: AtomicBool::new(false),
            forbidden: Mutex::default(),
            requests: Mutex::default(),
            locks: Mutex::default(),
            traps: Traps::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(S3Server { endpoint, folder, shared, accepting })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Where the objects are, as files below the bucket's name.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// While away every request gets 503.
    pub fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::SeqCst);
    }

    /// From now on the server denies each request whose line (`METHOD /path?query`) begins with one of these.
    pub fn forbid(&self, lines: &[&str]) {
        *self.shared.forbidden.lock() = lines.iter().map(|line| (*line).to_owned()).collect();
    }

    /// The next request whose line (`METHOD /path?query`), or whose body if it is a bulk deletion, contains all these parts waits there.
    pub fn hold(&self, parts: &[&str], point: Point) -> Held {
        let held = Held::new(parts, point);
        self.shared.traps.set(&held.trap);
        held
    }

    /// Every request so far as `METHOD /path?query`, those refused while away included.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().clone()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // The connections end with this task: a `JoinSet` aborts what it holds.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    connections.spawn(serve(socket, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    // A client that hangs up is no error of the server's.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(shared: &Arc<Shared>, request: http::Request<Incoming>) -> http::Response<s3s::Body> {
    let mut known = format!("{} {}", request.method(), request.uri());
    shared.requests.lock().push(known.clone());
    if shared.away.load(Ordering::SeqCst) {
        return status(http::StatusCode::SERVICE_UNAVAILABLE);
    }
    if shared.forbidden.lock().iter().any(|line| known.starts_with(line.as_str())) {
        return refused(http::StatusCode::FORBIDDEN, "AccessDenied", request.method());
    }
    if shared.lacks_bucket(&request) {
        return refused(http::StatusCode::NOT_FOUND, "NoSuchBucket", request.method());
    }
    let mut request = request.map(s3s::Body::from);
    // A bulk deletion names its keys in the body.
    if request.method() == http::Method::POST
        && let Ok(body) = request.body_mut().store_all_limited(MAX_BODY_BYTES).await
    {
        known.push_str(&String::from_utf8_lossy(&body));
    }
    match shared.traps.take(&known) {
        None => carry_out(shared, request).await,
        Some(trap) => {
            if request.body_mut().store_all_limited(MAX_BODY_BYTES).await.is_err() {
                return status(http::StatusCode::BAD_REQUEST);
            }
            // On a task of its own: the sender may be dead by the time it goes on.
            let shared = Arc::clone(shared);
            let waiting = tokio::spawn(async move {
                let answer = held(&shared, request, &trap).await;
                trap.answered.send_replace(true);
                answer
            });
            waiting.await.unwrap_or_else(|_| status(http::StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
}

async fn held(shared: &Shared, request: s3s::HttpRequest, trap: &Trap) -> http::Response<s3s::Body> {
    if trap.point == Point::After {
        let answer = carry_out(shared, request).await;
        trap.wait().await;
        return answer;
    }
    match trap.wait().await {
        Fate::GoesOn => carry_out(shared, request).await,
        Fate::Vanishes => status(http::StatusCode::SERVICE_UNAVAILABLE),
    }
}

async fn carry_out(shared: &Shared, request: s3s::HttpRequest) -> http::Response<s3s::Body> {
    let writes = request.method() != http::Method::GET && request.method() != http::Method::HEAD;
    let lock = writes.then(|| Arc::clone(shared.locks.lock().entry(request.uri().path().to_owned()).or_default()));
    let _guard = match &lock {
        Some(lock) => Some(lock.lock().await),
        None => None,
    };
    match shared.service.call(request).await {
        Ok(response) => response,
        Err(_) => status(http::StatusCode::INTERNAL_SERVER_ERROR),
    }
}

impl Shared {
    /// Is it about something in a bucket that is not there? s3s-fs takes some such requests for ones about absent objects.
    fn lacks_bucket<B>(&self, request: &http::Request<B>) -> bool {
        let path = request.uri().path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let of_the_bucket_itself = key.is_empty() && request.uri().query().is_none();
        !of_the_bucket_itself && !self.folder.join(bucket).is_dir()
    }
}

/// As S3 refuses: with its reason as XML, but for a HEAD.
fn refused(code: http::StatusCode, reason: &str, method: &http::Method) -> http::Response<s3s::Body> {
    let mut response = status(code);
    if method != http::Method::HEAD {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{reason}</Code><Message>no</Message></Error>"
        );
        *response.body_mut() = s3s::Body::from(text);
    }
    response
}

fn status(code: http::StatusCode) -> http::Response<s3s::Body> {
    let mut response = http::Response::new(s3s::Body::empty());
    *response.status_mut() = code;
    response
}
