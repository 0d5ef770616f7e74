//! A listening socket: accepts clients and gives each a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidelog_broker::{Broker, ConnectionPlace};
use tidelog_handshake::{HandshakeError, Handshakes};
use tidelog_model::{Door, Principal};
use tidelog_security::AuditEvent;
use tidelog_security::limits::MAX_DOOR_CONNECTIONS;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::auth::{Auth, SaslOptions};
use crate::budget::{Budget, FrameBudgets};
use crate::connection::{self, Budgets, Stream};
use crate::counters;
use crate::fetch_sessions::FetchSessions;
use crate::frame::FrameLimits;
use crate::limits::{DECODED_BUDGET_BYTES, SEALED_BUDGET_BYTES, WAITING_FETCHES_BYTES};
use crate::session::{ListenerName, Session};
use crate::shares::Shares;
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

/// The Kafka door of one process: its listeners share the request budget, as many connections as it can carry, and the fetch sessions.
pub struct KafkaDoor {
    broker: Broker,
    pub(crate) budgets: Budgets,
    limits: FrameLimits,
    slots: Arc<Semaphore>,
    handshakes: Handshakes,
    fetch_sessions: Arc<FetchSessions>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl KafkaDoor {
    /// A door to `broker` without a listener yet.
    pub fn new(broker: Broker) -> Self {
        counters::begin();
        let config = broker.config();
        let limits = FrameLimits {
            max_bytes: usize::try_from(config.request_max_bytes).unwrap_or(0),
            max_idle: config.connections_max_idle,
        };
        let slots = usize::try_from(config.fetch_session_slots).unwrap_or(0);
        KafkaDoor {
            broker,
            budgets: Budgets {
                requests: FrameBudgets::default(),
                waiting_fetches: Shares::new(WAITING_FETCHES_BYTES),
                decoded: Shares::new(DECODED_BUDGET_BYTES),
                sealed: Budget::new(SEALED_BUDGET_BYTES),
            },
            limits,
            slots: Arc::new(Semaphore::new(MAX_DOOR_CONNECTIONS)),
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
        let place_name: Arc<str> = Arc::from(name.name.to_lowercase());
        self.broker.listener_opened(&place_name);
        counters::begin_listener(&place_name, security.sasl.as_ref());
        let accept = Accept {
            broker: self.broker.clone(),
            place_name,
            listener: Arc::new(name),
            sasl: security.sasl.map(Arc::new),
            tls: security.tls.map(Arc::new),
            budgets: self.budgets.clone(),
            limits: self.limits,
            slots: Arc::clone(&self.slots),
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

/// An open connection's part of what there is.
struct Open {
    _slot: OwnedSemaphorePermit,
    _place: ConnectionPlace,
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("tidelog_kafka_connections").decrement(1.0);
    }
}

struct Accept {
    broker: Broker,
    listener: Arc<ListenerName>,
    /// Its name in small letters, as settings of listeners have it.
    place_name: Arc<str>,
    sasl: Option<Arc<SaslOptions>>,
    tls: Option<Arc<TlsOptions>>,
    budgets: Budgets,
    limits: FrameLimits,
    slots: Arc<Semaphore>,
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
            // Newcomers wait where there are too many; who is turned away is gone.
            let admitted = tokio::select! {
                admitted = self.admit(stream, peer) => admitted,
                () = self.stop.cancelled() => return,
            };
            if let Some((stream, open)) = admitted {
                self.serve(stream, peer, open);
            }
        }
    }

    async fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<(TcpStream, Open)> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        let admitted = self.broker.admit_connection(Door::Kafka, &self.place_name, peer.ip(), stream);
        let (stream, place) = admitted.await?;
        metrics::gauge!("tidelog_kafka_connections").increment(1.0);
        Some((stream, Open { _slot: slot, _place: place }))
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, open: Open) {
        let Ok(local) = stream.local_addr() else {
            debug!(%peer, "connection lost at once");
            return;
        };
        // Answers are small and latency matters; the kernel must not wait for more.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "connection lost at once");
            return;
        }
        let stop = self.stop.child_token();
        // Who has to say who it is is a stranger until then.
        let mut stranger = None;
        if self.sasl.is_some() || self.tls.is_some() {
            stranger = self.broker.admit_stranger(&self.place_name, peer.ip(), stop.clone());
            if stranger.is_none() {
                return;
            }
        }
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
                        // Who says by SASL who he is, is nobody by his certificate, though it may let him in.
                        let principal = match &sasl {
                            Some(_) => Principal::anonymous(),
                            None => tls::principal(&stream, &options.rules)?,
                        };
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
            let (waiting_fetches, decoded) = (budgets.waiting_fetches.clone(), budgets.decoded.clone());
            let mut session = Session {
                broker,
                listener,
                peer,
                local,
                auth,
                stranger,
                mute: Mute::new(),
                fetch_sessions,
                waiting_fetches,
                decoded,
            };
            session.forget_stranger();
            connection::serve(session, stream, budgets, limits, stop).await;
            drop(open);
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
