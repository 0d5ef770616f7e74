//! Counters whose labels' values are known begin at 0: what begins with its first event has no first event for who asks for a rate.

use tidelog_coordinator::group::GroupKind;
use tidelog_model::QuotaKind;

/// Those of the use cases.
pub(crate) fn begin() {
    for kind in [GroupKind::Classic, GroupKind::Consumer] {
        metrics::counter!("tidelog_consumer_group_rebalances_total", "type" => kind.name()).increment(0);
    }
    for result in ["commit", "abort"] {
        metrics::counter!("tidelog_transactions_completed_total", "result" => result).increment(0);
    }
    for kind in QuotaKind::of_requests() {
        metrics::counter!("tidelog_http_throttled_requests_total", "quota" => kind.name()).increment(0);
    }
}

/// Those of a listener that is opened.
pub(crate) fn begin_listener(listener: &str) {
    let name = || listener.to_owned();
    metrics::counter!("tidelog_connections_opened_total", "listener" => name()).increment(0);
    for reason in ["per_ip", "rate", "strangers"] {
        metrics::counter!("tidelog_connections_refused_total", "listener" => name(), "reason" => reason).increment(0);
    }
}
