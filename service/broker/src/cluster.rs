//! This broker's image of the cluster: follows the metadata store, carries out decisions, and wakes who waits for a revision.

use std::sync::Arc;

use parking_lot::RwLock;
use tidelog_metadata::decide::{Plan, Refusal};
use tidelog_metadata::port::Watched;
use tidelog_metadata::{ClusterImage, ImageChange, MetadataStore, Revision, StoreError};
use tidelog_model::KafkaError;
use tidelog_security::{AclAuthorizer, AclSet};
use tidelog_store::{Ran, run};
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
    /// Gets the image's access rules, if they bind.
    acls: Option<Arc<AclAuthorizer>>,
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
        Ok(Cluster { store, image: RwLock::new(Arc::new(image)), revision, acls })
    }

    /// The image as of now; keep it as long as you like.
    pub(crate) fn image(&self) -> Arc<ClusterImage> {
        Arc::clone(&self.image.read())
    }

    pub(crate) fn store(&self) -> &dyn MetadataStore {
        &*self.store
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
                            self.publish(image, told.contains(&ImageChange::Acls));
                        }
                        Err(error) => {
                            return Err(StoreError::Corrupt { store: "metadata".into(), reason: error.to_string() });
                        }
                    }
                }
                Watched::Compacted => {
                    let listing = self.store.list("").await?;
                    match ClusterImage::from_listing(&listing) {
                        Ok(image) => self.publish(image, true),
                        Err(error) => {
                            return Err(StoreError::Corrupt { store: "metadata".into(), reason: error.to_string() });
                        }
                    }
                    return Ok(());
                }
            }
        }
    }

    fn publish(&self, image: ClusterImage, other_rules: bool) {
        let revision = image.revision();
        // Before anybody hears of the revision: an access rule holds when the request that made it is answered.
        if let Some(acls) = self.acls.as_ref().filter(|_| other_rules) {
            acls.replace(rules(&image));
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
            match run(&*self.store, plan).await.map_err(|error| store_error(&error))? {
                Ran::Committed(revision) => {
                    self.reached(revision).await?;
                    return Ok(decided);
                }
                Ran::Conflict(revision) => self.reached(revision).await?,
            }
        }
        Err(BrokerError::new(KafkaError::RequestTimedOut, "other changes kept coming first; try again"))
    }
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
