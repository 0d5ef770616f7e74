//! Which closed segments go, and why: time, size, log start, and what is safely remote. Pure; the log carries it out.

use tidelog_model::{Offset, Timestamp};

use crate::SegmentInfo;

/// How long a topic's records stay, named as Kafka's topic configs. `None` is "no limit" (−1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RetentionPolicy {
    /// `retention.ms`: records older than this go, milliseconds.
    pub time_ms: Option<i64>,
    /// `retention.bytes`: the oldest segments go while the partition holds more, bytes.
    pub bytes: Option<u64>,
    /// `local.retention.ms`, resolved (−2 means `retention.ms`): local copies of remote segments older than this go.
    pub local_time_ms: Option<i64>,
    /// `local.retention.bytes`, resolved: local copies of remote segments go while the local log holds more, bytes.
    pub local_bytes: Option<u64>,
}

/// What is remote, for retention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoteCopy<'a> {
    /// A committed manifest covers everything below this offset.
    pub end: Offset,
    /// All remote segments in order; those that are local too count once.
    pub segments: &'a [SegmentInfo],
}

/// The state that retention looks at.
#[derive(Clone, Copy, Debug)]
pub struct RetentionState<'a> {
    /// All local segments in order, the active one last, as [`crate::LogView::segments`] tells.
    pub segments: &'a [SegmentInfo],
    /// First offset that may be read.
    pub log_start: Offset,
    /// Records at or above it are not replicated yet and stay.
    pub high_watermark: Offset,
    /// The remote part; `None` if the topic has none or its manifest is not known. The latter keeps everything.
    pub remote: Option<RemoteCopy<'a>>,
    /// Does the topic have a remote part at all (`remote.storage.enable`)?
    pub tiered: bool,
}

/// What retention decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetentionPlan {
    /// Local segments that end at or before this offset go.
    pub delete_before: Offset,
    /// The log starts here afterwards.
    pub log_start: Offset,
    /// The active segment is wanted gone too: roll it, then ask again.
    pub roll_active: bool,
}

impl RetentionPlan {
    /// The same while somebody holds the records from `allowed` on: the log does not start beyond it, and of what is not deleted only
    /// that leaves the local disk which is remote too.
    #[must_use]
    pub fn held(self, allowed: Offset, remote: Option<RemoteCopy<'_>>) -> Self {
        let log_start = self.log_start.min(allowed);
        let elsewhere = remote.map_or(log_start, |remote| remote.end.max(log_start));
        RetentionPlan { delete_before: self.delete_before.min(elsewhere), log_start, ..self }
    }
}

/// Decides for one partition.
///
/// Records past retention go whether they are remote or not; what is remote may leave the local disk earlier, by the local limits.
/// Nothing above the high watermark goes. The oldest segments go first, without holes.
pub fn decide(policy: &RetentionPolicy, state: &RetentionState<'_>, now: Timestamp) -> RetentionPlan {
    let keep = state.segments.first().map_or(state.log_start, |segment| segment.base);
    let mut plan = RetentionPlan { delete_before: keep, log_start: state.log_start, roll_active: false };
    if state.tiered && state.remote.is_none() {
        return plan;
    }
    let older_part = remote_only(state);
    let bytes = |segments: &mut dyn Iterator<Item = &SegmentInfo>| segments.map(|segment| segment.size).sum::<u64>();
    let local_bytes = bytes(&mut state.segments.iter());
    let all_bytes = local_bytes + bytes(&mut older_part.iter().copied());
    let mut excess = policy.bytes.map(|limit| all_bytes.saturating_sub(limit));
    let mut local_excess = policy.local_bytes.map(|limit| local_bytes.saturating_sub(limit));
    let local_times = newest_times(state.segments, None);
    let older_times = newest_times(older_part.iter().copied(), local_times.first().copied().flatten());
    // The oldest go first, without holes: once a segment stays, every later one does.
    let mut expiring = true;
    for (segment, newest) in older_part.into_iter().zip(older_times) {
        expiring = older(newest, policy.time_ms, now) || fits(excess, segment.size);
        if !expiring {
            break;
        }
        excess = excess.map(|excess| excess.saturating_sub(segment.size));
        plan.log_start = plan.log_start.max(segment.end);
    }
    for (segment, newest) in state.segments.iter().zip(local_times) {
        let replicated = segment.end <= state.high_watermark && (segment.size > 0 || segment.closed);
        let expired = expiring
            && replicated
            && (older(newest, policy.time_ms, now) || (segment.closed && fits(excess, segment.size)));
        let below_start = segment.end <= state.log_start;
        expiring = expired || below_start;
        let remote = state.remote.is_some_and(|remote| segment.end <= remote.end);
        let local_expired = remote
            && replicated
            && segment.closed
            && (older(newest, policy.local_time_ms, now) || fits(local_excess, segment.size));
        if !expired && !below_start && !local_expired {
            break;
        }
        if !segment.closed {
            plan.roll_active = segment.size > 0 && (expired || below_start);
            break;
        }
        excess = excess.map(|excess| excess.saturating_sub(segment.size));
        local_excess = local_excess.map(|excess| excess.saturating_sub(segment.size));
        plan.delete_before = segment.end;
        if expired {
            plan.log_start = plan.log_start.max(segment.end);
        }
    }
    if !state.tiered {
        plan.log_start = plan.log_start.max(plan.delete_before);
    }
    plan
}

/// The readable remote segments that are not on the local disk any more.
fn remote_only<'a>(state: &RetentionState<'a>) -> Vec<&'a SegmentInfo> {
    let local_start = state.segments.first().map_or(Offset(i64::MAX), |segment| segment.base);
    let remote = state.remote.map_or(&[][..], |remote| remote.segments);
    remote.iter().filter(|segment| segment.end <= local_start && segment.end > state.log_start).collect()
}

/// The time that segments in a row go by, in their order: their largest timestamp, or where no record has one, when they were written last
/// (Kafka's `largestTimestamp`). One of which that is not known either is as old as the next (`behind` if there is none): it would hold
/// back all that follow.
pub fn newest_times<'a, I>(segments: I, behind: Option<Timestamp>) -> Vec<Option<Timestamp>>
where
    I: IntoIterator<Item = &'a SegmentInfo, IntoIter: DoubleEndedIterator>,
{
    let mut next = behind;
    let mut times: Vec<_> = segments
        .into_iter()
        .rev()
        .map(|segment| {
            next = segment.max_timestamp.or(segment.modified).or(next);
            next
        })
        .collect();
    times.reverse();
    times
}

fn older(newest: Option<Timestamp>, limit: Option<i64>, now: Timestamp) -> bool {
    match (limit, newest) {
        (Some(limit), Some(newest)) => now.0.saturating_sub(newest.0) > limit,
        _ => false,
    }
}

/// Is there still more than a whole segment too much? A segment goes only if the limit is kept without it.
fn fits(excess: Option<u64>, size: u64) -> bool {
    excess.is_some_and(|excess| excess >= size)
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
