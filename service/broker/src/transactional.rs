//! Appends that are part of a transaction: records (Produce) and positions of groups (TxnOffsetCommit). Before the first one of a
//! transaction reaches a partition, the transaction's coordinator must have the partition on its list, or the transaction would hang
//! there for ever (KIP-890).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidelog_coordinator::group::{CommitInTransaction, Generation, GroupId, InstanceId, MemberId};
use tidelog_coordinator::transaction::Producer;
use tidelog_model::{Caller, KafkaError, ProducerEpoch, ProducerId, Sequence};
use tidelog_partition::{Content, Guard, Question};
use tidelog_security::{Operation, Resource};
use tokio::time::{Instant, sleep, timeout};

use crate::append::Prepared;
use crate::broker::Broker;
use crate::groups::{CommitTicket, ask_shard};
use crate::limits::{ADD_PARTITION_PATIENCE, ADD_PARTITION_RETRY, COORDINATOR_PATIENCE, COORDINATOR_PATIENCE_LEAST};
use crate::replica::{GroupWork, Replica, TransactionalCommit};
use crate::{AppendRequest, AppendTicket, BrokerError, PartitionCommit, TransactionCheck};

/// How a client makes partitions part of its transaction, and which errors it understands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TransactionSupport {
    /// It adds them by requests of their own (KIP-98).
    Added,
    /// The same, and it knows TRANSACTION_ABORTABLE (KIP-890, part 1).
    Abortable,
    /// By writing to them (KIP-890, part 2).
    Implicit,
}

/// The transaction that a request belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// The transactional id.
    pub id: String,
    /// What the client knows.
    pub support: TransactionSupport,
}

/// TxnOffsetCommit as a door hands it over.
#[derive(Clone, Debug)]
pub struct TransactionalCommitRequest {
    /// The transaction.
    pub transaction: Transaction,
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// The group.
    pub group: GroupId,
    /// The consumer's generation; −1 if the client does not tell.
    pub generation: Generation,
    /// The consumer's member id; empty if the client does not tell.
    pub member_id: MemberId,
    /// The static member's name.
    pub instance_id: Option<InstanceId>,
    /// The offsets.
    pub offsets: Vec<PartitionCommit>,
}

impl Broker {
    /// The ordered stage of the appends of one request that names a transactional id: [`Broker::enqueue`] for each, in order. Before
    /// that it waits for the transaction's coordinator, where a partition sees the transaction for the first time.
    pub async fn enqueue_in_transaction(
        &self,
        caller: &Caller,
        transaction: &Transaction,
        requests: Vec<AppendRequest>,
    ) -> Vec<AppendTicket> {
        let prepared: Vec<_> = requests.into_iter().map(|request| self.prepare(caller, request)).collect();
        let transactional = prepared.iter().flatten().filter(|append| append.is_transactional());
        let producers: BTreeSet<_> = transactional.map(Prepared::producer).collect();
        let refusal = if producers.is_empty() {
            None
        } else if !self.may(caller, Operation::Write, Resource::TransactionalId(&transaction.id)) {
            Some(KafkaError::TransactionalIdAuthorizationFailed)
        } else {
            (producers.len() > 1).then_some(KafkaError::InvalidProducerIdMapping)
        };
        if let Some(error) = refusal {
            let refuse = |append: &Result<Prepared, _>| match append {
                Ok(append) => AppendTicket::refused_by(&append.replica, error.into()),
                Err(_) => AppendTicket::refused(BrokerError::from(error)),
            };
            return prepared.iter().map(refuse).collect();
        }
        let patience = prepared.iter().flatten().map(|append| append.timeout).max().unwrap_or_default();
        let mut asked: Vec<Asked> = prepared
            .iter()
            .flatten()
            .filter(|append| append.is_transactional())
            .map(|a| asked(transaction, a))
            .collect();
        self.verify(transaction, &mut asked, patience).await;
        let mut answers = asked.into_iter().map(Asked::answer);
        let mut tickets = Vec::with_capacity(prepared.len());
        for append in prepared {
            tickets.push(match append {
                Err(error) => AppendTicket::refused(error),
                Ok(append) if !append.is_transactional() => self.place(append, Content::PLAIN).await,
                // One answer for each that is transactional, in their order.
                Ok(append) => match answers.next().unwrap_or(Err(KafkaError::UnknownServerError)) {
                    Ok(verified) => self.place(append, Content::Records { verified }).await,
                    Err(error) => AppendTicket::refused_by(&append.replica, produce_error(error, transaction.support)),
                },
            });
        }
        tickets
    }

    /// Asks the transaction's coordinator about all partitions in which the transaction is not open yet, with one question. The guards are
    /// taken first: what happens to the transaction meanwhile takes them away.
    ///
    /// A producer of KIP-890 goes on before its last transaction's markers are written; they are waited for a moment. Each attempt has
    /// guards of its own, since the marker that it waited for takes away the one before. That may also be the marker that was on its way
    /// while the coordinator answered: then it is asked once more.
    async fn verify(&self, transaction: &Transaction, all: &mut [Asked], patience: Duration) {
        let check = match transaction.support {
            TransactionSupport::Added | TransactionSupport::Abortable => TransactionCheck::Verify,
            TransactionSupport::Implicit => TransactionCheck::Add,
        };
        let patience = patience.clamp(COORDINATOR_PATIENCE_LEAST, COORDINATOR_PATIENCE);
        let until = Instant::now() + ADD_PARTITION_PATIENCE;
        loop {
            let now = self.clock().now();
            let mut open = Vec::new();
            for asked in all.iter_mut().filter(|asked| asked.answer.is_none()) {
                match asked.replica.with_machine(|machine| machine.ask(now, &asked.question)) {
                    Some(guard) => open.push((asked, guard)),
                    None => asked.answer = Some(Ok(None)),
                }
            }
            let Some((Asked { question, .. }, _)) = open.first() else { return };
            let producer = Producer { id: question.producer_id, epoch: question.producer_epoch };
            let partitions = open.iter().map(|(asked, _)| asked.replica.id.topic_partition()).collect();
            let answers = self.verify_or_add_partitions(&transaction.id, producer, partitions, check);
            let answers = timeout(patience, answers)
                .await
                .unwrap_or_else(|_| vec![Err(KafkaError::NetworkException); open.len()]);
            let may_wait = check == TransactionCheck::Add && Instant::now() < until;
            let mut busy = false;
            for ((asked, guard), answer) in open.into_iter().zip(answers) {
                let lost = || !asked.replica.with_machine(|machine| machine.is_asking(producer.id, guard));
                match answer {
                    Err(KafkaError::ConcurrentTransactions) if may_wait => busy = true,
                    Ok(()) if !asked.again && lost() => asked.again = true,
                    answer => asked.answer = Some(answer.map(|()| Some(guard))),
                }
            }
            if busy {
                sleep(ADD_PARTITION_RETRY).await;
            }
        }
    }

    /// Stores positions of a group as part of a transaction. Offsets of topics that do not exist are refused one by one.
    pub async fn commit_offsets_in_transaction(
        &self,
        caller: &Caller,
        request: TransactionalCommitRequest,
    ) -> Result<CommitTicket, BrokerError> {
        let TransactionalCommitRequest {
            transaction,
            producer_id,
            producer_epoch,
            group,
            generation,
            member_id,
            instance_id,
            offsets,
        } = request;
        if !self.may(caller, Operation::Write, Resource::TransactionalId(&transaction.id)) {
            return Err(KafkaError::TransactionalIdAuthorizationFailed.into());
        }
        if !self.may(caller, Operation::Read, Resource::Group(group.as_str())) {
            return Err(KafkaError::GroupAuthorizationFailed.into());
        }
        let (refused, offsets) = self.committable_offsets(caller, offsets);
        if offsets.is_empty() {
            return Ok(CommitTicket::refused(refused));
        }
        if group.as_str().is_empty() {
            return Err(KafkaError::InvalidGroupId.into());
        }
        let replica = self.coordinator(group.as_str())?;
        let question = Question {
            producer_id,
            producer_epoch,
            sequence: Sequence::NONE,
            epoch_per_transaction: transaction.support == TransactionSupport::Implicit,
        };
        let mut asked = [Asked::new(Arc::clone(&replica), question)];
        self.verify(&transaction, &mut asked, COORDINATOR_PATIENCE).await;
        let [asked] = asked;
        let verified = asked.answer().map_err(|error| commit_error(error, transaction.support))?;
        let commit = CommitInTransaction { producer_id, producer_epoch, generation, member_id, instance_id, offsets };
        let work = |reply| GroupWork::CommitInTransaction(TransactionalCommit { group, commit, verified, reply });
        Ok(CommitTicket::transactional(refused, ask_shard(&replica, work).await))
    }
}

/// A partition of which the transaction's coordinator is asked.
struct Asked {
    replica: Arc<Replica>,
    question: Question,
    /// The coordinator has given its word once, and the guard was gone by then.
    again: bool,
    /// The guard of the coordinator's word; none where the transaction is open already.
    answer: Option<Result<Option<Guard>, KafkaError>>,
}

impl Asked {
    fn new(replica: Arc<Replica>, question: Question) -> Self {
        Asked { replica, question, again: false, answer: None }
    }

    fn answer(self) -> Result<Option<Guard>, KafkaError> {
        let answer = self.answer.unwrap_or(Err(KafkaError::UnknownServerError));
        if answer.is_err() {
            metrics::counter!("tidelog_transactions_failed_verifications_total").increment(1);
        }
        answer
    }
}

fn asked(transaction: &Transaction, append: &Prepared) -> Asked {
    let (producer_id, producer_epoch) = append.producer();
    let question = Question {
        producer_id,
        producer_epoch,
        sequence: append.base_sequence(),
        epoch_per_transaction: transaction.support == TransactionSupport::Implicit,
    };
    Asked::new(Arc::clone(&append.replica), question)
}

/// What a producer understands of the coordinator's refusal.
fn produce_error(error: KafkaError, support: TransactionSupport) -> BrokerError {
    let error = known_error(error, support);
    match error {
        KafkaError::InvalidTxnState => {
            BrokerError::new(error, "the partition is not part of the producer's open transaction")
        }
        // Clients before KIP-890 do not send again after a coordinator's errors, but they do after this one, without looking for
        // another leader.
        KafkaError::ConcurrentTransactions if support != TransactionSupport::Implicit => unverified(error),
        KafkaError::NetworkException
        | KafkaError::CoordinatorLoadInProgress
        | KafkaError::CoordinatorNotAvailable
        | KafkaError::NotCoordinator => unverified(error),
        other => other.into(),
    }
}

fn unverified(error: KafkaError) -> BrokerError {
    let message = format!("the transaction's coordinator could not be asked yet: {}", error.name());
    BrokerError::new(KafkaError::NotEnoughReplicas, message)
}

/// The same for who commits positions.
fn commit_error(error: KafkaError, support: TransactionSupport) -> KafkaError {
    match known_error(error, support) {
        // Sent again without looking for another group coordinator, which this is not about.
        KafkaError::NetworkException => KafkaError::CoordinatorLoadInProgress,
        other => other,
    }
}

/// Errors that the client's version knows.
fn known_error(error: KafkaError, support: TransactionSupport) -> KafkaError {
    match error {
        KafkaError::ProducerFenced => KafkaError::InvalidProducerEpoch,
        KafkaError::TransactionAbortable if support == TransactionSupport::Added => KafkaError::InvalidTxnState,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinators_refusal_is_told_in_the_words_that_the_client_knows() {
        use KafkaError::*;
        use TransactionSupport::*;
        let produced = |error, support| produce_error(error, support).error;
        for (error, added, abortable, implicit) in [
            (ProducerFenced, InvalidProducerEpoch, InvalidProducerEpoch, InvalidProducerEpoch),
            (InvalidProducerEpoch, InvalidProducerEpoch, InvalidProducerEpoch, InvalidProducerEpoch),
            (TransactionAbortable, InvalidTxnState, TransactionAbortable, TransactionAbortable),
            (InvalidTxnState, InvalidTxnState, InvalidTxnState, InvalidTxnState),
            (InvalidProducerIdMapping, InvalidProducerIdMapping, InvalidProducerIdMapping, InvalidProducerIdMapping),
            (ConcurrentTransactions, NotEnoughReplicas, NotEnoughReplicas, ConcurrentTransactions),
            (CoordinatorLoadInProgress, NotEnoughReplicas, NotEnoughReplicas, NotEnoughReplicas),
            (NotCoordinator, NotEnoughReplicas, NotEnoughReplicas, NotEnoughReplicas),
            (NetworkException, NotEnoughReplicas, NotEnoughReplicas, NotEnoughReplicas),
        ] {
            let told = [produced(error, Added), produced(error, Abortable), produced(error, Implicit)];
            assert_eq!(told, [added, abortable, implicit], "{error:?}");
        }
        assert_eq!(commit_error(NetworkException, Implicit), CoordinatorLoadInProgress);
        assert_eq!(commit_error(ConcurrentTransactions, Added), ConcurrentTransactions);
        assert_eq!(commit_error(TransactionAbortable, Added), InvalidTxnState);
    }
}
