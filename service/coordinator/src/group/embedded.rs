//! Reads and writes what consumers of the classic protocol put into the opaque parts of JoinGroup and SyncGroup: the embedded consumer
//! protocol, none of it in flexible notation. Decides nothing; where nobody needs to look, these bytes stay opaque.
//!
//! ```text
//! subscription  i16 version · i32 count · count × string topic · bytes user data (length −1: none)
//!               · from 1: i32 count · count × (string topic · i32 count · count × i32 partition), the partitions it owns
//!               · from 2: i32 generation · from 3: nullable string rack
//! assignment    i16 version · i32 count · count × (string topic · i32 count · count × i32 partition) · bytes user data
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::PartitionIndex;
use tidelog_record::fields::{FieldError, Reader, Writer};

use crate::limits::MAX_SUBSCRIBED_TOPICS;

/// The newest version that is known; newer ones begin with the same fields.
const NEWEST: i16 = 3;

/// Partitions by topic name.
pub(crate) type Named = BTreeMap<Arc<str>, BTreeSet<PartitionIndex>>;

/// What a consumer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) version: i16,
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// What it owns; nothing if its assignor gives everything up before it joins.
    pub(crate) owned: Named,
    pub(crate) rack: Option<Arc<str>>,
}

/// Reads a subscription; `None` if it is not one.
pub(crate) fn subscription(bytes: &[u8]) -> Option<Subscription> {
    read_subscription(&mut Reader::new(bytes)).ok()
}

fn read_subscription(reader: &mut Reader<'_>) -> Result<Subscription, FieldError> {
    let version = version(reader)?;
    let topics = topic_list(reader)?;
    skip_user_data(reader)?;
    let owned = if version >= 1 { partitions(reader)? } else { Named::new() };
    if version >= 2 {
        reader.i32()?;
    }
    let rack = if version >= 3 { reader.nullable_string()? } else { None };
    Ok(Subscription { version, topics, owned, rack: rack.filter(|rack| !rack.is_empty()).map(Arc::from) })
}

/// The topics of a subscription, whatever follows them; `None` if it is not one.
pub(crate) fn subscribed_topics(bytes: &[u8]) -> Option<BTreeSet<Arc<str>>> {
    let mut reader = Reader::new(bytes);
    version(&mut reader).ok()?;
    topic_list(&mut reader).ok()
}

/// Reads an assignment: its partitions, and whether its assignor has added data of its own. `None` if it is not one; no bytes at all are
/// an assignment of nothing.
pub(crate) fn assignment(bytes: &[u8]) -> Option<(Named, bool)> {
    if bytes.is_empty() {
        return Some((Named::new(), false));
    }
    read_assignment(&mut Reader::new(bytes)).ok()
}

fn read_assignment(reader: &mut Reader<'_>) -> Result<(Named, bool), FieldError> {
    version(reader)?;
    let partitions = partitions(reader)?;
    // Some clients end here.
    let data = if reader.remaining() > 0 { skip_user_data(reader)? } else { 0 };
    Ok((partitions, data > 0))
}

/// Writes an assignment in the notation of a member whose subscription has this version.
pub(crate) fn write_assignment(version: i16, partitions: &Named) -> Result<Bytes, FieldError> {
    let mut out = Writer::new(version.clamp(0, NEWEST));
    out.length(partitions.len())?;
    for (topic, partitions) in partitions {
        out.string(topic)?;
        out.length(partitions.len())?;
        partitions.iter().for_each(|partition| out.i32(partition.get()));
    }
    out.i32(-1);
    Ok(out.finish())
}

fn version(reader: &mut Reader<'_>) -> Result<i16, FieldError> {
    let version = reader.i16()?;
    if version < 0 { Err(FieldError::Malformed) } else { Ok(version.min(NEWEST)) }
}

fn topic_count(reader: &mut Reader<'_>) -> Result<usize, FieldError> {
    let count = reader.versioned_length(false)?;
    if count > MAX_SUBSCRIBED_TOPICS { Err(FieldError::Malformed) } else { Ok(count) }
}

fn topic_list(reader: &mut Reader<'_>) -> Result<BTreeSet<Arc<str>>, FieldError> {
    let count = topic_count(reader)?;
    (0..count).map(|_| reader.string().map(Arc::from)).collect()
}

fn partitions(reader: &mut Reader<'_>) -> Result<Named, FieldError> {
    let mut named = Named::new();
    for _ in 0..topic_count(reader)? {
        let topic = Arc::from(reader.string()?);
        let count = reader.versioned_length(false)?;
        let partitions: Result<BTreeSet<_>, _> = (0..count).map(|_| reader.i32().map(PartitionIndex)).collect();
        let partitions = partitions?;
        if !partitions.is_empty() {
            named.entry(topic).or_default().extend(partitions);
        }
    }
    Ok(named)
}

/// How many bytes of it there were.
fn skip_user_data(reader: &mut Reader<'_>) -> Result<usize, FieldError> {
    let length = reader.versioned_nullable_length(false)?.unwrap_or(0);
    reader.skip(length)?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::from(hex::decode(text.replace(' ', "")).unwrap())
    }

    fn named(topic: &str, partitions: &[i32]) -> Named {
        Named::from([(topic.into(), partitions.iter().map(|partition| PartitionIndex(*partition)).collect())])
    }

    /// Version 3, topic "fixture", no user data, no owned partitions, generation −1, no rack: as librdkafka sent it.
    const REAL: &str = "0003 00000001 0007 66697874757265 00000000 00000000 ffffffff 0000";

    #[test]
    fn topics_are_read_and_damage_is_refused() {
        let real = bytes(REAL);
        let topics = subscribed_topics(&real).unwrap();
        assert_eq!(topics.into_iter().collect::<Vec<_>>(), ["fixture".into()]);
        for end in 0..15 {
            assert_eq!(subscribed_topics(&real[..end]), None, "{end}");
        }
        assert_eq!(subscribed_topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(subscribed_topics(&[0, 0, 0, 0, 0, 1, 0, 1, 0xff]), None);
    }

    #[test]
    fn a_subscription_of_each_version_is_read_to_its_end() {
        let topics = BTreeSet::from(["fixture".into()]);
        let real = Subscription { version: 3, topics: topics.clone(), owned: Named::new(), rack: None };
        assert_eq!(subscription(&bytes(REAL)), Some(real.clone()));
        for end in 0..bytes(REAL).len() {
            assert_eq!(subscription(&bytes(REAL)[..end]), None, "{end}");
        }
        let v0 = "0000 00000001 0007 66697874757265 ffffffff";
        assert_eq!(subscription(&bytes(v0)), Some(Subscription { version: 0, ..real.clone() }));
        let owned = "00000001 0001 74 00000002 00000000 00000003";
        let v1 = format!("0001 00000001 0007 66697874757265 ffffffff {owned}");
        let known = Subscription { version: 1, owned: named("t", &[0, 3]), ..real };
        assert_eq!(subscription(&bytes(&v1)), Some(known.clone()));
        let rack = format!("0003 00000001 0007 66697874757265 00000002 abcd {owned} 00000005 0001 72");
        let known = Subscription { version: 3, rack: Some("r".into()), ..known };
        assert_eq!(subscription(&bytes(&rack)), Some(known.clone()));
        // A newer one is read as the newest that is known.
        assert_eq!(subscription(&bytes(&rack.replacen("0003", "0009", 1))), Some(known));
        // A negative length is none but for "nothing".
        assert_eq!(subscription(&bytes("0000 00000001 fffe 74 ffffffff")), None);
        assert_eq!(subscription(&bytes("0000 00000000 fffffffe")), None);
        // A count that the bytes cannot hold.
        assert_eq!(subscription(&bytes("0001 00000000 ffffffff 00000001 0001 74 7fffffff 00000000")), None);
    }

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        for version in [0, 1, 3] {
            let written = write_assignment(version, &named("t", &[0, 2])).unwrap();
            assert_eq!(assignment(&written), Some((named("t", &[0, 2]), false)));
        }
        assert_eq!(write_assignment(9, &Named::new()).unwrap(), bytes("0003 00000000 ffffffff"));
        // As librdkafka wrote it, and with data of its assignor.
        let real = "0000 00000001 0007 66697874757265 00000001 00000000";
        assert_eq!(assignment(&bytes(&format!("{real} 00000000"))), Some((named("fixture", &[0]), false)));
        assert_eq!(assignment(&bytes(real)), Some((named("fixture", &[0]), false)));
        assert_eq!(assignment(&bytes(&format!("{real} 00000001 aa"))), Some((named("fixture", &[0]), true)));
        assert_eq!(assignment(&[]), Some((Named::new(), false)));
        assert_eq!(assignment(&bytes("0000 00000001")), None);
        assert_eq!(assignment(b"text"), None);
    }
}
