//! Which objects nobody needs any more: old versions, old snapshots, segment objects that no manifest names.

use tidelog_model::Timestamp;

use super::{Effect, Found, Image, Manifest, Upload};

impl Manifest {
    /// The first version that must stay: the newest few, and all from the second-newest snapshot on.
    fn kept_from(&self) -> Option<u64> {
        let newest = self.image.as_ref()?.number;
        let (_, second) = self.snapshots;
        Some(second?.min(newest.saturating_sub(self.rules.versions_kept.saturating_sub(1))))
    }

    /// Old versions, after a new snapshot.
    pub(super) fn trim(&mut self) -> Option<Effect> {
        let (oldest, kept) = (self.oldest?, self.kept_from()?);
        if oldest >= kept {
            return None;
        }
        self.oldest = Some(kept);
        Some(Effect::DeleteVersions((oldest..kept).collect()))
    }

    /// What nobody names. A paused leader of a lower epoch cannot commit any more, so its objects go at once; our own epoch's
    /// may be an upload at work; a higher epoch's are none of our business. What was too young at the last look
    /// goes now: only we could name it and do not, and where nothing is written the store's clock stands still.
    pub(super) fn collect(&mut self, found: Found) -> Vec<Effect> {
        self.collected = true;
        let Some(image) = self.image.clone() else { return Vec::new() };
        let ours = match &self.upload {
            Upload::None => None,
            Upload::Flying { name, .. } => Some(*name),
            Upload::Ready(entry) => Some(entry.object()),
        };
        // The store's own clock: its newest time stamp is at most as late as now.
        let times = found.segments.iter().map(|(_, time)| *time).chain(found.versions.iter().map(|(_, time)| *time));
        let store_now = times.max().unwrap_or(Timestamp::NONE);
        let grace = i64::try_from(self.rules.grace.as_millis()).unwrap_or(i64::MAX);
        let mut unnamed = Vec::new();
        let suspects = std::mem::take(&mut self.suspects);
        let mut young = std::mem::take(&mut self.collect_again);
        for (name, written) in found.segments {
            if image.names(&name) || Some(name) == ours || name.epoch > self.epoch {
                continue;
            }
            let old = store_now.get().saturating_sub(written.get()) >= grace || suspects.contains(&name);
            if name.epoch < self.epoch || old {
                unnamed.push(name);
            } else {
                young = true;
                self.suspects.push(name);
            }
        }
        let mut effects = Vec::new();
        if !unnamed.is_empty() {
            effects.push(Effect::DeleteObjects(unnamed));
        }
        if young {
            effects.push(Effect::CollectLater);
        }
        effects.extend(self.collect_versions(&image, &found.versions, &found.snapshots));
        effects
    }

    fn collect_versions(&mut self, image: &Image, versions: &[(u64, Timestamp)], snapshots: &[u64]) -> Vec<Effect> {
        let mut known: Vec<u64> = snapshots.iter().copied().filter(|number| *number <= image.number).collect();
        known.sort_unstable_by(|a, b| b.cmp(a));
        self.snapshots = (known.first().copied(), known.get(1).copied());
        let mut effects = Vec::new();
        self.oldest = versions.first().map(|(number, _)| *number);
        if let Some(kept) = self.kept_from() {
            let old: Vec<u64> = versions.iter().map(|(number, _)| *number).filter(|number| *number < kept).collect();
            if !old.is_empty() {
                effects.push(Effect::DeleteVersions(old));
            }
            self.oldest = Some(kept);
        }
        let old: Vec<u64> = known.get(2..).unwrap_or_default().to_vec();
        if !old.is_empty() {
            effects.push(Effect::DeleteSnapshots(old));
        }
        effects
    }
}
