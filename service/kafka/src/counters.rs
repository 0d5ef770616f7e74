//! Counters whose labels' values are known begin at 0: what begins with its first event has no first event for who asks for a rate.

use tidelog_model::QuotaKind;

use crate::auth::SaslOptions;
use crate::connection::End;

/// Those of the door.
pub(crate) fn begin() {
    for reason in ["slow", "no_room"] {
        metrics::counter!("tidelog_kafka_frames_given_up_total", "reason" => reason).increment(0);
    }
    for kind in QuotaKind::of_requests() {
        metrics::counter!("tidelog_kafka_throttled_requests_total", "quota" => kind.name()).increment(0);
    }
}

/// Those of a listener that is opened, by its name in small letters.
pub(crate) fn begin_listener(listener: &str, sasl: Option<&SaslOptions>) {
    for end in End::ALL {
        let listener = listener.to_owned();
        metrics::counter!("tidelog_connections_closed_total", "listener" => listener, "reason" => end.name())
            .increment(0);
    }
    for mechanism in sasl.iter().flat_map(|sasl| &sasl.mechanisms) {
        for result in ["success", "failure"] {
            let mechanism = mechanism.name();
            metrics::counter!("tidelog_kafka_authentications_total", "mechanism" => mechanism, "result" => result)
                .increment(0);
        }
    }
}
