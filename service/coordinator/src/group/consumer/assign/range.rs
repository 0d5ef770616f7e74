//! `range`: for each topic a run of neighbouring partitions per member. Static members go by their name, so that a restart moves nothing.

use std::collections::BTreeMap;

use tidelog_model::{PartitionIndex, TopicId};

use super::{Reader, add};
use crate::group::ids::MemberId;
use crate::group::records::Partitions;

pub(super) fn assign(readers: &[Reader], topics: &BTreeMap<TopicId, i32>) -> BTreeMap<MemberId, Partitions> {
    let mut parts: BTreeMap<MemberId, Partitions> =
        readers.iter().map(|reader| (reader.id.clone(), Partitions::new())).collect();
    let mut ordered: Vec<&Reader> = readers.iter().collect();
    // Static members first, by name; the others by id.
    ordered.sort_by_key(|reader| (reader.instance_id.is_none(), reader.instance_id.clone(), reader.id.clone()));
    for (topic, count) in topics {
        let subscribed: Vec<&&Reader> = ordered.iter().filter(|reader| reader.topics.contains(topic)).collect();
        let members = i32::try_from(subscribed.len()).unwrap_or(i32::MAX);
        if members == 0 {
            continue;
        }
        let (each, extra) = (count / members, count % members);
        let mut next = 0;
        for (place, reader) in (0..members).zip(subscribed) {
            let end = next + each + i32::from(place < extra);
            for partition in next..end {
                add(&mut parts, &reader.id, *topic, PartitionIndex(partition));
            }
            next = end;
        }
    }
    parts
}
