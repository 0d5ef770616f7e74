//! Places for what is dear and many want: the checks of logins, by network; statements of SQL and clients' expressions, by principal. Waits for a place; who is next
//! is decided by the queue.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_model::{Caller, Principal};
use tidelog_security::{Entered, FairLimits, FairQueue, Sited};
use tokio::sync::oneshot;

/// Who shares places of what callers ask for: each principal, and whoever is nobody by its network.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sharer(Principal, Option<IpAddr>);

impl From<&Caller> for Sharer {
    fn from(caller: &Caller) -> Self {
        let network = (caller.principal == Principal::anonymous()).then(|| caller.network());
        Sharer(caller.principal.clone(), network)
    }
}

/// A principal has its turns alone; networks of nobodies have them with those of their site.
impl Sited for Sharer {
    fn site(&self) -> Self {
        Sharer(self.0.clone(), self.1.as_ref().map(Sited::site))
    }
}

/// Places of one kind, that sharers have by `K`.
pub struct FairPlaces<K>(Arc<Mutex<FairQueue<K, oneshot::Sender<()>>>>);

impl<K> Clone for FairPlaces<K> {
    fn clone(&self) -> Self {
        FairPlaces(Arc::clone(&self.0))
    }
}

/// A place; given back when it is dropped.
pub struct FairPlace<K: Sited> {
    places: FairPlaces<K>,
    sharer: K,
}

impl<K: Sited> Drop for FairPlace<K> {
    fn drop(&mut self) {
        self.places.leave(self.sharer.clone());
    }
}

impl<K: Sited> FairPlaces<K> {
    /// All of them free.
    pub fn new(limits: FairLimits) -> Self {
        FairPlaces(Arc::new(Mutex::new(FairQueue::new(limits))))
    }

    /// Waits for a place; `None` at once if too many do, or later if others have more right to wait.
    pub async fn place(&self, sharer: K) -> Option<FairPlace<K>> {
        let (call, called) = oneshot::channel();
        let entered = self.0.lock().enter(&sharer, call);
        let number = match entered {
            Entered::Now => return Some(FairPlace { places: self.clone(), sharer }),
            // Who is dropped for this one hears of it by that.
            Entered::Waits(number, _refused) => number,
            Entered::Full => return None,
        };
        let mut waiter = Waiter { places: self, sharer, number, called };
        let called = (&mut waiter.called).await.is_ok();
        called.then(|| FairPlace { places: self.clone(), sharer: waiter.sharer.clone() })
    }

    fn leave(&self, sharer: K) {
        let mut leaving = Some(sharer);
        while let Some(sharer) = leaving.take() {
            let called = self.0.lock().leave(&sharer);
            // Who has gone away meanwhile has no use for its place.
            leaving = called.and_then(|(next, call)| call.send(()).is_err().then_some(next));
        }
    }
}

/// Somebody who waits, and may stop doing so.
struct Waiter<'a, K: Sited> {
    places: &'a FairPlaces<K>,
    sharer: K,
    number: u64,
    called: oneshot::Receiver<()>,
}

impl<K: Sited> Drop for Waiter<'_, K> {
    fn drop(&mut self) {
        self.places.0.lock().cancel(&self.sharer, self.number);
        // Called in the same moment: the place is the next one's. Who has taken the call finds nothing here.
        self.called.close();
        if self.called.try_recv().is_ok() {
            self.places.leave(self.sharer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[derive(Clone, PartialEq, Eq, Hash)]
    struct One(char);

    impl Sited for One {
        fn site(&self) -> Self {
            self.clone()
        }
    }

    const LIMITS: FairLimits = FairLimits { places: 1, places_of_one: 1, of_one: 2, of_all: 3 };

    #[tokio::test]
    async fn places_are_handed_on_and_who_does_not_fit_is_refused() {
        let places = FairPlaces::new(LIMITS);
        let place = places.place(One('a')).await.unwrap();
        let (mut first, mut second) = (Box::pin(places.place(One('a'))), Box::pin(places.place(One('a'))));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert!(places.place(One('a')).now_or_never().unwrap().is_none(), "it has enough that wait");
        let mut other = Box::pin(places.place(One('b')));
        assert!((&mut other).now_or_never().is_none());
        let mut third = Box::pin(places.place(One('c')));
        assert!((&mut third).now_or_never().is_none());
        assert!(second.await.is_none(), "who had most gives way");
        drop(place);
        let place = first.await.unwrap();
        assert!((&mut other).now_or_never().is_none());
        drop(place);
        drop(other.await.unwrap());
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn who_goes_away_keeps_no_place() {
        let places = FairPlaces::new(LIMITS);
        let place = places.place(One('a')).await.unwrap();
        let mut gone = Box::pin(places.place(One('a')));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        let mut called = Box::pin(places.place(One('b')));
        assert!((&mut called).now_or_never().is_none());
        drop(place);
        // It has been called, and goes away without having heard.
        drop(called);
        assert!(places.place(One('c')).now_or_never().unwrap().is_some());
        assert!(places.place(One('c')).now_or_never().unwrap().is_some(), "every place was given back");
    }
}
