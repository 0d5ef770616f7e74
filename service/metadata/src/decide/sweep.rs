//! What crashes left behind. Decides what of a half-made or half-removed topic goes; never touches one that exists.
//!
//! Only the controller sweeps. A creation that is still under way loses its name and with it all its later steps, so sweeping it is safe,
//! only unkind: sweep at start, when nobody creates through this broker yet.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::plan::{Guard, Plan, delete_partitions};
use crate::image::ClusterImage;
use crate::keys::Key;
use crate::port::{Compare, Write};

/// Removes names whose topic never came to be, then partitions of no topic, then partitions above a topic's count. Deleted topics that
/// `deletions/<id>` names are left to [`super::finish_deletion`]. Empty when there is nothing.
pub fn sweep(image: &ClusterImage) -> Plan {
    let mut plan = Plan::default();
    for (name, reserved) in image.names_from(Bound::Unbounded) {
        if image.topic_by_id(reserved.value).is_none() {
            let key = Key::Name(name.clone());
            let same = Guard::Seen(Compare::unchanged(key.clone(), reserved.revision));
            plan.step(vec![same], vec![Write::delete(key)]);
        }
    }
    let awaited: BTreeSet<_> = image.deletions().map(|(id, _)| id).collect();
    for (id, indexes) in image.halves() {
        if !awaited.contains(&id) {
            // A topic must not come to be from these while they go.
            let none = [Guard::Seen(Compare::absent(Key::Topic(id)))];
            plan.chunks(&none, delete_partitions(id, indexes));
        }
    }
    for topic in image.topics() {
        let same = [Guard::Seen(Compare::unchanged(Key::Topic(topic.id), topic.revision))];
        plan.chunks(&same, delete_partitions(topic.id, topic.beyond()));
    }
    plan
}
