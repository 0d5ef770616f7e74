//! How far groups are behind, for the service's own parts; asks no authorizer. Decides nothing: the coordinators tell where groups read, the
//! partitions where they end.

use tidelog_coordinator::group::{GroupStandings, Position};
use tidelog_model::{KafkaError, OFFSETS_TOPIC, PartitionIndex, TopicId};

use crate::broker::Broker;
use crate::groups::ask_shard;
use crate::replica::GroupWork;

impl Broker {
    /// The groups that this broker coordinates. At most so many groups and positions together are shown; the others are counted. A shard that
    /// cannot answer now has none.
    pub async fn group_standings(&self, most: usize) -> GroupStandings {
        let (mut all, mut most) = (GroupStandings::default(), most);
        let image = self.image();
        let Some(topic) = image.topic(OFFSETS_TOPIC) else { return all };
        for (index, _) in topic.partitions() {
            let Ok(replica) = self.coordinator_at(topic.id, index) else { continue };
            // One after the other: what is shown is bounded by what those before have left.
            let ticket = ask_shard(&replica, |reply| GroupWork::Standings(most, reply)).await;
            if let Ok((standings, rest)) = ticket.await {
                most = rest;
                standings.counts.into_iter().for_each(|(key, count)| *all.counts.entry(key).or_default() += count);
                all.shown.extend(standings.shown);
                all.left_out += standings.left_out;
            }
        }
        all
    }

    /// Committed records that lie behind a position: none if the partition is gone, or is another's now.
    pub fn lag(&self, position: &Position) -> Option<u64> {
        let image = self.image();
        let topic = image.topic(position.topic.as_str())?;
        if position.topic_id != TopicId::ZERO && position.topic_id != topic.id {
            return None;
        }
        let end = self.high_watermark(topic.id, position.partition).ok()?;
        u64::try_from(end.saturating_sub(position.offset.get()).max(0)).ok()
    }

    fn high_watermark(&self, topic: TopicId, partition: PartitionIndex) -> Result<i64, KafkaError> {
        Ok(self.replicas().leading(topic, partition)?.offsets().high_watermark.get())
    }
}
