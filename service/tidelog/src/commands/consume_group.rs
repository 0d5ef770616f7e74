//! `tidelog consume --group`: as a member of a group, which shares the partitions and keeps the positions. A record counts as read once it
//! was printed: who dies in between leaves it to be read again. It follows the topic by its id: one that is made again under the same name is
//! another, of which nothing was read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tidelog_client::{
    Client, Committed, Consumer, ConsumerOptions, Isolation, Membership, OutOfRange, Report, TopicInfo,
};
use tidelog_model::{KafkaError, Offset, PartitionIndex, TopicId};
use tokio::time::Instant;

use super::consume::{ConsumeArgs, Printer, range};
use super::waiting::{Told, telling, waiting};
use crate::output::Interrupted;

/// How often positions are committed, as Kafka's `auto.commit.interval.ms`.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

/// How long one poll may wait.
const POLL: Duration = Duration::from_secs(1);

/// Reads until the end, or for ever; whatever ends it, what was printed is committed, and the member leaves.
pub(super) async fn run(
    client: &Client,
    args: &ConsumeArgs,
    topic: &TopicInfo,
    group: &str,
    isolation: Isolation,
) -> anyhow::Result<()> {
    let options = ConsumerOptions {
        isolation,
        out_of_range: OutOfRange::Earliest,
        patience: Some(args.timeout),
        ..ConsumerOptions::default()
    };
    let mut reader = Reader {
        client,
        args,
        topic: topic.clone(),
        group,
        isolation,
        membership: Membership::new(client, group, topic, args.timeout),
        consumer: Consumer::new(client, options),
        owned: BTreeMap::new(),
        committed_at: Instant::now(),
        told: Told::default(),
    };
    let brokers = args.brokers();
    let obstacle = || client.obstacle().map(|why| waiting(brokers, "to coordinate the group", Some(&why)));
    let result = tokio::select! {
        result = telling(obstacle, reader.read()) => result,
        _ = tokio::signal::ctrl_c() => match args.follow && args.limit.is_none() {
            true => Ok(()),
            false => Err(Interrupted.into()),
        },
    };
    let committed = tokio::select! {
        committed = reader.commit() => committed,
        // The server may be away: whoever asks twice does not wait for it.
        _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
    };
    let left = reader.membership.leave().await;
    result?;
    committed?;
    Ok(left?)
}

/// What is known of a partition that this member owns.
struct Owned {
    /// The offset behind the last record that was printed.
    done: Offset,
    /// What the group knows of that.
    committed: Option<Offset>,
    /// Where the partition ended when it was given to this member.
    end: Offset,
}

struct Reader<'a> {
    client: &'a Client,
    args: &'a ConsumeArgs,
    topic: TopicInfo,
    group: &'a str,
    isolation: Isolation,
    membership: Membership,
    consumer: Consumer,
    owned: BTreeMap<PartitionIndex, Owned>,
    committed_at: Instant,
    told: Told,
}

impl Reader<'_> {
    async fn read(&mut self) -> anyhow::Result<()> {
        let mut printer = Printer::new(self.args);
        let mut since = Instant::now();
        while !printer.is_over() {
            if Instant::now() >= self.membership.due() {
                self.report().await?;
            }
            if self.committed_at.elapsed() >= COMMIT_EVERY {
                self.commit().await?;
            }
            if !self.args.follow {
                if !self.owned.is_empty() && self.owned.values().all(|owned| owned.done >= owned.end) {
                    return Ok(());
                }
                if since.elapsed() >= self.args.timeout {
                    bail!(
                        "nothing came within {:?}; `tidelog group describe {}` shows who has which partitions",
                        self.args.timeout,
                        self.group
                    );
                }
            }
            let wait = self.membership.due().saturating_duration_since(Instant::now()).min(POLL);
            match self.consumer.poll(wait).await? {
                Some(fetched) => {
                    // Whoever has slept for long may have been given up meanwhile, and others have printed it.
                    if Instant::now() >= self.membership.due() {
                        self.report().await?;
                        let position = self.consumer.position(&self.topic.name, fetched.partition);
                        if position != Some(fetched.next) {
                            continue;
                        }
                    }
                    let printed = printer.print(&fetched, None)?;
                    if let Some(owned) = self.owned.get_mut(&fetched.partition) {
                        owned.done = printed;
                    }
                    since = Instant::now();
                }
                // What was to be read may have fallen to retention meanwhile.
                None => {
                    for (partition, owned) in &mut self.owned {
                        let position = self.consumer.position(&self.topic.name, *partition);
                        owned.done = position.map_or(owned.done, |position| position.max(owned.done));
                    }
                }
            }
        }
        Ok(())
    }

    async fn report(&mut self) -> anyhow::Result<()> {
        let owned: Vec<PartitionIndex> = self.owned.keys().copied().collect();
        match self.membership.report(&owned).await? {
            Report::Unchanged => {}
            Report::Assigned(id, given) => {
                if id != self.topic.id {
                    self.give_up();
                    self.topic_gone()?;
                }
                self.take(id, &given).await?;
            }
            Report::Fenced => self.give_up(),
        }
        Ok(())
    }

    /// Nothing is this member's any more, and no position of it is to be stored.
    fn give_up(&mut self) {
        for partition in self.owned.keys() {
            self.consumer.unassign(&self.topic.name, *partition);
        }
        self.owned.clear();
    }

    /// Whoever reads to the end has none; whoever follows waits for the next topic of the name, as Kafka's clients do.
    fn topic_gone(&mut self) -> anyhow::Result<()> {
        let name = &self.topic.name;
        if !self.args.follow {
            bail!("topic `{name}` was deleted while it was read");
        }
        self.told.tell(Some(format!("topic `{name}` was deleted; another of this name will be read by --from")));
        Ok(())
    }

    /// The topic that has the name now.
    async fn topic_now(&self) -> anyhow::Result<Option<Arc<TopicInfo>>> {
        match self.client.refresh_topic(&self.topic.name, false).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kafka_error() == Some(KafkaError::UnknownTopicOrPartition) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives up what is not this member's any more, and begins to read what is new.
    async fn take(&mut self, id: TopicId, given: &[PartitionIndex]) -> anyhow::Result<()> {
        let lost: Vec<PartitionIndex> =
            self.owned.keys().filter(|partition| !given.contains(partition)).copied().collect();
        if !lost.is_empty() {
            if self.topic_now().await?.is_none_or(|found| found.id != self.topic.id) {
                self.give_up();
                self.topic_gone()?;
                self.membership.hurry();
                return Ok(());
            }
            // Whoever gets them begins here.
            self.commit().await?;
        }
        for partition in &lost {
            self.consumer.unassign(&self.topic.name, *partition);
            self.owned.remove(partition);
        }
        let new: Vec<PartitionIndex> =
            given.iter().filter(|partition| !self.owned.contains_key(partition)).copied().collect();
        if !new.is_empty() {
            if id != self.topic.id || new.iter().any(|partition| self.topic.partition(*partition).is_none()) {
                // It is another topic, or has got more of them meanwhile.
                match self.topic_now().await?.filter(|found| found.id == id) {
                    Some(found) => self.topic = (*found).clone(),
                    // Gone again: the group will say so.
                    None => return Ok(()),
                }
                self.told = Told::default();
            }
            let committed = self.client.committed_offsets(self.group).await?;
            for (partition, start, end) in range(self.client, &self.topic, self.args, self.isolation).await? {
                if !new.contains(&partition) {
                    continue;
                }
                let known = committed.iter().find(|at| at.topic == self.topic.name && at.partition == partition);
                let committed = known.map(|at| at.offset).filter(|offset| *offset >= Offset::ZERO);
                let done = committed.unwrap_or(start);
                self.consumer.assign_only(&self.topic, partition, done);
                self.owned.insert(partition, Owned { done, committed, end });
            }
        }
        if !(lost.is_empty() && new.is_empty()) {
            self.membership.hurry();
        }
        Ok(())
    }

    /// Tells the group what was printed.
    async fn commit(&mut self) -> anyhow::Result<()> {
        self.committed_at = Instant::now();
        let news = self.owned.iter().filter(|(_, owned)| owned.committed != Some(owned.done));
        let positions: Vec<(PartitionIndex, Offset)> =
            news.map(|(partition, owned)| (*partition, owned.done)).collect();
        if positions.is_empty() {
            return Ok(());
        }
        let owned: Vec<PartitionIndex> = self.owned.keys().copied().collect();
        match self.membership.commit(&positions, &owned).await? {
            Committed::Stored => {
                for (partition, offset) in positions {
                    if let Some(owned) = self.owned.get_mut(&partition) {
                        owned.committed = Some(offset);
                    }
                }
            }
            // Others read on from what was stored before.
            Committed::Fenced => self.give_up(),
            Committed::TopicGone => {
                self.give_up();
                self.topic_gone()?;
            }
        }
        Ok(())
    }
}
