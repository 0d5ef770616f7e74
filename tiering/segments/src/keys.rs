//! The names of all objects of the cold tier, below `<prefix>/<cluster id>/`. Decides nothing but spelling.
//!
//! ```text
//! log/<topic>-<topic id>/topic/<n>                                              name, id, partitions, configs
//! log/<topic>-<topic id>/<partition>/segments/<base>-<epoch>-<uuid>             one bundle (see `bundle`)
//! log/<topic>-<topic id>/<partition>/manifest/<n>                               one version (see `manifest`)
//! log/<topic>-<topic id>/<partition>/snapshot/<n>                               the whole manifest at version n
//! ```
//! `<base>` and `<n>` are decimal with 20 digits, so that LIST sorts them; `<epoch>` is decimal; `<uuid>` has 32 hex digits; the
//! topic id is Kafka's 22 characters of URL-safe base64.

use tidelog_model::{LeaderEpoch, Offset, TopicId, TopicIdPartition, TopicName};
use uuid::Uuid;

/// Which upload made a segment object; unique for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectName {
    /// First offset of the upload.
    pub base: Offset,
    /// Leader epoch of the uploader.
    pub epoch: LeaderEpoch,
    /// Chance, so that two uploads never share a name.
    pub id: Uuid,
}

impl ObjectName {
    /// `<20-digit base>-<epoch>-<uuid>`.
    pub fn text(&self) -> String {
        format!("{:020}-{}-{}", self.base.get(), self.epoch, self.id.simple())
    }

    /// Reads [`ObjectName::text`] back; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (base, epoch, id) = (parts.next()?, parts.next()?, parts.next()?);
        if id.len() != 32 {
            return None;
        }
        let id = Uuid::try_parse(id).ok()?;
        Some(ObjectName { base: Offset(number(base)?.try_into().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?), id })
    }
}

/// A 20-digit number.
fn number(text: &str) -> Option<u64> {
    if text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The folder of one topic.
pub fn topic_folder(topic: &TopicName, id: TopicId) -> String {
    format!("log/{topic}-{id}")
}

/// Keys of one partition's objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionKeys {
    topic: String,
    folder: String,
}

/// What a key below a partition's folder names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PartitionKey {
    /// A segment object.
    Segment(ObjectName),
    /// A manifest version.
    Version(u64),
    /// A manifest snapshot.
    Snapshot(u64),
}

impl PartitionKeys {
    /// The keys of `partition`.
    pub fn new(partition: &TopicIdPartition) -> Self {
        let topic = topic_folder(&partition.topic, partition.id);
        let folder = format!("{topic}/{}", partition.partition);
        PartitionKeys { topic, folder }
    }

    /// The topic's folder, without a slash at its end.
    pub fn topic_folder(&self) -> &str {
        &self.topic
    }

    /// The folder of the topic's descriptions, without a slash at its end.
    pub fn descriptions(&self) -> String {
        format!("{}/topic", self.topic)
    }

    /// The partition's folder, without a slash at its end.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The folder of versions.
    pub fn versions(&self) -> String {
        format!("{}/manifest", self.folder)
    }

    /// One version.
    pub fn version(&self, number: u64) -> String {
        format!("{}/manifest/{number:020}", self.folder)
    }

    /// One snapshot.
    pub fn snapshot(&self, number: u64) -> String {
        format!("{}/snapshot/{number:020}", self.folder)
    }

    /// One segment object.
    pub fn segment(&self, name: &ObjectName) -> String {
        format!("{}/segments/{}", self.folder, name.text())
    }

    /// What `key` names, if it is one of ours.
    pub fn parse(&self, key: &str) -> Option<PartitionKey> {
        let rest = key.strip_prefix(self.folder.as_str())?.strip_prefix('/')?;
        let (kind, name) = rest.split_once('/')?;
        match kind {
            "segments" => ObjectName::parse(name).map(PartitionKey::Segment),
            "manifest" => number(name).map(PartitionKey::Version),
            "snapshot" => number(name).map(PartitionKey::Snapshot),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::PartitionIndex;

    use super::*;

    #[test]
    fn keys_are_spelled_as_documented_and_read_back() {
        let id = TopicId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        let topic = TopicName::new("a.b-c").unwrap();
        let keys = PartitionKeys::new(&TopicIdPartition { id, topic, partition: PartitionIndex(7) });
        let name = ObjectName { base: Offset(42), epoch: LeaderEpoch(3), id: Uuid::from_u128(5) };
        let folder = format!("log/a.b-c-{id}/7");
        assert_eq!(keys.version(9), format!("{folder}/manifest/00000000000000000009"));
        assert_eq!(keys.snapshot(128), format!("{folder}/snapshot/00000000000000000128"));
        assert_eq!(
            keys.segment(&name),
            format!("{folder}/segments/00000000000000000042-3-00000000000000000000000000000005")
        );
        assert_eq!(keys.parse(&keys.segment(&name)), Some(PartitionKey::Segment(name)));
        assert_eq!(keys.parse(&keys.version(9)), Some(PartitionKey::Version(9)));
        assert_eq!(keys.parse(&keys.snapshot(9)), Some(PartitionKey::Snapshot(9)));
        for strange in ["x", "log/a.b-c/7/manifest/1", &format!("{folder}/manifest/9"), &format!("{folder}/other/1")] {
            assert_eq!(keys.parse(strange), None, "{strange}");
        }
    }
}
