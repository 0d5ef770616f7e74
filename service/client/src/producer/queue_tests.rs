//! The queue's decisions, without any network.

use bytes::Bytes;
use tidelog_model::{KafkaError, Offset, PartitionIndex, ProducerId, Sequence, Timestamp};
use tidelog_record::{Batch, BatchHeader};
use tokio::sync::Semaphore;

use super::queue::*;
use super::*;
use crate::limits::MAX_BACKOFF;

struct Bench {
    queue: PartitionQueue,
    options: ProducerOptions,
    memory: Arc<Semaphore>,
    unsettled: Arc<Unsettled>,
    now: Instant,
}

impl Bench {
    fn new(identity: Option<Identity>) -> Self {
        let queue = PartitionQueue::new(identity);
        let options = ProducerOptions { batch_bytes: 200, ..ProducerOptions::default() };
        let memory = Arc::new(Semaphore::new(1000));
        Bench { queue, options, memory, unsettled: Arc::default(), now: Instant::now() }
    }

    /// Pushes a record that fills a batch alone with every second one.
    fn push(&mut self, value: &'static str) -> Delivery {
        let record = NewRecord { value: Some(Bytes::from_static(value.as_bytes())), ..NewRecord::default() };
        let size = record.size_bound();
        if let Some(pushed) = self.queue.push(&record, size, Timestamp(1), &self.options).unwrap() {
            return pushed.delivery;
        }
        let permit = Arc::clone(&self.memory).try_acquire_many_owned(1).unwrap();
        let unsettled = Arc::clone(&self.unsettled);
        self.queue.push_with(&record, size, Timestamp(1), &self.options, permit, unsettled).unwrap().delivery
    }

    /// One record per batch.
    fn batch(&mut self, value: &'static str) -> Delivery {
        let delivery = self.push(value);
        assert!(self.queue.seal());
        delivery
    }

    fn take(&mut self) -> Sealed {
        match self.queue.take(self.now, self.options.linger, true) {
            Take::Batch(batch, _) => batch,
            other => panic!("{other:?}"),
        }
    }

    /// Stores one batch, so that the leader knows the producer.
    fn establish(&mut self) {
        let delivery = self.batch("first");
        let batch = self.take();
        self.answer(batch, stored(0));
        assert_eq!(offset(&delivery), Some(0));
    }

    fn takes_nothing(&mut self) -> bool {
        !matches!(self.queue.take(self.now, self.options.linger, true), Take::Batch(..))
    }

    fn answer(&mut self, batch: Sealed, answer: Answered) -> Next {
        self.queue.answered(batch, answer, self.now)
    }

    fn later(&mut self) {
        self.now += Duration::from_secs(2);
    }
}

fn header(batch: &Sealed) -> BatchHeader {
    *Batch::parse(&batch.bytes).unwrap().header()
}

fn stored(offset: i64) -> Answered {
    Answered::Stored(Placed { partition: PartitionIndex(0), offset: Offset(offset), append_time: None })
}

fn refused(error: KafkaError) -> Answered {
    let why = ClientError::kafka(error, "test", None);
    match error {
        KafkaError::DuplicateSequenceNumber => {
            let placed = Placed { partition: PartitionIndex(0), offset: Offset::NONE, append_time: None };
            Answered::Duplicate(placed, why)
        }
        _ => Answered::Refused(error, why),
    }
}

fn unknown() -> Answered {
    Answered::Unknown(ClientError::Timeout { what: "Produce", after: Duration::from_secs(1) })
}

fn offset(delivery: &Delivery) -> Option<i64> {
    delivery.now()?.ok().map(|placed| placed.offset.get())
}

#[tokio::test]
async fn records_share_a_batch_until_it_is_full() {
    let mut bench = Bench::new(None);
    bench.options.batch_bytes = 300;
    let value = "sixty bytes of value, as every record of this batch has them";
    let deliveries: Vec<_> = (0..5).map(|_| bench.push(value)).collect();
    let first = bench.take();
    assert_eq!(header(&first).record_count, 3, "61 bytes of header, three records of 68, no room for a bound of 100");
    assert_eq!(header(&first).producer_id, ProducerId::NONE);
    let second = bench.take();
    assert_eq!(header(&second).record_count, 2);
    assert!(bench.takes_nothing());
    bench.answer(first, stored(10));
    bench.answer(second, stored(13));
    assert_eq!(deliveries.iter().map(offset).collect::<Vec<_>>(), [10, 11, 12, 13, 14].map(Some));
    assert_eq!(bench.memory.available_permits(), 1000, "memory comes back");
    assert_eq!(bench.unsettled.count.load(Ordering::Relaxed), 0);
    assert!(bench.queue.dequeue_if_idle());
}

#[tokio::test]
async fn an_open_batch_lingers_unless_someone_is_in_a_hurry() {
    let mut bench = Bench::new(None);
    bench.push("a");
    let linger = Duration::from_secs(9);
    match bench.queue.take(bench.now, linger, false) {
        Take::At(at) => assert!(at > bench.now && at <= Instant::now() + linger),
        other => panic!("{other:?}"),
    }
    assert!(matches!(bench.queue.take(Instant::now() + linger, linger, false), Take::Batch(_, true)));
}

#[tokio::test]
async fn at_most_five_batches_are_in_flight() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    (0..7).for_each(|_| drop(bench.batch("x")));
    let first = bench.take();
    assert!(bench.takes_nothing(), "the leader does not know the producer yet");
    bench.answer(first, stored(0));
    let sequences: Vec<_> = (0..5).map(|_| bench.take()).map(|b| header(&b).base_sequence.0).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    assert!(bench.takes_nothing());
}

#[tokio::test]
async fn a_retry_keeps_order_and_sequences() {
    let mut bench = Bench::new(Some(Identity::new(7, 3)));
    bench.establish();
    let deliveries = [bench.batch("a"), bench.batch("b"), bench.batch("c")];
    let (a, b, c) = (bench.take(), bench.take(), bench.take());
    // The leader moved: the first was refused, so the others are out of order. Answers may be looked at in any order.
    assert_eq!(bench.answer(c, refused(KafkaError::OutOfOrderSequenceNumber)), Next::Continue);
    assert_eq!(bench.answer(a, refused(KafkaError::NotLeaderOrFollower)), Next::Refresh);
    assert_eq!(bench.answer(b, refused(KafkaError::OutOfOrderSequenceNumber)), Next::Continue);
    assert!(bench.takes_nothing(), "not before the pause is over");
    bench.later();
    for (at, delivery) in deliveries.iter().enumerate() {
        let batch = bench.take();
        assert_eq!(header(&batch).base_sequence, Sequence(at as i32 + 1));
        bench.answer(batch, stored(at as i64 + 1));
        assert_eq!(offset(delivery), Some(at as i64 + 1));
    }
}

#[tokio::test]
async fn after_a_failed_batch_the_rest_gets_a_new_identity() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    let (bad, good, open) = (bench.batch("bad"), bench.batch("good"), bench.push("open"));
    let (first, second) = (bench.take(), bench.take());
    bench.answer(first, refused(KafkaError::MessageTooLarge));
    assert_eq!(bad.now().unwrap().unwrap_err().kafka_error(), Some(KafkaError::MessageTooLarge));
    assert!(!bench.queue.needs_identity(bench.now + MAX_BACKOFF), "the second is still in flight");
    assert!(bench.takes_nothing());
    bench.answer(second, refused(KafkaError::OutOfOrderSequenceNumber));
    assert!(good.now().is_none() && bench.queue.needs_identity(bench.now + MAX_BACKOFF));
    bench.queue.restart(Identity::new(8, 0));
    bench.later();
    let again = bench.take();
    assert_eq!((header(&again).producer_id, header(&again).base_sequence), (ProducerId(8), Sequence(0)));
    let records: Vec<_> =
        Batch::parse(&again.bytes).unwrap().records(1000).unwrap().map(|r| r.unwrap().value).collect();
    assert_eq!(records, [Some(Bytes::from("good"))]);
    tidelog_record::check_append(&again.bytes, &Default::default()).unwrap();
    bench.answer(again, stored(0));
    let last = bench.take();
    assert_eq!(header(&last).base_sequence, Sequence(1));
    bench.answer(last, stored(1));
    assert_eq!((offset(&good), offset(&open)), (Some(0), Some(1)));
}

#[tokio::test]
async fn a_batch_of_unknown_outcome_is_not_sent_under_another_identity() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    let (bad, doubtful) = (bench.batch("bad"), bench.batch("doubtful"));
    let (first, second) = (bench.take(), bench.take());
    bench.answer(second, unknown());
    bench.answer(first, refused(KafkaError::InvalidRecord));
    bench.queue.restart(Identity::new(8, 0));
    assert!(bad.now().unwrap().is_err());
    assert!(matches!(doubtful.now(), Some(Err(ClientError::OutcomeUnknown { .. }))));
    assert!(bench.takes_nothing());
}

#[tokio::test]
async fn a_forgotten_producer_starts_afresh() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    let delivery = bench.batch("a");
    let batch = bench.take();
    bench.answer(batch, refused(KafkaError::UnknownProducerId));
    assert!(bench.queue.needs_identity(bench.now + MAX_BACKOFF) && delivery.now().is_none());
    bench.queue.restart(Identity::new(9, 0));
    bench.later();
    let batch = bench.take();
    assert_eq!(header(&batch).producer_id, ProducerId(9));
}

#[tokio::test]
async fn what_waits_too_long_fails_with_the_reason() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    let delivery = bench.batch("a");
    let timeout = Duration::from_secs(10);
    let first = bench.queue.expire(bench.now, timeout).unwrap();
    assert!(first <= Instant::now() + timeout);
    let batch = bench.take();
    assert_eq!(bench.answer(batch, unknown()), Next::Refresh);
    assert_eq!(bench.queue.expire(first, timeout), None);
    let error = delivery.now().unwrap().unwrap_err().to_string();
    assert!(error.contains("within 10s") && error.contains("no answer to Produce"), "{error}");
    assert!(
        !bench.queue.needs_identity(bench.now + MAX_BACKOFF) && bench.queue.dequeue_if_idle(),
        "nothing needs one yet"
    );
    bench.batch("b");
    assert!(
        bench.queue.needs_identity(bench.now + MAX_BACKOFF) && bench.takes_nothing(),
        "the lost batch leaves a gap in the sequences"
    );
}

#[tokio::test]
async fn an_abandoned_queue_fails_everything_and_dropped_batches_fail() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    let (failed, doubtful) = (bench.batch("x"), bench.batch("y"));
    let (first, second) = (bench.take(), bench.take());
    bench.answer(second, unknown());
    bench.answer(first, refused(KafkaError::InvalidRecord));
    assert!(failed.now().is_some());
    let (sealed, open) = (bench.batch("a"), bench.push("b"));
    bench.queue.abandon(&ClientError::ProducerClosed);
    assert_eq!(sealed.now(), Some(Err(ClientError::ProducerClosed)));
    // It may be stored: nobody may take it for refused and send it again.
    assert!(matches!(doubtful.now(), Some(Err(ClientError::OutcomeUnknown { .. }))));
    assert_eq!(open.now(), Some(Err(ClientError::ProducerClosed)));
    let dropped = bench.push("c");
    assert!(
        bench.queue.needs_identity(bench.now + MAX_BACKOFF) && bench.takes_nothing(),
        "nothing goes out unprotected"
    );
    bench.queue = PartitionQueue::default();
    assert_eq!(dropped.outcome().await, Err(ClientError::ProducerClosed));
}

#[tokio::test]
async fn an_answer_that_is_looked_at_late_fails_nothing() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    let deliveries = [bench.batch("a"), bench.batch("b")];
    let (a, b) = (bench.take(), bench.take());
    // Over one connection `b` was refused because `a` was not there yet; over another `a` was stored, and that is heard first.
    bench.answer(a, stored(1));
    bench.answer(b, refused(KafkaError::OutOfOrderSequenceNumber));
    assert!(deliveries[1].now().is_none(), "{:?}", deliveries[1].now());
    bench.later();
    let b = bench.take();
    bench.answer(b, stored(2));
    assert_eq!(deliveries.iter().map(offset).collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[tokio::test]
async fn after_a_retry_one_batch_goes_alone_until_it_is_stored() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    let _deliveries = [bench.batch("a"), bench.batch("b"), bench.batch("c")];
    let (a, b) = (bench.take(), bench.take());
    // The leader may be another by now, one that knows nothing of this producer and would accept `c` before `a`.
    bench.answer(a, refused(KafkaError::NotLeaderOrFollower));
    bench.later();
    assert!(bench.takes_nothing(), "the second is still unanswered");
    bench.answer(b, refused(KafkaError::OutOfOrderSequenceNumber));
    bench.later();
    let a = bench.take();
    assert_eq!(header(&a).base_sequence, Sequence(1));
    assert!(bench.takes_nothing(), "only the first");
    bench.answer(a, stored(1));
    assert_eq!(header(&bench.take()).base_sequence, Sequence(2));
    assert_eq!(header(&bench.take()).base_sequence, Sequence(3));
}

#[tokio::test]
async fn a_leader_that_has_forgotten_the_producer_costs_no_batch() {
    for error in [KafkaError::OutOfOrderSequenceNumber, KafkaError::DuplicateSequenceNumber] {
        let mut bench = Bench::new(Some(Identity::new(7, 0)));
        bench.establish();
        let delivery = bench.batch("a");
        let batch = bench.take();
        bench.answer(batch, refused(error));
        assert!(bench.queue.needs_identity(bench.now + MAX_BACKOFF) && delivery.now().is_none(), "{error:?}");
        bench.later();
        bench.queue.restart(Identity::new(9, 0));
        let batch = bench.take();
        assert_eq!((header(&batch).producer_id, header(&batch).base_sequence), (ProducerId(9), Sequence(0)));
        bench.answer(batch, stored(1));
        assert_eq!(offset(&delivery), Some(1));
    }
}

#[tokio::test]
async fn a_duplicate_of_an_earlier_try_is_stored_at_an_unknown_offset() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    let delivery = bench.batch("a");
    let batch = bench.take();
    bench.answer(batch, unknown());
    bench.later();
    let batch = bench.take();
    bench.answer(batch, refused(KafkaError::DuplicateSequenceNumber));
    assert_eq!(offset(&delivery), Some(-1));
}

#[tokio::test]
async fn what_may_have_been_stored_is_not_sent_under_another_identity() {
    // A leader that steps down while its replicas are behind has stored the batch and answers this.
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    let (bad, doubtful) = (bench.batch("bad"), bench.batch("doubtful"));
    let (first, second) = (bench.take(), bench.take());
    bench.answer(second, refused(KafkaError::NotLeaderOrFollower));
    bench.answer(first, refused(KafkaError::InvalidRecord));
    bench.queue.restart(Identity::new(8, 0));
    assert!(bad.now().unwrap().is_err());
    assert!(matches!(doubtful.now(), Some(Err(ClientError::OutcomeUnknown { .. }))));
}

#[tokio::test]
async fn batches_before_a_failed_one_keep_their_identity() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    let (early, bad, late) = (bench.batch("early"), bench.batch("bad"), bench.batch("late"));
    let (first, second, third) = (bench.take(), bench.take(), bench.take());
    bench.answer(first, unknown());
    bench.answer(second, refused(KafkaError::InvalidRecord));
    bench.answer(third, refused(KafkaError::OutOfOrderSequenceNumber));
    assert!(bad.now().is_some() && !bench.queue.needs_identity(bench.now + MAX_BACKOFF));
    bench.later();
    let first = bench.take();
    assert_eq!((header(&first).producer_id, header(&first).base_sequence), (ProducerId(7), Sequence(1)));
    assert!(bench.takes_nothing());
    bench.answer(first, stored(1));
    assert_eq!(offset(&early), Some(1));
    assert!(bench.queue.needs_identity(bench.now + MAX_BACKOFF) && late.now().is_none());
    bench.queue.restart(Identity::new(8, 0));
    assert_eq!(header(&bench.take()).base_sequence, Sequence(0));
}

#[tokio::test]
async fn records_that_were_never_sealed_expire_too() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    let (first, second) = (bench.push("a"), bench.push("b"));
    let timeout = Duration::from_secs(10);
    let at = bench.queue.expire(bench.now, timeout).expect("the open batch's time");
    assert_eq!(bench.queue.expire(at, timeout), None);
    assert!(matches!(first.now(), Some(Err(ClientError::Expired { .. }))) && second.now().is_some());
    assert!(bench.queue.dequeue_if_idle() && !bench.queue.needs_identity(at));
    // It never had sequences, so there is no gap.
    bench.batch("c");
    assert_eq!(header(&bench.take()).base_sequence, Sequence(0));
}

#[tokio::test]
async fn nothing_is_sent_that_would_push_an_unanswered_batch_out_of_the_leaders_memory() {
    let mut bench = Bench::new(Some(Identity::new(7, 0)));
    bench.establish();
    (0..7).for_each(|_| drop(bench.batch("x")));
    let (first, second) = (bench.take(), bench.take());
    let rest: Vec<_> = (0..3).map(|_| bench.take()).collect();
    // The first is stored, but its answer is lost; the leader remembers five batches, this one and the four behind it.
    bench.answer(first, unknown());
    bench.answer(second, stored(2));
    for batch in rest {
        bench.answer(batch, stored(3));
    }
    bench.later();
    let first = bench.take();
    assert_eq!(header(&first).base_sequence, Sequence(1));
    assert!(bench.takes_nothing(), "a sixth would make the leader forget the first");
    bench.answer(first, stored(1));
    assert_eq!(header(&bench.take()).base_sequence, Sequence(6));
}
