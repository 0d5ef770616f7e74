//! One fetch session: decides which partitions a request reads, in which order, and which of the answers have news. It never reads
//! anything itself. Pure.

use std::collections::{BTreeMap, HashMap};

use tidelog_broker::TopicRef;
use tidelog_model::{KafkaError, Offset, TopicName};
use tidelog_protocol::messages::FetchPartition;

/// What the client wants of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: i32,
}

impl Asked {
    pub(crate) fn of(partition: &FetchPartition) -> Self {
        Asked {
            offset: partition.fetch_offset,
            leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            max_bytes: partition.partition_max_bytes,
        }
    }
}

/// What the client has been told of one partition: only a difference is news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
}

/// What a read came to, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answered {
    pub(crate) known: Known,
    pub(crate) has_records: bool,
    pub(crate) failed: bool,
    /// The client must go back before it gets records.
    pub(crate) diverges: bool,
}

impl Answered {
    /// What the client knows afterwards. Of a partition that failed it knows nothing, so that it hears of it again once it works.
    pub(crate) fn known(&self) -> Known {
        if self.failed { Known { high_watermark: Offset::NONE, ..self.known } } else { self.known }
    }
}

/// A partition as a request names it.
pub(crate) struct Named {
    pub(crate) topic: TopicRef,
    /// The name behind the topic's id now, to find out later that it has got another id.
    pub(crate) name: Option<TopicName>,
    pub(crate) partition: i32,
    pub(crate) asked: Asked,
}

/// What an incremental request changes.
#[derive(Default)]
pub(super) struct Changes {
    /// New partitions, and known ones of which something else is wanted.
    pub(super) asked: Vec<Named>,
    /// Partitions that leave.
    pub(super) forgotten: Vec<(TopicRef, i32)>,
}

struct Entry {
    named: Named,
    known: Known,
}

/// The session. Partitions have places; the lowest is read first, and who got records goes behind all others, so that
/// `fetch.max.bytes` starves none.
pub(super) struct FetchSession {
    by_id: bool,
    /// The epoch that the next request must have.
    epoch: i32,
    entries: BTreeMap<u64, Entry>,
    places: HashMap<(TopicRef, i32), u64>,
    next_place: u64,
    bytes: usize,
}

/// The epoch after this one: 0 and −1 mean something else.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// What a client has been told of a partition that is new in a session: nothing.
const NOTHING: Known = Known { high_watermark: Offset::NONE, log_start: Offset::NONE };

impl FetchSession {
    /// A session whose first answer told the client what is known.
    pub(super) fn new(by_id: bool, partitions: impl Iterator<Item = (Named, Known)>) -> Self {
        let mut session = FetchSession {
            by_id,
            epoch: next_epoch(0),
            entries: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            bytes: 0,
        };
        for (named, known) in partitions {
            session.ask(named, known);
        }
        session
    }

    /// The epoch that the next request must have.
    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// How many partitions it has.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A request with this epoch goes on with the session. An error changes nothing.
    pub(super) fn advance(&mut self, epoch: i32, by_id: bool, changes: Changes) -> Result<(), KafkaError> {
        if epoch != self.epoch {
            return Err(KafkaError::InvalidFetchSessionEpoch);
        }
        if by_id != self.by_id {
            return Err(KafkaError::FetchSessionTopicIdError);
        }
        self.epoch = next_epoch(epoch);
        for named in changes.asked {
            self.ask(named, NOTHING);
        }
        for key in changes.forgotten {
            self.forget(&key);
        }
        Ok(())
    }

    /// A partition keeps its place and what is known of it; a new one comes last.
    fn ask(&mut self, named: Named, known: Known) {
        let key = (named.topic.clone(), named.partition);
        if let Some(entry) = self.places.get(&key).and_then(|place| self.entries.get_mut(place)) {
            entry.named.asked = named.asked;
            return;
        }
        let place = self.take_place();
        self.bytes += cost(&key.0);
        self.entries.insert(place, Entry { named, known });
        self.places.insert(key, place);
    }

    fn forget(&mut self, key: &(TopicRef, i32)) {
        if let Some(place) = self.places.remove(key) {
            self.entries.remove(&place);
            self.bytes -= cost(&key.0);
        }
    }

    fn take_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }

    /// The partitions in the order in which they are read.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &Named> {
        self.entries.values().map(|entry| &entry.named)
    }

    /// Which answers have news, in the order of [`partitions`](Self::partitions) when the epoch became `epoch`. If it has moved on,
    /// another request was let in meanwhile, and this one's client is confused.
    pub(super) fn select(
        &mut self,
        epoch: i32,
        answers: impl Iterator<Item = Answered>,
    ) -> Result<Vec<bool>, KafkaError> {
        if epoch != self.epoch {
            return Err(KafkaError::InvalidFetchSessionEpoch);
        }
        let mut news = Vec::with_capacity(self.entries.len());
        let mut served = Vec::new();
        for ((place, entry), answer) in self.entries.iter_mut().zip(answers) {
            news.push(answer.has_records || answer.failed || answer.diverges || answer.known != entry.known);
            entry.known = answer.known();
            if answer.has_records {
                served.push(*place);
            }
        }
        for place in served {
            self.move_back(place);
        }
        Ok(news)
    }

    fn move_back(&mut self, place: u64) {
        let Some(entry) = self.entries.remove(&place) else { return };
        let behind = self.take_place();
        // The key is there: places and entries change together.
        if let Some(place) = self.places.get_mut(&(entry.named.topic.clone(), entry.named.partition)) {
            *place = behind;
        }
        self.entries.insert(behind, entry);
    }
}

/// About the memory of one partition: an entry and a place, with the name in both, and what the maps add.
fn cost(topic: &TopicRef) -> usize {
    let name = match topic {
        TopicRef::Name(name) => 2 * name.len(),
        TopicRef::Id(_) => 0,
    };
    2 * (size_of::<Entry>() + size_of::<(TopicRef, i32)>()) + name
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
