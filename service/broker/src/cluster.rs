//! This broker's image of the cluster: follows the metadata store, carries out decisions, and wakes who waits for a revision.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tidelog_coordinator::group::{TopicDirectory, TopicFacts};
use tidelog_metadata::decide::{Plan, Refusal};
use tidelog_metadata::port::{Transaction, Watched};
use tidelog_metadata::{ClusterImage, ImageChange, MetadataStore, Revision, StoreError, Topic};
use tidelog_model::{KafkaError, TopicName};
use tidelog_security::{AclAuthorizer, AclSet};
use tidelog_store::{Ran, run, run_all};
use tokio::sync::watch;
use tracing::error;

use crate::BrokerError;
use crate::configs::warn_of_unfit;
use crate::limits::{ADMIN_PATIENCE, MAX_CONFLICTS};

/// The image and the store behind it.
pub(crate) struct Cluster {
    store: Arc<dyn MetadataStore>,
    image: RwLock<Arc<ClusterImage>>,
    revision: watch::Sender<Revision>,
    /// What the image's topics are to group coordinators.
    directory: RwLock<Arc<TopicDirectory>>,
    /// Gets the image's access rules, if they bind.
    acls: Option<Arc<AclAuthorizer>>,
    /// The store did not take the last change.
    refuses: AtomicBool,
}

impl Cluster {
    /// Reads everything once.
    pub(crate) async fn load(
        store: Arc<dyn MetadataStore>,
        acls: Option<Arc<AclAuthorizer>>,
    ) -> Result<Self, BrokerError> {
        let image = list(&*store).await?;
        let nothing = ClusterImage::default();
        warn_of_unfit(&nothing, &image, &nothing.diff(&image));
        let (revision, _) = watch::channel(image.revision());
        if let Some(acls) = &acls {
            acls.replace(rules(&image));
        }
        let directory = RwLock::new(Arc::new(TopicDirectory::new(1, image.topics().map(entry))));
        let image = RwLock::new(Arc::new(image));
        Ok(Cluster { store, image, revision, directory, acls, refuses: AtomicBool::new(false) })
    }

    /// The image as of now; keep it as long as you like.
    pub(crate) fn image(&self) -> Arc<ClusterImage> {
        Arc::clone(&self.image.read())
    }

    /// The topics as group coordinators see them.
    pub(crate) fn directory(&self) -> Arc<TopicDirectory> {
        Arc::clone(&self.directory.read())
    }

    pub(crate) fn store(&self) -> &dyn MetadataStore {
        &*self.store
    }

    /// Did the store not take the last change?
    pub(crate) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// What became of a change; remembers whether the store takes any.
    fn ran(&self, ran: Result<Ran, StoreError>) -> Result<Ran, BrokerError> {
        let refused = matches!(&ran, Err(StoreError::Unavailable(_) | StoreError::Corrupt { .. } | StoreError::Closed));
        self.refuses.store(refused, Ordering::Relaxed);
        ran.map_err(|error| store_error(&error))
    }

    /// Sees every revision that the image reaches.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Follows the store for ever. Returns only when the truth can no longer be known.
    pub(crate) async fn follow(&self) -> BrokerError {
        loop {
            if let Err(error) = self.follow_once().await {
                match error {
                    StoreError::Unavailable(reason) => {
                        error!(%reason, "the metadata store does not answer; trying again");
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    }
                    other => return store_error(&other),
                }
            }
        }
    }

    async fn follow_once(&self) -> Result<(), StoreError> {
        let mut watch = self.store.watch("", self.image().revision()).await?;
        loop {
            match watch.next().await? {
                Watched::Changes(changes) => {
                    let before = self.image();
                    let mut image = ClusterImage::clone(&before);
                    match image.apply(&changes) {
                        Ok(told) => {
                            warn_of_unfit(&before, &image, &told);
                            self.publish(image, Some(&told));
                        }
                        Err(error) => {
                            return Err(StoreError::Corrupt { store: "metadata".into(), reason: error.to_string() });
                        }
                    }
                }
                Watched::Compacted => {
                    let listing = self.store.list("").await?;
                    match ClusterImage::from_listing(&listing) {
                        Ok(image) => self.publish(image, None),
                        Err(error) => {
                            return Err(StoreError::Corrupt { store: "metadata".into(), reason: error.to_string() });
                        }
                    }
                    return Ok(());
                }
            }
        }
    }

    /// `told` is where the image differs from the one before; `None` if that is not known.
    fn publish(&self, image: ClusterImage, told: Option<&[ImageChange]>) {
        let revision = image.revision();
        // Before anybody hears of the revision: an access rule holds when the request that made it is answered.
        let other_rules = told.is_none_or(|told| told.contains(&ImageChange::Acls));
        if let Some(acls) = self.acls.as_ref().filter(|_| other_rules) {
            acls.replace(rules(&image));
        }
        // After the rules: whoever knows this directory is judged by them.
        let before = self.directory();
        if let Some(next) = next_directory(&before, &image, told, other_rules && self.acls.is_some()) {
            *self.directory.write() = Arc::new(next);
        }
        *self.image.write() = Arc::new(image);
        self.revision.send_replace(revision);
    }

    /// Waits until the image has reached `revision`.
    pub(crate) async fn reached(&self, revision: Revision) -> Result<(), BrokerError> {
        let mut seen = self.revisions();
        let reached = seen.wait_for(|now| *now >= revision);
        match tokio::time::timeout(ADMIN_PATIENCE, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(BrokerError::new(
                KafkaError::RequestTimedOut,
                "the change is stored, but this broker has not seen it yet",
            )),
        }
    }

    /// Decides from the newest image, carries the plan out, and decides again if somebody else was faster. Returns what `decide` gave
    /// beside the plan, once this broker's image has the change.
    pub(crate) async fn carry_out<T>(
        &self,
        mut decide: impl FnMut(&ClusterImage) -> Result<(T, Plan), Refusal>,
    ) -> Result<T, BrokerError> {
        for _ in 0..MAX_CONFLICTS {
            let (decided, plan) = decide(&self.image())?;
            match self.ran(run(&*self.store, plan).await)? {
                Ran::Committed(revision) => {
                    self.reached(revision).await?;
                    return Ok(decided);
                }
                Ran::Conflict(revision) => self.reached(revision).await?,
            }
        }
        Err(outrun())
    }

    /// Carries out transactions that do not depend on each other, all at once, and decides again until there are none left.
    pub(crate) async fn carry_out_all(
        &self,
        mut decide: impl FnMut(&ClusterImage) -> Vec<Transaction>,
    ) -> Result<(), BrokerError> {
        for _ in 0..MAX_CONFLICTS {
            let transactions = decide(&self.image());
            if transactions.is_empty() {
                return Ok(());
            }
            let (Ran::Committed(revision) | Ran::Conflict(revision)) =
                self.ran(run_all(&self.store, transactions).await)?;
            self.reached(revision).await?;
        }
        Err(outrun())
    }
}

fn outrun() -> BrokerError {
    BrokerError::new(KafkaError::RequestTimedOut, "other changes kept coming first; try again")
}

/// The directory after a change of the image, if it is another one. Under other rules somebody may see other topics of it.
fn next_directory(
    before: &TopicDirectory,
    image: &ClusterImage,
    told: Option<&[ImageChange]>,
    other_rules: bool,
) -> Option<TopicDirectory> {
    let revision = before.revision + 1;
    let Some(told) = told else { return Some(TopicDirectory::new(revision, image.topics().map(entry))) };
    let mut next = before.clone();
    let mut differs = other_rules;
    for change in told {
        let ImageChange::Topic(id) = change else { continue };
        differs |= match image.topic_by_id(*id) {
            Some(topic) => {
                let (name, facts) = entry(topic);
                next.set(name, facts)
            }
            None => next.remove(*id),
        };
    }
    next.revision = revision;
    differs.then_some(next)
}

fn entry(topic: &Arc<Topic>) -> (TopicName, TopicFacts) {
    (topic.name.clone(), TopicFacts { id: topic.id, partitions: topic.partition_count })
}

fn rules(image: &ClusterImage) -> AclSet {
    AclSet::new(image.acls().map(|(_, rule)| rule))
}

async fn list(store: &dyn MetadataStore) -> Result<ClusterImage, BrokerError> {
    let listing = store.list("").await.map_err(|error| store_error(&error))?;
    ClusterImage::from_listing(&listing)
        .map_err(|error| BrokerError::new(KafkaError::UnknownServerError, error.to_string()))
}

/// What a caller hears when the store fails; the operator's sentence goes to the log.
pub(crate) fn store_error(error: &StoreError) -> BrokerError {
    error!(%error, "metadata store");
    BrokerError::new(KafkaError::BrokerNotAvailable, "the metadata store does not answer; try again")
}

impl From<Refusal> for BrokerError {
    fn from(refusal: Refusal) -> Self {
        BrokerError::new(refusal.error, refusal.message)
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::TopicId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_directory_is_another_one_only_if_topics_or_rules_are() {
        let name = TopicName::new("t").unwrap();
        let facts = TopicFacts { id: TopicId(Uuid::from_u128(1)), partitions: 1 };
        let before = TopicDirectory::new(5, [(name, facts)]);
        let image = ClusterImage::default();
        let next = |told: &[ImageChange], rules| next_directory(&before, &image, Some(told), rules);
        assert_eq!(next(&[ImageChange::ProducerIds, ImageChange::Partition(facts.id, 0.into())], false), None);
        assert_eq!(next(&[ImageChange::Acls], false), None, "rules that do not bind");
        let other_rules = next(&[ImageChange::Acls], true).unwrap();
        assert_eq!((other_rules.revision, other_rules.names().count()), (6, 1));
        let gone = next(&[ImageChange::Topic(facts.id)], false).unwrap();
        assert_eq!((gone.revision, gone.names().count()), (6, 0));
        assert_eq!(next_directory(&before, &image, None, false), Some(TopicDirectory::new(6, [])));
    }
}
