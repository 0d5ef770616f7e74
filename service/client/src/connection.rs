//! One connection to one broker: requests are pipelined, answers come in order, everything has a deadline and a size limit.
//! It never retries and never chooses a broker.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tidelog_protocol::messages::ApiVersionsRequest;
use tidelog_protocol::{Message, Pieces, Request, Str, header};
use tidelog_security::sasl::Login;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::limits::{
    CONNECT_TIMEOUT, LAST_WORDS, MAX_QUEUED_REQUESTS, MAX_RESPONSE_BYTES, READ_STEP_BYTES, REQUEST_TIMEOUT,
};
use crate::sasl::{authenticate, mechanisms_asked_for};
use crate::write::Slices;
use crate::{BrokerAddress, ClientError, ServerVersions, hints};

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// What the client calls itself.
    pub client_id: String,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// Largest answer accepted, bytes.
    pub max_response_bytes: usize,
    /// Who the client says it is, on a listener that asks; `None` on one that does not.
    pub login: Option<Login>,
    /// Encrypt, and whom to trust; `None` sends everything as it is.
    pub tls: Option<Arc<ClientConfig>>,
    /// Turns true once a server has served somebody who did not say who they are: from then on a lost connection is just that.
    pub serves_nobodies: Arc<AtomicBool>,
    /// Highest versions to use of some APIs, by key; for tests of older versions.
    pub version_caps: Vec<(i16, i16)>,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        ConnectionOptions {
            client_id: "tidelog".into(),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            max_response_bytes: MAX_RESPONSE_BYTES,
            login: None,
            tls: None,
            serves_nobodies: Arc::default(),
            version_caps: Vec::new(),
        }
    }
}

/// An open connection; clones share it. It closes when the last clone and the last [`Answer`] are dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    versions: Arc<ServerVersions>,
}

#[derive(Debug)]
struct Shared {
    address: BrokerAddress,
    client_id: Str,
    request_timeout: Duration,
    correlation: AtomicI32,
    requests: mpsc::Sender<Outgoing>,
    state: Arc<State>,
}

/// What the connection's task and its users share.
#[derive(Debug, Default)]
struct State {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Why the connection ended, once it has.
    ended: Mutex<Option<End>>,
    /// If the server hangs up: ask whether it wants to know who the client is, unless it does not.
    asks: bool,
    serves_nobodies: Arc<AtomicBool>,
    encrypted: bool,
    /// It shows a certificate to servers that ask for one.
    has_certificate: bool,
    kill: Notify,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Closed(String),
    /// Nothing that came was an answer of Kafka's.
    NoKafka(String),
    /// The server closed it before it answered anything but what everybody is told, and the client has not said who it is.
    Unasked,
    /// The server wants to know who the client is.
    Unauthenticated(String),
}

#[derive(Debug)]
struct Waiting {
    correlation: i32,
    answer: oneshot::Sender<Bytes>,
}

struct Outgoing {
    correlation: i32,
    frame: Pieces,
    /// Absent for Produce with acks 0, which is not answered.
    answer: Option<oneshot::Sender<Bytes>>,
}

/// An answer that is on its way.
#[derive(Debug)]
pub struct Answer<R> {
    frame: oneshot::Receiver<Bytes>,
    version: i16,
    deadline: Instant,
    timeout: Duration,
    shared: Arc<Shared>,
    request: PhantomData<fn() -> R>,
}

impl Connection {
    /// Connects and asks the server for its versions (KIP-511).
    pub async fn open(address: &BrokerAddress, options: &ConnectionOptions) -> Result<Connection, ClientError> {
        let connection = Connection::open_as_nobody(address, options, options.login.is_none()).await?;
        if let Some(login) = &options.login {
            authenticate(&connection, login).await?;
        }
        Ok(connection)
    }

    /// As [`Connection::open`], without saying who the client is. If the server hangs up and `asks`, it is asked whether it wants to know.
    pub(crate) async fn open_as_nobody(
        address: &BrokerAddress,
        options: &ConnectionOptions,
        asks: bool,
    ) -> Result<Connection, ClientError> {
        let (requests, queue) = mpsc::channel(MAX_QUEUED_REQUESTS);
        let state = Arc::new(State {
            asks,
            serves_nobodies: Arc::clone(&options.serves_nobodies),
            encrypted: options.tls.is_some(),
            has_certificate: options.tls.as_ref().is_some_and(|tls| tls.client_auth_cert_resolver.has_certs()),
            ..State::default()
        });
        let serve = async {
            let stream = connect(address).await?;
            let task = Task { address: address.clone(), options: options.clone(), state: Arc::clone(&state) };
            match &options.tls {
                None => drop(tokio::spawn(task.run(stream.into_split(), queue))),
                Some(tls) => {
                    let secured = encrypt(address, stream, tls, state.has_certificate).await?;
                    drop(tokio::spawn(task.run(tokio::io::split(secured), queue)));
                }
            }
            Ok::<(), ClientError>(())
        };
        match tokio::time::timeout(options.connect_timeout, serve).await {
            Ok(served) => served?,
            Err(_) => {
                let reason = format!("no answer within {:?}", options.connect_timeout);
                return Err(ClientError::Connect { address: address.clone(), reason });
            }
        }
        let shared = Arc::new(Shared {
            address: address.clone(),
            client_id: Str::from(options.client_id.as_str()),
            request_timeout: options.request_timeout,
            correlation: AtomicI32::new(0),
            requests,
            state,
        });
        let mut versions = negotiate(&shared).await?;
        for (key, max) in &options.version_caps {
            versions.cap(*key, *max);
        }
        Ok(Connection { shared, versions: Arc::new(versions) })
    }

    /// Where it leads.
    pub fn address(&self) -> &BrokerAddress {
        &self.shared.address
    }

    /// The server's versions.
    pub fn versions(&self) -> &ServerVersions {
        &self.versions
    }

    /// False once the connection has ended.
    pub fn is_open(&self) -> bool {
        self.shared.state.ended.lock().is_none()
    }

    /// Sends a request in the highest common version and waits for its answer.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.call_up_to(i16::MAX, request).await
    }

    /// As [`Connection::call`], in no version above `max`.
    pub async fn call_up_to<R: Request>(&self, max: i16, request: &R) -> Result<R::Response, ClientError> {
        let version = self.versions.choose::<R>(max)?;
        self.shared.call(version, request).await
    }

    /// Sends a request and returns while its answer is on its way; `extra` is added to the time it may take. Requests leave in
    /// the order of these calls. Fails if the connection has ended or too many requests wait.
    pub fn submit<R: Request>(&self, version: i16, request: &R, extra: Duration) -> Result<Answer<R>, ClientError> {
        self.shared.submit(version, request, extra)
    }

    /// Sends a request that the server does not answer: Produce with acks 0.
    pub fn submit_unanswered<R: Request>(&self, version: i16, request: &R) -> Result<(), ClientError> {
        let (correlation, frame) = self.shared.frame(version, request)?;
        self.shared.enqueue(Outgoing { correlation, frame, answer: None })
    }
}

impl Shared {
    fn frame<R: Request>(&self, version: i16, request: &R) -> Result<(i32, Pieces), ClientError> {
        // Wraps around; an answer only has to match the request it follows.
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        Ok((correlation, header::request_frame(version, correlation, Some(&self.client_id), request)?))
    }

    fn enqueue(&self, outgoing: Outgoing) -> Result<(), ClientError> {
        self.requests.try_send(outgoing).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => self.closed_because("too many requests wait"),
            mpsc::error::TrySendError::Closed(_) => self.closed(),
        })
    }

    fn submit<R: Request>(
        self: &Arc<Self>,
        version: i16,
        request: &R,
        extra: Duration,
    ) -> Result<Answer<R>, ClientError> {
        let (correlation, frame) = self.frame(version, request)?;
        let (sender, receiver) = oneshot::channel();
        self.enqueue(Outgoing { correlation, frame, answer: Some(sender) })?;
        Ok(self.answer(receiver, version, extra))
    }

    fn answer<R>(self: &Arc<Self>, frame: oneshot::Receiver<Bytes>, version: i16, extra: Duration) -> Answer<R> {
        let timeout = self.request_timeout.saturating_add(extra);
        let deadline = Instant::now() + timeout;
        Answer { frame, version, deadline, timeout, shared: Arc::clone(self), request: PhantomData }
    }

    async fn call<R: Request>(self: &Arc<Self>, version: i16, request: &R) -> Result<R::Response, ClientError> {
        let (correlation, frame) = self.frame(version, request)?;
        let (sender, receiver) = oneshot::channel();
        let answer = self.answer::<R>(receiver, version, Duration::ZERO);
        let room = tokio::time::timeout_at(answer.deadline, self.requests.reserve()).await;
        let room = room.map_err(|_| self.timed_out::<R>(answer.timeout))?.map_err(|_| self.closed())?;
        room.send(Outgoing { correlation, frame, answer: Some(sender) });
        answer.wait().await
    }

    /// No answer in time: answers come in order, so nothing behind it can be used either.
    fn timed_out<R: Message>(&self, after: Duration) -> ClientError {
        self.state.kill.notify_one();
        ClientError::Timeout { what: R::NAME, after }
    }

    fn closed(&self) -> ClientError {
        match &*self.state.ended.lock() {
            None => self.closed_because("it was closed"),
            Some(End::Closed(reason)) => self.closed_because(reason),
            Some(End::NoKafka(reason)) => {
                ClientError::Connect { address: self.address.clone(), reason: reason.clone() }
            }
            Some(End::Unasked) => self.closed_because(CLOSED_BY_SERVER),
            Some(End::Unauthenticated(reason)) => {
                ClientError::Unauthenticated { address: self.address.clone(), reason: reason.clone() }
            }
        }
    }

    fn closed_because(&self, reason: &str) -> ClientError {
        ClientError::Closed { address: self.address.clone(), reason: reason.to_owned() }
    }
}

impl<R: Request> Answer<R> {
    /// The answer's body.
    pub async fn wait(self) -> Result<R::Response, ClientError> {
        let version = self.version;
        let frame = self.frame().await?;
        let (_, response) = header::read_response::<R>(frame, version)?;
        Ok(response)
    }

    /// The version of the answer.
    pub fn version(&self) -> i16 {
        self.version
    }

    async fn frame(self) -> Result<Bytes, ClientError> {
        match tokio::time::timeout_at(self.deadline, self.frame).await {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(_)) => Err(self.shared.closed()),
            Err(_) => Err(self.shared.timed_out::<R>(self.timeout)),
        }
    }
}

/// Asks with our newest version; a server that does not know it answers in version 0 and names its range.
async fn negotiate(shared: &Arc<Shared>) -> Result<ServerVersions, ClientError> {
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static("tidelog"),
        client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
        ..Default::default()
    };
    let mut version = ApiVersionsRequest::VERSIONS.max;
    loop {
        let answer = shared.submit(version, &request, Duration::ZERO)?;
        let (_, response) = header::read_api_versions_response(answer.frame().await?, version)?;
        if response.error_code == 0 {
            return Ok(ServerVersions::new(&response));
        }
        let versions = ServerVersions::new(&response);
        // An old server may name no range at all; every server knows version 0.
        let next = versions.choose::<ApiVersionsRequest>(version.saturating_sub(1)).unwrap_or(0);
        if version == 0 {
            ClientError::check(response.error_code, || "the server's versions".into(), None)?;
        }
        version = next;
    }
}

async fn connect(address: &BrokerAddress) -> Result<TcpStream, ClientError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ClientError::Refused(address.clone()),
        _ => ClientError::Connect { address: address.clone(), reason: error.to_string() },
    };
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// The handshake; the server's certificate must be for the name that we connect to.
async fn encrypt(
    address: &BrokerAddress,
    stream: TcpStream,
    tls: &Arc<ClientConfig>,
    has_certificate: bool,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let failed = |reason: String| ClientError::Connect { address: address.clone(), reason };
    let name = ServerName::try_from(address.host.clone()).map_err(|error| failed(error.to_string()))?;
    let secured = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
    secured.map_err(|error| match hints::of_alert(&error, has_certificate) {
        Some(reason) => ClientError::Unauthenticated { address: address.clone(), reason },
        None => failed(format!("{error}{}", hints::of_handshake(&error))),
    })
}

/// The connection's task, and what it needs to learn why the server hung up.
struct Task {
    address: BrokerAddress,
    options: ConnectionOptions,
    state: Arc<State>,
}

impl Task {
    /// Reads and writes until one of them ends, then fails whoever still waits.
    async fn run(self, halves: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin), queue: mpsc::Receiver<Outgoing>) {
        let state = &self.state;
        // The queue outlives the exchange: who finds it gone finds the reason set.
        let mut queue = queue;
        let end = exchange(halves, &mut queue, state, self.options.max_response_bytes).await;
        let unasked = end == End::Unasked;
        *state.ended.lock() = Some(end);
        if unasked && let Some(mechanisms) = mechanisms_asked_for(&self.address, &self.options).await {
            *state.ended.lock() = Some(End::Unauthenticated(hints::of_mechanisms(&mechanisms)));
        }
        // Dropping the senders wakes those who wait; they find the reason set.
        state.waiting.lock().clear();
    }
}

/// Reads and writes until one of them ends; answers why.
async fn exchange(
    (read, write): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    queue: &mut mpsc::Receiver<Outgoing>,
    state: &State,
    max_bytes: usize,
) -> End {
    let mut reading = std::pin::pin!(read_answers(BufReader::with_capacity(64 * 1024, read), state, max_bytes));
    tokio::select! {
        end = &mut reading => end,
        result = write_requests(write, queue, state) => match result {
            Ok(()) => End::Closed("it was closed".to_owned()),
            // The server may have said why before it hung up.
            Err(error) => {
                let said = tokio::time::timeout(LAST_WORDS, &mut reading).await;
                said.unwrap_or_else(|_| End::Closed(error.to_string()))
            }
        },
        () = state.kill.notified() => End::Closed("a request timed out".to_owned()),
    }
}

/// Writes what is queued, many requests in one call; ends well when nobody can queue any more.
async fn write_requests(
    mut to: impl AsyncWrite + Unpin,
    queue: &mut mpsc::Receiver<Outgoing>,
    state: &State,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(MAX_QUEUED_REQUESTS);
    while queue.recv_many(&mut batch, MAX_QUEUED_REQUESTS).await > 0 {
        let mut slices = Slices::default();
        for outgoing in batch.drain(..) {
            if let Some(answer) = outgoing.answer {
                state.waiting.lock().push_back(Waiting { correlation: outgoing.correlation, answer });
            }
            slices.push(outgoing.frame).map_err(io::Error::other)?;
        }
        to.write_all_buf(&mut slices).await?;
    }
    to.shutdown().await
}

const CLOSED_BY_SERVER: &str = "the server closed it";

/// Hands each answer to the oldest request that waits; returns why that ended.
async fn read_answers(mut from: impl AsyncRead + Unpin, state: &State, max_bytes: usize) -> End {
    let mut answers = 0u64;
    loop {
        let frame = match read_frame(&mut from, max_bytes).await {
            Ok(frame) => frame,
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                // What nobody waits for has no reason worth a guess, but the first question, which comes at once.
                let waited_for = !state.waiting.lock().is_empty();
                return match answers {
                    0 => {
                        let hint = hints::of_silence(state.encrypted, state.has_certificate);
                        End::NoKafka(format!("{CLOSED_BY_SERVER}{hint}"))
                    }
                    // Every server tells its versions to everybody, once or in an older form again; then it wants to know whom.
                    1 | 2 if waited_for && state.asks && !state.serves_nobodies.load(Ordering::Relaxed) => End::Unasked,
                    _ => End::Closed(CLOSED_BY_SERVER.to_owned()),
                };
            }
            Err(error) => {
                let refused = hints::of_alert(&error, state.has_certificate);
                let end = if answers == 0 { End::NoKafka } else { End::Closed };
                return refused.map_or_else(|| end(error.to_string()), End::Unauthenticated);
            }
        };
        answers = answers.saturating_add(1);
        if answers > 2 && state.asks {
            state.serves_nobodies.store(true, Ordering::Relaxed);
        }
        let correlation = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        let oldest = state.waiting.lock().pop_front();
        match (oldest, correlation) {
            // The caller may have given up; its answer is dropped.
            (Some(waiting), Some(id)) if waiting.correlation == id => drop(waiting.answer.send(frame)),
            (Some(waiting), id) => {
                return End::Closed(format!("answer {id:?} came where {} was due", waiting.correlation));
            }
            (None, _) => return End::Closed("an answer came that nobody asked for".to_owned()),
        }
    }
}

/// One frame without its size. Memory follows what arrived, not what was announced.
async fn read_frame(from: &mut (impl AsyncRead + Unpin), max_bytes: usize) -> io::Result<Bytes> {
    let announced = from.read_i32().await?;
    if let Some(other) = hints::of_size(announced) {
        return Err(io::Error::other(other));
    }
    let size = usize::try_from(announced).ok().filter(|size| *size <= max_bytes);
    let size = size
        .ok_or_else(|| io::Error::other(format!("an answer of {announced} bytes, at most {max_bytes} are accepted")))?;
    let mut frame = BytesMut::with_capacity(size.min(READ_STEP_BYTES));
    while frame.len() < size {
        let left = size - frame.len();
        // Doubling at most: what is reserved never exceeds what came by more than the first step.
        frame.reserve(left.min(frame.len().max(READ_STEP_BYTES)).min(left));
        let mut limited = (&mut *from).take(left as u64);
        if limited.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
