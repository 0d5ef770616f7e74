//! Changes of settings that are stored and do not hold everywhere yet. Knows whom each concerns, and how long its author waits.

use tidelog_metadata::port::Revision;
use tidelog_model::{KafkaError, TopicId};
use tokio::time::{Instant, timeout_at};

use crate::BrokerError;
use crate::broker::Broker;
use crate::limits::ADMIN_PATIENCE;

/// A change of settings that is stored. Whom it concerns follows by itself; whoever relies on it waits. The default holds already.
#[derive(Default)]
#[must_use = "it is stored, but may not hold yet"]
pub struct Alteration(Option<Coming>);

/// Settings that are followed from a revision on.
struct Coming {
    broker: Broker,
    stored: Revision,
    concerns: Concerns,
}

/// Whose settings a change may have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Concerns {
    /// The partitions of one topic.
    Topic(TopicId),
    /// Each partition, and the broker itself.
    Everything,
}

impl Concerns {
    /// May a partition of this topic have other settings now?
    pub(crate) fn concern(self, topic: TopicId) -> bool {
        match self {
            Concerns::Topic(one) => one == topic,
            Concerns::Everything => true,
        }
    }
}

impl Alteration {
    /// What is stored by now.
    pub(crate) fn new(broker: &Broker, concerns: Concerns) -> Self {
        Alteration(Some(Coming { broker: broker.clone(), stored: broker.image().revision(), concerns }))
    }

    /// Waits until it holds.
    pub async fn hold(self) -> Result<(), BrokerError> {
        self.hold_by(Instant::now() + ADMIN_PATIENCE).await
    }

    /// The same for all of a request, which together wait no longer than one.
    pub async fn all_hold(altered: Vec<Result<Alteration, BrokerError>>) -> Vec<Result<(), BrokerError>> {
        Self::all_hold_by(Instant::now() + ADMIN_PATIENCE, altered).await
    }

    /// One that lags holds none of the others up: they are looked at also when the time is over.
    pub(crate) async fn all_hold_by(
        deadline: Instant,
        altered: Vec<Result<Alteration, BrokerError>>,
    ) -> Vec<Result<(), BrokerError>> {
        let mut held = Vec::with_capacity(altered.len());
        for altered in altered {
            held.push(match altered {
                Ok(alteration) => alteration.hold_by(deadline).await,
                Err(error) => Err(error),
            });
        }
        held
    }

    async fn hold_by(self, deadline: Instant) -> Result<(), BrokerError> {
        let Some(Coming { broker, stored, concerns }) = self.0 else { return Ok(()) };
        match timeout_at(deadline, broker.settings_taken(stored, concerns)).await {
            Ok(Some(())) => Ok(()),
            _ => Err(BrokerError::new(
                KafkaError::RequestTimedOut,
                "the change is stored, but not every partition has taken it yet",
            )),
        }
    }
}
