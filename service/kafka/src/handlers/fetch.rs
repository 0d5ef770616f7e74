//! Fetch (key 1): a long poll over partitions: those that the request names, or those of its session (KIP-227).

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::Either;
use tidelog_broker::{
    Broker, BrokerError, FetchPartition as Wanted, FetchRequest as Asking, FetchedPartition, Isolation, TopicRef,
};
use tidelog_model::{Caller, KafkaError, LeaderEpoch, Offset, PartitionIndex, QuotaKind, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    AbortedTransaction, FetchEpochEndOffset, FetchLeader, FetchNodeEndpoint, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse, PartitionData,
};
use tokio_util::task::AbortOnDropHandle;

use super::leaders::Leaders;
use crate::answer::{Answer, Files, Hangup, Waiting};
use crate::fetch_sessions::{Answered, Asked, Continued, FetchSessions, Known, NO_SESSION, Named, Opened, topic_of};
use crate::limits::{WAITING_FETCH_BYTES, WAITING_PARTITION_BYTES};
use crate::request::{ReplyTo, Request, code};
use crate::shares::Share;

/// From here on topics go by id (KIP-516).
const FIRST_BY_ID: i16 = 13;
/// From here on errors name the leader (KIP-951).
const FIRST_WITH_LEADERS: i16 = 16;

/// Consecutive partitions of one topic, to give the answer the same shape. Has nothing of the frame: it waits as long as the fetch.
struct Shape {
    topic: Str,
    topic_id: TopicId,
    partitions: Vec<i32>,
}

/// What the answer does to the sessions.
enum Session {
    None,
    /// What is asked of each partition, in the order of the shapes.
    Wanted(Vec<Asked>),
    Continued(Continued),
}

pub(crate) async fn handle(request: Request<'_>, message: FetchRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to().let_go();
    let by_id = to.version >= FIRST_BY_ID;
    let (broker, sessions) = (&request.session.broker, &request.session.fetch_sessions);
    let name_of = |topic: &TopicRef| broker.name_behind(&request.caller, topic);
    let opened = match sessions.open(&request.caller.principal, &message, by_id, name_of) {
        Ok(opened) => opened,
        Err(error) => return request.ready(&FetchResponse { error_code: error.code(), ..Default::default() }),
    };
    let (shapes, wanted) = match &opened {
        Opened::None | Opened::Wanted => named(&message.topics, by_id),
        Opened::Continued(continued) => remembered(continued),
    };
    let read_committed = message.isolation_level == 1;
    let patience = Duration::from_millis(u64::try_from(message.max_wait_ms).unwrap_or(0));
    let waiting = request.session.waiting_fetches.take(request.session.owner(), memory(&shapes, &request.caller));
    let asking = Asking {
        partitions: wanted,
        max_wait: if waiting.is_some() { patience } else { Duration::ZERO },
        min_bytes: size(message.min_bytes),
        max_bytes: size(message.max_bytes),
        isolation: if read_committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted },
    };
    let most = broker.most_at_once(&request.caller, QuotaKind::ConsumerByteRate);
    let asking = Asking { max_bytes: asking.max_bytes.min(most.unwrap_or(usize::MAX)), ..asking };
    // Brokers have numbers, consumers have none.
    let follower = message.replica_id.max(message.replica_state.replica_id) >= 0;
    let mut fetch = if follower {
        Either::Left(std::future::ready(broker.refuse_follower(&request.caller, asking.partitions)))
    } else {
        Either::Right(Box::pin(broker.fetch(&request.caller, asking)))
    };
    let reply = Reply {
        to,
        most,
        shapes,
        read_committed,
        leaders: Leaders::new(&request, FIRST_WITH_LEADERS),
        session: match opened {
            Opened::None => Session::None,
            Opened::Wanted => Session::Wanted(asked(&message.topics)),
            Opened::Continued(continued) => Session::Continued(continued),
        },
        sessions: Arc::clone(sessions),
        broker: broker.clone(),
        caller: request.caller.clone(),
        _waiting: waiting,
    };
    // Nothing of the frame is left: the long poll must not hold budget that produces need.
    drop((request, message));
    let fetch = match futures::poll!(&mut fetch) {
        Poll::Ready(fetched) => Either::Left(fetched),
        // On a task of its own: it waits while earlier answers of this connection are still awaited.
        Poll::Pending => Either::Right(AbortOnDropHandle::new(tokio::spawn(fetch))),
    };
    Ok(Box::pin(async move {
        let fetched = match fetch {
            Either::Left(fetched) => fetched,
            Either::Right(task) => task.await.map_err(|error| Hangup::Malformed(format!("a fetch failed: {error}")))?,
        };
        reply.answer(fetched)
    }))
}

/// The partitions that the request names.
fn named(topics: &[FetchTopic], by_id: bool) -> (Vec<Shape>, Vec<Wanted>) {
    let mut shapes = Vec::with_capacity(topics.len());
    let mut wanted = Vec::new();
    for topic in topics {
        let reference = topic_of(topic, by_id);
        wanted.extend(topic.partitions.iter().map(|asked| want(&reference, asked.partition, &Asked::of(asked))));
        shapes.push(Shape {
            topic: Str::from(topic.topic.as_str()),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(|asked| asked.partition).collect(),
        });
    }
    (shapes, wanted)
}

/// What is asked of each partition.
fn asked(topics: &[FetchTopic]) -> Vec<Asked> {
    topics.iter().flat_map(|topic| topic.partitions.iter().map(Asked::of)).collect()
}

/// What the fetch holds while it waits, bytes.
fn memory(shapes: &[Shape], caller: &Caller) -> usize {
    let of_topic = |shape: &Shape| {
        shape.partitions.len() * WAITING_PARTITION_BYTES + 2 * shape.topic.as_bytes().len() + size_of::<Shape>()
    };
    WAITING_FETCH_BYTES + caller.client_id.len() + shapes.iter().map(of_topic).sum::<usize>()
}

/// The partitions of the session.
fn remembered(session: &Continued) -> (Vec<Shape>, Vec<Wanted>) {
    let mut shapes: Vec<Shape> = Vec::new();
    let mut wanted: Vec<Wanted> = Vec::new();
    session.for_each(|Named { topic, partition, asked, .. }| {
        let same = wanted.last().is_some_and(|last| last.topic == *topic);
        wanted.push(want(topic, *partition, asked));
        match shapes.last_mut().filter(|_| same) {
            Some(shape) => shape.partitions.push(*partition),
            None => shapes.push(Shape {
                topic: if let TopicRef::Name(name) = topic { Str::from(name.as_ref()) } else { Str::EMPTY },
                topic_id: if let TopicRef::Id(id) = topic { *id } else { TopicId::ZERO },
                partitions: vec![*partition],
            }),
        }
    });
    (shapes, wanted)
}

fn want(topic: &TopicRef, partition: i32, asked: &Asked) -> Wanted {
    Wanted {
        topic: topic.clone(),
        partition: PartitionIndex(partition),
        offset: Offset(asked.offset),
        leader_epoch: LeaderEpoch(asked.leader_epoch),
        last_fetched_epoch: LeaderEpoch(asked.last_fetched_epoch),
        max_bytes: size(asked.max_bytes),
    }
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

/// What turns a fetch's result into its answer.
struct Reply {
    to: ReplyTo,
    /// The most that a quota lets through at once.
    most: Option<usize>,
    shapes: Vec<Shape>,
    read_committed: bool,
    leaders: Leaders,
    session: Session,
    sessions: Arc<FetchSessions>,
    broker: Broker,
    caller: Caller,
    /// What it takes of the memory for fetches that wait.
    _waiting: Option<Share>,
}

impl Reply {
    fn answer(mut self, mut fetched: Vec<FetchedPartition>) -> Result<Answer, Hangup> {
        if let Some(throttled) = self.throttled(&fetched) {
            return self.to.answer(&throttled);
        }
        let session = std::mem::replace(&mut self.session, Session::None);
        let (session_id, news) = match session {
            Session::None => (NO_SESSION, None),
            Session::Wanted(asked) => (self.begin_session(&asked, &fetched), None),
            Session::Continued(continued) => {
                self.find_other_ids(&continued, &mut fetched);
                match continued.select(fetched.iter().map(answered)) {
                    Ok(news) => (continued.id, Some(news)),
                    Err(error) => {
                        let session_id = continued.id;
                        let refused = FetchResponse { error_code: error.code(), session_id, ..Default::default() };
                        return self.to.answer(&refused);
                    }
                }
            }
        };
        let mut files = Files::default();
        let mut responses = Vec::with_capacity(self.shapes.len());
        let mut fetched = fetched.into_iter().enumerate();
        for shape in std::mem::take(&mut self.shapes) {
            let answers = shape.partitions.into_iter().zip(&mut fetched);
            let partitions: Vec<PartitionData> = answers
                .filter(|(_, (place, _))| news.as_ref().is_none_or(|news| news.get(*place) == Some(&true)))
                .map(|(index, (_, partition))| self.data(index, partition, &mut files))
                .collect();
            if news.is_none() || !partitions.is_empty() {
                let (topic, topic_id) = (shape.topic, shape.topic_id);
                responses.push(FetchableTopicResponse { topic, topic_id, partitions, ..Default::default() });
            }
        }
        let node_endpoints = self.leaders.endpoints().map(|(node, host, port)| FetchNodeEndpoint {
            node_id: node.get(),
            host: Str::from(host),
            port: i32::from(port),
            ..Default::default()
        });
        let node_endpoints = node_endpoints.collect();
        self.to.answer_with(&FetchResponse { session_id, responses, node_endpoints, ..Default::default() }, files)
    }

    /// The empty answer to a client beyond its quota: it asks again after its pause, and what it did not get is not counted (KIP-219).
    /// A session goes on as it was.
    fn throttled(&self, fetched: &[FetchedPartition]) -> Option<FetchResponse> {
        let bytes: usize = fetched.iter().map(FetchedPartition::size).sum();
        // The first batch comes whole even if it is larger than the quota lets through, or nobody could ever read it.
        let bytes = bytes.min(self.most?);
        if self.to.meter().is_none_or(|meter| meter.allows(QuotaKind::ConsumerByteRate, bytes)) {
            return None;
        }
        let session_id = if let Session::Continued(continued) = &self.session { continued.id } else { NO_SESSION };
        Some(FetchResponse { session_id, ..Default::default() })
    }

    /// The session that the next requests may go on with.
    fn begin_session(&self, asked: &[Asked], fetched: &[FetchedPartition]) -> i32 {
        let by_id = self.to.version >= FIRST_BY_ID;
        let partitions = self.shapes.iter().flat_map(|shape| {
            let topic = if by_id { TopicRef::Id(shape.topic_id) } else { TopicRef::from(shape.topic.as_str()) };
            let name = self.broker.name_behind(&self.caller, &topic);
            shape.partitions.iter().map(move |partition| (topic.clone(), name.clone(), *partition))
        });
        let partitions = partitions.zip(asked).map(|((topic, name, partition), asked)| Named {
            topic,
            name,
            partition,
            asked: *asked,
        });
        let known = fetched.iter().map(|fetched| answered(fetched).known());
        self.sessions.create(&self.caller.principal, by_id, partitions.zip(known))
    }

    /// A topic that was deleted and created again under its name has another id than the session knows: the client must look the name
    /// up once more.
    fn find_other_ids(&self, session: &Continued, fetched: &mut [FetchedPartition]) {
        let unknown = |partition: &FetchedPartition| {
            partition.error.as_ref().is_some_and(|error| error.error == KafkaError::UnknownTopicId)
        };
        if !fetched.iter().any(unknown) {
            return;
        }
        for (partition, name) in fetched.iter_mut().zip(session.names()) {
            if unknown(partition)
                && let Some(name) = name
                && self.broker.has_topic(&self.caller, &name)
            {
                partition.error = Some(BrokerError::from(KafkaError::InconsistentTopicId));
            }
        }
    }

    fn data(&mut self, index: i32, fetched: FetchedPartition, files: &mut Files) -> PartitionData {
        fetched.sent();
        let aborted = fetched.aborted.iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id.get(),
            first_offset: aborted.first_offset.get(),
            ..Default::default()
        });
        let leader = self.leaders.of(fetched.error.as_ref());
        // As Kafka's: an error stands alone, nobody is to go by offsets beside it.
        let failed = fetched.error.is_some();
        let unless_failed = |offset: Offset| if failed { Offset::NONE.get() } else { offset.get() };
        PartitionData {
            partition_index: index,
            error_code: code(fetched.error.as_ref()),
            high_watermark: unless_failed(fetched.high_watermark),
            last_stable_offset: unless_failed(fetched.last_stable_offset),
            log_start_offset: unless_failed(fetched.log_start_offset),
            aborted_transactions: (self.read_committed || failed).then(|| aborted.collect()),
            current_leader: leader.map_or_else(FetchLeader::default, |leader| FetchLeader {
                leader_id: leader.node.get(),
                leader_epoch: leader.epoch.get(),
                ..Default::default()
            }),
            diverging_epoch: fetched.diverging.map_or_else(FetchEpochEndOffset::default, |end| FetchEpochEndOffset {
                epoch: end.epoch.get(),
                end_offset: end.end.get(),
                ..Default::default()
            }),
            records: Some(files.records(fetched.records)),
            ..Default::default()
        }
    }
}

/// What the sessions make of a partition's answer.
fn answered(fetched: &FetchedPartition) -> Answered {
    Answered {
        known: Known { high_watermark: fetched.high_watermark, log_start: fetched.log_start_offset },
        has_records: fetched.size() > 0,
        failed: fetched.error.is_some(),
        diverges: fetched.diverging.is_some(),
    }
}
