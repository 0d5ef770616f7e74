//! Fetch sessions (KIP-227): a consumer names its partitions once, later requests name only what changed, and answers have only
//! partitions that have news. This is the shell: locks and the clock. [`table`] decides who has a session, [`session`] what it says.

mod session;
mod table;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_broker::TopicRef;
use tidelog_model::{KafkaError, Principal, TopicName};
use tidelog_protocol::messages::{FetchRequest, FetchTopic};
use tokio::time::Instant;

pub(crate) use session::{Answered, Asked, Known, Named};
use session::{Changes, FetchSession};
use table::{SessionTable, Size, TableLimits};

use crate::limits::{MAX_FETCH_SESSION_BYTES, MIN_FETCH_SESSION_EVICTION};

/// A request without a session, or an answer that offers none.
pub(crate) const NO_SESSION: i32 = 0;
/// The request's epoch that asks for a new session.
const FIRST_EPOCH: i32 = 0;
/// The request's epoch that wants no session, or ends one.
const LAST_EPOCH: i32 = -1;

/// All sessions of one Kafka door.
pub(crate) struct FetchSessions {
    table: Mutex<SessionTable<Shared>>,
    /// Session ids must not be guessed, nor repeat those of the process before.
    ids: RandomState,
    started: Instant,
}

/// One session among its requests. Taken under the table's lock by nobody.
type Shared = Arc<Owned>;

struct Owned {
    /// Whose it is: nobody else's requests may go on with it.
    principal: Principal,
    session: Mutex<FetchSession>,
}

/// What a request is to the sessions.
pub(crate) enum Opened {
    /// It has none and wants none.
    None,
    /// It wants one; see [`FetchSessions::create`].
    Wanted,
    /// It goes on with one.
    Continued(Continued),
}

/// A request that goes on with a session.
pub(crate) struct Continued {
    pub(crate) id: i32,
    /// The epoch that the next request will have.
    next: i32,
    shared: Shared,
}

impl FetchSessions {
    pub(crate) fn new(slots: usize) -> Self {
        let limits = TableLimits { slots, bytes: MAX_FETCH_SESSION_BYTES, eviction: MIN_FETCH_SESSION_EVICTION };
        FetchSessions { table: Mutex::new(SessionTable::new(limits)), ids: RandomState::new(), started: Instant::now() }
    }

    /// The first thing that happens to a fetch, in the order of its connection: its session ends, begins or moves on.
    pub(crate) fn open(
        &self,
        principal: &Principal,
        message: &FetchRequest,
        by_id: bool,
        name_of: impl Fn(&TopicRef) -> Option<TopicName>,
    ) -> Result<Opened, KafkaError> {
        let (id, epoch) = (message.session_id, message.session_epoch);
        if matches!(epoch, FIRST_EPOCH | LAST_EPOCH) {
            if id != NO_SESSION {
                // A full request ends the session that it names.
                self.end(principal, id);
            }
            return Ok(if epoch == FIRST_EPOCH { Opened::Wanted } else { Opened::None });
        }
        let found = self.table.lock().get(id).filter(|shared| shared.principal == *principal);
        let shared = found.ok_or(KafkaError::FetchSessionIdNotFound)?;
        let mut session = shared.session.lock();
        session.advance(epoch, by_id, changes(message, by_id, name_of))?;
        let (next, size) = (session.epoch(), size(&session));
        drop(session);
        if size.partitions == 0 {
            self.end(principal, id);
            return Ok(Opened::None);
        }
        if !self.table.lock().touch(id, self.started.elapsed(), size) {
            // It has grown out of its room, or another request was faster to end it: the client begins anew.
            self.end(principal, id);
            return Err(KafkaError::FetchSessionIdNotFound);
        }
        Ok(Opened::Continued(Continued { id, next, shared }))
    }

    /// Keeps a session for a full request that was answered like this; 0 if there is no room for one.
    pub(crate) fn create(
        &self,
        principal: &Principal,
        by_id: bool,
        partitions: impl Iterator<Item = (Named, Known)>,
    ) -> i32 {
        let session = FetchSession::new(by_id, partitions);
        let size = size(&session);
        if size.partitions == 0 {
            return NO_SESSION;
        }
        let shared = Arc::new(Owned { principal: principal.clone(), session: Mutex::new(session) });
        let mut table = self.table.lock();
        let evicted = table.evicted();
        let id = table.create(self.started.elapsed(), size, shared, |attempt| {
            // Positive: 0 means none.
            (self.ids.hash_one(attempt) & 0x7fff_ffff) as i32
        });
        metrics::counter!("tidelog_kafka_fetch_sessions_evicted_total").increment(table.evicted() - evicted);
        report(&table);
        id.unwrap_or(NO_SESSION)
    }

    fn end(&self, principal: &Principal, id: i32) {
        let mut table = self.table.lock();
        if table.get(id).is_some_and(|shared| shared.principal == *principal) {
            table.remove(id);
            report(&table);
        }
    }
}

impl Continued {
    /// Calls `each` with every partition of the session, in the order in which they may use up the answer's bytes.
    pub(crate) fn for_each(&self, each: impl FnMut(&Named)) {
        self.shared.session.lock().partitions().for_each(each);
    }

    /// What the topics were called when the session first saw them, in that order. Ask before [`select`](Self::select).
    pub(crate) fn names(&self) -> Vec<Option<TopicName>> {
        self.shared.session.lock().partitions().map(|named| named.name.clone()).collect()
    }

    /// Which of the answers, in the order of [`for_each`](Self::for_each), have news. Those with records go to the end of the order.
    pub(crate) fn select(&self, answers: impl Iterator<Item = Answered>) -> Result<Vec<bool>, KafkaError> {
        self.shared.session.lock().select(self.next, answers)
    }
}

fn size(session: &FetchSession) -> Size {
    Size { partitions: session.len(), bytes: session.bytes() }
}

fn report(table: &SessionTable<Shared>) {
    let used = table.used();
    metrics::gauge!("tidelog_kafka_fetch_sessions").set(table.len() as f64);
    metrics::gauge!("tidelog_kafka_fetch_session_partitions").set(used.partitions as f64);
}

/// How a request names a topic.
pub(crate) fn topic_of(topic: &FetchTopic, by_id: bool) -> TopicRef {
    if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::from(topic.topic.as_str()) }
}

/// What an incremental request changes.
fn changes(message: &FetchRequest, by_id: bool, name_of: impl Fn(&TopicRef) -> Option<TopicName>) -> Changes {
    let mut changes = Changes::default();
    for topic in &message.topics {
        let reference = topic_of(topic, by_id);
        let name = name_of(&reference);
        changes.asked.extend(topic.partitions.iter().map(|partition| Named {
            topic: reference.clone(),
            name: name.clone(),
            partition: partition.partition,
            asked: Asked::of(partition),
        }));
    }
    for topic in &message.forgotten_topics_data {
        let reference = if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::from(topic.topic.as_str()) };
        changes.forgotten.extend(topic.partitions.iter().map(|partition| (reference.clone(), *partition)));
    }
    changes
}
