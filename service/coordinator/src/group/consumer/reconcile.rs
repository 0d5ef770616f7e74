//! Decides a member's next step towards its target: first it gives up what is no longer its own, then it gets what nobody else has.
//! Knows no time and no group; what it returns is stored or nothing happens.

use std::collections::BTreeSet;

use tidelog_model::{PartitionIndex, TopicId};

use crate::group::ids::Epoch;
use crate::group::records::{Current, MemberState, Owned, Partitions};

/// Where a member shall go, and what is known of it now.
pub(super) struct Step<'a> {
    /// The epoch of the target assignment.
    pub(super) target_epoch: Epoch,
    /// The member's part of it.
    pub(super) target: &'a Partitions,
    /// The topics that the member subscribes to.
    pub(super) subscribed: &'a BTreeSet<TopicId>,
    /// The subscription has just changed: what is no longer subscribed to goes at once.
    pub(super) resubscribed: bool,
    /// What the member says it owns; nothing if it did not say.
    pub(super) owned: Option<&'a Partitions>,
}

impl Step<'_> {
    /// The member's next place; the same if there is nothing to do. `is_free` tells whether nobody has a partition.
    pub(super) fn take(&self, member: &Current, is_free: impl Fn(TopicId, PartitionIndex) -> bool) -> Current {
        match member.state {
            MemberState::Stable if member.epoch != self.target_epoch => self.advance(member, is_free),
            MemberState::Unrevoked if !self.owns_any(&member.revoking) => self.advance(member, is_free),
            MemberState::Unreleased => self.advance(member, is_free),
            MemberState::Stable | MemberState::Unrevoked if self.resubscribed => self.strip(member),
            MemberState::Stable | MemberState::Unrevoked => member.clone(),
        }
    }

    /// A member that does not say what it owns owns everything.
    fn owns_any(&self, partitions: &Owned) -> bool {
        let Some(owned) = self.owned else { return true };
        partitions.iter().any(|(topic, partitions)| {
            owned.get(topic).is_some_and(|owned| partitions.keys().any(|partition| owned.contains(partition)))
        })
    }

    /// Takes away what the member no longer subscribes to, in the epoch that it is in.
    fn strip(&self, member: &Current) -> Current {
        let (assigned, gone): (Owned, Owned) =
            member.assigned.clone().into_iter().partition(|(topic, _)| self.subscribed.contains(topic));
        if gone.is_empty() {
            return member.clone();
        }
        let mut revoking = member.revoking.clone();
        for (topic, partitions) in gone {
            revoking.entry(topic).or_default().extend(partitions);
        }
        let moved = Current { previous_epoch: member.epoch, assigned, ..member.clone() };
        if self.owns_any(&revoking) { Current { state: MemberState::Unrevoked, revoking, ..moved } } else { moved }
    }

    fn advance(&self, member: &Current, is_free: impl Fn(TopicId, PartitionIndex) -> bool) -> Current {
        let wanted = |topic: &TopicId, partition: &PartitionIndex| {
            self.subscribed.contains(topic) && self.target.get(topic).is_some_and(|parts| parts.contains(partition))
        };
        let (mut assigned, mut revoking) = (Owned::new(), Owned::new());
        for (topic, partitions) in &member.assigned {
            for (partition, epoch) in partitions {
                let side = if wanted(topic, partition) { &mut assigned } else { &mut revoking };
                side.entry(*topic).or_default().insert(*partition, *epoch);
            }
        }
        if !revoking.is_empty() && self.owns_any(&revoking) {
            // It stays in its epoch until it has given them up.
            let state = MemberState::Unrevoked;
            return Current { previous_epoch: member.epoch, state, assigned, revoking, ..member.clone() };
        }
        let mut state = MemberState::Stable;
        for (topic, partitions) in self.target.iter().filter(|(topic, _)| self.subscribed.contains(topic)) {
            for partition in partitions {
                if assigned.get(topic).is_some_and(|has| has.contains_key(partition)) {
                    continue;
                }
                if is_free(*topic, *partition) {
                    assigned.entry(*topic).or_default().insert(*partition, self.target_epoch);
                } else {
                    state = MemberState::Unreleased;
                }
            }
        }
        Current { epoch: self.target_epoch, previous_epoch: member.epoch, state, assigned, revoking: Owned::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const T: TopicId = TopicId::from_bytes([1; 16]);

    fn owned(partitions: &[(i32, i32)]) -> Owned {
        let partitions: BTreeMap<_, _> = partitions.iter().map(|(p, e)| (PartitionIndex(*p), Epoch(*e))).collect();
        if partitions.is_empty() { Owned::new() } else { Owned::from([(T, partitions)]) }
    }

    fn set(partitions: &[i32]) -> Partitions {
        if partitions.is_empty() {
            return Partitions::new();
        }
        Partitions::from([(T, partitions.iter().map(|partition| PartitionIndex(*partition)).collect())])
    }

    struct Case<'a> {
        member: Current,
        target: &'a [i32],
        owned: Option<&'a [i32]>,
        taken: &'a [i32],
        resubscribed: Option<bool>,
    }

    fn step(case: &Case<'_>) -> Current {
        let target = set(case.target);
        let says = case.owned.map(set);
        let subscribed = if case.resubscribed == Some(false) { BTreeSet::new() } else { BTreeSet::from([T]) };
        let step = Step {
            target_epoch: Epoch(7),
            target: &target,
            subscribed: &subscribed,
            resubscribed: case.resubscribed.is_some(),
            owned: says.as_ref(),
        };
        step.take(&case.member, |_, partition| !case.taken.contains(&partition.get()))
    }

    fn member(epoch: i32, state: MemberState, assigned: &[(i32, i32)], revoking: &[(i32, i32)]) -> Current {
        Current {
            epoch: Epoch(epoch),
            previous_epoch: Epoch(epoch - 1),
            state,
            assigned: owned(assigned),
            revoking: owned(revoking),
        }
    }

    fn case<'a>(member: Current, target: &'a [i32], taken: &'a [i32]) -> Case<'a> {
        Case { member, target, owned: None, taken, resubscribed: None }
    }

    #[test]
    fn a_member_gets_what_is_free_and_waits_for_the_rest() {
        let before = member(6, MemberState::Stable, &[(0, 5)], &[]);
        let after = step(&case(before.clone(), &[0, 1, 2], &[2]));
        assert_eq!(after, member(7, MemberState::Unreleased, &[(0, 5), (1, 7)], &[]));
        let after = step(&case(after, &[0, 1, 2], &[]));
        assert_eq!((after.epoch, after.previous_epoch, after.state), (Epoch(7), Epoch(7), MemberState::Stable));
        assert_eq!(after.assigned, owned(&[(0, 5), (1, 7), (2, 7)]));
        // There is nothing more to do.
        assert_eq!(step(&case(after.clone(), &[0, 1, 2], &[])), after);
    }

    #[test]
    fn a_member_gives_up_first_and_stays_in_its_epoch_until_it_has() {
        let before = member(6, MemberState::Stable, &[(0, 5), (1, 5)], &[]);
        let waiting = step(&case(before, &[1, 2], &[]));
        let expected = member(6, MemberState::Unrevoked, &[(1, 5)], &[(0, 5)]);
        assert_eq!(waiting, Current { previous_epoch: Epoch(6), ..expected });
        for still in [None, Some(&[0, 1][..])] {
            assert_eq!(step(&Case { owned: still, ..case(waiting.clone(), &[1, 2], &[]) }), waiting);
        }
        let after = step(&Case { owned: Some(&[1]), ..case(waiting, &[1, 2], &[]) });
        assert_eq!(after, member(7, MemberState::Stable, &[(1, 5), (2, 7)], &[]));
    }

    #[test]
    fn what_the_member_does_not_own_any_more_needs_no_waiting() {
        let before = member(6, MemberState::Stable, &[(0, 5), (1, 5)], &[]);
        let after = step(&Case { owned: Some(&[1]), ..case(before, &[1], &[]) });
        assert_eq!(after, member(7, MemberState::Stable, &[(1, 5)], &[]));
    }

    #[test]
    fn a_topic_that_is_no_longer_subscribed_to_goes_at_once() {
        let before = member(7, MemberState::Stable, &[(0, 5)], &[]);
        let after = step(&Case { resubscribed: Some(false), ..case(before.clone(), &[0], &[]) });
        let expected = member(7, MemberState::Unrevoked, &[], &[(0, 5)]);
        assert_eq!(after, Current { previous_epoch: Epoch(7), ..expected });
        assert_eq!(step(&Case { resubscribed: Some(true), ..case(before.clone(), &[0], &[]) }), before);
    }
}
