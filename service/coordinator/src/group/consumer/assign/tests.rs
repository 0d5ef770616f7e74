//! What every assignment must be, for random groups.

use proptest::prelude::*;

use super::*;

fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

fn reader(id: usize, topics: &[u8]) -> Reader {
    Reader {
        id: MemberId::from(format!("m{id:03}")),
        instance_id: None,
        topics: topics.iter().map(|number| topic(*number)).collect(),
        held: Partitions::new(),
    }
}

fn counts(counts: &[i32]) -> BTreeMap<TopicId, i32> {
    (0u8..).zip(counts).map(|(number, count)| (topic(number), *count)).collect()
}

fn sizes(parts: &BTreeMap<MemberId, Partitions>) -> Vec<usize> {
    parts.values().map(|part| part.values().map(BTreeSet::len).sum()).collect()
}

fn with(readers: &[Reader], parts: &BTreeMap<MemberId, Partitions>) -> Vec<Reader> {
    readers.iter().map(|reader| Reader { held: parts[&reader.id].clone(), ..reader.clone() }).collect()
}

/// How many partitions stayed with whom they were.
fn kept(before: &BTreeMap<MemberId, Partitions>, after: &BTreeMap<MemberId, Partitions>) -> usize {
    let pairs = |parts: &BTreeMap<MemberId, Partitions>| {
        let mut pairs = BTreeSet::new();
        for (id, part) in parts {
            for (topic, partitions) in part {
                pairs.extend(partitions.iter().map(|partition| (id.clone(), *topic, *partition)));
            }
        }
        pairs
    };
    pairs(before).intersection(&pairs(after)).count()
}

/// Each partition of a subscribed topic has one reader, which subscribes to it.
fn check(readers: &[Reader], topics: &BTreeMap<TopicId, i32>, parts: &BTreeMap<MemberId, Partitions>) {
    assert_eq!(parts.len(), readers.len());
    let mut seen = BTreeSet::new();
    for reader in readers {
        for (topic, partitions) in &parts[&reader.id] {
            assert!(reader.topics.contains(topic) && !partitions.is_empty());
            for partition in partitions {
                assert!((0..topics[topic]).contains(&partition.get()));
                assert!(seen.insert((*topic, *partition)), "two readers of {topic}-{partition}");
            }
        }
    }
    let wanted: usize = topics
        .iter()
        .filter(|(topic, _)| readers.iter().any(|reader| reader.topics.contains(topic)))
        .map(|(_, count)| usize::try_from(*count).unwrap())
        .sum();
    assert_eq!(seen.len(), wanted, "a partition has no reader");
}

#[test]
fn range_gives_neighbours_and_the_same_numbers_of_equal_topics() {
    let topics = counts(&[5, 5]);
    let readers = [reader(1, &[0, 1]), reader(2, &[0, 1])];
    let parts = Assignor::Range.assign(&readers, &topics);
    let numbers = |id: &str, number| parts[id][&topic(number)].iter().map(|p| p.get()).collect::<Vec<_>>();
    for number in [0, 1] {
        assert_eq!((numbers("m001", number), numbers("m002", number)), (vec![0, 1, 2], vec![3, 4]));
    }
}

#[test]
fn range_keeps_a_static_member_in_its_place_whatever_its_new_id() {
    let topics = counts(&[4]);
    let named = |id, name: &str| Reader { instance_id: Some(InstanceId::from(name)), ..reader(id, &[0]) };
    let before = Assignor::Range.assign(&[named(1, "a"), named(2, "b")], &topics);
    let after = Assignor::Range.assign(&[named(2, "b"), named(9, "a")], &topics);
    assert_eq!(before["m001"], after["m009"]);
}

#[test]
fn uniform_moves_what_a_newcomer_needs_and_no_more() {
    let topics = counts(&[6]);
    let mut readers = vec![reader(1, &[0]), reader(2, &[0])];
    let before = Assignor::Uniform.assign(&readers, &topics);
    assert_eq!(sizes(&before), [3, 3]);
    readers = with(&readers, &before);
    readers.push(reader(3, &[0]));
    let after = Assignor::Uniform.assign(&readers, &topics);
    assert_eq!((sizes(&after), kept(&before, &after)), (vec![2, 2, 2], 4));
}

#[test]
fn uniform_evens_out_different_subscriptions() {
    // m1 reads everything, m2 only topic 0: m2 gets all of it, but for what evens the loads.
    let topics = counts(&[4, 2]);
    let parts = Assignor::Uniform.assign(&[reader(1, &[0, 1]), reader(2, &[0])], &topics);
    assert_eq!(sizes(&parts), [3, 3]);
}

#[test]
fn a_group_of_a_thousand_members_is_shared_out() {
    let topics = counts(&[1_000, 1_000, 500]);
    let readers: Vec<Reader> =
        (0..1_000).map(|id| reader(id, if id % 2 == 0 { &[0, 1, 2] } else { &[1, 2] })).collect();
    for assignor in Assignor::ALL {
        check(&readers, &topics, &assignor.assign(&readers, &topics));
    }
}

fn group() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<i32>)> {
    let subscriptions = prop::collection::vec(prop::collection::vec(0u8..4, 0..4), 1..9);
    (subscriptions, prop::collection::vec(0i32..12, 4))
}

proptest! {
    #[test]
    fn every_partition_has_one_reader((subscriptions, partitions) in group(), drop in any::<prop::sample::Index>()) {
        let topics = counts(&partitions);
        let readers: Vec<Reader> = subscriptions.iter().enumerate().map(|(id, topics)| reader(id, topics)).collect();
        for assignor in Assignor::ALL {
            let first = assignor.assign(&readers, &topics);
            check(&readers, &topics, &first);
            // Nothing has changed: nothing moves.
            let held = with(&readers, &first);
            let again = assignor.assign(&held, &topics);
            prop_assert_eq!(&first, &again, "{:?}", assignor);
            // Somebody leaves.
            let mut fewer = held;
            fewer.remove(drop.index(readers.len()));
            check(&fewer, &topics, &assignor.assign(&fewer, &topics));
        }
    }

    #[test]
    fn uniform_is_fair_and_sticky_if_all_read_the_same(
        members in 1usize..9, partitions in prop::collection::vec(0i32..12, 1..4), newcomers in 0usize..3, leavers in 0usize..3,
    ) {
        let topics = counts(&partitions);
        let all: Vec<u8> = (0u8..).zip(&partitions).map(|(number, _)| number).collect();
        let readers: Vec<Reader> = (0..members).map(|id| reader(id, &all)).collect();
        let first = Assignor::Uniform.assign(&readers, &topics);
        let fair = |parts: &BTreeMap<MemberId, Partitions>| {
            let sizes = sizes(parts);
            sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0) <= 1
        };
        prop_assert!(fair(&first), "{:?}", first);
        let mut next = with(&readers, &first);
        next.truncate(members.saturating_sub(leavers));
        next.extend((0..newcomers).map(|id| reader(100 + id, &all)));
        let second = Assignor::Uniform.assign(&next, &topics);
        prop_assert!(fair(&second), "{:?}", second);
        // Nobody gives up more than fairness asks for.
        let total: usize = sizes(&first).iter().sum();
        let share = if next.is_empty() { 0 } else { total / next.len() };
        for reader in &next {
            let (had, has) = (first.get(&reader.id), &second[&reader.id]);
            let Some(had) = had else { continue };
            let stays: usize = had.iter().map(|(topic, had)| {
                has.get(topic).map_or(0, |has| had.intersection(has).count())
            }).sum();
            let size: usize = had.values().map(BTreeSet::len).sum();
            prop_assert!(stays >= size.min(share), "{} of {size} stay, the share is {share}", stays);
        }
    }

    #[test]
    fn uniform_leaves_no_move_that_would_help((subscriptions, partitions) in group()) {
        let topics = counts(&partitions);
        let readers: Vec<Reader> = subscriptions.iter().enumerate().map(|(id, topics)| reader(id, topics)).collect();
        let parts = Assignor::Uniform.assign(&readers, &topics);
        let sizes = sizes(&parts);
        for (from, giver) in readers.iter().enumerate() {
            for (to, taker) in readers.iter().enumerate() {
                let shared = parts[&giver.id].keys().any(|topic| taker.topics.contains(topic));
                prop_assert!(!shared || sizes[from] <= sizes[to] + 1, "{sizes:?}: {from} could give to {to}");
            }
        }
    }
}

/// Which partitions were whose and are now somebody else's who was there before, as (giver, taker).
fn handed_over(
    before: &BTreeMap<MemberId, Partitions>,
    after: &BTreeMap<MemberId, Partitions>,
) -> BTreeSet<(MemberId, MemberId)> {
    let mut pairs = BTreeSet::new();
    for (giver, had) in before.iter().filter(|(id, _)| after.contains_key(*id)) {
        for (taker, has) in after.iter().filter(|(id, _)| *id != giver) {
            let shared = had.iter().any(|(topic, had)| has.get(topic).is_some_and(|has| !had.is_disjoint(has)));
            if shared {
                pairs.insert((giver.clone(), taker.clone()));
            }
        }
    }
    pairs
}

/// Of these subscriptions and counts of partitions one member goes, another comes, and topics grow: what does everybody have before and after?
fn before_and_after(
    subscriptions: &[Vec<u8>],
    partitions: &[i32],
    goes: usize,
    comes: &[u8],
    grows: &[i32],
) -> [BTreeMap<MemberId, Partitions>; 2] {
    let readers: Vec<Reader> = subscriptions.iter().enumerate().map(|(id, topics)| reader(id, topics)).collect();
    let before = Assignor::Uniform.assign(&readers, &counts(partitions));
    let mut next = with(&readers, &before);
    next.remove(goes);
    next.push(reader(100, comes));
    let grown: Vec<i32> = partitions.iter().zip(grows).map(|(count, more)| count + more).collect();
    let after = Assignor::Uniform.assign(&next, &counts(&grown));
    [before, after]
}

fn assert_no_exchange(before: &BTreeMap<MemberId, Partitions>, after: &BTreeMap<MemberId, Partitions>) {
    let handed = handed_over(before, after);
    for (giver, taker) in &handed {
        let exchange = handed.contains(&(taker.clone(), giver.clone()));
        assert!(!exchange, "{giver} and {taker} exchange: {before:?} {after:?}");
    }
}

/// The first topic is evened out once with too much on one side, and once more the other way.
#[test]
fn uniform_gives_back_what_it_has_moved_too_far() {
    let [before, after] = before_and_after(&[vec![0], vec![2], vec![2, 1, 0]], &[10, 3, 2, 0], 1, &[1], &[0, 0, 1, 0]);
    assert_no_exchange(&before, &after);
}

proptest! {
    #[test]
    fn a_static_member_that_is_back_under_another_id_moves_nothing(
        (subscriptions, partitions) in group(), who in any::<prop::sample::Index>(), same in any::<bool>(),
    ) {
        let topics = counts(&partitions);
        let all = [0, 1, 2, 3];
        let one = |(id, topics): (usize, &Vec<u8>)| Reader {
            instance_id: Some(InstanceId::from(format!("i{id:03}"))),
            ..reader(id, if same { &all } else { topics })
        };
        let readers: Vec<Reader> = subscriptions.iter().enumerate().map(one).collect();
        for assignor in Assignor::ALL {
            let mut before = assignor.assign(&readers, &topics);
            let mut back = with(&readers, &before);
            let mut returned = back.remove(who.index(readers.len()));
            let (old, new) = (returned.id.clone(), MemberId::from("another"));
            returned.id = new.clone();
            // Its place among the ids is another one.
            back.insert(0, returned);
            let after = assignor.assign(&back, &topics);
            let part = before.remove(&old).unwrap_or_default();
            before.insert(new, part);
            prop_assert_eq!(&before, &after, "{:?}", assignor);
        }
    }

    #[test]
    fn uniform_moves_nothing_when_topics_grow_that_all_read(
        members in 1usize..9, partitions in prop::collection::vec((0i32..12, 0i32..6), 1..4),
    ) {
        let (small, large): (Vec<i32>, Vec<i32>) = partitions.iter().map(|(count, more)| (*count, count + more)).unzip();
        let all: Vec<u8> = (0u8..).zip(&partitions).map(|(number, _)| number).collect();
        let readers: Vec<Reader> = (0..members).map(|id| reader(id, &all)).collect();
        let before = Assignor::Uniform.assign(&readers, &counts(&small));
        let after = Assignor::Uniform.assign(&with(&readers, &before), &counts(&large));
        prop_assert_eq!(kept(&before, &after), sizes(&before).iter().sum::<usize>());
    }

    #[test]
    fn uniform_exchanges_nothing_between_two_members(
        (subscriptions, partitions) in group(), drop in any::<prop::sample::Index>(), comes in prop::collection::vec(0u8..4, 0..4),
        grows in prop::collection::vec(0i32..4, 4),
    ) {
        let goes = drop.index(subscriptions.len());
        let [before, after] = before_and_after(&subscriptions, &partitions, goes, &comes, &grows);
        assert_no_exchange(&before, &after);
    }

    #[test]
    fn range_gives_each_a_run_as_long_as_the_others_and_the_same_one_of_topics_alike((subscriptions, partitions) in group()) {
        let topics = counts(&partitions);
        let readers: Vec<Reader> = subscriptions.iter().enumerate().map(|(id, topics)| reader(id, topics)).collect();
        let parts = Assignor::Range.assign(&readers, &topics);
        let run = |reader: &Reader, topic: TopicId| parts[&reader.id].get(&topic).cloned().unwrap_or_default();
        for (topic, count) in &topics {
            let subscribed: Vec<&Reader> = readers.iter().filter(|reader| reader.topics.contains(topic)).collect();
            let mut next = 0;
            for reader in &subscribed {
                let run: Vec<i32> = run(reader, *topic).iter().map(|part| part.get()).collect();
                prop_assert_eq!(&run, &(next..next + run.len() as i32).collect::<Vec<_>>(), "neighbours, in the order of members");
                let each = count / subscribed.len() as i32;
                prop_assert!((each..=each + 1).contains(&(run.len() as i32)));
                next += run.len() as i32;
            }
            for (other, _) in topics.iter().filter(|(_, other)| *other == count) {
                let alike = readers.iter().all(|reader| reader.topics.contains(topic) == reader.topics.contains(other));
                prop_assert!(!alike || readers.iter().all(|reader| run(reader, *topic) == run(reader, *other)));
            }
        }
    }
}
