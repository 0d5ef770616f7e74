//! A listening socket: accepts clients and gives each a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidelog_broker::Broker;
use tidelog_model::{Principal, QuotaKind};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::auth::{Auth, SaslOptions};
use crate::connection;
use crate::fetch_sessions::FetchSessions;
use crate::frame::{Budget, FrameLimits};
use crate::limits::{MAX_CONNECTION_PAUSE, MAX_HELD_CONNECTIONS};
use crate::places::Places;
use crate::session::{ListenerName, Session};
use crate::throttle::Mute;

/// How a listener's clients are known.
#[derive(Clone, Debug, Default)]
pub struct ListenerSecurity {
    /// They say who they are; without it everybody is anonymous.
    pub sasl: Option<SaslOptions>,
}

/// The Kafka door of one process: its listeners share the request budget, the connection limit and the fetch sessions.
pub struct KafkaDoor {
    broker: Broker,
    budget: Budget,
    limits: FrameLimits,
    places: Places,
    held: Arc<Semaphore>,
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
            budget: Budget::new(),
            limits,
            places,
            held: Arc::new(Semaphore::new(MAX_HELD_CONNECTIONS)),
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
            budget: self.budget.clone(),
            limits: self.limits,
            places: self.places.clone(),
            held: Arc::clone(&self.held),
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
    budget: Budget,
    limits: FrameLimits,
    places: Places,
    /// Connections beyond a quota that are still to be closed.
    held: Arc<Semaphore>,
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

    fn serve(&self, stream: tokio::net::TcpStream, peer: SocketAddr, one_of_all: OwnedSemaphorePermit) {
        let Some(place) = self.places.take(one_of_all, peer.ip()) else {
            debug!(%peer, "refusing a Kafka connection: max.connections.per.ip");
            return;
        };
        let Ok(local) = stream.local_addr() else {
            debug!(%peer, "connection lost at once");
            return;
        };
        let session = Session {
            broker: self.broker.clone(),
            listener: Arc::clone(&self.listener),
            peer,
            local,
            auth: Auth::new(self.sasl.clone(), Principal::anonymous(), Instant::now()),
            mute: Mute::new(),
            fetch_sessions: Arc::clone(&self.fetch_sessions),
        };
        let (budget, limits, stop) = (self.budget.clone(), self.limits, self.stop.clone());
        let pause = self.broker.charge_or_refuse(&session.caller(None), QuotaKind::ConnectionCreationRate, 1.0);
        if !pause.is_zero() {
            // Too many from this address: closed, but not so soon that it could try again at once (KIP-612). Others have its place
            // meanwhile, or one address that is limited would keep all others out.
            metrics::counter!("tidelog_kafka_throttled_connections_total").increment(1);
            drop((session, place));
            let Ok(held) = Arc::clone(&self.held).try_acquire_owned() else { return };
            self.tasks.spawn(async move {
                stop.run_until_cancelled(tokio::time::sleep(pause.min(MAX_CONNECTION_PAUSE))).await;
                drop((stream, held));
            });
            return;
        }
        self.tasks.spawn(async move {
            connection::serve(session, stream, budget, limits, stop).await;
            drop(place);
        });
    }
}
