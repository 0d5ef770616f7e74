//! A metadata store that takes no changes for a while: who asks is told, and what the health says.

use std::sync::atomic::{AtomicBool, Ordering};

use tidelog_metadata::port::{BoxFuture, KeyValue, LeaseId, Listing, Outcome, Watch};
use tidelog_metadata::{Revision, StoreError};

use super::*;

/// The real store, but for changes.
struct Refusing {
    store: EmbeddedStore,
    refuses: Arc<AtomicBool>,
}

impl MetadataStore for Refusing {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<KeyValue>, StoreError>> {
        self.store.get(key)
    }
    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.store.list(prefix)
    }
    fn txn(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        if self.refuses.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Unavailable("the disk is full".into())) });
        }
        self.store.txn(transaction)
    }
    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>> {
        self.store.watch(prefix, after)
    }
    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        self.store.grant(ttl)
    }
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.keep_alive(lease)
    }
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.revoke(lease)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_no_changes_degrades_the_broker_until_it_takes_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let refuses = Arc::new(AtomicBool::new(false));
    let refusing = Refusing { store: store.clone(), refuses: Arc::clone(&refuses) };
    let data_dir = DataDir::open(&directory.path().join("data"), NodeId(1), None).unwrap();
    let options = BrokerOptions::new(data_dir.path(), Arc::new(refusing));
    let broker = Broker::open(data_dir, options).await.unwrap();
    let fixture = Fixture { directory, broker, store, caller: Caller::internal("test") };
    fixture.create("events", 1, &[]).await;
    assert_eq!(fixture.broker.troubles(), []);

    refuses.store(true, Ordering::SeqCst);
    let topic = |name: &str| NewTopic { name: name.into(), ..NewTopic::default() };
    let refused = fixture.broker.create_topics(&fixture.caller, vec![topic("new")], false).await.remove(0).unwrap_err();
    assert_eq!(refused.error, KafkaError::BrokerNotAvailable);
    assert_eq!(fixture.broker.troubles(), [Trouble::MetadataRefusesChanges]);
    // What exists goes on.
    fixture.produce("events", &["a"], Acks::All).await.unwrap();
    assert_eq!(fixture.read_all("events").await, ["a"]);

    refuses.store(false, Ordering::SeqCst);
    fixture.create("new", 1, &[]).await;
    assert_eq!(fixture.broker.troubles(), []);
}
