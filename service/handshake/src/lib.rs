//! TLS handshakes of the doors: when one begins, how long it may take, and who has to go when others wait. Decides nothing about
//! certificates and principals.
//!
//! A client that says nothing takes no place: only its first bytes begin a handshake. So silent connections keep nobody out, and those
//! of one address are few; nor does one address get every place, nor keeps any who stalls in the middle.

pub mod limits;
mod words;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use words::in_words;

use limits::{
    HANDSHAKE_PATIENCE, LOOK, MAX_HANDSHAKES, MAX_HANDSHAKES_OF_ONE, MAX_SILENT_OF_ONE, PLACE_PATIENCE, SILENCE_GRACE,
    SILENCE_PATIENCE,
};

/// Gives the configuration in force: certificates are renewed while the server runs.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// Why no handshake came about.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client said nothing at all: a probe, or somebody who only wants the connection.
    #[error("the client said nothing")]
    Silent,
    /// It took too long, on the whole or while others waited for a place.
    #[error("it took too long")]
    Late,
    /// What was said led to nothing.
    #[error(transparent)]
    Failed(io::Error),
}

/// How many, and how long.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeLimits {
    /// [`MAX_HANDSHAKES`]
    pub places: usize,
    /// [`MAX_HANDSHAKES_OF_ONE`]
    pub places_of_one: usize,
    /// [`MAX_SILENT_OF_ONE`]
    pub silent_of_one: usize,
    /// [`HANDSHAKE_PATIENCE`]
    pub patience: Duration,
    /// [`PLACE_PATIENCE`]
    pub place_patience: Duration,
    /// [`SILENCE_PATIENCE`]
    pub silence_patience: Duration,
    /// [`SILENCE_GRACE`]
    pub silence_grace: Duration,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        HandshakeLimits {
            places: MAX_HANDSHAKES,
            places_of_one: MAX_HANDSHAKES_OF_ONE,
            silent_of_one: MAX_SILENT_OF_ONE,
            patience: HANDSHAKE_PATIENCE,
            place_patience: PLACE_PATIENCE,
            silence_patience: SILENCE_PATIENCE,
            silence_grace: SILENCE_GRACE,
        }
    }
}

/// The handshakes of one door.
#[derive(Clone)]
pub struct Handshakes(Arc<Door>);

struct Door {
    limits: HandshakeLimits,
    all: Places,
    addresses: Mutex<HashMap<IpAddr, Arc<Address>>>,
}

/// What the connections of one address share.
struct Address {
    silent: AtomicUsize,
    places: Places,
}

/// Places, and how many wait for one.
struct Places {
    free: Semaphore,
    waiting: AtomicUsize,
}

/// Counts as long as it lives, also when nobody waits for its future any more.
struct Counted<'a>(&'a AtomicUsize);

/// A connection in its address' count; the last one takes the address with it.
struct Entry {
    door: Arc<Door>,
    key: IpAddr,
    address: Arc<Address>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Handshakes::new(HandshakeLimits::default())
    }
}

impl Handshakes {
    /// Handshakes within these limits.
    pub fn new(limits: HandshakeLimits) -> Self {
        let all = Places::new(limits.places);
        Handshakes(Arc::new(Door { limits, all, addresses: Mutex::default() }))
    }

    /// A client's handshake, from its first bytes on.
    pub async fn accept(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        source: &TlsSource,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let limits = self.0.limits;
        let deadline = Instant::now() + limits.patience;
        let entry = self.enter(peer);
        let address = &*entry.address;
        self.first_bytes(&stream, address).await?;
        let shake = async {
            let (_own, _place) = (address.places.take().await?, self.0.all.take().await?);
            tokio::select! {
                done = TlsAcceptor::from(source()).accept(stream) => done.map_err(HandshakeError::Failed),
                () = overdue(limits.place_patience, || self.0.all.is_wanted() || address.places.is_wanted()) => {
                    Err(HandshakeError::Late)
                }
            }
        };
        timeout_at(deadline, shake).await.unwrap_or(Err(HandshakeError::Late))
    }

    /// Waits until the client has begun to speak; no longer than a moment if many of its address have not.
    async fn first_bytes(&self, stream: &TcpStream, address: &Address) -> Result<(), HandshakeError> {
        let limits = self.0.limits;
        let _silent = Counted::new(&address.silent);
        let too_many = || address.silent.load(Ordering::Relaxed) > limits.silent_of_one;
        let mut first = [0];
        tokio::select! {
            seen = timeout(limits.silence_patience, stream.peek(&mut first)) => match seen {
                Ok(Ok(1..)) => Ok(()),
                Ok(Ok(0) | Err(_)) | Err(_) => Err(HandshakeError::Silent),
            },
            () = overdue(limits.silence_grace, too_many) => Err(HandshakeError::Silent),
        }
    }

    fn enter(&self, peer: IpAddr) -> Entry {
        // Whose an address is: a household has a network of IPv6.
        let key = tidelog_model::network(peer);
        let new = || {
            let places = Places::new(self.0.limits.places_of_one);
            Arc::new(Address { silent: AtomicUsize::new(0), places })
        };
        let address = Arc::clone(self.0.addresses.lock().entry(key).or_insert_with(new));
        Entry { door: Arc::clone(&self.0), key, address }
    }
}

/// Ends once the time is over and `wanted` holds.
async fn overdue(time: Duration, wanted: impl Fn() -> bool) {
    sleep(time).await;
    while !wanted() {
        sleep(LOOK).await;
    }
}

impl Places {
    fn new(count: usize) -> Self {
        Places { free: Semaphore::new(count), waiting: AtomicUsize::new(0) }
    }

    async fn take(&self) -> Result<SemaphorePermit<'_>, HandshakeError> {
        if let Ok(place) = self.free.try_acquire() {
            return Ok(place);
        }
        let _waiting = Counted::new(&self.waiting);
        let closed = |error: AcquireError| HandshakeError::Failed(io::Error::other(error));
        self.free.acquire().await.map_err(closed)
    }

    /// Does somebody wait for a place?
    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut addresses = self.door.addresses.lock();
        // This one's and the map's; entries are made and dropped under the lock.
        if Arc::strong_count(&self.address) <= 2 {
            addresses.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| tidelog_model::network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn addresses_are_forgotten_with_their_last_connection() {
        let handshakes = Handshakes::default();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let (one, two) = (handshakes.enter(peer), handshakes.enter(peer));
        assert!(Arc::ptr_eq(&one.address, &two.address));
        drop(one);
        assert_eq!(handshakes.0.addresses.lock().len(), 1);
        drop(two);
        assert!(handshakes.0.addresses.lock().is_empty());
    }
}
