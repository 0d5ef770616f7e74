//! A queue for few places that is fair to those who share them: whoever has a thousand in it holds up others by one. Decides who is next
//! and who is refused; never waits.
//!
//! The turns of sites go round, and within each those of its sharers: whoever has many names, or many networks, has the turns of one site
//! all the same. Each sharer may have so many places and so many waiting, and all together; a newcomer whose site has few waiting takes the
//! room of one whose site has more, and in its own site it is so among the sharers.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

/// Somebody who shares places, and has them beside others of the same site.
pub trait Sited: Clone + Eq + Hash {
    /// All who have their turns together with this one: itself, if it is nobody but itself.
    fn site(&self) -> Self;
}

/// A network, by its address.
impl Sited for IpAddr {
    fn site(&self) -> Self {
        tidelog_model::site(*self)
    }
}

/// Places, and those who wait for one: `K` says who shares, `T` is what is called up.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    limits: FairLimits,
    /// Sharers who have places, and how many.
    taken: HashMap<K, usize>,
    /// All of these.
    inside: usize,
    waiting: HashMap<K, VecDeque<(u64, T)>>,
    /// Sharers who have somebody waiting, each once.
    turns: VecDeque<K>,
    /// Their sites.
    sites: HashMap<K, Site>,
    count: usize,
    next: u64,
}

/// Sharers who have their turns together.
#[derive(Debug)]
struct Site {
    /// How many wait.
    waiting: usize,
    /// Who came or was called first has its turn first.
    turn: u64,
}

/// Bounds of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FairLimits {
    /// How many may have a place at once.
    pub places: usize,
    /// How many of one sharer.
    pub places_of_one: usize,
    /// How many of one sharer may wait.
    pub of_one: usize,
    /// How many may wait in all.
    pub of_all: usize,
}

/// What becomes of a newcomer.
#[derive(PartialEq, Eq, Debug)]
pub enum Entered<T> {
    /// It has a place.
    Now,
    /// It waits, under this number. What is handed back was waiting and is refused.
    Waits(u64, Option<T>),
    /// There is no room for it.
    Full,
}

impl<K: Sited, T> FairQueue<K, T> {
    /// An empty one.
    pub fn new(limits: FairLimits) -> Self {
        FairQueue {
            limits,
            taken: HashMap::new(),
            inside: 0,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            sites: HashMap::new(),
            count: 0,
            next: 0,
        }
    }

    /// Somebody wants a place.
    pub fn enter(&mut self, sharer: &K, call: T) -> Entered<T> {
        // Nobody waits while there is a place for it.
        if self.inside < self.limits.places && self.may_take(sharer) {
            self.take(sharer);
            return Entered::Now;
        }
        let own = self.waiting.get(sharer).map_or(0, VecDeque::len);
        if own >= self.limits.of_one {
            return Entered::Full;
        }
        let mut refused = None;
        if self.count >= self.limits.of_all {
            let Some(most) = self.who_gives_way(sharer, own) else { return Entered::Full };
            refused = self.remove(&most, |calls| calls.pop_back());
        }
        let number = self.next;
        self.next += 1;
        self.sites.entry(sharer.site()).or_insert(Site { waiting: 0, turn: number }).waiting += 1;
        let calls = self.waiting.entry(sharer.clone()).or_default();
        if calls.is_empty() {
            self.turns.push_back(sharer.clone());
        }
        calls.push_back((number, call));
        self.count += 1;
        Entered::Waits(number, refused)
    }

    /// One of this sharer's places is given back; who is handed out has one now.
    pub fn leave(&mut self, sharer: &K) -> Option<(K, T)> {
        match self.taken.get_mut(sharer) {
            Some(taken) if *taken > 1 => *taken -= 1,
            Some(_) => drop(self.taken.remove(sharer)),
            None => return None,
        }
        self.inside -= 1;
        let may_be_called = self.turns.iter().enumerate().filter(|(_, sharer)| self.may_take(sharer));
        let turn_of = |sharer: &K| self.sites.get(&sharer.site()).map(|site| site.turn);
        let (turn, next) = may_be_called.min_by_key(|(_, sharer)| turn_of(sharer))?;
        let next = next.clone();
        let called = self.remove(&next, VecDeque::pop_front)?;
        if self.waiting.contains_key(&next) {
            self.turns.remove(turn);
            self.turns.push_back(next.clone());
        }
        if let Some(site) = self.sites.get_mut(&next.site()) {
            site.turn = self.next;
            self.next += 1;
        }
        self.take(&next);
        Some((next, called))
    }

    /// Of whom somebody has to go for one of `sharer`, who has so many waiting: who has most of the site that has most, or of its own.
    fn who_gives_way(&self, sharer: &K, own: usize) -> Option<K> {
        let of_site = |site: &K| self.sites.get(site).map_or(0, |site| site.waiting);
        let own_site = sharer.site();
        let fullest = self.sites.iter().max_by_key(|(_, site)| site.waiting)?.0;
        let other = of_site(fullest) > of_site(&own_site) + 1;
        let site = if other { fullest } else { &own_site };
        let rivals = self.waiting.iter().filter(|(rival, _)| rival.site() == *site);
        let (most, calls) = rivals.max_by_key(|(_, calls)| calls.len())?;
        (other || calls.len() > own + 1).then(|| most.clone())
    }

    fn may_take(&self, sharer: &K) -> bool {
        self.taken.get(sharer).is_none_or(|taken| *taken < self.limits.places_of_one)
    }

    fn take(&mut self, sharer: &K) {
        self.inside += 1;
        *self.taken.entry(sharer.clone()).or_default() += 1;
    }

    /// Who waits under this number goes; false if it does not wait.
    pub fn cancel(&mut self, sharer: &K, number: u64) -> bool {
        let position = |calls: &VecDeque<(u64, T)>| calls.iter().position(|(waiting, _)| *waiting == number);
        self.remove(sharer, |calls| calls.remove(position(calls)?)).is_some()
    }

    fn remove(&mut self, sharer: &K, take: impl FnOnce(&mut VecDeque<(u64, T)>) -> Option<(u64, T)>) -> Option<T> {
        let calls = self.waiting.get_mut(sharer)?;
        let (_, call) = take(calls)?;
        self.count -= 1;
        if calls.is_empty() {
            self.waiting.remove(sharer);
            self.turns.retain(|turn| turn != sharer);
        }
        let of_site = sharer.site();
        if let Some(site) = self.sites.get_mut(&of_site) {
            site.waiting -= 1;
            if site.waiting == 0 {
                self.sites.remove(&of_site);
            }
        }
        Some(call)
    }
}

#[cfg(test)]
impl<K, T> FairQueue<K, T> {
    fn len(&self) -> usize {
        self.count
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Somebody who is nobody but itself.
    impl Sited for char {
        fn site(&self) -> Self {
            *self
        }
    }

    /// Even ones have their turns with the odd one after them.
    impl Sited for u8 {
        fn site(&self) -> Self {
            self | 1
        }
    }

    /// A network of a site.
    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    struct Network(char, usize);

    impl Sited for Network {
        fn site(&self) -> Self {
            Network(self.0, usize::MAX)
        }
    }

    fn queue(of_one: usize, of_all: usize) -> FairQueue<char, String> {
        FairQueue::new(FairLimits { places: 1, places_of_one: 1, of_one, of_all })
    }

    /// So many of one sharer come; how many got in, and who was refused for them.
    fn come(queue: &mut FairQueue<char, String>, who: char, count: usize) -> (usize, Vec<String>) {
        let (mut entered, mut refused) = (0, Vec::new());
        for n in 0..count {
            match queue.enter(&who, format!("{who}{n}")) {
                Entered::Now => entered += 1,
                Entered::Waits(_, other) => {
                    entered += 1;
                    refused.extend(other);
                }
                Entered::Full => {}
            }
        }
        (entered, refused)
    }

    /// Who is called while one place is given back again and again.
    fn called(queue: &mut FairQueue<char, String>, first: char) -> Vec<String> {
        let mut inside = first;
        let next = || {
            let (sharer, call) = queue.leave(&inside)?;
            inside = sharer;
            Some(call)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn turns_go_round() {
        let mut queue = queue(100, 100);
        assert_eq!(come(&mut queue, 'a', 5).0, 5);
        come(&mut queue, 'b', 2);
        come(&mut queue, 'c', 1);
        assert_eq!(called(&mut queue, 'a'), ["a1", "b0", "c0", "a2", "b1", "a3", "a4"]);
        assert!(queue.is_empty());
        assert_eq!(queue.enter(&'a', "a".into()), Entered::Now, "the place is free again");
    }

    #[test]
    fn one_sharer_has_a_bound_and_so_have_all() {
        let mut queue = queue(3, 5);
        assert_eq!(come(&mut queue, 'a', 10), (4, vec![]), "one has the place and three wait");
        assert_eq!(come(&mut queue, 'b', 10), (2, vec![]), "and then the queue is full");
        assert_eq!(come(&mut queue, 'c', 1), (1, vec!["a3".to_owned()]), "who has most gives up its last");
        assert_eq!((come(&mut queue, 'd', 1).0, come(&mut queue, 'e', 1).0), (1, 1));
        assert_eq!(come(&mut queue, 'f', 1), (0, vec![]), "nobody has more than it would have");
        assert_eq!(queue.len(), 5);
    }

    #[test]
    fn one_sharer_leaves_places_to_others() {
        let limits = FairLimits { places: 3, places_of_one: 2, of_one: 9, of_all: 9 };
        let mut queue = FairQueue::new(limits);
        assert_eq!(queue.enter(&'a', 0), Entered::Now);
        assert_eq!(queue.enter(&'a', 1), Entered::Now);
        assert_eq!(queue.enter(&'a', 2), Entered::Waits(0, None), "one place is not for it");
        assert_eq!(queue.enter(&'b', 3), Entered::Now);
        assert_eq!(queue.enter(&'b', 4), Entered::Waits(1, None));
        assert_eq!(queue.enter(&'a', 5), Entered::Waits(2, None));
        assert_eq!(queue.leave(&'b'), Some(('b', 4)), "a has its share");
        assert_eq!(queue.leave(&'b'), None);
        assert_eq!(queue.leave(&'a'), Some(('a', 2)));
        assert_eq!(queue.leave(&'a'), Some(('a', 5)));
        assert_eq!(queue.leave(&'a'), None);
        assert_eq!(queue.leave(&'c'), None, "who has none gives none back");
    }

    #[test]
    fn many_networks_of_one_site_are_one_among_sites() {
        let mut queue = FairQueue::new(FairLimits { places: 1, places_of_one: 1, of_one: 3, of_all: 6 });
        let waits = |entered: Entered<usize>| matches!(entered, Entered::Waits(_, None));
        assert_eq!(queue.enter(&Network('a', 0), 0), Entered::Now);
        for network in 1..=6 {
            assert!(waits(queue.enter(&Network('a', network), network)));
        }
        assert_eq!(queue.enter(&Network('a', 7), 7), Entered::Full, "none of its networks has more than it would have");
        let Entered::Waits(_, Some(_)) = queue.enter(&Network('b', 1), 8) else { panic!("another site has room") };
        let Entered::Waits(_, Some(_)) = queue.enter(&Network('b', 1), 9) else { panic!("and more of it") };
        let mut called = Vec::new();
        let mut inside = Network('a', 0);
        while let Some((next, call)) = queue.leave(&inside) {
            called.push((next.0, call));
            inside = next;
        }
        let sites: String = called.iter().map(|(site, _)| site).collect();
        assert_eq!(sites, "ababaa", "the turns of sites go round: {called:?}");
        assert!(queue.sites.is_empty());
    }

    #[test]
    fn within_a_site_who_has_most_gives_way() {
        let mut queue = FairQueue::new(FairLimits { places: 1, places_of_one: 1, of_one: 3, of_all: 3 });
        for call in 0..4 {
            assert_ne!(queue.enter(&Network('a', 1), call), Entered::Full);
        }
        assert_eq!(queue.enter(&Network('a', 2), 9), Entered::Waits(3, Some(3)));
        assert_eq!(queue.leave(&Network('a', 1)), Some((Network('a', 1), 1)));
        assert_eq!(queue.leave(&Network('a', 1)), Some((Network('a', 2), 9)), "and their turns go round");
    }

    #[test]
    fn who_goes_away_leaves_no_trace() {
        let mut queue = queue(3, 5);
        come(&mut queue, 'a', 1);
        let Entered::Waits(first, None) = queue.enter(&'a', "first".into()) else { panic!("it waits") };
        let Entered::Waits(second, None) = queue.enter(&'b', "second".into()) else { panic!("it waits") };
        assert!(queue.cancel(&'a', first) && !queue.cancel(&'a', first));
        assert_eq!(queue.leave(&'a'), Some(('b', "second".to_owned())));
        assert!(!queue.cancel(&'b', second), "it has been called");
        assert_eq!((queue.leave(&'b'), queue.turns.len(), queue.waiting.len(), queue.taken.len()), (None, 0, 0, 0));
        assert!(queue.sites.is_empty());
    }

    proptest! {
        /// Whatever happens, nobody has more places than are his, nobody waits for one that is free, and what is counted is there.
        #[test]
        fn places_and_bounds_hold(events in prop::collection::vec((0u8..3, 0u8..6), 0..200)) {
            let limits = FairLimits { places: 3, places_of_one: 2, of_one: 3, of_all: 7 };
            let mut queue: FairQueue<u8, ()> = FairQueue::new(limits);
            let (mut inside, mut numbers) = (Vec::new(), Vec::new());
            for (event, sharer) in events {
                match event {
                    0 => match queue.enter(&sharer, ()) {
                        Entered::Now => inside.push(sharer),
                        Entered::Waits(number, _) => numbers.push((sharer, number)),
                        Entered::Full => prop_assert!(queue.len() >= limits.of_one),
                    },
                    1 if !inside.is_empty() => {
                        let leaving = inside.remove(usize::from(sharer) % inside.len());
                        inside.extend(queue.leave(&leaving).map(|(next, ())| next));
                    }
                    _ => {
                        if let Some((sharer, number)) = numbers.pop() {
                            queue.cancel(&sharer, number);
                        }
                    }
                }
                prop_assert_eq!(queue.inside, inside.len());
                prop_assert!(inside.len() <= limits.places && queue.len() <= limits.of_all);
                for sharer in 0..6 {
                    let own = inside.iter().filter(|one| **one == sharer).count();
                    prop_assert!(own <= limits.places_of_one);
                    let waits = queue.waiting.contains_key(&sharer);
                    prop_assert!(!waits || own == limits.places_of_one || inside.len() == limits.places);
                }
                prop_assert_eq!(queue.waiting.values().map(VecDeque::len).sum::<usize>(), queue.len());
                prop_assert!(queue.waiting.values().all(|calls| (1..=limits.of_one).contains(&calls.len())));
                prop_assert_eq!(queue.turns.len(), queue.waiting.len());
                prop_assert_eq!(queue.sites.values().map(|site| site.waiting).sum::<usize>(), queue.len());
                prop_assert!(queue.sites.values().all(|site| site.waiting > 0));
            }
        }
    }
}
