//! A listening socket: accepts clients and gives each a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidelog_broker::Broker;
use tidelog_model::Principal;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::connection;
use crate::fetch_sessions::FetchSessions;
use crate::frame::{Budget, FrameLimits};
use crate::limits::MAX_CONNECTIONS;
use crate::session::{ListenerName, Session};

/// The Kafka door of one process: its listeners share the request budget, the connection limit and the fetch sessions.
pub struct KafkaDoor {
    broker: Broker,
    budget: Budget,
    limits: FrameLimits,
    connections: Arc<Semaphore>,
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
        let slots = usize::try_from(config.fetch_session_slots).unwrap_or(0);
        KafkaDoor {
            broker,
            budget: Budget::new(),
            limits,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            fetch_sessions: Arc::new(FetchSessions::new(slots)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Serves clients of `socket` until [`close`](Self::close). Returns the address it listens on.
    pub fn listen(&self, socket: TcpListener, name: ListenerName) -> io::Result<SocketAddr> {
        let address = socket.local_addr()?;
        let accept = Accept {
            broker: self.broker.clone(),
            listener: Arc::new(name),
            budget: self.budget.clone(),
            limits: self.limits,
            connections: Arc::clone(&self.connections),
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
    budget: Budget,
    limits: FrameLimits,
    connections: Arc<Semaphore>,
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
            match accepted {
                Ok((stream, peer)) => self.serve(stream, peer),
                Err(error) => {
                    // Out of descriptors, most likely: the next moment may be better.
                    warn!(%error, "cannot accept a Kafka connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn serve(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
            warn!(%peer, limit = MAX_CONNECTIONS, "refusing a Kafka connection: too many");
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
            principal: Principal::anonymous(),
            fetch_sessions: Arc::clone(&self.fetch_sessions),
        };
        let (budget, limits, stop) = (self.budget.clone(), self.limits, self.stop.clone());
        self.tasks.spawn(async move {
            connection::serve(session, stream, budget, limits, stop).await;
            drop(place);
        });
    }
}
