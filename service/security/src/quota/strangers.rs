//! Connections whose clients are not known yet: at most half of the places, so that who is known finds one. Decides who goes when that
//! half is full; closes nothing.
//!
//! The network that has most of them gives one up, the oldest: however many come from one place, others get in beside them. A network
//! that has most itself may replace one that has had some seconds to say who it is; otherwise its newcomer goes.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::STRANGER_GRACE;

/// Those that are open.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// By listener and network, the oldest first.
    open: HashMap<Key, VecDeque<Stranger>>,
    count: usize,
    next: u64,
}

type Key = (Arc<str>, IpAddr);

#[derive(Debug)]
struct Stranger {
    number: u64,
    since: Duration,
}

/// What becomes of a newcomer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Welcome {
    /// It may stay, under this number; the one with the other number has to go for it.
    Stays(u64, Option<u64>),
    /// It has to go.
    Goes,
}

/// How many there may be.
#[derive(Clone, Copy)]
pub(super) struct StrangerBounds {
    pub(super) of_all: usize,
    pub(super) of_listener: usize,
}

impl Strangers {
    /// Somebody comes to a listener. `now` is since the process began.
    pub(super) fn enter(
        &mut self,
        now: Duration,
        listener: &Arc<str>,
        network: IpAddr,
        bounds: StrangerBounds,
    ) -> Welcome {
        let of_listener = self.open.iter().filter(|((own, _), _)| own == listener).map(|(_, open)| open.len());
        let is_full = of_listener.sum::<usize>() >= bounds.of_listener;
        let mut goes = None;
        if is_full || self.count >= bounds.of_all {
            let rivals = self.open.iter().filter(|((own, _), _)| !is_full || own == listener);
            let Some((most, open)) = rivals.max_by_key(|(_, open)| open.len()) else { return Welcome::Goes };
            let own = self.open.get(&(Arc::clone(listener), network)).map_or(0, VecDeque::len);
            let had_time = open.front().is_some_and(|oldest| now.saturating_sub(oldest.since) >= STRANGER_GRACE);
            if own >= open.len() && !had_time {
                return Welcome::Goes;
            }
            let most = most.clone();
            goes = self.remove(&most, VecDeque::pop_front);
        }
        let number = self.next;
        self.next += 1;
        let open = self.open.entry((Arc::clone(listener), network)).or_default();
        open.push_back(Stranger { number, since: now });
        self.count += 1;
        Welcome::Stays(number, goes)
    }

    /// This one is known now, or gone.
    pub(super) fn leave(&mut self, listener: &Arc<str>, network: IpAddr, number: u64) {
        self.remove(&(Arc::clone(listener), network), |open| {
            let place = open.iter().position(|stranger| stranger.number == number)?;
            open.remove(place)
        });
    }

    fn remove(&mut self, key: &Key, take: impl FnOnce(&mut VecDeque<Stranger>) -> Option<Stranger>) -> Option<u64> {
        let open = self.open.get_mut(key)?;
        let taken = take(open)?;
        self.count -= 1;
        if open.is_empty() {
            self.open.remove(key);
        }
        Some(taken.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn names() -> (Arc<str>, Arc<str>) {
        (Arc::from("sasl"), Arc::from("http"))
    }

    const BOUNDS: StrangerBounds = StrangerBounds { of_all: 4, of_listener: 3 };

    #[test]
    fn who_has_most_gives_way_to_others() {
        let (sasl, http) = names();
        let mut strangers = Strangers::default();
        let mut come = |listener: &Arc<str>, last| strangers.enter(Duration::ZERO, listener, network(last), BOUNDS);
        for number in 0..3 {
            assert_eq!(come(&sasl, 1), Welcome::Stays(number, None));
        }
        assert_eq!(come(&sasl, 1), Welcome::Goes, "nobody gives way to its own crowd at once");
        assert_eq!(come(&sasl, 2), Welcome::Stays(3, Some(0)), "the listener is full");
        assert_eq!(come(&sasl, 3), Welcome::Stays(4, Some(1)));
        assert_eq!(come(&http, 1), Welcome::Stays(5, None));
        let Welcome::Stays(6, Some(_)) = come(&http, 4) else { panic!("all is full; somebody has one") };
    }

    #[test]
    fn who_had_time_gives_way_to_anybody() {
        let (sasl, _) = names();
        let mut strangers = Strangers::default();
        let mut come = |now| strangers.enter(now, &sasl, network(1), BOUNDS);
        for number in 0..3 {
            assert_eq!(come(Duration::from_millis(number)), Welcome::Stays(number, None));
        }
        assert_eq!(come(STRANGER_GRACE), Welcome::Stays(3, Some(0)));
        assert_eq!(come(STRANGER_GRACE), Welcome::Goes, "the next has a moment left");
    }

    #[test]
    fn who_is_known_or_gone_leaves_room() {
        let (sasl, _) = names();
        let mut strangers = Strangers::default();
        for number in 0..3 {
            strangers.enter(Duration::ZERO, &sasl, network(1), BOUNDS);
            if number > 0 {
                strangers.leave(&sasl, network(1), number);
            }
        }
        strangers.leave(&sasl, network(1), 0);
        strangers.leave(&sasl, network(1), 0);
        strangers.leave(&sasl, network(2), 7);
        assert_eq!((strangers.count, strangers.open.len()), (0, 0));
        let none = StrangerBounds { of_all: 0, of_listener: 0 };
        assert_eq!(strangers.enter(Duration::ZERO, &sasl, network(1), none), Welcome::Goes);
    }
}
