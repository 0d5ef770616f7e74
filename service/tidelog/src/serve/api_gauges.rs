//! What Kafka's APIs are used for and what that takes, for whoever scrapes. The door counts; here the numbers get their names.

use std::fmt::Write;

use tidelog_kafka::{ApiUsage, TIME_BUCKETS_MICROS, TimesSoFar};

use super::gauges::head;

/// Name, kind, meaning, and the value of one API.
type Number = (&'static str, &'static str, &'static str, fn(&ApiUsage) -> u64);

const NUMBERS: &[Number] = &[
    ("tidelog_kafka_request_bytes_total", "counter", "Bytes of Kafka clients' requests, by API.", |api| {
        api.request_bytes
    }),
    ("tidelog_kafka_requests_total", "counter", "Requests of Kafka clients, by API.", |api| api.requests),
    (
        "tidelog_kafka_response_bytes_total",
        "counter",
        "Bytes of answers to Kafka clients, by API; record batches of fetches included.",
        |api| api.response_bytes,
    ),
    (
        "tidelog_kafka_waiting_requests",
        "gauge",
        "Requests of Kafka clients that were read and have no answer yet, long polls included, by API.",
        |api| api.waiting,
    ),
];

/// Name, meaning, and the times of one API.
type Times = (&'static str, &'static str, fn(&ApiUsage) -> &TimesSoFar);

const TIMES: &[Times] = &[
    (
        "tidelog_kafka_request_duration_seconds",
        "Seconds from a Kafka request's frame to the last byte of its answer, by API; long polls and pauses for order included.",
        |api| &api.total,
    ),
    (
        "tidelog_kafka_request_local_seconds",
        "Seconds of a Kafka request in its handler, until the connection's next request could be looked at, by API.",
        |api| &api.local,
    ),
    (
        "tidelog_kafka_request_queue_seconds",
        "Seconds that a Kafka request waited for room in the memory for requests, by API.",
        |api| &api.queue,
    ),
    (
        "tidelog_kafka_request_remote_seconds",
        "Seconds that a Kafka request waited after its handler, by API: for a log thread, a flush, other members, records, the object store.",
        |api| &api.remote,
    ),
    (
        "tidelog_kafka_request_throttle_seconds",
        "Seconds that a Kafka client was told to pause because of a quota, by API; 0 for every other request.",
        |api| &api.throttle,
    ),
    (
        "tidelog_kafka_response_send_seconds",
        "Seconds until the connection of a Kafka client had taken an answer, by API.",
        |api| &api.send,
    ),
];

/// The heads of all metrics of this file.
#[cfg(test)]
pub(super) fn heads() -> String {
    text(&[])
}

/// Every API, and the times of those that were used: they have too many series to have them all.
pub(crate) fn render() -> String {
    text(&tidelog_kafka::api_usage())
}

fn text(apis: &[ApiUsage]) -> String {
    let mut out = String::new();
    for (name, kind, meaning, value) in NUMBERS {
        head(&mut out, name, kind, meaning);
        for api in apis {
            let _ = writeln!(out, "{name}{{api=\"{}\"}} {}", api.api, value(api));
        }
    }
    for (name, meaning, times) in TIMES {
        head(&mut out, name, "histogram", meaning);
        for api in apis.iter().filter(|api| api.requests > 0) {
            histogram(&mut out, name, api.api, times(api));
        }
    }
    out
}

fn histogram(out: &mut String, name: &str, api: &str, times: &TimesSoFar) {
    let mut count = 0;
    for (end, here) in TIME_BUCKETS_MICROS.iter().zip(times.buckets) {
        count += here;
        let _ = writeln!(out, "{name}_bucket{{api=\"{api}\",le=\"{}\"}} {count}", seconds(end.saturating_mul(1_000)));
    }
    count += times.beyond;
    let _ = writeln!(out, "{name}_bucket{{api=\"{api}\",le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum{{api=\"{api}\"}} {}", seconds(times.nanos));
    let _ = writeln!(out, "{name}_count{{api=\"{api}\"}} {count}");
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_has_its_numbers_and_times() {
        let mut times = TimesSoFar::default();
        (times.buckets[0], times.buckets[2], times.beyond, times.nanos) = (2, 1, 1, 61_000_500_000);
        let none = TimesSoFar::default();
        let used = ApiUsage {
            api: "Produce",
            requests: 4,
            request_bytes: 40,
            response_bytes: 80,
            waiting: 1,
            total: times,
            queue: none,
            local: none,
            remote: none,
            throttle: none,
            send: none,
        };
        let unused = ApiUsage {
            api: "Fetch",
            requests: 0,
            request_bytes: 0,
            response_bytes: 0,
            waiting: 0,
            total: none,
            ..used.clone()
        };
        let text = text(&[used, unused]);
        for line in [
            "# TYPE tidelog_kafka_requests_total counter\n",
            "tidelog_kafka_requests_total{api=\"Produce\"} 4\n",
            "tidelog_kafka_requests_total{api=\"Fetch\"} 0\n",
            "tidelog_kafka_waiting_requests{api=\"Produce\"} 1\n",
            "# TYPE tidelog_kafka_request_duration_seconds histogram\n",
            "tidelog_kafka_request_duration_seconds_bucket{api=\"Produce\",le=\"0.0001\"} 2\n",
            "tidelog_kafka_request_duration_seconds_bucket{api=\"Produce\",le=\"0.00025\"} 2\n",
            "tidelog_kafka_request_duration_seconds_bucket{api=\"Produce\",le=\"0.0005\"} 3\n",
            "tidelog_kafka_request_duration_seconds_bucket{api=\"Produce\",le=\"60\"} 3\n",
            "tidelog_kafka_request_duration_seconds_bucket{api=\"Produce\",le=\"+Inf\"} 4\n",
            "tidelog_kafka_request_duration_seconds_sum{api=\"Produce\"} 61.0005\n",
            "tidelog_kafka_request_duration_seconds_count{api=\"Produce\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("_count{api=\"Fetch\"}"), "{text}");
    }
}
