//! Quotas: what is set (KIP-546), what callers have used, and how long they must pause (KIP-219). The Kafka door makes its callers pause;
//! the gateway's are refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_metadata::decide::{self, Plan, QuotaChange};
use tidelog_model::{Caller, Door, KafkaError, QuotaEntity, QuotaKind, QuotaTable, canonical_address};
use tidelog_security::{Operation, Quotas};

use crate::BrokerError;
use crate::about::Listed;
use crate::broker::Broker;

/// What callers have used.
#[derive(Default)]
pub(crate) struct Used(Mutex<Quotas>);

/// Quotas by name, of each entity that has some.
pub type StoredQuotas = BTreeMap<QuotaEntity, BTreeMap<String, f64>>;

/// One part of what entities must be like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QuotaMatch {
    /// This name; `None` is the default.
    Exactly(Option<String>),
    /// Any name, or the default.
    Any,
}

/// Which entities are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuotaFilter {
    /// What their parts must be like, by type.
    pub parts: Vec<(String, QuotaMatch)>,
    /// They have no other parts.
    pub strict: bool,
}

/// The controller mutations of one request (KIP-599).
#[derive(Debug)]
pub struct Mutations {
    /// Refuse what comes after the quota is used up, rather than let the caller pause afterwards.
    strict: bool,
    pause: Duration,
}

impl Mutations {
    /// For callers that understand THROTTLING_QUOTA_EXCEEDED.
    pub fn strict() -> Self {
        Mutations { strict: true, pause: Duration::ZERO }
    }

    /// For callers that do not: everything is carried out.
    pub fn permissive() -> Self {
        Mutations { strict: false, pause: Duration::ZERO }
    }

    /// How long the caller must pause now.
    pub fn pause(&self) -> Duration {
        self.pause
    }
}

impl Broker {
    /// Counts what a caller uses; says how long it must pause.
    pub fn charge(&self, caller: &Caller, kind: QuotaKind, amount: f64) -> Duration {
        match self.limited(caller) {
            Some(table) => self.used().0.lock().charge(self.clock().now(), &table, kind, caller, amount),
            None => Duration::ZERO,
        }
    }

    /// As [`charge`](Self::charge), but nothing is counted if the caller must pause: what it asked for does not happen.
    pub fn charge_or_refuse(&self, caller: &Caller, kind: QuotaKind, amount: f64) -> Duration {
        let Some(table) = self.limited(caller) else { return Duration::ZERO };
        let (now, mut used) = (self.clock().now(), self.used().0.lock());
        let pause = used.charge(now, &table, kind, caller, amount);
        if pause > Duration::ZERO {
            used.take_back(now, &table, kind, caller, amount);
        }
        pause
    }

    /// How long a caller must pause for what it has used already.
    pub fn pause(&self, caller: &Caller, kind: QuotaKind) -> Duration {
        match self.limited(caller) {
            Some(table) => self.used().0.lock().pause(self.clock().now(), &table, kind, caller),
            None => Duration::ZERO,
        }
    }

    /// Counts time that the server's threads work for a caller, in percent of one thread (KIP-124); says how long it must pause.
    pub fn charge_time(&self, caller: &Caller, time: Duration) -> Duration {
        // A second of one thread is 100.
        self.charge(caller, QuotaKind::RequestPercentage, time.as_secs_f64() * 100.0)
    }

    /// For doors that cannot make their callers pause: refuses who has used too much of the server's time.
    pub fn admit_request(&self, caller: &Caller) -> Result<(), BrokerError> {
        self.admit(caller, QuotaKind::RequestPercentage, 0)
    }

    /// Is the time that requests take worth measuring?
    pub fn has_quotas(&self) -> bool {
        !self.image().quotas().is_empty()
    }

    /// The most that one answer to this caller may hold: more than a quota's windows would never be let through.
    pub fn most_at_once(&self, caller: &Caller, kind: QuotaKind) -> Option<usize> {
        let table = self.limited(caller)?;
        // Saturates; a bound of less than a byte is a byte.
        Quotas::most(&table, kind, caller).map(|most| (most as usize).max(1))
    }

    /// Counts partitions that a request creates or deletes, or refuses them.
    pub(crate) fn mutate(
        &self,
        caller: &Caller,
        mutations: &mut Mutations,
        partitions: usize,
    ) -> Result<(), BrokerError> {
        let kind = QuotaKind::ControllerMutationRate;
        if mutations.strict {
            let pause = self.pause(caller, kind);
            if pause > Duration::ZERO {
                mutations.pause = mutations.pause.max(pause);
                self.count_throttled(caller, kind);
                return Err(BrokerError { pause: Some(pause), ..KafkaError::ThrottlingQuotaExceeded.into() });
            }
            // Whoever is within the quota may exceed it once, and hears of it with the next request.
            self.charge(caller, kind, partitions as f64);
        } else {
            let pause = self.charge(caller, kind, partitions as f64);
            mutations.pause = mutations.pause.max(pause);
        }
        Ok(())
    }

    /// For doors that cannot make their callers pause: refuses who is beyond a quota. Who is within may exceed it once.
    pub(crate) fn admit(&self, caller: &Caller, kind: QuotaKind, amount: usize) -> Result<(), BrokerError> {
        if !is_refused_rather(caller) {
            return Ok(());
        }
        let pause = self.pause(caller, kind);
        if pause > Duration::ZERO {
            self.count_throttled(caller, kind);
            return Err(exceeded(kind, pause));
        }
        self.charge(caller, kind, amount as f64);
        Ok(())
    }

    /// As [`admit`](Self::admit), for callers that wait anyway: who is within the quota soon enough is not refused.
    pub(crate) async fn wait_admitted(
        &self,
        caller: &Caller,
        kind: QuotaKind,
        patience: Duration,
    ) -> Result<(), BrokerError> {
        if !is_refused_rather(caller) {
            return Ok(());
        }
        let until = tokio::time::Instant::now() + patience;
        for attempt in 0u64.. {
            let pause = self.pause(caller, kind);
            if pause.is_zero() {
                break;
            }
            if attempt == 0 {
                self.count_throttled(caller, kind);
            }
            let now = tokio::time::Instant::now();
            if now + pause > until {
                return Err(exceeded(kind, pause));
            }
            tokio::time::sleep_until(now + pause).await;
        }
        Ok(())
    }

    /// Counts a request whose caller is refused or waits because it is beyond a quota. (Kafka's door counts its own.)
    pub fn count_throttled(&self, caller: &Caller, kind: QuotaKind) {
        if is_refused_rather(caller) {
            metrics::counter!("tidelog_http_throttled_requests_total", "quota" => kind.name()).increment(1);
        }
    }

    /// Counts what a caller got whom its door cannot make pause.
    pub(crate) fn charge_door(&self, caller: &Caller, kind: QuotaKind, amount: usize) {
        if is_refused_rather(caller) {
            self.charge(caller, kind, amount as f64);
        }
    }

    /// The quotas, if there are any and the caller can have one. The service itself has none.
    fn limited(&self, caller: &Caller) -> Option<Arc<QuotaTable>> {
        if caller.door == Door::Internal {
            return None;
        }
        let table = Arc::clone(self.image().quotas());
        (!table.is_empty()).then_some(table)
    }

    /// The quotas of the entities that a filter fits, those that do not hold too: whoever is to remove them must see them.
    pub fn describe_quotas(&self, caller: &Caller, filter: &QuotaFilter) -> Result<StoredQuotas, BrokerError> {
        self.may_cluster(caller, Operation::DescribeConfigs)?;
        filter.check()?;
        let image = self.image();
        let fitting = image.stored_quotas().filter(|(entity, _)| filter.fits(entity));
        Ok(fitting.map(|(entity, quotas)| (entity.clone(), quotas.stored())).collect())
    }

    /// Changes one entity's quotas: all of them or, with an error, none. They hold at once.
    pub async fn alter_quotas(
        &self,
        caller: &Caller,
        entity: &QuotaEntity,
        changes: &[QuotaChange],
        validate_only: bool,
    ) -> Result<(), BrokerError> {
        let names = Listed(changes.iter().map(|(name, _)| name));
        self.may_cluster_about(caller, Operation::AlterConfigs, &format_args!("quotas of {entity}: {names}"))?;
        let altered = self
            .cluster_image()
            .carry_out(|image| {
                let change = decide::alter_quotas(image, entity, changes)?;
                Ok(((), change.filter(|_| !validate_only).map_or_else(Plan::default, Plan::of)))
            })
            .await;
        if !validate_only {
            let names = Listed(changes.iter().map(|(name, _)| name));
            self.audit_change(caller, "ALTER_QUOTAS", &format_args!("{entity}: {names}"), &altered);
        }
        altered
    }
}

/// HTTP has no `throttle_time_ms`: its callers are refused and told to come back. Kafka's door counts for itself.
fn is_refused_rather(caller: &Caller) -> bool {
    matches!(caller.door, Door::Rest | Door::Grpc)
}

fn exceeded(kind: QuotaKind, pause: Duration) -> BrokerError {
    let message = format!("the quota {kind} is exceeded; try again in {:.1} s", pause.as_secs_f64());
    BrokerError { pause: Some(pause), ..BrokerError::new(KafkaError::ThrottlingQuotaExceeded, message) }
}

impl QuotaFilter {
    fn check(&self) -> Result<(), BrokerError> {
        let refuse = |message: String| Err(BrokerError::new(KafkaError::InvalidRequest, message));
        for (at, (kind, _)) in self.parts.iter().enumerate() {
            if kind.is_empty() {
                return refuse("Invalid empty entity type.".into());
            }
            if self.parts.iter().skip(at + 1).any(|(other, _)| other == kind) {
                return refuse(format!("Entity type {kind} cannot appear more than once in the filter."));
            }
        }
        let has = |wanted: &str| self.parts.iter().any(|(kind, _)| kind == wanted);
        if has("ip") && (has("user") || has("client-id")) {
            return refuse("An address has no quotas together with a user or a client id.".into());
        }
        Ok(())
    }

    fn fits(&self, entity: &QuotaEntity) -> bool {
        let part = |kind: &str| entity.parts().find(|(own, _)| *own == kind).map(|(_, name)| name);
        let fits = |(kind, wanted): &(String, QuotaMatch)| match (part(kind), wanted) {
            (None, _) => false,
            (Some(_), QuotaMatch::Any) => true,
            // An address is the same however it is written.
            (Some(name), QuotaMatch::Exactly(Some(wanted))) if kind == "ip" => {
                name == Some(canonical_address(wanted).as_str())
            }
            (Some(name), QuotaMatch::Exactly(wanted)) => name == wanted.as_deref(),
        };
        self.parts.iter().all(fits) && (!self.strict || entity.parts().count() == self.parts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_fits_as_kafkas_does() {
        let fits = |parts: &[(&str, QuotaMatch)], strict, entity: &str| {
            let parts = parts.iter().map(|(kind, wanted)| ((*kind).to_string(), wanted.clone())).collect();
            QuotaFilter { parts, strict }.fits(&entity.parse().unwrap())
        };
        let named = |name: &str| QuotaMatch::Exactly(Some(name.into()));
        let default = QuotaMatch::Exactly(None);
        assert!(fits(&[], false, "user=a"));
        assert!(!fits(&[], true, "user=a"));
        assert!(fits(&[("user", named("a"))], true, "user=a"));
        assert!(fits(&[("user", named("a"))], false, "user=a,client-id=c"));
        assert!(!fits(&[("user", named("a"))], true, "user=a,client-id=c"));
        assert!(!fits(&[("user", named("a"))], false, "user=*"));
        assert!(fits(&[("user", default.clone())], false, "user=*"));
        assert!(!fits(&[("user", default)], false, "user=a"));
        assert!(fits(&[("user", QuotaMatch::Any)], false, "user=*"));
        assert!(!fits(&[("user", QuotaMatch::Any)], false, "client-id=c"));
        assert!(!fits(&[("colour", QuotaMatch::Any)], false, "client-id=c"));
        assert!(fits(&[("ip", named("2001:DB8:0::1"))], true, "ip=2001:db8::1"));
        assert!(fits(&[("ip", named("::ffff:192.0.2.1"))], true, "ip=192.0.2.1"));
        assert!(!fits(&[("user", named("::ffff:192.0.2.1"))], true, "user=192.0.2.1"));
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_refused() {
        let check = |kinds: &[&str]| {
            let parts = kinds.iter().map(|kind| ((*kind).to_string(), QuotaMatch::Any)).collect();
            QuotaFilter { parts, strict: false }.check().map_err(|error| error.error)
        };
        assert_eq!(check(&["user", "client-id"]), Ok(()));
        for bad in [&["user", "user"][..], &[""], &["ip", "user"], &["ip", "client-id"]] {
            assert_eq!(check(bad), Err(KafkaError::InvalidRequest), "{bad:?}");
        }
    }
}
