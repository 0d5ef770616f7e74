//! Fetch: reads what may be seen of several partitions, waits for more by events, and lets the cold tier load meanwhile.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use tidelog_log::{BoxFuture, RemoteBatches, RemoteError};
use tidelog_model::{Caller, Door, KafkaError, LeaderEpoch, Offset, PartitionIndex, QuotaKind};
use tidelog_partition::Offsets;
use tidelog_security::{Operation, Resource};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::damage::{NoBatch, sound, words};
use crate::limits::{COLD_BESIDE_HOT, COLD_LEAST_BYTES, COLD_READ_BYTES, MAX_COLD_READS, MAX_FETCH_WAIT};
use crate::lookup::nameless;
use crate::replica::{HotRead, Past, Replica};
use crate::{
    BrokerError, DamagedBatch, FetchPartition, FetchRequest, FetchedPartition, FilePart, Isolation, Piece, ReadBatches,
    TopicRef,
};

/// One partition of a fetch while it runs.
struct Wanted {
    asked: FetchPartition,
    replica: Result<Arc<Replica>, BrokerError>,
}

/// How much one fetch may and should bring.
struct Limits {
    max_bytes: usize,
    min_bytes: usize,
    isolation: Isolation,
    /// Does the answer draw on the budget of cold reads? Who reads into memory of its own has one of its own.
    budgeted: bool,
}

/// A read of the cold tier that has not begun.
struct Cold {
    /// The partition's place in the answer.
    index: usize,
    /// Bytes asked for.
    bytes: usize,
    read: BoxFuture<'static, Result<RemoteBatches, RemoteError>>,
}

/// Removes a fetch from its partitions' lists when it ends, however it ends.
struct Watching {
    places: Vec<(Arc<Replica>, u64)>,
}

impl Watching {
    fn of(wanted: &[Wanted], notify: &Arc<Notify>) -> Self {
        let replicas = wanted.iter().filter_map(|wanted| wanted.replica.as_ref().ok());
        Watching { places: replicas.map(|r| (Arc::clone(r), r.waiters.add(notify))).collect() }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        for (replica, id) in &self.places {
            replica.waiters.remove(*id);
        }
    }
}

impl Broker {
    /// Reads from several partitions; the answer has their order. Waits until `min_bytes` are there, a partition has an error, or
    /// `max_wait` is over. The call itself is the ordered stage (authorization, epochs); the future is the waiting stage.
    pub fn fetch(
        &self,
        caller: &Caller,
        request: FetchRequest,
    ) -> impl Future<Output = Vec<FetchedPartition>> + Send + use<> {
        self.fetch_for(caller, request, true)
    }

    fn fetch_for(
        &self,
        caller: &Caller,
        request: FetchRequest,
        budgeted: bool,
    ) -> impl Future<Output = Vec<FetchedPartition>> + Send + use<> {
        let deadline = Instant::now() + request.max_wait.min(MAX_FETCH_WAIT);
        let mut wanted: Vec<Wanted> = request
            .partitions
            .into_iter()
            .map(|asked| Wanted { replica: self.fetchable(caller, &asked), asked })
            .collect();
        let limits = Limits {
            max_bytes: request.max_bytes.min(usize::try_from(self.config().fetch_max_bytes).unwrap_or(0)),
            min_bytes: request.min_bytes,
            isolation: request.isolation,
            budgeted,
        };
        let broker = self.clone();
        async move {
            let mut answers = broker.poll(&mut wanted, limits, deadline).await;
            count(&mut answers, &wanted);
            answers
        }
    }

    async fn poll(&self, wanted: &mut [Wanted], limits: Limits, deadline: Instant) -> Vec<FetchedPartition> {
        let notify = Arc::new(Notify::new());
        let mut watching = None;
        loop {
            let round = read_round(wanted, limits.isolation, limits.max_bytes).await;
            if !round.cold.is_empty() {
                let patience = match round.bytes {
                    0 => deadline.max(Instant::now() + self.remote_fetch_max_wait()),
                    // Hot records are not held up for long: what is cached comes along, what is not loads on and comes with a later fetch.
                    _ => Instant::now() + COLD_BESIDE_HOT,
                };
                match self.with_cold(round, wanted, &limits, patience).await {
                    Some(answers) => return answers,
                    None => continue,
                }
            }
            let nothing_to_wait_for = wanted.is_empty() || round.at_once || Instant::now() >= deadline;
            if round.bytes >= limits.min_bytes || nothing_to_wait_for {
                return round.answers;
            }
            if watching.is_none() {
                // First watch, then look once more: an event in between is not lost.
                watching = Some(Watching::of(wanted, &notify));
                continue;
            }
            // Many partitions' answers are memory that a fetch need not hold while it waits.
            drop(round);
            let _ = tokio::time::timeout_at(deadline, notify.notified()).await;
        }
    }

    /// What somebody hears who fetches as a follower: on one node nobody is a replica of anything.
    pub fn refuse_follower(&self, caller: &Caller, asked: Vec<FetchPartition>) -> Vec<FetchedPartition> {
        let allowed = self.may(caller, Operation::ClusterAction, Resource::Cluster);
        let refuse = |asked: FetchPartition| {
            let error = if allowed { self.no_replica(&asked) } else { KafkaError::TopicAuthorizationFailed.into() };
            FetchedPartition { error: Some(error), ..blank(None) }
        };
        asked.into_iter().map(refuse).collect()
    }

    /// Kafka's answer to a follower that is no replica of the partition (it may only be early, so it is to try again).
    fn no_replica(&self, asked: &FetchPartition) -> BrokerError {
        let found = self.known_topic(&self.image(), &asked.topic).map_err(nameless);
        let replica = found.and_then(|topic| self.find_replica(&topic, asked.partition));
        match replica.and_then(|replica| self.check_leader_epoch(&replica, asked.leader_epoch)) {
            Err(error) => error,
            Ok(()) if asked.leader_epoch == LeaderEpoch::NONE => KafkaError::NotLeaderOrFollower.into(),
            Ok(()) => KafkaError::UnknownLeaderEpoch.into(),
        }
    }

    fn fetchable(&self, caller: &Caller, asked: &FetchPartition) -> Result<Arc<Replica>, BrokerError> {
        let (_, replica) = self.find_partition(caller, Operation::Read, &asked.topic, asked.partition)?;
        self.check_leader_epoch(&replica, asked.leader_epoch)?;
        Ok(replica)
    }

    /// Reads of the cold tier, in order, as many as the answer has room for and a few at a time; the rest comes with the next fetch. The
    /// first has room however much is hot: partitions that are written all the time do not keep one from being read that is not.
    fn cold_reads(&self, round: &Round, wanted: &[Wanted], limits: &Limits) -> Vec<Cold> {
        let Some(remote) = self.remote() else { return Vec::new() };
        let mut left = limits.max_bytes.saturating_sub(round.bytes).max(COLD_LEAST_BYTES.min(limits.max_bytes));
        let mut reads = Vec::new();
        for index in round.cold.iter().copied().take(MAX_COLD_READS) {
            let Some(Wanted { asked, replica: Ok(replica) }) = wanted.get(index) else { continue };
            if left == 0 && !reads.is_empty() {
                break;
            }
            let bytes = asked.max_bytes.min(left).min(COLD_READ_BYTES);
            left -= bytes;
            reads.push(Cold { index, bytes, read: remote.read(&replica.id, asked.offset, bytes) });
        }
        reads
    }

    /// Waits for the cold tier as long as the patience lasts, then answers with what is hot and what has come. `None` if compaction has
    /// left nothing remote from some offset on: the fetch goes on where there is something.
    async fn with_cold(
        &self,
        round: Round,
        wanted: &mut [Wanted],
        limits: &Limits,
        patience: Instant,
    ) -> Option<Vec<FetchedPartition>> {
        let reads = self.cold_reads(&round, wanted, limits);
        let mut answers = round.answers;
        let reads = reads.into_iter().map(|Cold { index, bytes, read }| async move {
            // First the room, then the read. Who waits in vain for either answers without, and is asked again.
            let reserve = self.cold_loans().reserve(bytes);
            let reserved = match limits.budgeted {
                true => Some(tokio::time::timeout_at(patience, reserve).await.ok()??),
                false => None,
            };
            // A read that is given up goes on by itself: its chunks are shared and kept.
            let mut task = tokio::spawn(read);
            let read = tokio::time::timeout_at(patience, &mut task).await.ok()?.ok()?;
            Some((index, read.map(|read| (read, reserved))))
        });
        let mut goes_on = false;
        for (index, result) in join_all(reads).await.into_iter().flatten() {
            let (Some(answer), Some(wanted)) = (answers.get_mut(index), wanted.get_mut(index)) else { continue };
            match result {
                Ok((none, _)) if none.batches.is_empty() => {
                    goes_on |= none.next > wanted.asked.offset;
                    wanted.asked.offset = none.next.max(wanted.asked.offset);
                }
                Ok((RemoteBatches { batches, aborted, .. }, reserved)) => {
                    answer.aborted = aborted;
                    answer.records = vec![self.cold_piece(wanted, batches, reserved)];
                }
                Err(error) => answer.error = Some(remote_error(&error)),
            }
        }
        (!goes_on).then_some(answers)
    }

    /// What was read, kept for the answer as long as there is room if it draws on the budget.
    fn cold_piece(&self, wanted: &Wanted, batches: Bytes, reserved: Option<OwnedSemaphorePermit>) -> Piece {
        match (wanted, self.remote(), reserved) {
            (Wanted { asked, replica: Ok(replica) }, Some(remote), Some(reserved)) => {
                Piece::Cold(self.cold_loans().lend(remote, &replica.id, asked.offset, batches, reserved))
            }
            _ => Piece::Bytes(batches),
        }
    }

    /// Reads one partition into memory, hot or cold; empty if nothing has come within `max_wait`. Every batch is checked.
    #[expect(clippy::too_many_arguments, reason = "a read has that many independent parameters")]
    pub async fn read(
        &self,
        caller: &Caller,
        topic: &TopicRef,
        partition: PartitionIndex,
        offset: Offset,
        max_bytes: usize,
        max_wait: Duration,
        isolation: Isolation,
    ) -> Result<ReadBatches, BrokerError> {
        self.wait_admitted(caller, QuotaKind::ConsumerByteRate, max_wait).await?;
        let asked = FetchPartition {
            topic: topic.clone(),
            partition,
            offset,
            leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            max_bytes,
        };
        let request = FetchRequest { partitions: vec![asked], max_wait, min_bytes: 1, max_bytes, isolation };
        let Some(fetched) = self.fetch_for(caller, request, false).await.pop() else {
            return Err(KafkaError::UnknownServerError.into());
        };
        let visible_end = match isolation {
            Isolation::ReadUncommitted => fetched.high_watermark,
            Isolation::ReadCommitted => fetched.last_stable_offset,
        };
        let read = ReadBatches {
            batches: Bytes::new(),
            aborted: Vec::new(),
            high_watermark: fetched.high_watermark,
            visible_end,
            log_start: fetched.log_start_offset,
            damaged: None,
        };
        let read = match fetched.error {
            None => match sound(in_memory(fetched.records).await?, offset) {
                Ok(batches) => ReadBatches { batches, aborted: fetched.aborted, ..read },
                Err(NoBatch { place, reason }) => {
                    let replica = self.led(topic, partition)?;
                    let error = BrokerError::new(KafkaError::CorruptMessage, words(&replica.id, offset, None, &reason));
                    self.past_damage(topic, partition, offset, place, read, error).await?
                }
            },
            // The log may be damaged where the offset is, so that it cannot be found there.
            Some(error) if error.error == KafkaError::CorruptMessage => {
                self.past_damage(topic, partition, offset, offset..offset.plus(1), read, error).await?
            }
            Some(error) => return Err(error),
        };
        // What goes out counts, however it was found.
        self.charge_door(caller, QuotaKind::ConsumerByteRate, read.batches.len());
        if caller.door != Door::Internal
            && let Ok(replica) = self.led(topic, partition)
        {
            replica.traffic.went_out(read.batches.len() as u64);
        }
        Ok(read)
    }

    fn led(&self, topic: &TopicRef, partition: PartitionIndex) -> Result<Arc<Replica>, BrokerError> {
        let topic = self.known_topic(&self.image(), topic)?;
        self.find_replica(&topic, partition)
    }

    /// What a read brings that met damage in the local log: the sound batch with the offset, however it is found, or where to read on. Its
    /// own error if that is not known, or something else is wrong; that is then told of the place where it was `met`.
    async fn past_damage(
        &self,
        topic: &TopicRef,
        partition: PartitionIndex,
        offset: Offset,
        met: Range<Offset>,
        read: ReadBatches,
        error: BrokerError,
    ) -> Result<ReadBatches, BrokerError> {
        let replica = self.led(topic, partition)?;
        let (searched, end) = (Arc::clone(&replica), read.visible_end);
        let search = tokio::task::spawn_blocking(move || searched.past_damage(offset, end));
        match search.await.map_err(|_| KafkaError::UnknownServerError)? {
            None => {
                // Of all else that is wrong somebody has been told.
                if error.error == KafkaError::CorruptMessage {
                    replica.tell_damage(met, &error);
                }
                Err(error)
            }
            Some(Past::Sound { batches, aborted }) => Ok(ReadBatches { batches, aborted, ..read }),
            Some(Past::Lost { base, end, reason }) => {
                replica.tell_damage(base..end, &reason);
                let reason = words(&replica.id, base, Some(end), &reason);
                let damaged = DamagedBatch { base, start: offset, end, reason };
                Ok(ReadBatches { damaged: Some(damaged), ..read })
            }
        }
    }
}

/// All pieces in one buffer.
async fn in_memory(mut pieces: Vec<Piece>) -> Result<Bytes, BrokerError> {
    if let [Piece::Bytes(only)] = &mut pieces[..] {
        return Ok(std::mem::take(only));
    }
    let read = tokio::task::spawn_blocking(move || {
        let mut all = BytesMut::with_capacity(pieces.iter().map(Piece::len).sum());
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => all.extend_from_slice(&bytes),
                Piece::File(part) => all.extend_from_slice(&part.slice.read()?),
                // Who reads into memory of its own is lent none.
                Piece::Cold(part) => all.extend_from_slice(&part.kept().ok_or(std::io::ErrorKind::NotFound)?),
            }
        }
        Ok::<_, std::io::Error>(all.freeze())
    });
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(failure)) => {
            tracing::error!(error = %failure, "cannot read a segment");
            Err(KafkaError::KafkaStorageError.into())
        }
        Err(_) => Err(KafkaError::UnknownServerError.into()),
    }
}

/// What one look at all partitions found.
struct Round {
    answers: Vec<FetchedPartition>,
    bytes: usize,
    /// A partition failed, or its reader must go back first.
    at_once: bool,
    /// Indexes of partitions whose offset lies in the cold tier.
    cold: Vec<usize>,
}

async fn read_round(wanted: &[Wanted], isolation: Isolation, max_bytes: usize) -> Round {
    let mut round = Round { answers: Vec::with_capacity(wanted.len()), bytes: 0, at_once: false, cold: Vec::new() };
    for (index, Wanted { asked, replica }) in wanted.iter().enumerate() {
        let left = max_bytes.saturating_sub(round.bytes);
        let read = match replica {
            Ok(replica) => read_one(replica, asked, isolation, left, round.bytes == 0).await,
            Err(error) => Err((None, error.clone())),
        };
        let answer = match read {
            Ok(HotRead::Local { offsets, read, aborted, recent }) => {
                let parts = read.slices.into_iter().map(|slice| Piece::File(FilePart { slice, recent }));
                FetchedPartition { aborted, records: parts.collect(), ..blank(Some(offsets)) }
            }
            Ok(HotRead::Remote { offsets }) => {
                round.cold.push(index);
                blank(Some(offsets))
            }
            Ok(HotRead::Diverging { offsets, end }) => {
                // Nobody waits for records that are none of the reader's.
                round.at_once = true;
                FetchedPartition { diverging: Some(end), ..blank(Some(offsets)) }
            }
            Err((offsets, error)) => {
                round.at_once = true;
                FetchedPartition { error: Some(error), ..blank(offsets) }
            }
        };
        round.bytes += answer.size();
        round.answers.push(answer);
    }
    round
}

async fn read_one(
    replica: &Arc<Replica>,
    asked: &FetchPartition,
    isolation: Isolation,
    left: usize,
    first: bool,
) -> Result<HotRead, (Option<Offsets>, BrokerError)> {
    let max_bytes = asked.max_bytes.min(left);
    // Only the first batch of the whole answer may exceed the limits.
    let recent = match replica.is_recent(asked.offset) {
        true => replica.read_recent(asked, isolation, max_bytes, first),
        false => None,
    };
    let result = match recent {
        Some(result) => result,
        // Others wait for this thread, and what is older or damaged is looked for on the disk.
        None => {
            let (replica, asked) = (Arc::clone(replica), asked.clone());
            let read = tokio::task::spawn_blocking(move || replica.read_hot(&asked, isolation, max_bytes, first));
            read.await.map_err(|_| (None, KafkaError::UnknownServerError.into()))?
        }
    };
    result.map_err(|(offsets, error)| (Some(offsets), error))
}

/// An answer without records.
fn blank(offsets: Option<Offsets>) -> FetchedPartition {
    FetchedPartition {
        error: None,
        high_watermark: offsets.map_or(Offset::NONE, |o| o.high_watermark),
        last_stable_offset: offsets.map_or(Offset::NONE, |o| o.last_stable),
        log_start_offset: offsets.map_or(Offset::NONE, |o| o.log_start),
        aborted: Vec::new(),
        diverging: None,
        records: Vec::new(),
        traffic: None,
    }
}

/// Counts what failed, and gives what was found along where it is counted once it is sent.
fn count(answers: &mut [FetchedPartition], wanted: &[Wanted]) {
    for (answer, Wanted { replica, .. }) in answers.iter_mut().zip(wanted) {
        let Ok(replica) = replica else { continue };
        if answer.error.is_some() {
            replica.traffic.fetch_failed();
        } else if answer.size() > 0 {
            answer.traffic = Some(Arc::clone(&replica.traffic));
        }
    }
}

/// The cold tier's trouble as consumers must hear it: never so that they reset.
pub(crate) fn remote_error(error: &RemoteError) -> BrokerError {
    match error {
        RemoteError::Unavailable(reason) => {
            tracing::debug!(reason, "the remote part of a log does not answer");
            BrokerError::new(KafkaError::OffsetNotAvailable, "the remote part of the log does not answer; try again")
        }
        RemoteError::OutOfRange { .. } => BrokerError::new(KafkaError::OffsetOutOfRange, error.to_string()),
        RemoteError::Corrupt(reason) => {
            tracing::error!(reason, "a remote segment is damaged");
            BrokerError::new(KafkaError::KafkaStorageError, "a remote segment is damaged")
        }
    }
}
