//! What connections may hold in memory together. Decides nothing about large frames, which their pool does; here is the waiting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_model::Principal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::limits::{
    BUDGET_UNIT, LARGE_BUDGET_BYTES, LARGE_SHARE_BYTES, SMALL_BUDGET_BYTES, STRANGERS_BUDGET_BYTES,
    STRANGERS_SHARE_BYTES,
};
use crate::pool::{FrameId, FramePool};
use crate::shares::Share;

/// Bytes that all connections of one process may hold together, of one kind.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Budget(Arc::new(Semaphore::new(bytes / BUDGET_UNIT)))
    }

    /// Waits for room, first come first served; nobody waits here while holding some.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_many_owned(units(bytes)?).await.ok()
    }

    /// Takes room if there is some now.
    pub(crate) fn reserve_now(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_many_owned(units(bytes)?).ok()
    }
}

fn units(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.div_ceil(BUDGET_UNIT)).ok()
}

/// Whose frame it is: each has a share.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Owner {
    /// Somebody who said who it is.
    Principal(Principal),
    /// Anybody else, by the network it comes from.
    Network(IpAddr),
}

impl Owner {
    /// Addresses of IPv6 are had by the network of 64 bits.
    pub(crate) fn network(address: IpAddr) -> Self {
        Owner::Network(tidelog_model::network(address))
    }
}

/// What frames of requests may hold, by their size and by who sends them: small ones never wait for large ones, and clients who are known
/// never wait for strangers.
#[derive(Clone)]
pub(crate) struct FrameBudgets {
    small: Budget,
    large: Lender,
    strangers: Lender,
}

impl Default for FrameBudgets {
    fn default() -> Self {
        FrameBudgets {
            small: Budget::new(SMALL_BUDGET_BYTES),
            large: Lender::new(LARGE_BUDGET_BYTES, LARGE_SHARE_BYTES),
            strangers: Lender::new(STRANGERS_BUDGET_BYTES, STRANGERS_SHARE_BYTES),
        }
    }
}

impl FrameBudgets {
    /// Room for a small frame that is whole, if there is some now.
    pub(crate) fn small_now(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.small.reserve_now(bytes)
    }

    /// The same, waiting for it.
    pub(crate) async fn small(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.small.reserve(bytes).await
    }

    /// Room for a large one, which grows with what comes of it.
    pub(crate) fn large(&self, owner: Owner, length: usize, stranger: bool) -> Loan {
        if stranger { self.strangers.begin(owner, length) } else { self.large.begin(owner, length) }
    }
}

/// A pool, and those who wait for it.
#[derive(Clone)]
struct Lender(Arc<Mutex<Lending>>);

struct Lending {
    pool: FramePool<Owner>,
    waiting: HashMap<FrameId, oneshot::Sender<()>>,
}

impl Lender {
    fn new(capacity: usize, share: usize) -> Self {
        Lender(Arc::new(Mutex::new(Lending { pool: FramePool::new(capacity, share), waiting: HashMap::new() })))
    }

    fn begin(&self, owner: Owner, length: usize) -> Loan {
        let id = self.0.lock().pool.begin(owner, length);
        Loan { lender: self.clone(), id }
    }
}

/// What one frame holds; given back when it is dropped.
pub(crate) struct Loan {
    lender: Lender,
    id: FrameId,
}

impl Loan {
    /// Waits for so many bytes more.
    pub(crate) async fn grow(&self, more: usize) {
        let granted = {
            let mut lending = self.lender.0.lock();
            if lending.pool.ask(self.id, more) {
                return;
            }
            let (grant, granted) = oneshot::channel();
            lending.waiting.insert(self.id, grant);
            granted
        };
        // The sender is kept until the loan ends, and it does not end here.
        let _ = granted.await;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut lending = self.lender.0.lock();
        lending.waiting.remove(&self.id);
        for id in lending.pool.end(self.id) {
            if let Some(grant) = lending.waiting.remove(&id) {
                // Who has just given up ends its loan next.
                let _ = grant.send(());
            }
        }
    }
}

/// What a request holds until its bytes are no longer needed. Nothing, if it is small and a stranger's, who has one at a time: that lies in
/// its connection's own buffer.
#[derive(Default)]
pub(crate) struct Reserved {
    _small: Option<OwnedSemaphorePermit>,
    _large: Option<Loan>,
    /// What its frame was decoded into, if that is much.
    _decoded: Option<Share>,
}

impl Reserved {
    /// And this beside it.
    pub(crate) fn with_decoded(self, share: Share) -> Self {
        Reserved { _decoded: Some(share), ..self }
    }
}

impl From<OwnedSemaphorePermit> for Reserved {
    fn from(small: OwnedSemaphorePermit) -> Self {
        Reserved { _small: Some(small), ..Reserved::default() }
    }
}

impl From<Loan> for Reserved {
    fn from(large: Loan) -> Self {
        Reserved { _large: Some(large), ..Reserved::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn user(name: &str) -> Owner {
        Owner::Principal(Principal::user(name))
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_another_is_done_or_gives_up() {
        let lender = Lender::new(200, 100);
        let first = lender.begin(user("a"), 100);
        first.grow(100).await;
        let given_up = lender.begin(user("a"), 50);
        assert!(tokio::time::timeout(Duration::from_millis(1), given_up.grow(50)).await.is_err());
        drop(given_up);
        let second = lender.begin(user("a"), 60);
        let waiter = tokio::spawn(async move {
            second.grow(60).await;
            second
        });
        tokio::task::yield_now().await;
        drop(first);
        let second = tokio::time::timeout(PATIENCE, waiter).await.expect("it gets the room").unwrap();
        drop(second);
        assert!(lender.0.lock().waiting.is_empty());
        lender.begin(user("a"), 100).grow(100).await;
    }

    #[test]
    fn addresses_of_one_network_share() {
        let network = |text: &str| Owner::network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }
}
