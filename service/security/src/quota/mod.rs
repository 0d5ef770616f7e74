//! How long a caller must pause. Decides which quota holds for whom and whether it is exceeded; never waits and never reads a clock.
//!
//! Rates are Kafka's: eleven windows of a second. A caller who has used more than a quota allows pauses as long as its use exceeds
//! what these windows allow. Creations and deletions draw from a bucket instead, which refills at the quota's rate (KIP-599).

mod connections;
mod meter;
mod strangers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tidelog_model::{Caller, Now, QuotaEntity, QuotaKind, QuotaName, QuotaTable};

use crate::limits::{COUNTERS_BEFORE_SWEEP, MAX_COUNTERS, MAX_REQUEST_PAUSE, SWEEP_PAUSE};
use meter::Meter;

pub use connections::Connections;
pub use strangers::Welcome;

/// What has been used, by whom.
#[derive(Debug, Default)]
pub struct Quotas {
    meters: HashMap<Counter, Meter>,
    /// At so many counts the idle ones are looked for …
    sweep_at: usize,
    /// … but not before this moment.
    sweep_from: Duration,
}

/// What one count is kept for: the parts that the quota's entity has, each with the caller's own name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Counter {
    kind: QuotaKind,
    user: Option<Arc<str>>,
    client_id: Option<Arc<str>>,
    ip: Option<IpAddr>,
}

/// The quota that holds for a caller.
struct Rule {
    bound: f64,
    counter: Counter,
}

impl Quotas {
    /// Counts what the caller uses; says how long it must pause.
    pub fn charge(&mut self, now: Now, table: &QuotaTable, kind: QuotaKind, caller: &Caller, amount: f64) -> Duration {
        let Some(rule) = rule(table, kind, caller) else { return Duration::ZERO };
        let pause = self.meter(now, &rule).charge(now, rule.bound, amount);
        // Time used is no debt as bytes are: Kafka lets nobody pause longer than a window for it.
        if kind == QuotaKind::RequestPercentage { pause.min(MAX_REQUEST_PAUSE) } else { pause }
    }

    /// Takes a charge of the same moment back: what it was for did not happen.
    pub fn take_back(&mut self, now: Now, table: &QuotaTable, kind: QuotaKind, caller: &Caller, amount: f64) {
        if let Some(rule) = rule(table, kind, caller) {
            self.meter(now, &rule).take_back(now, rule.bound, amount);
        }
    }

    /// How long the caller must pause for what it has used already.
    pub fn pause(&mut self, now: Now, table: &QuotaTable, kind: QuotaKind, caller: &Caller) -> Duration {
        rule(table, kind, caller).map_or(Duration::ZERO, |rule| self.meter(now, &rule).pause(now, rule.bound))
    }

    /// The most that a caller who has used nothing can use at once without a pause; `None` = as much as it likes.
    pub fn most(table: &QuotaTable, kind: QuotaKind, caller: &Caller) -> Option<f64> {
        rule(table, kind, caller).map(|rule| rule.bound * meter::FULL_WINDOWS)
    }

    /// Forgets idle counts, seldom enough that each pays for itself.
    fn sweep(&mut self, now: Now) {
        if self.meters.len() < self.sweep_at.max(COUNTERS_BEFORE_SWEEP) || now.monotonic < self.sweep_from {
            return;
        }
        self.meters.retain(|_, meter| !meter.is_idle(now));
        self.sweep_at = (self.meters.len() * 2).min(MAX_COUNTERS);
        if self.sweep_at == MAX_COUNTERS {
            self.sweep_from = now.monotonic + SWEEP_PAUSE;
        }
    }

    fn meter(&mut self, now: Now, rule: &Rule) -> &mut Meter {
        let mut counter = rule.counter.clone();
        if !self.meters.contains_key(&counter) {
            self.sweep(now);
            if self.meters.len() >= MAX_COUNTERS {
                // Somebody invents client ids, or comes from ever other addresses: from here on they share one count.
                counter.client_id = None;
                counter.ip = None;
            }
        }
        self.meters.entry(counter).or_insert_with(|| Meter::new(rule.counter.kind, now, rule.bound))
    }
}

/// The most specific quota that fits the caller, in Kafka's order.
fn rule(table: &QuotaTable, kind: QuotaKind, caller: &Caller) -> Option<Rule> {
    if table.is_empty() {
        return None;
    }
    if kind == QuotaKind::ConnectionCreationRate {
        let ip = caller.host.to_canonical();
        // One address by its own quota; of those that have none, all of a network of IPv6 as one: whoever has one has all of them.
        let order = [(QuotaName::new(Some(&ip.to_string())), ip), (QuotaName::Default, caller.network())];
        return order.into_iter().find_map(|(name, ip)| {
            let bound = *table.get(&QuotaEntity { ip: Some(name), ..QuotaEntity::default() })?.get(&kind)?;
            Some(Rule { bound, counter: Counter { kind, user: None, client_id: None, ip: Some(ip) } })
        });
    }
    let principal = caller.principal.as_str();
    let user: Arc<str> = Arc::from(principal.strip_prefix("User:").unwrap_or(principal));
    let named = |name: &Arc<str>| Some(QuotaName::Named(Arc::clone(name)));
    let client_id = &caller.client_id;
    let order = [
        (named(&user), named(client_id)),
        (named(&user), Some(QuotaName::Default)),
        (named(&user), None),
        (Some(QuotaName::Default), named(client_id)),
        (Some(QuotaName::Default), Some(QuotaName::Default)),
        (Some(QuotaName::Default), None),
        (None, named(client_id)),
        (None, Some(QuotaName::Default)),
    ];
    order.into_iter().find_map(|(of_user, of_client)| {
        let counter = Counter {
            kind,
            user: of_user.as_ref().map(|_| Arc::clone(&user)),
            client_id: of_client.as_ref().map(|_| Arc::clone(client_id)),
            ip: None,
        };
        let bound = *table.get(&QuotaEntity { user: of_user, client_id: of_client, ip: None })?.get(&kind)?;
        Some(Rule { bound, counter })
    })
}
