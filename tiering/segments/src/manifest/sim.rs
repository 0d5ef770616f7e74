//! Seeded runs of several manifest writers against one fake store: lost answers, own retries, crashes, leaders that are paused and
//! resume after others went on, unclean elections, retention. The store knows which versions are really in the chain, so every
//! step is judged against the truth and not against what a writer believes. `TIDELOG_SEEDS=100..500` runs others than the usual ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidelog_model::{LeaderEpoch, Offset, Timestamp};
use uuid::Uuid;

use super::*;

const RULES: Rules = Rules { snapshot_every: 5, versions_kept: 3, grace: Duration::from_millis(1000) };

type Epochs = Vec<(LeaderEpoch, Offset)>;

fn epoch_at(epochs: &Epochs, offset: Offset) -> Option<LeaderEpoch> {
    epochs.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
}

/// What an object really holds: which epoch wrote each offset.
#[derive(Clone, Debug)]
struct Segment {
    base: Offset,
    content: Vec<LeaderEpoch>,
    written: i64,
}

#[derive(Default)]
struct Store {
    clock: i64,
    versions: BTreeMap<u64, (Vec<u8>, i64)>,
    snapshots: BTreeMap<u64, Vec<u8>>,
    segments: BTreeMap<ObjectName, Segment>,
    /// The truth: the chain as it would be if nothing were ever deleted.
    chain: Image,
    real: BTreeSet<Uuid>,
    strays: u64,
}

impl Store {
    fn create(&mut self, version: &Version) -> bool {
        self.clock += 1;
        if self.versions.contains_key(&version.number) {
            return false;
        }
        let newest = self.chain.number;
        if version.number == newest + 1 {
            self.chain = self.chain.followed_by(version).expect("a version that does not follow the chain");
            self.real.insert(version.nonce);
        } else {
            assert!(version.number <= newest, "a version beyond the next one");
            self.strays += 1;
        }
        self.versions.insert(version.number, (version.encode(), self.clock));
        self.check();
        true
    }

    /// What a manifest names exists; the versions that a load or a paused writer needs exist.
    fn check(&self) {
        for entry in &self.chain.entries {
            let object = self.segments.get(&entry.object()).unwrap_or_else(|| panic!("{entry:?} was deleted"));
            assert_eq!(object.base, entry.base);
            for offset in entry.base.get()..entry.end.get() {
                let at = (offset - entry.base.get()) as usize;
                assert_eq!(Some(object.content[at]), epoch_at(&entry.epochs, Offset(offset)), "{entry:?} at {offset}");
            }
        }
        let newest = self.chain.number;
        let kept = newest.saturating_sub(RULES.versions_kept - 1).max(1);
        if !self.chain.dropped {
            assert!((kept..=newest).all(|n| self.versions.contains_key(&n)), "one of the newest versions was deleted");
        }
    }
}

/// One leader's log: the epochs of its offsets and where it ends.
#[derive(Clone, Debug)]
struct Log {
    epochs: Epochs,
    end: Offset,
}

impl Log {
    /// The closed segment that ends after `from`; segments have seven offsets, the last one is open.
    fn closed_after(&self, from: Offset) -> Option<Offset> {
        let end = (from.get() / 7 + 1) * 7;
        (end <= self.end.get()).then_some(Offset(end))
    }
}

struct Writer {
    epoch: LeaderEpoch,
    machine: Manifest,
    effects: VecDeque<Effect>,
    log: Log,
    paused: bool,
    /// Highest `next` it was told to be remote.
    released: Offset,
    /// Its machine asked for a later collection at this time.
    collect_at: Option<i64>,
}

struct Sim {
    rng: StdRng,
    store: Store,
    writers: Vec<Writer>,
    epoch: i32,
    log_start: Offset,
    trace: Vec<String>,
    cached: Option<Image>,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut sim = Sim {
            rng: StdRng::seed_from_u64(seed),
            store: Store::default(),
            writers: Vec::new(),
            epoch: 0,
            log_start: Offset::ZERO,
            trace: Vec::new(),
            cached: None,
        };
        sim.elect(Log { epochs: Vec::new(), end: Offset::ZERO });
        sim
    }

    /// A new leader with this log (up to its end), which gets the next epoch.
    fn elect(&mut self, mut log: Log) {
        self.epoch += 1;
        let epoch = LeaderEpoch(self.epoch);
        log.epochs.retain(|(_, start)| *start < log.end);
        log.epochs.push((epoch, log.end));
        let mut ids = StdRng::seed_from_u64(self.rng.random());
        let ids: Ids = Box::new(move || Uuid::from_u128(ids.random()));
        let writer = Uuid::from_u128(self.rng.random());
        let cached = if self.rng.random_bool(0.5) { self.cached.clone() } else { None };
        let (mut machine, effects) = Manifest::lead(epoch, writer, RULES, cached, ids);
        let event = Event::Observed { log_start: self.log_start, epochs: log.epochs.clone(), needs_remote: None };
        assert!(machine.apply(event).is_empty(), "nothing before the manifest is known");
        let effects = effects.into();
        let writer = Writer { epoch, machine, effects, log, paused: false, released: Offset::ZERO, collect_at: None };
        self.writers.push(writer);
    }

    fn note(&mut self, text: String) {
        self.trace.push(text);
    }

    /// The leader that the cluster believes in.
    fn leader(&mut self) -> &mut Writer {
        self.writers.iter_mut().max_by_key(|writer| writer.epoch).expect("a leader")
    }

    fn step(&mut self) {
        self.store.clock += self.rng.random_range(1..30);
        match self.rng.random_range(0..100) {
            0..1 => {
                // A clean election: the new leader has everything.
                let log = self.leader().log.clone();
                if self.rng.random_bool(0.7) {
                    self.leader().paused = true;
                }
                self.elect(log);
                self.note(format!("clean election {}", self.epoch));
            }
            1..2 if self.rng.random_bool(0.3) => {
                // An unclean one: the new leader's log ends earlier. Nothing below the log start is missing.
                let mut log = self.leader().log.clone();
                let least = self.log_start.get().min(log.end.get());
                log.end = Offset(self.rng.random_range(least..=log.end.get()));
                self.leader().paused = true;
                self.note(format!("unclean election {} at {}", self.epoch + 1, log.end));
                self.elect(log);
            }
            2..5 => {
                let at = self.rng.random_range(0..self.writers.len());
                self.writers[at].paused = !self.writers[at].paused;
                let (epoch, paused) = (self.writers[at].epoch, self.writers[at].paused);
                self.note(format!("writer {epoch} paused: {paused}"));
            }
            5..6 if self.writers.len() > 1 => {
                let at = self.rng.random_range(0..self.writers.len());
                let dead = self.writers.remove(at);
                self.note(format!("writer {} died", dead.epoch));
                if dead.epoch.get() == self.epoch {
                    self.elect(dead.log);
                }
            }
            6..25 => {
                let records = self.rng.random_range(1..20);
                let log = &mut self.leader().log;
                log.end = log.end.plus(records);
            }
            25..28 => {
                let end = self.leader().log.end.get();
                let start = self.log_start.get().max(self.rng.random_range(0..=end) - 10);
                self.log_start = Offset(start);
            }
            _ => {
                // Mostly the newest leader, so that others are left far behind.
                let last = self.writers.len() - 1;
                let at = if self.rng.random_bool(0.6) { last } else { self.rng.random_range(0..=last) };
                if !self.writers[at].paused {
                    self.advance(at, true);
                }
            }
        }
    }

    /// One effect of one writer, possibly with a fault.
    fn advance(&mut self, at: usize, faults: bool) {
        let writer = &mut self.writers[at];
        if let Some(when) = writer.collect_at
            && when <= self.store.clock
            && writer.effects.is_empty()
        {
            writer.collect_at = None;
            writer.effects.extend(writer.machine.apply(Event::Collect));
        }
        let Some(effect) = writer.effects.pop_front() else {
            let event =
                Event::Observed { log_start: self.log_start, epochs: writer.log.epochs.clone(), needs_remote: None };
            writer.effects.extend(writer.machine.apply(event));
            return;
        };
        let epoch = writer.epoch;
        if faults && self.rng.random_bool(0.1) {
            // The request never arrives: it is sent again, or said to be unclear.
            let writer = &mut self.writers[at];
            match effect {
                Effect::Create(_) => writer.effects.extend(writer.machine.apply(Event::CreateUnclear)),
                other => writer.effects.push_front(other),
            }
            return;
        }
        let lost = faults && self.rng.random_bool(0.1);
        if let Effect::Upload { .. } = effect {
            // The shell looks at the log again before each upload.
            let writer = &mut self.writers[at];
            let event =
                Event::Observed { log_start: self.log_start, epochs: writer.log.epochs.clone(), needs_remote: None };
            assert!(writer.machine.apply(event).is_empty(), "an observation interrupts");
        }
        self.note(format!("{epoch}: {}{}", short(&effect), if lost { " (answer lost)" } else { "" }));
        let answer = self.carry_out(at, &effect, lost);
        let writer = &mut self.writers[at];
        match answer {
            None if lost => writer.effects.push_front(effect),
            None => {}
            Some(event) => {
                assert!(writer.effects.is_empty(), "an effect behind one that is answered");
                writer.effects.extend(writer.machine.apply(event));
            }
        }
        self.store.check();
    }

    /// Does it, and gives the answer unless it is lost.
    fn carry_out(&mut self, at: usize, effect: &Effect, lost: bool) -> Option<Event> {
        let store = &mut self.store;
        let writer = &mut self.writers[at];
        let answer = match effect {
            Effect::ListVersions { after } => {
                Event::Listed(store.versions.keys().copied().filter(|n| n > after).collect())
            }
            Effect::ReadSnapshot(number) => {
                Event::SnapshotRead(store.snapshots.get(number).map(|bytes| Image::decode(bytes)))
            }
            Effect::ReadVersions { first, last } => {
                let found = store.versions.range(first..=last).map(|(n, (bytes, _))| (*n, Version::decode(bytes)));
                Event::VersionsRead(found.collect())
            }
            Effect::Create(version) => {
                let created = store.create(version);
                return Some(if lost { Event::CreateUnclear } else { Event::Created(created) });
            }
            Effect::Upload { name, from } => match writer.log.closed_after(*from) {
                None => Event::NothingClosed,
                Some(end) => {
                    let entry = upload(store, *name, *from, end, &writer.log);
                    if lost {
                        return Some(Event::UploadFailed);
                    }
                    Event::Uploaded(entry)
                }
            },
            Effect::Committed(image) => {
                assert!(store.real.contains(&image.nonce), "a writer acts on a version that is not in the chain");
                writer.released = image.next;
                self.cached = Some((**image).clone());
                return None;
            }
            Effect::WriteSnapshot(image) => {
                assert!(store.real.contains(&image.nonce));
                store.snapshots.insert(image.number, image.encode());
                Event::SnapshotWritten(image.number)
            }
            Effect::DeleteVersions(numbers) => {
                assert!(numbers.is_sorted());
                for number in numbers {
                    store.versions.remove(number);
                    if lost && self.rng.random_bool(0.3) {
                        break;
                    }
                }
                return None;
            }
            Effect::DeleteSnapshots(numbers) => {
                numbers.iter().for_each(|number| drop(store.snapshots.remove(number)));
                return None;
            }
            Effect::DeleteObjects(names) => {
                names.iter().for_each(|name| drop(store.segments.remove(name)));
                return None;
            }
            Effect::ListObjects => Event::Found(Found {
                segments: store.segments.iter().map(|(name, object)| (*name, Timestamp(object.written))).collect(),
                versions: store.versions.iter().map(|(number, (_, time))| (*number, Timestamp(*time))).collect(),
                snapshots: store.snapshots.keys().copied().collect(),
            }),
            Effect::CollectLater => {
                writer.collect_at = Some(store.clock + RULES.grace.as_millis() as i64);
                return None;
            }
            Effect::DeleteAll => {
                store.segments.clear();
                store.snapshots.clear();
                store.versions.clear();
                return None;
            }
            Effect::Troubled(why) => {
                assert!(
                    ["vanished", "missing", "chain", "follow", "not the newest"].iter().any(|word| why.contains(word)),
                    "{why}"
                );
                return None;
            }
        };
        if lost { None } else { Some(answer) }
    }

    /// Until the only writer left has nothing to do.
    fn rest(&mut self) {
        for _ in 0..20_000 {
            self.advance(0, false);
            let writer = &mut self.writers[0];
            let collects = writer.collect_at.is_some_and(|when| when <= self.store.clock);
            if writer.effects.is_empty() && writer.machine.is_idle() && !collects {
                let event = Event::Observed {
                    log_start: self.log_start,
                    epochs: writer.log.epochs.clone(),
                    needs_remote: None,
                };
                writer.effects.extend(writer.machine.apply(event));
                let quiet = writer.log.closed_after(self.store.chain.next.max(self.log_start)).is_none();
                if quiet && matches!(writer.effects.front(), None | Some(Effect::Upload { .. })) {
                    return;
                }
            }
        }
        panic!("it never comes to rest");
    }

    /// Faults end: everyone resumes, then a last leader tidies up.
    fn settle(&mut self) {
        self.writers.iter_mut().for_each(|writer| writer.paused = false);
        for _ in 0..3000 {
            let at = self.rng.random_range(0..self.writers.len());
            self.advance(at, false);
        }
        let epoch = self.epoch;
        for writer in &self.writers {
            let stopped = writer.machine.stopped();
            // A leader of an old epoch that has nothing to write may not have noticed.
            assert!(stopped.is_none() || writer.epoch.get() != epoch, "writer {}: {stopped:?}", writer.epoch);
        }
        self.writers.retain(|writer| writer.epoch.get() == epoch);
        self.rest();
        self.store.clock += 2 * RULES.grace.as_millis() as i64;
        self.rest();
        let (store, writer) = (&self.store, &self.writers[0]);
        let image = &store.chain;
        let named: BTreeSet<ObjectName> = image.entries.iter().map(|entry| entry.object()).collect();
        let there: BTreeSet<ObjectName> = store.segments.keys().copied().collect();
        assert_eq!(named, there, "leaked objects");
        assert_eq!(writer.machine.image().map(|i| i.nonce), Some(image.nonce));
        let from = image.next.max(self.log_start);
        assert_eq!(writer.log.closed_after(from), None, "a closed segment was not uploaded");
        assert_eq!(writer.released, image.next);
        for offset in self.log_start.get()..image.next.get() {
            let entry = image.entry_of(Offset(offset)).unwrap_or_else(|| panic!("offset {offset} is lost"));
            assert_eq!(epoch_at(&entry.epochs, Offset(offset)), epoch_at(&writer.log.epochs, Offset(offset)));
        }
        assert!(
            image.entries.first().is_none_or(|first| first.end > self.log_start),
            "retention left {:?}",
            image.entries.first()
        );
        // A leader that was paused for longer than the grace period may have left an old snapshot, or a version outside the
        // chain if it died at that moment; the next leader removes them.
        let log = writer.log.clone();
        self.writers.clear();
        self.elect(log);
        self.rest();
        let numbers: Vec<u64> = self.store.versions.keys().copied().collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "strays left: {numbers:?}");
        assert!(numbers.len() as u64 <= 6 * RULES.snapshot_every, "old versions left: {numbers:?}");
        let snapshots: Vec<u64> = self.store.snapshots.keys().copied().collect();
        assert!(snapshots.len() <= 2, "old snapshots left: {snapshots:?}");
    }
}

fn upload(store: &mut Store, name: ObjectName, from: Offset, end: Offset, log: &Log) -> Entry {
    let content: Vec<LeaderEpoch> =
        (from.get()..end.get()).map(|offset| epoch_at(&log.epochs, Offset(offset)).expect("an epoch")).collect();
    let mut epochs: Epochs = Vec::new();
    for (epoch, offset) in content.iter().zip(from.get()..) {
        if epochs.last().is_none_or(|(last, _)| last != epoch) {
            epochs.push((*epoch, Offset(offset)));
        }
    }
    let written = store.clock;
    store.segments.insert(name, Segment { base: from, content, written });
    Entry {
        base: from,
        end,
        first_timestamp: Timestamp(0),
        max_timestamp: Timestamp(end.get()),
        size: 100,
        parts: Parts {
            log: 50,
            offset_index: 60,
            time_index: 70,
            transaction_index: 70,
            producer_snapshot: 80,
            epochs: 90,
        },
        crc: 7,
        object_epoch: name.epoch,
        object_id: name.id,
        epochs,
        has_aborted: false,
    }
}

fn short(effect: &Effect) -> String {
    match effect {
        Effect::Create(v) => format!("create {} {:?}", v.number, v.changes),
        Effect::Committed(i) => format!("committed {} next {}", i.number, i.next),
        Effect::WriteSnapshot(i) => format!("snapshot {}", i.number),
        other => format!("{other:?}"),
    }
}

fn run(seed: u64) -> (Sim, std::thread::Result<()>) {
    let mut sim = Sim::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..1500 {
            sim.step();
        }
        sim.settle();
    }));
    (sim, outcome)
}

/// Steps that a failed run shows.
const TAIL: usize = 60;

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("TIDELOG_SEEDS") else { return 0..100 };
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.unwrap_or_else(|| panic!("TIDELOG_SEEDS is a range like 100..500, not {text:?}"))
}

#[test]
fn no_offset_is_lost_or_doubled_and_no_object_deleted_or_leaked() {
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    let (mut versions, mut strays, mut leaders) = (0, 0, 0);
    for seed in seeds {
        let (sim, outcome) = run(seed);
        if let Err(panic) = outcome {
            let tail: Vec<&str> = sim.trace.iter().rev().take(TAIL).rev().map(String::as_str).collect();
            let again = format!("TIDELOG_SEEDS={seed}..{} cargo test -p tidelog-segments no_offset_is_lost", seed + 1);
            eprintln!("{}\nseed {seed} fails\nagain: {again}", tail.join("\n"));
            std::panic::resume_unwind(panic);
        }
        versions += sim.store.chain.number;
        strays += sim.store.strays;
        leaders += sim.epoch;
    }
    // The runs must reach what they are for.
    println!("{versions} versions, {leaders} leaders, {strays} versions outside the chain");
    assert!(versions > 100 * count && leaders as u64 > 10 * count, "{versions} versions, {leaders} leaders");
    assert!(count < 60 || strays > 0, "no paused leader ever re-created a deleted version");
}

#[test]
fn a_seed_runs_the_same_way_twice() {
    assert_eq!(run(11).0.trace, run(11).0.trace);
}

#[test]
fn a_dropped_partition_leaves_nothing_whoever_else_writes() {
    for seed in 0..20 {
        let mut sim = Sim::new(seed);
        for _ in 0..600 {
            sim.step();
        }
        let mut ids = StdRng::seed_from_u64(seed);
        let (machine, effects) =
            Manifest::drop_all(Uuid::from_u128(1), RULES, Box::new(move || Uuid::from_u128(ids.random())));
        let log = sim.leader().log.clone();
        let epoch = LeaderEpoch(i32::MAX);
        let effects: VecDeque<Effect> = effects.into();
        sim.writers.push(Writer {
            epoch,
            machine,
            effects,
            log,
            paused: false,
            released: Offset::ZERO,
            collect_at: None,
        });
        let last = sim.writers.len() - 1;
        while sim.writers[last].machine.stopped().is_none() || !sim.writers[last].effects.is_empty() {
            let at = sim.rng.random_range(0..sim.writers.len());
            if at == last || !sim.writers[last].effects.iter().any(|e| matches!(e, Effect::DeleteAll)) {
                sim.advance(at, false);
            }
        }
        assert!(sim.store.segments.is_empty() && sim.store.versions.is_empty(), "seed {seed}");
        assert_eq!(sim.writers[last].machine.stopped(), Some(Stop::Dropped));
    }
}
