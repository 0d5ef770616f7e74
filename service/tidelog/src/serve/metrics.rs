//! The product's metrics: the recorder, and what each metric means. Decides their help texts and the histograms' buckets; the
//! crates only count. A metric that is not in the table is found by a test.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tidelog_kafka::TIME_BUCKETS_MICROS;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Histograms keep every sample until somebody sorts them in; without this a server that nobody scrapes would only grow.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper ends of the buckets of every histogram, seconds: those of the Kafka door.
fn buckets() -> [f64; TIME_BUCKETS_MICROS.len()] {
    TIME_BUCKETS_MICROS.map(|end| end as f64 / 1e6)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Name, kind, unit, meaning.
const TABLE: &[(&str, Kind, Unit, &str)] = &[
    (
        "tidelog_audit_failed_writes_total",
        Counter,
        Unit::Count,
        "Writes of the audit log that failed; what they had is written by a later one.",
    ),
    (
        "tidelog_audit_lines_total",
        Counter,
        Unit::Count,
        "Lines of the audit log, by whether they were written or dropped for lack of room.",
    ),
    (
        "tidelog_connections_closed_total",
        Counter,
        Unit::Count,
        "Connections of Kafka clients that ended after they were let in, by listener and reason: client, idle, error, server (a stop, or a stranger's that made room); failed handshakes are counted apart.",
    ),
    (
        "tidelog_connections_opened_total",
        Counter,
        Unit::Count,
        "Connections that were let in, by listener; http is the gateway's.",
    ),
    (
        "tidelog_connections_refused_total",
        Counter,
        Unit::Count,
        "Connections that were turned away, by listener and reason: their address had too many (per_ip), they came too often (rate), or too many had not said who they are (strangers).",
    ),
    (
        "tidelog_consumer_group_offsets_committed_total",
        Counter,
        Unit::Count,
        "Positions that groups have committed, also as part of transactions.",
    ),
    (
        "tidelog_consumer_group_offsets_removed_total",
        Counter,
        Unit::Count,
        "Positions that have expired, or went with their topic or by request.",
    ),
    (
        "tidelog_consumer_group_rebalances_total",
        Counter,
        Unit::Count,
        "Generations of classic groups and epochs of groups of the consumer protocol that have begun, by type.",
    ),
    (
        "tidelog_http_authentication_failures_total",
        Counter,
        Unit::Count,
        "Requests over HTTP and gRPC that were refused for their token or the lack of one.",
    ),
    ("tidelog_http_connections", Gauge, Unit::Count, "Connections over HTTP and gRPC that are open."),
    ("tidelog_http_request_bytes_total", Counter, Unit::Bytes, "Bytes of request bodies, by method and route."),
    (
        "tidelog_http_request_duration_seconds",
        Histogram,
        Unit::Seconds,
        "Seconds from a request's headers to its answer's, by method and route.",
    ),
    (
        "tidelog_http_requests_total",
        Counter,
        Unit::Count,
        "Requests over HTTP and gRPC, by method, route and HTTP status.",
    ),
    ("tidelog_http_response_bytes_total", Counter, Unit::Bytes, "Bytes of answers' bodies, by method and route."),
    (
        "tidelog_http_throttled_requests_total",
        Counter,
        Unit::Count,
        "Requests over HTTP and gRPC that were refused or made to wait beyond a quota, by quota.",
    ),
    (
        "tidelog_kafka_authentications_total",
        Counter,
        Unit::Count,
        "Authentications of Kafka clients, by mechanism and result.",
    ),
    ("tidelog_kafka_connections", Gauge, Unit::Count, "Connections of Kafka clients that are open."),
    (
        "tidelog_kafka_errors_total",
        Counter,
        Unit::Count,
        "Errors in answers to Kafka clients, by API and Kafka's name of the error; one answer may have several.",
    ),
    (
        "tidelog_kafka_failed_handshakes_total",
        Counter,
        Unit::Count,
        "Connections of Kafka clients that ended in the TLS handshake.",
    ),
    (
        "tidelog_kafka_fetch_session_partitions",
        Gauge,
        Unit::Count,
        "Partitions that the fetch sessions of Kafka clients remember.",
    ),
    ("tidelog_kafka_fetch_sessions", Gauge, Unit::Count, "Fetch sessions of Kafka clients."),
    (
        "tidelog_kafka_fetch_sessions_evicted_total",
        Counter,
        Unit::Count,
        "Fetch sessions that were ended to make room for others.",
    ),
    (
        "tidelog_kafka_frames_given_up_total",
        Counter,
        Unit::Count,
        "Requests of Kafka clients that came too slowly or found no room in memory, by reason.",
    ),
    (
        "tidelog_kafka_throttled_requests_total",
        Counter,
        Unit::Count,
        "Requests of Kafka clients beyond a quota, by quota.",
    ),
    ("tidelog_log_appended_batches_total", Counter, Unit::Count, "Record batches written to logs."),
    ("tidelog_log_appended_bytes_total", Counter, Unit::Bytes, "Bytes of record batches written to logs."),
    (
        "tidelog_log_damaged_batches_total",
        Counter,
        Unit::Count,
        "Record batches found damaged on the disk, each time that closed segments were looked through, and once for each place that a reader met, \
         however many offsets it has (256 of a partition).",
    ),
    (
        "tidelog_log_duplicate_batches_total",
        Counter,
        Unit::Count,
        "Record batches that idempotent producers sent again and that were not written again.",
    ),
    ("tidelog_log_flush_seconds", Histogram, Unit::Seconds, "Seconds that a flush of one log took."),
    (
        "tidelog_log_recovery_cuts_total",
        Counter,
        Unit::Count,
        "Logs that a start ended at damage: what was cut off lies in .log.cut files, and with fsync durability it may have been acknowledged.",
    ),
    (
        "tidelog_log_removed_segments_total",
        Counter,
        Unit::Count,
        "Local segments removed by retention or because they are in the object store.",
    ),
    ("tidelog_log_syncfs_total", Counter, Unit::Count, "Flushes of many logs by one call of syncfs."),
    (
        "tidelog_logins_put_off_total",
        Counter,
        Unit::Count,
        "Logins with passwords and delegation tokens that were not checked because too many waited; they may come again.",
    ),
    ("tidelog_object_store_get_bytes_total", Counter, Unit::Bytes, "Bytes asked of the object store."),
    ("tidelog_object_store_put_bytes_total", Counter, Unit::Bytes, "Bytes put into the object store."),
    ("tidelog_object_store_requests_total", Counter, Unit::Count, "Requests to the object store, by kind."),
    (
        "tidelog_producers_forgotten_total",
        Counter,
        Unit::Count,
        "Idempotent producers, silent for more than two minutes, that a partition has forgotten to make room for others.",
    ),
    (
        "tidelog_producers_refused_total",
        Counter,
        Unit::Count,
        "Batches of new idempotent producers that were refused because their partition remembers as many others as it can, or did a moment ago.",
    ),
    ("tidelog_table_bytes_total", Counter, Unit::Bytes, "Bytes of Parquet files, by topic."),
    ("tidelog_table_commits_total", Counter, Unit::Count, "Commits of tables, by topic."),
    ("tidelog_table_files_total", Counter, Unit::Count, "Parquet files put into the object store, by topic."),
    ("tidelog_table_rows_total", Counter, Unit::Count, "Rows of Parquet files, by topic."),
    (
        "tidelog_table_skipped_records_total",
        Counter,
        Unit::Count,
        "Offsets that were deleted before they could be exported, or whose batch is damaged, by topic.",
    ),
    ("tidelog_tier_cache_bytes", Gauge, Unit::Bytes, "Bytes in the local cache of remote segments."),
    ("tidelog_tier_cache_hits_total", Counter, Unit::Count, "Chunks of remote segments that were in the cache."),
    ("tidelog_tier_cache_misses_total", Counter, Unit::Count, "Chunks of remote segments that were not in the cache."),
    (
        "tidelog_tier_deleted_objects_total",
        Counter,
        Unit::Count,
        "Objects of remote segments and manifests that were deleted.",
    ),
    ("tidelog_tier_upload_seconds", Histogram, Unit::Seconds, "Seconds that an upload of one segment took."),
    ("tidelog_tier_uploaded_bytes_total", Counter, Unit::Bytes, "Bytes of segments uploaded."),
    ("tidelog_tier_uploaded_segments_total", Counter, Unit::Count, "Segments uploaded."),
    ("tidelog_transactions_completed_total", Counter, Unit::Count, "Transactions that ended, by result."),
    (
        "tidelog_transactions_failed_verifications_total",
        Counter,
        Unit::Count,
        "Partitions that did not get their transaction's coordinator's word for a producer's first batch or positions.",
    ),
    (
        "tidelog_transactions_fenced_total",
        Counter,
        Unit::Count,
        "Transactions that were aborted because a new instance of their producer came.",
    ),
    (
        "tidelog_transactions_refused_markers_total",
        Counter,
        Unit::Count,
        "Ends of transactions that a partition refused because somebody newer had decided; each needs a person.",
    ),
    (
        "tidelog_transactions_timed_out_total",
        Counter,
        Unit::Count,
        "Transactions that were aborted because they took too long.",
    ),
];

/// Counters with labels: who counts begins those at 0 whose labels' values are known. All others begin here. (What begins with its first event
/// has no first event for who asks for a rate.)
const LABELLED: &[&str] = &[
    "tidelog_audit_lines_total",
    "tidelog_connections_closed_total",
    "tidelog_connections_opened_total",
    "tidelog_connections_refused_total",
    "tidelog_consumer_group_rebalances_total",
    "tidelog_http_request_bytes_total",
    "tidelog_http_requests_total",
    "tidelog_http_response_bytes_total",
    "tidelog_http_throttled_requests_total",
    "tidelog_kafka_authentications_total",
    "tidelog_kafka_errors_total",
    "tidelog_kafka_frames_given_up_total",
    "tidelog_kafka_throttled_requests_total",
    "tidelog_object_store_requests_total",
    "tidelog_table_bytes_total",
    "tidelog_table_commits_total",
    "tidelog_table_files_total",
    "tidelog_table_rows_total",
    "tidelog_table_skipped_records_total",
    "tidelog_transactions_completed_total",
];

/// Counts from here on; the answer renders what was counted, in Prometheus' text format. The process has one recorder, however
/// many servers it starts.
pub(crate) fn start(stop: CancellationToken) -> Box<dyn Fn() -> String + Send + Sync> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let handle = RECORDER.get_or_init(|| install().inspect_err(|error| warn!(%error, "no metrics")).ok());
    if let Some(handle) = handle {
        tokio::spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
                handle.run_upkeep();
            }
        });
    }
    Box::new(move || handle.as_ref().map(PrometheusHandle::render).unwrap_or_default())
}

fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(&buckets())?.install_recorder()?;
    describe();
    begin();
    Ok(handle)
}

fn begin() {
    for (name, kind, ..) in TABLE {
        match kind {
            Counter if !LABELLED.contains(name) => counter!(*name).increment(0),
            Gauge => gauge!(*name).increment(0.0),
            Counter | Histogram => {}
        }
    }
}

fn describe() {
    for (name, kind, unit, meaning) in TABLE {
        match kind {
            Counter => describe_counter!(*name, *unit, *meaning),
            Gauge => describe_gauge!(*name, *unit, *meaning),
            Histogram => describe_histogram!(*name, *unit, *meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::super::{api_gauges, gauges, group_gauges, process_gauges};
    use super::*;

    /// Every `metrics::counter!("…"`, gauge and histogram in these sources.
    fn used(folder: &Path, found: &mut BTreeSet<(String, Kind)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                used(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (macro_name, kind) in [("counter", Counter), ("gauge", Gauge), ("histogram", Histogram)] {
                    for (_, rest) in
                        text.match_indices(&format!("metrics::{macro_name}!(")).map(|(at, _)| text.split_at(at))
                    {
                        let name = rest.split('"').nth(1).unwrap();
                        found.insert((name.to_owned(), kind));
                    }
                }
            }
        }
    }

    #[test]
    fn every_metric_is_described_and_every_description_is_of_a_metric() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found = BTreeSet::new();
        for folder in ["service", "gateway", "tiering"] {
            used(&root.join(folder), &mut found);
        }
        // The pattern above is in this file too.
        found.retain(|(name, _)| name.starts_with("tidelog_"));
        let described: BTreeSet<(String, Kind)> =
            TABLE.iter().map(|(name, kind, ..)| ((*name).to_owned(), *kind)).collect();
        assert_eq!(found, described);
    }

    /// Every counter of these sources that has labels somewhere.
    fn labelled(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                labelled(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for rest in text.split("metrics::counter!(").skip(1) {
                    let (arguments, _) = rest.split_once(").").or(rest.split_once(");")).unwrap();
                    let mut words = arguments.split('"');
                    let (name, after) = (words.nth(1).unwrap_or_default(), words.next().unwrap_or_default());
                    if name.starts_with("tidelog_") && after.trim_start().starts_with(',') {
                        found.insert(name.to_owned());
                    }
                }
            }
        }
    }

    #[test]
    fn every_counter_without_labels_begins_at_0() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found = BTreeSet::new();
        for folder in ["service", "gateway", "tiering"] {
            labelled(&root.join(folder), &mut found);
        }
        let listed: BTreeSet<String> = LABELLED.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(found, listed);
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, begin);
        let text = handle.render();
        for (name, kind, ..) in TABLE.iter().filter(|(name, ..)| !LABELLED.contains(name)) {
            assert_eq!(text.contains(&format!("\n{name} 0\n")), *kind != Histogram, "{name}: {text}");
        }
    }

    /// Every metric there is: its name, kind and meaning.
    fn all() -> BTreeMap<String, (String, String)> {
        let counted = TABLE.iter().map(|(name, kind, _, meaning)| {
            ((*name).to_owned(), (format!("{kind:?}").to_lowercase(), (*meaning).to_owned()))
        });
        let mut all: BTreeMap<_, _> = counted.collect();
        let heads =
            [gauges::heads(), group_gauges::heads(), api_gauges::heads(), process_gauges::render("", "")].concat();
        let mut lines = heads.lines().filter(|line| line.starts_with("# "));
        while let (Some(help), Some(kind)) = (lines.next(), lines.next()) {
            let (name, meaning) = help.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).unwrap();
            let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
            let before = all.insert(name.to_owned(), (kind.to_owned(), meaning.to_owned()));
            assert_eq!(before, None, "{name} is there twice");
        }
        all
    }

    /// Is this the name of a series?
    fn exists(all: &BTreeMap<String, (String, String)>, name: &str) -> bool {
        let is_histogram = |name: &str| all.get(name).is_some_and(|(kind, _)| kind == "histogram");
        match name.strip_suffix("_bucket") {
            Some(name) if is_histogram(name) => true,
            _ => all.contains_key(name) && !is_histogram(name),
        }
    }

    /// Every metric's name of a text.
    fn names(text: &str) -> impl Iterator<Item = &str> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.split(move |c| !is_name(c)).filter(|word| word.starts_with("tidelog_") || word.starts_with("process_"))
    }

    #[test]
    fn the_readme_lists_every_metric_and_no_other() {
        let text = include_str!("../../grafana/README.md");
        let all = all();
        let (kafkas, list) = text.split_once("\n## Every metric\n").unwrap();
        assert!(names(kafkas).count() > 20);
        names(kafkas).for_each(|name| assert!(all.contains_key(name), "{name}"));
        let listed: Vec<&str> = list.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<String> =
            all.iter().map(|(name, (kind, meaning))| format!("| `{name}` | {kind} | {meaning} |")).collect();
        assert!(listed == wanted, "the list should be\n{}", wanted.join("\n"));
    }

    /// The dashboard is what Grafana takes (its schema 39): known panels with ids of their own, on a grid of 24 columns without overlaps, all of
    /// whose queries ask for metrics that exist through the variables that it defines.
    #[test]
    fn the_dashboard_can_be_loaded_and_asks_for_metrics_that_exist() {
        let all = all();
        let text = include_str!("../../grafana/tidelog.json");
        let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!((&dashboard["uid"], &dashboard["schemaVersion"]), (&"tidelog".into(), &39.into()));
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let variables: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        assert_eq!(variables, ["datasource", "instance"]);
        let (mut ids, mut cells, mut asked) = (BTreeSet::new(), BTreeSet::new(), 0);
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
            let cell = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(cell("x") + cell("w") <= 24, "{title} is too wide");
            for (x, y) in (0..cell("w")).flat_map(|x| (0..cell("h")).map(move |y| (x, y))) {
                assert!(cells.insert((cell("x") + x, cell("y") + y)), "{title} lies on another");
            }
            let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
            match panel["type"].as_str().unwrap() {
                "row" => assert!(targets.is_empty(), "{title}"),
                "timeseries" | "stat" => assert!(!targets.is_empty(), "{title}"),
                other => panic!("{title}: nobody knows panels of type {other}"),
            }
            let mut letters = BTreeSet::new();
            for target in targets {
                let query = target["expr"].as_str().unwrap();
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{query}");
                assert!(letters.insert(target["refId"].as_str().unwrap()), "{query}");
                for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
                    assert_eq!(query.matches(open).count(), query.matches(close).count(), "{query}");
                }
                names(query).for_each(|name| assert!(exists(&all, name), "{query}"));
                asked += names(query).count();
                // Of all brokers, or of the one that is chosen.
                assert_eq!(query.matches("instance=~\"$instance\"").count(), names(query).count(), "{query}");
            }
        }
        assert!(asked > 20, "{asked}");
    }

    #[test]
    fn names_have_the_units_of_the_field() {
        for (name, (kind, meaning)) in all() {
            assert!((kind == "counter") == name.ends_with("_total"), "{name}");
            assert!((kind != "histogram") || name.ends_with("_seconds"), "{name}");
            assert!(meaning.ends_with('.'), "{name}");
        }
        for (name, _, unit, _) in TABLE {
            let unit_fits = match unit {
                Unit::Bytes => name.contains("_bytes"),
                Unit::Seconds => name.ends_with("_seconds"),
                _ => true,
            };
            assert!(unit_fits, "{name}");
        }
        assert!(TABLE.is_sorted_by_key(|(name, ..)| *name));
    }

    #[test]
    fn every_series_has_its_help_and_type() {
        let recorder = PrometheusBuilder::new().set_buckets(&buckets()).unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            for (name, kind, ..) in TABLE {
                match kind {
                    Counter => metrics::counter!(*name).increment(1),
                    Gauge => metrics::gauge!(*name).set(1.0),
                    Histogram => metrics::histogram!(*name).record(0.003),
                }
            }
        });
        let text = handle.render();
        for (name, kind, _, meaning) in TABLE {
            assert!(text.contains(&format!("# HELP {name} {meaning}\n")), "{name}: {text}");
            let kind = format!("{kind:?}").to_lowercase();
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}: {text}");
        }
        assert!(text.contains("tidelog_log_flush_seconds_bucket{le=\"0.005\"} 1\n"), "{text}");
    }
}
