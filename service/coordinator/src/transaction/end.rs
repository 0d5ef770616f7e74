//! Decides about EndTxn, and about aborts that nobody asked for. The rules of KIP-98 and of KIP-890's second part differ:
//!
//! | state, KIP-890 | abort, repeated | abort, current epoch | commit, repeated | commit, current epoch |
//! |---|---|---|---|---|
//! | Empty | PRODUCER_FENCED | next epoch | PRODUCER_FENCED | INVALID_TXN_STATE |
//! | CompleteAbort | ok | next epoch | INVALID_TXN_STATE | INVALID_TXN_STATE |
//! | CompleteCommit | INVALID_TXN_STATE | next epoch | ok | INVALID_TXN_STATE |
//!
//! *Repeated* means that the epoch is the one before: the request has been carried out already. With KIP-98 the epoch stays, so that
//! a request for what was done last is always taken for a repetition, and Empty refuses both. While markers are being written every
//! end waits (CONCURRENT_TRANSACTIONS).

use tidelog_model::{KafkaError, ProducerEpoch, ProducerId, Timestamp};

use super::api::{ClientVersion, EndTransaction, Producer, TransactionReply};
use super::shard::Step;
use super::state::{Stored, Transaction, TransactionState, is_exhausted, raised};

/// What EndTxn leads to.
pub(crate) fn end(now: Timestamp, found: Option<&Transaction>, call: &EndTransaction) -> Step {
    let Some(transaction) = found else { return refuse(KafkaError::InvalidProducerIdMapping) };
    match call.version {
        ClientVersion::V0 => end_v0(now, transaction, call),
        ClientVersion::V2 => end_v2(now, transaction, call),
    }
}

fn refuse(error: KafkaError) -> Step {
    Step::answer(TransactionReply::End(Err(error)))
}

fn done(producer: Producer) -> TransactionReply {
    TransactionReply::End(Ok(producer))
}

const fn prepared(commit: bool) -> TransactionState {
    if commit { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort }
}

const fn complete(commit: bool) -> TransactionState {
    if commit { TransactionState::CompleteCommit } else { TransactionState::CompleteAbort }
}

fn end_v0(now: Timestamp, transaction: &Transaction, call: &EndTransaction) -> Step {
    let stored = &transaction.stored;
    if stored.producer.id != call.producer.id {
        return refuse(KafkaError::InvalidProducerIdMapping);
    }
    if stored.producer.epoch != call.producer.epoch {
        return refuse(KafkaError::ProducerFenced);
    }
    match stored.state {
        TransactionState::Ongoing => {
            let next = Stored {
                client_level: ClientVersion::V0.level(),
                next: ProducerId::NONE,
                ..stored.successor(prepared(call.commit), now)
            };
            let last_epoch = transaction.last_epoch;
            Step { last_epoch, reply: Some(done(stored.producer)), ..Step::to(next) }
        }
        state if state == complete(call.commit) => Step::answer(done(stored.producer)),
        state if state.is_prepared() => refuse(KafkaError::ConcurrentTransactions),
        _ => refuse(KafkaError::InvalidTxnState),
    }
}

fn end_v2(now: Timestamp, transaction: &Transaction, call: &EndTransaction) -> Step {
    let stored = &transaction.stored;
    let (asked, known) = (call.producer, stored.producer);
    // First: a producer that has heard of its next epoch or id may end its next transaction before the last one's markers are written.
    if stored.state.is_prepared() {
        return refuse(KafkaError::ConcurrentTransactions);
    }
    // The producer had used up its epochs, and the end that it asks for has given it a new id.
    let rotated = stored.previous == asked.id
        && known.id != asked.id
        && is_exhausted(asked.epoch)
        && known.epoch == ProducerEpoch(0);
    // The highest epoch is given to nobody: a producer that is one below it was fenced, it does not repeat.
    let is_top = known.epoch.get() == i16::MAX;
    let raised_before =
        known.id == asked.id && known.epoch > asked.epoch && known.epoch == raised(asked.epoch) && !is_top;
    let repeated = rotated || raised_before;
    if known.id != asked.id && !rotated {
        return refuse(KafkaError::InvalidProducerIdMapping);
    }
    let current = known == asked;
    let valid = match stored.state {
        TransactionState::CompleteCommit | TransactionState::CompleteAbort => repeated || current,
        _ => current,
    };
    if !valid {
        return refuse(KafkaError::ProducerFenced);
    }
    match stored.state {
        TransactionState::Ongoing => raise_and_end(now, transaction, call),
        state if repeated && state == complete(call.commit) => Step::answer(done(known)),
        // An abort without a transaction still raises the epoch: what the producer may have sent before it is fenced by that.
        _ if !repeated && !call.commit => raise_and_end(now, transaction, call),
        _ => refuse(KafkaError::InvalidTxnState),
    }
}

/// Ends a transaction with the next epoch; the answer names it, or epoch 0 of the next id, before the markers are written.
fn raise_and_end(now: Timestamp, transaction: &Transaction, call: &EndTransaction) -> Step {
    let stored = &transaction.stored;
    let next = match call.fresh {
        _ if !is_exhausted(stored.producer.epoch) => ProducerId::NONE,
        Some(fresh) => fresh,
        None => return Step::answer(TransactionReply::NeedsProducerId),
    };
    let is_open = stored.state == TransactionState::Ongoing;
    let prepared = Stored {
        producer: Producer { id: stored.producer.id, epoch: raised(stored.producer.epoch) },
        next,
        started: if is_open { stored.started } else { now },
        client_level: ClientVersion::V2.level(),
        ..stored.successor(prepared(call.commit), now)
    };
    let reply = done(prepared.completed(now).producer);
    Step { last_epoch: stored.producer.epoch, reply: Some(reply), ..Step::to(prepared) }
}

/// Aborts an open transaction against its producer's will. The epoch rises once, and the one before stays known: a producer whose
/// transaction ran out of time asks for its abort, or for its next epoch (KIP-360), is told the raised one and goes on. A new instance
/// fences it all the same, for it gets the epoch after that one.
pub(crate) fn abort_unasked(stored: &Stored, now: Timestamp) -> Step {
    let old = stored.producer;
    let next = Stored {
        producer: Producer { id: old.id, epoch: raised(old.epoch) },
        next: ProducerId::NONE,
        client_level: ClientVersion::V2.level(),
        ..stored.successor(TransactionState::PrepareAbort, now)
    };
    Step { last_epoch: old.epoch, ..Step::to(next) }
}
