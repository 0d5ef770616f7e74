//! AlterReplicaLogDirs (key 34): with one log directory every replica is where it can be (KIP-113).

use tidelog_model::PartitionIndex;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code};

pub(crate) async fn handle(request: Request<'_>, message: AlterReplicaLogDirsRequest) -> Result<Waiting, Hangup> {
    let (broker, caller) = (&request.session.broker, &request.caller);
    let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
    for directory in &message.dirs {
        for topic in &directory.topics {
            let partition = |index: &i32| {
                let moved = broker.alter_log_dir(caller, &directory.path, &topic.name, PartitionIndex(*index));
                AlterReplicaLogDirPartitionResult {
                    partition_index: *index,
                    error_code: code(moved.err().as_ref()),
                    ..Default::default()
                }
            };
            results.push(AlterReplicaLogDirTopicResult {
                topic_name: Str::clone(&topic.name),
                partitions: topic.partitions.iter().map(partition).collect(),
                ..Default::default()
            });
        }
    }
    request.ready(&AlterReplicaLogDirsResponse { results, ..Default::default() })
}
