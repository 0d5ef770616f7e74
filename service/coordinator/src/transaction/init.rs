//! Decides about InitProducerId: which producer id and epoch a transactional id goes on with, and who is fenced by it.

use std::collections::BTreeSet;

use tidelog_model::{KafkaError, ProducerEpoch, ProducerId, Timestamp};

use super::api::{InitProducer, Producer, TransactionEvent, TransactionReply, TransactionalId};
use super::config::TransactionConfig;
use super::end::abort_unasked;
use super::shard::Step;
use super::state::{Stored, Transaction, TransactionState, is_exhausted, raised};

/// What InitProducerId leads to. Without a `found` transaction the id is new.
pub(crate) fn init(
    config: &TransactionConfig,
    now: Timestamp,
    id: &TransactionalId,
    found: Option<&Transaction>,
    call: &InitProducer,
) -> Step {
    if call.timeout_ms <= 0 || call.timeout_ms > config.max_timeout_ms {
        return refuse(KafkaError::InvalidTransactionTimeout);
    }
    let Some(transaction) = found else { return first(now, call) };
    let stored = &transaction.stored;
    if stored.state.is_prepared() {
        return refuse(KafkaError::ConcurrentTransactions);
    }
    if call.current.is_some_and(|current| !is_known(current, transaction)) {
        return refuse(KafkaError::ProducerFenced);
    }
    match stored.state {
        TransactionState::Ongoing => {
            // The client asks again: a new instance gets the epoch after the raised one, the transaction's own producer the raised one.
            let events = vec![TransactionEvent::Fenced { id: id.clone() }];
            let reply = TransactionReply::Init(Err(KafkaError::ConcurrentTransactions));
            Step { events, reply: Some(reply), ..abort_unasked(stored, now) }
        }
        _ => next_epoch(now, transaction, call),
    }
}

fn refuse(error: KafkaError) -> Step {
    Step::answer(TransactionReply::Init(Err(error)))
}

/// May the producer that says it has `current` go on? Either it is the one that we know, or it asks once more for the epoch or the
/// producer id that it was given and did not hear of.
fn is_known(current: Producer, transaction: &Transaction) -> bool {
    let Stored { producer, previous, .. } = transaction.stored;
    let last = transaction.last_epoch;
    let repeats = last != ProducerEpoch::NONE && current.epoch == last;
    if current.id == producer.id {
        current.epoch == producer.epoch || repeats
    } else {
        current.id == previous && is_exhausted(current.epoch) && repeats
    }
}

/// A transactional id that nobody has used, or that was forgotten.
fn first(now: Timestamp, call: &InitProducer) -> Step {
    let Some(fresh) = call.fresh else { return Step::answer(TransactionReply::NeedsProducerId) };
    let producer = Producer { id: fresh, epoch: ProducerEpoch(0) };
    let stored = Stored {
        producer,
        previous: fresh,
        next: ProducerId::NONE,
        timeout_ms: call.timeout_ms,
        state: TransactionState::Empty,
        partitions: BTreeSet::new(),
        updated: now,
        started: Timestamp::NONE,
        client_level: 0,
    };
    Step { reply: Some(TransactionReply::Init(Ok(producer))), ..Step::to(stored) }
}

/// No transaction is open: the producer gets the next epoch, or a new id when the epochs are used up.
fn next_epoch(now: Timestamp, transaction: &Transaction, call: &InitProducer) -> Step {
    let old = transaction.stored.producer;
    // The highest epoch is given to nobody: the producer that was raised to it goes on with a new id.
    let is_top = old.epoch.get() == i16::MAX;
    let repeats = !is_top && call.current.is_some_and(|current| current != old);
    let (producer, last_epoch) = if repeats {
        (old, transaction.last_epoch)
    } else {
        let producer = if is_exhausted(old.epoch) {
            let Some(fresh) = call.fresh else { return Step::answer(TransactionReply::NeedsProducerId) };
            Producer { id: fresh, epoch: ProducerEpoch(0) }
        } else {
            Producer { id: old.id, epoch: raised(old.epoch) }
        };
        (producer, call.current.map_or(ProducerEpoch::NONE, |current| current.epoch))
    };
    let stored = Stored {
        producer,
        next: ProducerId::NONE,
        timeout_ms: call.timeout_ms,
        partitions: BTreeSet::new(),
        started: Timestamp::NONE,
        ..transaction.stored.successor(TransactionState::Empty, now)
    };
    Step { last_epoch, reply: Some(TransactionReply::Init(Ok(producer))), ..Step::to(stored) }
}
