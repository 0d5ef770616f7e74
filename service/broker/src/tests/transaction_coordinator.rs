//! Transactions as the coordinator's doors and the partitions see them.

use tidelog_coordinator::transaction::{
    ClientVersion, EndTransaction, Producer, TransactionDescription, TransactionState,
};
use tidelog_model::{Principal, Sequence, TopicName, TopicPartition};

use super::*;
use crate::fair_places::Sharer;
use crate::limits::EXPRESSIONS;

const TIMEOUT_MS: i32 = 60_000;

fn part(topic: &str, index: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new(topic).unwrap(), partition: PartitionIndex(index) }
}

impl Fixture {
    /// A transactional producer; the coordinator may still load.
    pub(super) async fn producer(&self, id: &str, timeout_ms: i32) -> Producer {
        self.broker.transaction_coordinator(&self.caller, id).await.unwrap();
        loop {
            match self.broker.init_transactional_producer(&self.caller, id, timeout_ms, None).await.await {
                Ok(identity) => return Producer { id: identity.id, epoch: identity.epoch },
                Err(refused) => assert!(
                    matches!(refused.error, KafkaError::CoordinatorLoadInProgress | KafkaError::ConcurrentTransactions),
                    "{refused}"
                ),
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn add(
        &self,
        id: &str,
        producer: Producer,
        topic: &str,
        indexes: &[i32],
    ) -> Vec<Result<(), KafkaError>> {
        let partitions = indexes.iter().map(|index| (Arc::from(topic), PartitionIndex(*index)));
        let asked = PartitionsToAdd { id: id.to_owned(), producer, from_broker: None };
        self.broker.add_partitions_to_transaction(&self.caller, asked, partitions).await.await.unwrap()
    }

    /// The partition of the transactions' records that has this id.
    pub(super) fn coordinated_by(&self, id: &str) -> i32 {
        let topic = self.broker.topic(&self.caller, &TopicRef::from("__transaction_state")).unwrap();
        let count = i32::try_from(topic.partitions.len()).unwrap();
        tidelog_coordinator::partition_for(id, count).0
    }

    pub(super) async fn end(&self, id: &str, producer: Producer, commit: bool, version: ClientVersion) -> Producer {
        let end = EndTransaction { producer, commit, version, fresh: None };
        self.broker.end_transaction(&self.caller, id, end).await.await.unwrap()
    }

    pub(super) async fn transaction(&self, id: &str) -> TransactionDescription {
        self.broker.describe_transaction(&self.caller, id).await.unwrap()
    }

    pub(super) async fn reaches(&self, id: &str, state: TransactionState) {
        let reached = async {
            while self.transaction(id).await.state != state {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{id} never is {state:?}"));
    }

    /// How many markers partition `index` has.
    async fn markers(&self, topic: &str, index: i32) -> usize {
        self.replica(topic, index).offsets().log_end.get() as usize
    }
}

#[tokio::test]
async fn a_transaction_ends_in_each_of_its_partitions() {
    let fixture = Fixture::new().await;
    fixture.create("t", 3, &[]).await;
    let producer = fixture.producer("tx", TIMEOUT_MS).await;
    assert_eq!(fixture.add("tx", producer, "t", &[0, 1]).await, [Ok(()), Ok(())]);
    assert_eq!(fixture.transaction("tx").await.partitions, [part("t", 0), part("t", 1)].into());
    assert_eq!(fixture.end("tx", producer, true, ClientVersion::V0).await, producer);
    fixture.reaches("tx", TransactionState::CompleteCommit).await;
    assert_eq!(fixture.markers("t", 0).await, 1);
    assert_eq!(fixture.markers("t", 1).await, 1);
    assert_eq!(fixture.markers("t", 2).await, 0);
    let listed = fixture.broker.list_transactions(&fixture.caller, TransactionFilter::default()).await.unwrap();
    assert_eq!(listed.listings.len(), 1);
    assert_eq!((listed.listings[0].id.as_str(), listed.listings[0].producer_id), ("tx", producer.id));
}

#[tokio::test]
async fn partitions_ask_about_their_transaction_and_join_it() {
    let fixture = Fixture::new().await;
    fixture.create("t", 2, &[]).await;
    let producer = fixture.producer("tx", TIMEOUT_MS).await;
    let ask = async |producer, index, check| {
        let partitions = vec![part("t", index)];
        fixture.broker.verify_or_add_partitions("tx", producer, partitions, check).await.remove(0)
    };
    assert_eq!(ask(producer, 0, TransactionCheck::Verify).await, Err(KafkaError::TransactionAbortable));
    assert_eq!(ask(producer, 0, TransactionCheck::Add).await, Ok(()));
    assert_eq!(ask(producer, 0, TransactionCheck::Verify).await, Ok(()));
    // Joining the next transaction waits until the last one's markers are written.
    let next = fixture.end("tx", producer, true, ClientVersion::V2).await;
    assert_eq!(next.epoch.get(), producer.epoch.get() + 1);
    let joined = loop {
        match ask(next, 1, TransactionCheck::Add).await {
            Err(KafkaError::ConcurrentTransactions) => tokio::task::yield_now().await,
            result => break result,
        }
    };
    assert_eq!(joined, Ok(()));
    assert_eq!(ask(producer, 1, TransactionCheck::Add).await, Err(KafkaError::ProducerFenced));
}

#[tokio::test]
async fn a_producer_that_goes_on_before_its_markers_are_written_is_not_refused() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    let mut producer = fixture.producer("tx", TIMEOUT_MS).await;
    let transaction = crate::Transaction { id: "tx".into(), support: TransactionSupport::Implicit };
    for round in 0..100 {
        let mut builder =
            BatchBuilder::new(Offset::ZERO).producer(producer.id, producer.epoch, Sequence(0)).transactional(true);
        builder.push(fixture.broker.clock().now().wall, None, Some(b"x"), &[]).unwrap();
        let batch = builder.build().unwrap().into_bytes();
        let result = loop {
            let requests = vec![fixture.request("t", batch.clone(), Acks::All)];
            let mut tickets = fixture.broker.enqueue_in_transaction(&fixture.caller, &transaction, requests).await;
            match tickets.remove(0).await.map_err(|refused| refused.error.error) {
                // A busy machine takes longer than the broker waits; clients come again.
                Err(KafkaError::ConcurrentTransactions) => {}
                result => break result,
            }
        };
        assert!(result.is_ok(), "transaction {round}: {result:?}");
        producer = fixture.end("tx", producer, round % 2 == 0, ClientVersion::V2).await;
    }
}

#[tokio::test]
async fn a_partition_that_does_not_exist_spoils_the_request() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    let producer = fixture.producer("tx", TIMEOUT_MS).await;
    let expected = [Err(KafkaError::OperationNotAttempted), Err(KafkaError::UnknownTopicOrPartition)];
    assert_eq!(fixture.add("tx", producer, "t", &[0, 7]).await, expected);
    let internal = fixture.add("tx", producer, "__transaction_state", &[0]).await;
    assert_eq!(internal, [Err(KafkaError::TopicAuthorizationFailed)]);
    assert_eq!(fixture.transaction("tx").await.state, TransactionState::Empty);
}

#[tokio::test]
async fn a_deleted_topic_holds_no_transaction_up() {
    let fixture = Fixture::new().await;
    fixture.create("gone", 1, &[]).await;
    fixture.create("stays", 1, &[]).await;
    let producer = fixture.producer("tx", TIMEOUT_MS).await;
    fixture.add("tx", producer, "gone", &[0]).await;
    fixture.add("tx", producer, "stays", &[0]).await;
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("gone")]).await.remove(0).unwrap();
    fixture.end("tx", producer, false, ClientVersion::V2).await;
    fixture.reaches("tx", TransactionState::CompleteAbort).await;
    assert_eq!(fixture.markers("stays", 0).await, 1);
}

#[tokio::test]
async fn what_a_stop_interrupts_goes_on_after_the_start() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    let producer = fixture.producer("tx", TIMEOUT_MS).await;
    fixture.add("tx", producer, "t", &[0]).await;
    let hasty = fixture.producer("hasty", TIMEOUT_MS).await;
    fixture.add("hasty", hasty, "t", &[0]).await;
    // Its markers may or may not be written before the stop.
    fixture.end("hasty", hasty, true, ClientVersion::V2).await;
    let fixture = fixture.restart().await;
    let again = fixture.producer("hasty", TIMEOUT_MS).await;
    assert_eq!(again.epoch.get(), hasty.epoch.get() + 2);
    assert_eq!(fixture.transaction("tx").await.partitions, [part("t", 0)].into());
    assert_eq!(fixture.end("tx", producer, true, ClientVersion::V0).await, producer);
    fixture.reaches("tx", TransactionState::CompleteCommit).await;
}

#[tokio::test]
async fn an_open_transaction_ends_with_its_time_out() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    let producer = fixture.producer("tx", 50).await;
    fixture.add("tx", producer, "t", &[0]).await;
    fixture.reaches("tx", TransactionState::CompleteAbort).await;
    let end = EndTransaction { producer, commit: true, version: ClientVersion::V0, fresh: None };
    let refused = fixture.broker.end_transaction(&fixture.caller, "tx", end).await.await.unwrap_err();
    assert_eq!(refused.error, KafkaError::ProducerFenced);
}

#[tokio::test]
async fn lists_are_filtered() {
    let fixture = Fixture::new().await;
    let none = fixture.broker.list_transactions(&fixture.caller, TransactionFilter::default()).await.unwrap();
    assert_eq!(none, ListedTransactions::default());
    for id in ["a-1", "a-2", "b-1"] {
        fixture.producer(id, TIMEOUT_MS).await;
    }
    let ids = async |filter: TransactionFilter| {
        let listed = fixture.broker.list_transactions(&fixture.caller, filter).await;
        listed.map(|listed| listed.listings.iter().map(|found| found.id.to_string()).collect::<Vec<_>>())
    };
    let pattern = |text: &str| TransactionFilter { pattern: Some(text.to_owned()), ..Default::default() };
    assert_eq!(ids(pattern("a-.")).await.unwrap(), ["a-1", "a-2"]);
    assert_eq!(ids(pattern("a")).await.unwrap(), [""; 0], "the whole id must match");
    for wrong in ["a)(b", "(", "x{1000}{1000}", &"{".repeat(1_000_000)] {
        assert_eq!(ids(pattern(wrong)).await.unwrap_err().error, KafkaError::InvalidRegularExpression, "{wrong:.20}");
    }
    let in_states = |states: &[&str]| TransactionFilter {
        states: states.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    assert_eq!(ids(in_states(&["Ongoing"])).await.unwrap(), [""; 0]);
    assert_eq!(ids(in_states(&["Empty"])).await.unwrap().len(), 3);
    // Few expressions are carried out at once: with all places taken, only who has none is answered.
    let mut places = Vec::new();
    for user in 0..EXPRESSIONS.places {
        let other = Caller { principal: Principal::user(&user.to_string()), ..fixture.caller.clone() };
        places.push(fixture.broker.expressions().place(Sharer::from(&other)).await.unwrap());
    }
    let mut waits = std::pin::pin!(ids(pattern("a-.")));
    for _ in 0..3 {
        assert!(futures::poll!(waits.as_mut()).is_pending());
        assert_eq!(ids(in_states(&["Empty"])).await.unwrap().len(), 3);
    }
    drop(places);
    assert_eq!(waits.await.unwrap(), ["a-1", "a-2"]);
    // A name that nobody knows is told, and shows nothing by itself.
    for (states, shown) in [(&["Asleep"][..], 0), (&["Asleep", "Empty"], 3)] {
        let listed = fixture.broker.list_transactions(&fixture.caller, in_states(states)).await.unwrap();
        assert_eq!((listed.listings.len(), &listed.unknown_states[..]), (shown, &["Asleep".to_owned()][..]));
    }
    let unknown = fixture.broker.describe_transaction(&fixture.caller, "c").await.unwrap_err();
    assert_eq!(unknown.error, KafkaError::TransactionalIdNotFound);
}
