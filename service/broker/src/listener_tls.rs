//! The own TLS of encrypted listeners, changed while the server runs (KIP-226, KIP-651). Decides when it is judged and when it holds; whoever
//! opened the listeners reads the certificates ([`TlsListeners`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata::broker_config::{ListenerTls, is_listener_tls, listener_config};
use tidelog_metadata::decide::{ConfigEdit, Settings, altered_broker_configs};
use tidelog_metadata::{BrokerOverrides, ConfigError};
use tidelog_model::{KafkaError, NodeId};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::BrokerError;
use crate::broker::Broker;
use crate::limits::ADMIN_PATIENCE;

/// Puts what was judged in force.
pub type InForce = Box<dyn FnOnce() + Send>;

/// The encrypted listeners of this process.
pub trait TlsListeners: Send + Sync {
    /// Reads and judges what listeners say of their TLS, by their names in small letters; listeners that are not named have what all have.
    /// Those in `set` are being given something, and so they must be encrypted; of others something may be left that has no effect.
    /// Nothing changes until the result is called. An error is one sentence, without a secret.
    fn prepare(self: Arc<Self>, own: &BTreeMap<String, ListenerTls>, set: &BTreeSet<String>)
    -> Result<InForce, String>;
}

/// A change of listeners' TLS that was judged, and keeps others waiting until it holds or is given up.
pub(crate) struct PreparedTls {
    in_force: InForce,
    _alone: OwnedMutexGuard<()>,
}

impl PreparedTls {
    /// New connections have it from now on.
    pub(crate) fn hold(self) {
        (self.in_force)();
    }
}

/// Waits until no other change is being judged or carried out, but not for ever: files may lie on a disk that does not answer.
async fn turn(changes: Arc<Mutex<()>>, patience: Duration) -> Result<OwnedMutexGuard<()>, BrokerError> {
    tokio::time::timeout(patience, changes.lock_owned()).await.map_err(|_| {
        BrokerError::new(KafkaError::RequestTimedOut, "another change of listeners' TLS is still under way; try again")
    })
}

/// The listeners whose TLS an edit gives something: it names a setting, which then holds.
fn given(edit: &ConfigEdit, after: &BrokerOverrides) -> BTreeSet<String> {
    let held = edit.names().filter(|name| is_listener_tls(name) && after.get(name).is_some());
    held.filter_map(|name| Some(listener_config(name)?.0.to_owned())).collect()
}

impl Broker {
    /// What this broker's listeners say of their own TLS, as it is stored.
    pub fn listener_tls(&self) -> Result<BTreeMap<String, ListenerTls>, ConfigError> {
        let image = self.image();
        image
            .broker_configs(Some(self.node()))
            .map_or_else(|| Ok(BTreeMap::new()), |stored| stored.value.listener_tls())
    }

    /// Judges what an edit would make of listeners' TLS, files and all; nothing if it is about something else.
    pub(crate) async fn prepare_tls(
        &self,
        node: Option<NodeId>,
        edit: &ConfigEdit,
    ) -> Result<Option<PreparedTls>, BrokerError> {
        let names_some = edit.names().any(is_listener_tls);
        let has_some = |configs: &BrokerOverrides| configs.iter().any(|(name, _)| is_listener_tls(name));
        let image = self.image();
        let drops_some = matches!(edit, ConfigEdit::Replace(_))
            && image.broker_configs(node).is_some_and(|stored| has_some(&stored.value));
        if node.is_none() || !(names_some || drops_some) {
            return Ok(None);
        }
        let invalid = |message: String| BrokerError::new(KafkaError::InvalidRequest, message);
        let alone = turn(self.tls_changes(), ADMIN_PATIENCE).await?;
        // Others may have been first.
        let image = self.image();
        let defaults = self.topic_defaults(&image);
        let settings = Settings { broker: self.config(), defaults: &defaults };
        let after = altered_broker_configs(&image, settings, node, edit)?;
        let own = after.listener_tls().map_err(|error| invalid(error.to_string()))?;
        let set = given(edit, &after);
        let Some(listeners) = self.tls_listeners() else {
            // What is left of a start that had some can go.
            return if set.is_empty() { Ok(None) } else { Err(invalid("There is no encrypted listener.".to_owned())) };
        };
        // Files are read.
        let prepared = tokio::task::spawn_blocking(move || listeners.prepare(&own, &set)).await;
        let prepared = prepared.unwrap_or_else(|_| Err("the certificates could not be read".to_owned()));
        Ok(Some(PreparedTls { in_force: prepared.map_err(invalid)?, _alone: alone }))
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata::decide::{ConfigChange, ConfigOperation};

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_ever_for_another_change() {
        let changes = Arc::new(Mutex::new(()));
        let first = turn(Arc::clone(&changes), Duration::from_secs(60)).await.unwrap();
        let second = turn(Arc::clone(&changes), Duration::from_millis(1)).await;
        assert_eq!(second.unwrap_err().error, KafkaError::RequestTimedOut);
        drop(first);
        assert!(turn(changes, Duration::from_secs(60)).await.is_ok());
    }

    #[test]
    fn an_edit_gives_something_where_it_names_what_then_holds() {
        let change = |name: &str, operation| ConfigChange {
            name: name.to_owned(),
            operation,
            value: (operation == ConfigOperation::Set).then(|| "none".to_owned()),
        };
        let edit = ConfigEdit::Change(vec![
            change("listener.name.in.ssl.client.auth", ConfigOperation::Set),
            change("listener.name.out.ssl.keystore.location", ConfigOperation::Delete),
            change("listener.name.limited.max.connections", ConfigOperation::Set),
        ]);
        let texts = [
            ("listener.name.in.ssl.client.auth", "none"),
            ("listener.name.out.ssl.client.auth", "none"),
            ("listener.name.limited.max.connections", "5"),
        ];
        let after = BrokerOverrides::new(texts.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
        assert_eq!(given(&edit, &after), ["in".to_owned()].into());
        let replace = ConfigEdit::Replace(texts.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into());
        assert_eq!(given(&replace, &after), ["in".to_owned(), "out".to_owned()].into());
    }
}
