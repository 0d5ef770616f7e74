//! The bucket as its files show it: what is there, and what its manifests say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tidelog_segments::keys::ObjectName;
use tidelog_segments::manifest::{Image, Version};

/// One partition's objects. The folder is `<topic>-<topic id>/<partition>`.
#[derive(Default, Debug)]
struct Partition {
    /// With their sizes.
    segments: BTreeMap<ObjectName, u64>,
    versions: BTreeMap<u64, Vec<u8>>,
    snapshots: BTreeMap<u64, Vec<u8>>,
}

/// Everything of the cold tier in one bucket, at one moment.
#[derive(Default, Debug)]
pub(crate) struct Bucket {
    partitions: BTreeMap<String, Partition>,
    topics: BTreeSet<String>,
}

impl Bucket {
    /// Looks through the folder. What goes meanwhile is not there.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut bucket = Bucket::default();
        bucket.walk(folder, folder);
        bucket
    }

    fn walk(&mut self, root: &Path, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                self.walk(root, &path);
            } else {
                let key = path.strip_prefix(root).unwrap().to_str().unwrap();
                if let Some((_, below)) = key.split_once("/log/") {
                    self.add(below, &path);
                }
            }
        }
    }

    fn add(&mut self, key: &str, path: &Path) {
        let parts: Vec<&str> = key.split('/').collect();
        self.topics.insert(parts[0].to_owned());
        let [topic, partition, kind, name] = parts.as_slice() else { return };
        let found = self.partitions.entry(format!("{topic}/{partition}")).or_default();
        let Ok(bytes) = fs::read(path) else { return };
        match *kind {
            "segments" => drop(found.segments.insert(ObjectName::parse(name).unwrap(), bytes.len() as u64)),
            "manifest" => drop(found.versions.insert(name.parse().unwrap(), bytes)),
            "snapshot" => drop(found.snapshots.insert(name.parse().unwrap(), bytes)),
            _ => panic!("an object of nobody's: {key}"),
        }
    }

    /// Folders of topics: `<topic>-<topic id>`.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(String::as_str)
    }

    /// How many segment objects there are.
    pub(crate) fn segments(&self) -> usize {
        self.partitions.values().map(|partition| partition.segments.len()).sum()
    }

    /// How many segments the manifests of a topic name.
    pub(crate) fn named(&self, topic: &str) -> usize {
        let of_topic = self.partitions.iter().filter(|(folder, _)| folder.starts_with(&format!("{topic}-")));
        of_topic.filter_map(|(_, partition)| partition.image()).map(|image| image.entries.len()).sum()
    }

    /// Every segment that a manifest names is there, whole.
    pub(crate) fn assert_whole(&self, when: &str) {
        for (folder, partition) in &self.partitions {
            let Some(image) = partition.image() else { continue };
            for entry in &image.entries {
                let there = partition.segments.get(&entry.object());
                assert_eq!(there, Some(&entry.size), "{folder}: {} is named; {when}", entry.object().text());
            }
        }
    }

    /// Segments that no manifest names: those of lower epochs than the manifest's, or all of them. A manifest that cannot be read at this
    /// moment, because somebody works on it, is itself a reason to look again.
    pub(crate) fn orphans(&self, all: bool) -> Vec<String> {
        let mut orphans = Vec::new();
        for (folder, partition) in &self.partitions {
            let Some(image) = partition.image() else {
                orphans.push(format!("{folder}: no manifest"));
                continue;
            };
            let unnamed = partition.segments.keys().filter(|name| !image.names(name));
            let found = unnamed.filter(|name| all || name.epoch < image.epoch);
            orphans.extend(found.map(|name| format!("{folder}/segments/{}", name.text())));
        }
        orphans
    }
}

impl Partition {
    /// The manifest that the objects lead to: the newest snapshot and every version behind it. `None` if they do not fit together,
    /// which happens only while somebody works on them.
    fn image(&self) -> Option<Image> {
        let newest = self.versions.keys().last()?;
        let snapshot = self.snapshots.range(..=newest).next_back();
        let mut image = snapshot.map_or_else(|| Some(Image::default()), |(_, bytes)| Image::decode(bytes).ok())?;
        for (number, bytes) in self.versions.range(image.number + 1..) {
            let version = Version::decode(bytes).ok()?;
            if version.is_drop() {
                return image.followed_by(&Version { number: image.number + 1, previous: image.nonce, ..version }).ok();
            }
            if *number != image.number + 1 {
                return None;
            }
            image = image.followed_by(&version).ok()?;
        }
        Some(image)
    }
}
