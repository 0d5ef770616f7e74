//! A listening socket: accepts clients and gives each a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidelog_broker::Broker;
use tidelog_handshake::{HandshakeError, Handshakes};
use tidelog_model::{Caller, Door, Principal, QuotaKind};
use tidelog_security::AuditEvent;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::auth::{Auth, SaslOptions};
use crate::budget::{Budget, FrameBudgets};
use crate::connection::{self, Budgets, Stream};
use crate::fetch_sessions::FetchSessions;
use crate::frame::FrameLimits;
use crate::limits::{MAX_CONNECTION_PAUSE, MAX_HELD_CONNECTIONS, SEALED_BUDGET_BYTES};
use crate::places::Places;
use crate::session::{ListenerName, Session};
use crate::throttle::Mute;
use crate::tls::{self, TlsOptions};

/// How a listener's clients are known.
#[derive(Clone, Debug, Default)]
pub struct ListenerSecurity {
    /// They say who they are; without it everybody is anonymous.
    pub sasl: Option<SaslOptions>,
    /// They are encrypted; a client's certificate says who it is unless SASL does.
    pub tls: Option<TlsOptions>,
}

/// The Kafka door of one process: its listeners share the request budget, the connection limit and the fetch sessions.
pub struct KafkaDoor {
    broker: Broker,
    budgets: Budgets,
    limits: FrameLimits,
    places: Places,
    held: Arc<Semaphore>,
    handshakes: Handshakes,
    fetch_sessions: Arc<FetchSessions>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl KafkaDoor {
    /// A door to `broker` without a listener yet.
    pub fn new(broker: Broker) -> Self {
        let config = broker.config();
        let limits = FrameLimits {
            max_bytes: usize::try_from(config.request_max_bytes).unwrap_or(0),
            max_idle: config.connections_max_idle,
        };
        let places = Places::new(config);
        let slots = usize::try_from(config.fetch_session_slots).unwrap_or(0);
        KafkaDoor {
            broker,
            budgets: Budgets { requests: FrameBudgets::default(), sealed: Budget::new(SEALED_BUDGET_BYTES) },
            limits,
            places,
            held: Arc::new(Semaphore::new(MAX_HELD_CONNECTIONS)),
            handshakes: Handshakes::default(),
            fetch_sessions: Arc::new(FetchSessions::new(slots)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Serves clients of `socket` until [`close`](Self::close). Returns the address it listens on.
    pub fn listen(
        &self,
        socket: TcpListener,
        name: ListenerName,
        security: ListenerSecurity,
    ) -> io::Result<SocketAddr> {
        let address = socket.local_addr()?;
        let accept = Accept {
            broker: self.broker.clone(),
            listener: Arc::new(name),
            sasl: security.sasl.map(Arc::new),
            tls: security.tls.map(Arc::new),
            budgets: self.budgets.clone(),
            limits: self.limits,
            places: self.places.clone(),
            held: Arc::clone(&self.held),
            handshakes: self.handshakes.clone(),
            fetch_sessions: Arc::clone(&self.fetch_sessions),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
        };
        self.tasks.spawn(accept.run(socket));
        Ok(address)
    }

    /// Stops accepting, lets accepted requests be answered, and closes every connection; waits at most `patience`.
    pub async fn close(&self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            warn!(?patience, "some Kafka connections did not end in time");
        }
    }
}

struct Accept {
    broker: Broker,
    listener: Arc<ListenerName>,
    sasl: Option<Arc<SaslOptions>>,
    tls: Option<Arc<TlsOptions>>,
    budgets: Budgets,
    limits: FrameLimits,
    places: Places,
    /// Connections beyond a quota that are still to be closed.
    held: Arc<Semaphore>,
    handshakes: Handshakes,
    fetch_sessions: Arc<FetchSessions>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Accept {
    async fn run(self, socket: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: the next moment may be better.
                    warn!(%error, "cannot accept a Kafka connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let place = tokio::select! {
                place = self.places.wait() => place,
                () = self.stop.cancelled() => return,
            };
            if let Some(place) = place {
                self.serve(stream, peer, place);
            }
        }
    }

    /// A connection was turned away.
    fn refused(&self, reason: &'static str) {
        let listener = self.listener.name.to_lowercase();
        metrics::counter!("tidelog_connections_refused_total", "listener" => listener, "reason" => reason).increment(1);
    }

    fn serve(&self, stream: tokio::net::TcpStream, peer: SocketAddr, one_of_all: OwnedSemaphorePermit) {
        let Some(place) = self.places.take(one_of_all, peer.ip()) else {
            self.refused("per_ip");
            debug!(%peer, "refusing a Kafka connection: max.connections.per.ip");
            return;
        };
        let Ok(local) = stream.local_addr() else {
            debug!(%peer, "connection lost at once");
            return;
        };
        // Answers are small and latency matters; the kernel must not wait for more.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "connection lost at once");
            return;
        }
        let stop = self.stop.clone();
        let stranger =
            Caller { principal: Principal::anonymous(), host: peer.ip(), client_id: Arc::from(""), door: Door::Kafka };
        let pause = self.broker.charge_or_refuse(&stranger, QuotaKind::ConnectionCreationRate, 1.0);
        if !pause.is_zero() {
            // Too many from this address: closed, but not so soon that it could try again at once (KIP-612). Others have its place
            // meanwhile, or one address that is limited would keep all others out.
            self.refused("rate");
            drop(place);
            let Ok(held) = Arc::clone(&self.held).try_acquire_owned() else { return };
            self.tasks.spawn(async move {
                stop.run_until_cancelled(tokio::time::sleep(pause.min(MAX_CONNECTION_PAUSE))).await;
                drop((stream, held));
            });
            return;
        }
        metrics::counter!("tidelog_connections_opened_total", "listener" => self.listener.name.to_lowercase())
            .increment(1);
        let (broker, listener, sasl) = (self.broker.clone(), Arc::clone(&self.listener), self.sasl.clone());
        let (tls, handshakes) = (self.tls.clone(), self.handshakes.clone());
        let (budgets, limits, fetch_sessions) = (self.budgets.clone(), self.limits, Arc::clone(&self.fetch_sessions));
        self.tasks.spawn(async move {
            let opened = Instant::now();
            let (stream, principal) = match tls {
                None => (Stream::Plain(stream), Principal::anonymous()),
                Some(options) => {
                    let shake = handshakes.accept(stream, peer.ip(), &options.source);
                    let Some(done) = stop.run_until_cancelled(shake).await else { return };
                    let known = done.and_then(|stream| {
                        let principal = tls::principal(&stream, &options.rules)?;
                        Ok((stream, principal))
                    });
                    match known {
                        Ok((stream, principal)) => {
                            if principal != Principal::anonymous() {
                                broker.audit(&certificate(Ok(&principal), peer));
                            }
                            (Stream::Tls(Box::new(stream)), principal)
                        }
                        Err(error) => {
                            metrics::counter!("tidelog_kafka_failed_handshakes_total").increment(1);
                            let reason = tls::plainly(&error);
                            // Who said nothing has not tried to come in.
                            if matches!(error, HandshakeError::Silent) {
                                debug!(%peer, listener = %listener.name, reason, "no TLS handshake");
                            } else {
                                broker.audit(&certificate(Err(&reason), peer));
                                info!(%peer, listener = %listener.name, error = reason, "a TLS handshake failed");
                            }
                            return;
                        }
                    }
                }
            };
            let auth = Auth::new(sasl, principal, opened);
            let session = Session { broker, listener, peer, local, auth, mute: Mute::new(), fetch_sessions };
            connection::serve(session, stream, budgets, limits, stop).await;
            drop(place);
        });
    }
}

/// Who a client's certificate says it is, or why no handshake came about.
fn certificate<'a>(result: Result<&'a Principal, &'a str>, peer: SocketAddr) -> AuditEvent<'a> {
    AuditEvent::Authentication {
        principal: result.ok(),
        claimed: None,
        mechanism: "SSL",
        token_id: None,
        host: peer.ip(),
        door: Door::Kafka,
        reason: result.err(),
    }
}
