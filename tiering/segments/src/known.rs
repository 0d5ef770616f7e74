//! The last committed manifest of each partition, on the local disk: what was known of the store, which a reader of the store does not believe.

use std::path::{Path, PathBuf};

use tidelog_model::TopicIdPartition;

use crate::manifest::Image;

/// Where they lie in a tier's cache.
pub(crate) fn folder(cache: &Path) -> PathBuf {
    cache.join("manifests")
}

/// The file of one partition. Without the topic's name: the longest leave no room for anything else.
pub(crate) fn file(folder: &Path, id: &TopicIdPartition) -> PathBuf {
    folder.join(format!("{}-{}", id.id, id.partition))
}

/// What a file says; `None` if it is damaged or absent: the store has it all.
pub(crate) fn read(file: &Path) -> Option<Image> {
    std::fs::read(file).ok().and_then(|bytes| Image::decode(&bytes).ok())
}

/// What a tier with this cache knew last of a partition, for whoever cannot ask the store; `None` if it knew nothing.
pub fn last_known(cache: &Path, id: &TopicIdPartition) -> Option<Image> {
    read(&file(&folder(cache), id)).filter(|image| !image.dropped)
}
