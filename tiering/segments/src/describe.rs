//! What the bucket says about topics: one description at a time for each topic, the newest last, none behind a deletion.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_model::{PartitionIndex, TopicId, TopicIdPartition};
use tokio::task::JoinHandle;

use crate::keys::PartitionKeys;
use crate::partition::Shared;
use crate::store::{PartitionStore, Writes};
use crate::topic::TopicDescription;

/// The topics that are being described.
#[derive(Clone, Default)]
pub(crate) struct Descriptions(Arc<Mutex<HashMap<TopicId, Work>>>);

/// One topic's.
struct Work {
    /// To be written after the one at work; newer ones replace it.
    next: Option<TopicDescription>,
    writes: Writes,
    task: Option<JoinHandle<()>>,
}

impl Descriptions {
    /// Writes it as soon as the store takes it, after an older one that is on its way.
    pub(crate) fn describe(&self, shared: &Arc<Shared>, description: TopicDescription) {
        let mut topics = self.0.lock();
        let id = description.id;
        let work = topics.entry(id).or_insert_with(|| Work {
            next: None,
            writes: Writes::new(shared.handle.clone()),
            task: None,
        });
        work.next = Some(description);
        if work.task.is_none() {
            let (topics, shared, writes) = (Arc::clone(&self.0), Arc::clone(shared), work.writes.clone());
            // An aborted task ends at its next turn only: until then it may begin another request.
            let running = work.writes.start();
            work.task = Some(shared.handle.clone().spawn(async move {
                let _running = running;
                // The last one takes the topic off the list, under the same lock.
                let take = || {
                    let mut topics = topics.lock();
                    let next = topics.get_mut(&id).and_then(|work| work.next.take());
                    if next.is_none() {
                        topics.remove(&id);
                    }
                    next
                };
                while let Some(description) = take() {
                    store_of(&shared, &description, writes.clone()).describe(&description).await;
                }
            }));
        }
    }

    /// Gives up what is to be written, and waits for what is on its way.
    pub(crate) async fn end(&self, topic: TopicId) {
        let work = self.0.lock().remove(&topic);
        if let Some(work) = work {
            work.task.iter().for_each(JoinHandle::abort);
            work.writes.ended().await;
        }
    }

    /// Gives up everything.
    pub(crate) fn abandon(&self) {
        self.0.lock().values().filter_map(|work| work.task.as_ref()).for_each(JoinHandle::abort);
    }
}

fn store_of(shared: &Shared, description: &TopicDescription, writes: Writes) -> PartitionStore {
    let keys = PartitionKeys::new(&TopicIdPartition {
        id: description.id,
        topic: description.name.clone(),
        partition: PartitionIndex(0),
    });
    PartitionStore {
        objects: shared.objects.clone(),
        keys,
        min_backoff: shared.limits.min_backoff,
        permits: Arc::clone(&shared.manifests),
        writes,
        report: Arc::new(|_| {}),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidelog_model::TopicName;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_description_is_on_its_way_from_the_first_moment_on() {
        let folder = tempfile::tempdir().unwrap();
        let shared = crate::partition::tests::shared(folder.path()).await;
        let id = TopicId(Uuid::from_u128(7));
        let name = TopicName::new("t").unwrap();
        let descriptions = Descriptions::default();
        descriptions.describe(&shared, TopicDescription { name, id, partitions: 1, configs: BTreeMap::new() });
        // Its task has not run yet, and may be about to send its first request.
        let writes = descriptions.0.lock().get(&id).unwrap().writes.clone();
        assert!(!writes.are_idle(), "a deletion would not wait for it");
        descriptions.end(id).await;
        assert!(writes.are_idle());
    }
}
