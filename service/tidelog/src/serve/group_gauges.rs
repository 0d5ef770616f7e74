//! Groups, for whoever scrapes: how many there are, who is in them and how far they are behind. Asked for when it is rendered, like the
//! partitions beside it (`gauges.rs`), and bounded: a client can make as many groups as it likes.

use std::fmt::Write;
use std::time::Duration;

use tidelog_broker::Broker;
use tidelog_coordinator::group::GroupStandings;

use super::gauges::head;

/// Most groups and positions together that have series of their own: each costs a scrape about 100 bytes, so that this is 1 MB.
const MOST: usize = 10_000;

/// A coordinator answers when what it has appended is flushed. A disk that stalls must not take the other metrics with it.
const PATIENCE: Duration = Duration::from_secs(2);

const GROUPS: &str = "tidelog_consumer_groups";
const MEMBERS: &str = "tidelog_consumer_group_members";
const LAG: &str = "tidelog_consumer_group_lag";
const LEFT_OUT: &str = "tidelog_consumer_groups_left_out";

/// The heads of all metrics of this file.
#[cfg(test)]
pub(super) fn heads() -> String {
    text(&GroupStandings::default(), |_| None)
}

/// Every gauge of the groups that this broker coordinates; nothing while it cannot tell.
pub(crate) async fn render(broker: &Broker) -> String {
    match tokio::time::timeout(PATIENCE, broker.group_standings(MOST)).await {
        Ok(standings) => text(&standings, |position| broker.lag(position)),
        Err(_) => String::new(),
    }
}

fn text(standings: &GroupStandings, lag: impl Fn(&tidelog_coordinator::group::Position) -> Option<u64>) -> String {
    let mut out = String::new();
    head(&mut out, GROUPS, "gauge", "Consumer groups, by type and state.");
    for ((kind, state), count) in &standings.counts {
        let _ = writeln!(out, "{GROUPS}{{type=\"{}\",state=\"{state}\"}} {count}", kind.name());
    }
    head(&mut out, LEFT_OUT, "gauge", "Consumer groups without series of their own, because there are too many.");
    let _ = writeln!(out, "{LEFT_OUT} {}", standings.left_out);
    head(&mut out, MEMBERS, "gauge", "Members of a consumer group.");
    for one in &standings.shown {
        let _ = writeln!(out, "{MEMBERS}{{group=\"{}\"}} {}", escaped(one.group.as_str()), one.members);
    }
    head(&mut out, LAG, "gauge", "Committed records of a partition behind a consumer group's committed position.");
    for one in &standings.shown {
        let group = escaped(one.group.as_str());
        for position in &one.positions {
            if let Some(lag) = lag(position) {
                let (topic, partition) = (&position.topic, position.partition);
                let _ = writeln!(out, "{LAG}{{group=\"{group}\",topic=\"{topic}\",partition=\"{partition}\"}} {lag}");
            }
        }
    }
    out
}

/// A label's value: a group may be called anything.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use tidelog_coordinator::group::{GroupKind, GroupStanding, Position};
    use tidelog_model::{Offset, PartitionIndex, TopicId, TopicName};

    use super::*;

    #[test]
    fn groups_have_lines_whatever_they_are_called() {
        let position = Position {
            topic: TopicName::new("t").unwrap(),
            topic_id: TopicId::ZERO,
            partition: PartitionIndex(3),
            offset: Offset(5),
        };
        let gone = Position { partition: PartitionIndex(4), ..position.clone() };
        let group = GroupStanding { group: "a\"b\\c\nd".into(), members: 2, positions: vec![position, gone] };
        let counts = [((GroupKind::Classic, "Stable"), 1), ((GroupKind::Consumer, "Empty"), 4)];
        let standings = GroupStandings { counts: counts.into(), shown: vec![group], left_out: 7 };
        let text = text(&standings, |position| (position.partition == PartitionIndex(3)).then_some(9));
        for line in [
            "# TYPE tidelog_consumer_groups gauge\n",
            "tidelog_consumer_groups{type=\"classic\",state=\"Stable\"} 1\n",
            "tidelog_consumer_groups{type=\"consumer\",state=\"Empty\"} 4\n",
            "tidelog_consumer_groups_left_out 7\n",
            "tidelog_consumer_group_members{group=\"a\\\"b\\\\c\\nd\"} 2\n",
            "tidelog_consumer_group_lag{group=\"a\\\"b\\\\c\\nd\",topic=\"t\",partition=\"3\"} 9\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("partition=\"4\""), "a partition that is gone has no lag: {text}");
    }
}
