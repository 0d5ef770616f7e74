//! A topic's settings on their way to the log thread. Decides nothing but which hold next: the last that the image gave, however often
//! they changed while they waited.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::Shared;
use tidelog_metadata::TopicConfig;
use tokio::sync::oneshot;

use super::{Maintenance, Replica, Work};

/// Ends when settings hold, or when they never will because the replica has ended.
pub(super) type Holds = Shared<oneshot::Receiver<()>>;

/// What the image says, and whether the log thread has still to hear of it.
pub(super) struct Settings {
    latest: Arc<TopicConfig>,
    /// While an entry for them is in the queue, or is being carried out.
    coming: Option<Holds>,
}

impl Settings {
    pub(super) fn of(config: &Arc<TopicConfig>) -> Self {
        Settings { latest: Arc::clone(config), coming: None }
    }
}

impl Replica {
    /// These settings shall hold. They are compared with the last ones that were asked for: those that hold may be on their way out.
    pub(crate) fn follow(self: &Arc<Self>, config: Arc<TopicConfig>) {
        let mut settings = self.settings.lock();
        if *settings.latest == *config {
            return;
        }
        settings.latest = config;
        if settings.coming.is_some() {
            return;
        }
        let (done, holds) = oneshot::channel();
        settings.coming = Some(holds.shared());
        drop(settings);
        self.enqueue_internal(Work::Maintain(Maintenance::Settings, done));
    }

    /// What tells when the last settings hold; `None` if they do.
    pub(crate) fn settings_to_come(&self) -> Option<Holds> {
        self.settings.lock().coming.clone()
    }

    /// Carries out the last settings, also those that come meanwhile.
    pub(super) fn take_settings(&self, mut carry_out: impl FnMut(&Arc<TopicConfig>)) {
        loop {
            let latest = Arc::clone(&self.settings.lock().latest);
            carry_out(&latest);
            let mut settings = self.settings.lock();
            if Arc::ptr_eq(&settings.latest, &latest) {
                settings.coming = None;
                return;
            }
        }
    }
}
