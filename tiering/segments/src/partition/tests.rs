//! What a leadership may do after its end.

use tidelog_log::{ClosedSegment, ReadError};
use tidelog_model::{PartitionIndex, TopicId, TopicName};
use tidelog_objects::{Objects, StoreOptions};
use tidelog_record::LeaderEpochs;

use super::*;

struct EmptyLog;

impl LocalLog for EmptyLog {
    fn closed_segment(&self, _from: Offset) -> Result<Option<ClosedSegment>, ReadError> {
        Ok(None)
    }

    fn log_start(&self) -> Offset {
        Offset::ZERO
    }

    fn local_start(&self) -> Offset {
        Offset::ZERO
    }

    fn needs_remote(&self) -> Option<Offset> {
        None
    }

    fn is_all_active(&self) -> bool {
        false
    }

    fn leader_epochs(&self) -> LeaderEpochs {
        LeaderEpochs::new()
    }

    fn remote_committed(&self, _end: Offset) {}
}

pub(crate) async fn shared(folder: &std::path::Path) -> Arc<Shared> {
    let objects = Objects::open(&format!("file://{}", folder.display()), &StoreOptions::default()).await.unwrap();
    Arc::new(Shared {
        objects,
        limits: TierLimits::default(),
        handle: tokio::runtime::Handle::current(),
        writer: Uuid::new_v4(),
        uploads: Arc::new(Semaphore::new(1)),
        manifests: Arc::new(Semaphore::new(1)),
        disk: Arc::new(Semaphore::new(1)),
        manifest_folder: folder.to_owned(),
    })
}

#[tokio::test]
async fn an_ended_leadership_is_not_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path()).await;
    let id = TopicIdPartition {
        id: TopicId(Uuid::from_u128(7)),
        topic: TopicName::new("t").unwrap(),
        partition: PartitionIndex(0),
    };
    let partition = Partition::new(&id, &shared);
    partition.lead(&shared, LeaderEpoch(1), Arc::new(EmptyLog));
    // As a collection that was planned for later holds it when its time has come.
    let lead = partition.slot.lock().lead.clone().unwrap();
    partition.resign();
    lead.ensure_running(&partition, &shared);
    assert!(lead.task.lock().is_none());
}
