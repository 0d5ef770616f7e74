//! The export as a whole: a log of real batches, a store in a folder, and what a reader of that folder finds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use bytes::Bytes;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use support::{MemoryLog, exporter, name, patient, sample, store, until};
use tidelog_model::{Offset, PartitionIndex, TopicIdPartition};
use tidelog_objects::{Fault, Limits};
use tidelog_tables::exporter::{FlushError, Phase, TableStatus};
use tidelog_tables::{Exported, Exporter, KeyFormat, TableSettings};

/// Every Parquet file below a folder, ascending.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn rows(file: &Path) -> Vec<RecordBatch> {
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(Result::unwrap).collect()
}

/// What a reader that only lists the directory sees; fails if it sees an offset twice.
fn listed(folder: &Path) -> BTreeSet<(i32, i64)> {
    let mut seen = BTreeSet::new();
    for file in files(folder) {
        for batch in rows(&file) {
            let partitions = batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>();
            let offsets = batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
            for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
                assert!(seen.insert((*partition, *offset)), "{partition} {offset} twice");
            }
        }
    }
    seen
}

fn fill(log: &MemoryLog, topic: &str, partitions: i32, lines: &[String]) {
    for (at, chunk) in lines.chunks(50).enumerate() {
        let values: Vec<&str> = chunk.iter().map(String::as_str).collect();
        log.append(topic, at as i32 % partitions, &values);
    }
}

fn partition(exporter: &Exporter, log: &MemoryLog, topic: &str, index: i32) -> Exported {
    use tidelog_tables::CommittedLog;
    let table = log.tables().into_iter().find(|table| table.name.as_str() == topic).unwrap();
    exporter.exported(&TopicIdPartition { id: table.id, topic: table.name, partition: PartitionIndex(index) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_becomes_parquet() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    let table = log.create("quakes", 3, Some(TableSettings { key_format: KeyFormat::String, ..patient() }));
    fill(&log, "quakes", 3, &sample());
    let exporter = exporter(&objects, &log);
    exporter.flush(&name("quakes")).await.unwrap();

    let seen = listed(folder.path());
    assert_eq!(seen.len(), 1_707);
    let found = files(folder.path());
    assert_eq!(found.len(), 3);
    let expected = format!(
        "cluster/tables/quakes-{}/partition=0/quakes+0+00000000000000000000+00000000000000000599.parquet",
        table.id
    );
    assert_eq!(found[0], folder.path().join(expected));
    let status = exporter.status().remove(0);
    assert_eq!((status.files, status.rows, status.skipped_records), (3, 1_707, 0));
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(status.bytes, found.iter().map(|file| file.metadata().unwrap().len()).sum::<u64>());
    assert!(status.partitions.iter().all(|p| p.lag == 0));
    assert_eq!(partition(&exporter, &log, "quakes", 0), Exported::Below(Offset(600)));

    check_file(&found[0]);
}

/// Types, field ids, compression and metadata of a file of the sample.
fn check_file(file: &Path) {
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    let reader = SerializedFileReader::new(bytes.clone()).unwrap();
    let metadata = reader.metadata();
    for group in metadata.row_groups() {
        assert!(group.columns().iter().all(|column| matches!(column.compression(), Compression::ZSTD(_))));
    }
    let facts = metadata.file_metadata().key_value_metadata().unwrap();
    let fact = |key: &str| facts.iter().find(|fact| fact.key == key).and_then(|fact| fact.value.clone());
    assert_eq!(fact("tidelog.offset.start").as_deref(), Some("0"));
    assert_eq!(fact("tidelog.offset.end").as_deref(), Some("600"));
    let leaves = metadata.file_metadata().schema_descr();
    let mut ids = BTreeSet::new();
    for leaf in leaves.columns() {
        let info = leaf.self_type().get_basic_info();
        assert!(info.has_id() && ids.insert(info.id()), "{}", leaf.path());
    }
    let schema = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().schema().clone();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        names,
        [
            "_partition",
            "_offset",
            "_timestamp",
            "_key",
            "_headers",
            "type",
            "properties",
            "geometry",
            "id",
            "_raw",
            "_value"
        ]
    );
    assert!(schema.fields().iter().all(|field| field.metadata().contains_key(PARQUET_FIELD_ID_META_KEY)));
    assert_eq!(schema.field_with_name("_key").unwrap().data_type(), &DataType::Utf8);
    let DataType::Struct(properties) = schema.field_with_name("properties").unwrap().data_type() else { panic!() };
    for column in ["mag", "gap"] {
        assert_eq!(properties.find(column).unwrap().1.data_type(), &DataType::Float64);
    }
    assert!(properties.find("magType").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_cut_by_records_and_by_time() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("by-records", 1, Some(TableSettings { flush_records: 250, ..patient() }));
    log.create("by.time", 1, Some(TableSettings { flush_interval: Duration::from_millis(1), ..patient() }));
    let exporter = exporter(&objects, &log);
    fill(&log, "by-records", 1, &sample()[..1_000]);
    log.append("by.time", 0, &["{\"a\":1}"]);
    let rows_of = |topic: &str| exporter.status().iter().find(|s| s.topic == topic).map_or(0, |s| s.rows);
    until("the idle tail is exported", || rows_of("by.time") == 1).await;
    // A read of the log brings more than 250 records, and a batch is never split.
    until("full files are exported", || rows_of("by-records") >= 750).await;
    exporter.flush(&name("by-records")).await.unwrap();
    for (table, offsets) in [("by-records", 1_000), ("by.time", 1)] {
        let status = exporter.status().into_iter().find(|status| status.topic == table).unwrap();
        assert_eq!(listed(&folder.path().join(status.folder)).len(), offsets);
    }
    assert_eq!(exporter.flush(&name("nothing")).await, Err(FlushError::NotATable(name("nothing"))));
}

/// The process dies when its n-th request to the store was sent: before it arrived, or before its answer came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_request_loses_and_doubles_nothing() {
    let lines = sample();
    for last in [Fault::FailBefore, Fault::LoseAnswer] {
        let mut requests = 0;
        while die_at(requests, last, &lines[..300]).await {
            requests += 1;
        }
        assert!(requests > 12, "only {requests} requests");
    }
}

/// False if the export was complete before the n-th request.
async fn die_at(requests: usize, last: Fault, lines: &[String]) -> bool {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("quakes", 2, Some(patient()));
    let (faulty, faults) = objects.with_faults();
    (0..requests).for_each(|_| faults.next("", Fault::Pass));
    faults.next("", last);
    faults.set_always(Some(Fault::FailBefore));
    let limits = Limits { attempts: 1, ..Limits::default() };
    let first = exporter(&faulty.with_limits(limits), &log);
    let quakes = name("quakes");
    let thirds = async {
        for third in lines.chunks(lines.len().div_ceil(3)) {
            fill(&log, "quakes", 2, third);
            first.flush(&quakes).await.unwrap();
        }
    };
    let died = tokio::select! {
        () = thirds => false,
        () = until("the store fails", || first.status().first().is_some_and(|s| s.last_error.is_some())) => true,
    };
    first.stop().await;
    let before = listed(folder.path());
    assert!(died || before.len() == lines.len());

    let produced = log.records("quakes");
    log.next_epoch();
    let second = exporter(&objects, &log);
    second.flush(&quakes).await.unwrap();
    let after = listed(folder.path());
    assert_eq!(after.len(), produced, "after {requests} requests and {last:?}");
    assert!(after.is_superset(&before));
    let status = second.status().remove(0);
    assert_eq!(status.rows as usize, produced);
    assert_eq!(status.files as usize, files(folder.path()).len());
    second.stop().await;
    died
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_export_waits_while_the_store_is_away() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    let (faulty, faults) = objects.with_faults();
    let exporter = exporter(&faulty.with_limits(Limits { attempts: 1, ..Limits::default() }), &log);
    exporter.flush(&name("t")).await.unwrap();
    faults.set_away(true);
    log.append("t", 0, &["{\"a\":1}"]);
    let topic = name("t");
    let flush = exporter.flush(&topic);
    let away = async {
        until("the store is missed", || exporter.status()[0].last_error.is_some()).await;
        faults.set_away(false);
    };
    let (flushed, ()) = tokio::join!(flush, away);
    flushed.unwrap();
    assert_eq!(listed(folder.path()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_writes_the_same_bytes() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("quakes", 1, Some(patient()));
    fill(&log, "quakes", 1, &sample()[..300]);
    let first = exporter(&objects, &log);
    first.flush(&name("quakes")).await.unwrap();
    first.stop().await;
    let file = files(folder.path()).remove(0);
    let bytes = std::fs::read(&file).unwrap();
    // The commit names the file, the store lacks it: as after a crash between the two.
    std::fs::remove_file(&file).unwrap();
    log.next_epoch();
    let second = exporter(&objects, &log);
    until("the file is put again", || file.exists()).await;
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    second.flush(&name("quakes")).await.unwrap();
    assert_eq!(listed(folder.path()).len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_goes_on_after_a_restart() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    log.append("t", 0, &[r#"{"a":1}"#, r#"{"a":"no number"}"#]);
    let first = exporter(&objects, &log);
    first.flush(&name("t")).await.unwrap();
    first.stop().await;
    log.next_epoch();
    log.append("t", 0, &[r#"{"b":{"c":true}}"#, r#"{"a":2}"#]);
    let second = exporter(&objects, &log);
    second.flush(&name("t")).await.unwrap();
    let found = files(folder.path());
    let ids = |file: &Path, column: &str| {
        let schema = rows(file).remove(0).schema();
        schema.field_with_name(column).ok().map(|field| field.metadata()[PARQUET_FIELD_ID_META_KEY].clone())
    };
    assert_eq!(ids(&found[0], "a"), Some("100".to_owned()));
    assert_eq!(ids(&found[0], "b"), None);
    assert_eq!(ids(&found[1], "a"), Some("100".to_owned()));
    assert_eq!(ids(&found[1], "b"), Some("102".to_owned()));
    let raw = rows(&found[0]).remove(0).column_by_name("_raw").unwrap().as_string::<i32>().value(1).to_owned();
    assert_eq!(raw, r#"{"a":"no number"}"#);
    assert_eq!(second.status()[0].schema_id, Some(2));
}

/// A column of a file, by its name.
fn kind(file: &Path, column: &str) -> DataType {
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    let schema = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().schema().clone();
    schema.field_with_name(column).unwrap().data_type().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_columns_are_may_change_until_a_file_has_them() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    let topic = log.create("t", 1, Some(patient()));
    log.append("t", 0, &["{\"n\":1}"]);
    let exporter = exporter(&objects, &log);
    let drafted = || exporter.view(&topic).ok().is_some_and(|view| view.partitions[0].scanned == Some(Offset(1)));
    until("the record waits for its file", drafted).await;
    assert_eq!(exporter.view(&topic).unwrap().schema.key, KeyFormat::Binary);
    let text = TableSettings { key_format: KeyFormat::String, integers: ["n".to_owned()].into(), ..patient() };
    log.set("t", Some(text.clone()));
    exporter.refresh();
    until("a query sees it", || exporter.view(&topic).unwrap().schema.key == KeyFormat::String).await;
    assert_eq!(exporter.key_in_files(topic.id), None);
    exporter.flush(&name("t")).await.unwrap();
    assert_eq!(exporter.key_in_files(topic.id), Some(KeyFormat::String));
    let first = files(folder.path()).remove(0);
    assert_eq!((kind(&first, "_key"), kind(&first, "n")), (DataType::Utf8, DataType::Int64));
    // Now it is fixed, and whoever looks at the table is told.
    log.set("t", Some(TableSettings { key_format: KeyFormat::Binary, ..text }));
    exporter.refresh();
    let told = || exporter.status().remove(0).last_error.is_some_and(|error| error.what.contains("key.format"));
    until("it is told", told).await;
    log.append("t", 0, &["{\"n\":2}"]);
    exporter.flush(&name("t")).await.unwrap();
    assert_eq!(kind(&files(folder.path())[1], "_key"), DataType::Utf8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_commit_is_known_after_a_restart() {
    let (_folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    log.append("t", 0, &[r#"{"a":1}"#]);
    let first = exporter(&objects, &log);
    first.flush(&name("t")).await.unwrap();
    let commit = |exporter: &Exporter| {
        let status = exporter.status().remove(0);
        (status.last_commit, status.last_commit_at)
    };
    let before = commit(&first);
    assert!(before.0.is_some() && before.1.is_some(), "{before:?}");
    first.stop().await;
    log.next_epoch();
    let second = exporter(&objects, &log);
    // The commit that claims the table for the new epoch has exported nothing.
    until("the table is loaded", || second.status().first().is_some_and(|table| table.rows == 1)).await;
    assert_eq!(commit(&second), before);
    log.append("t", 0, &[r#"{"a":2}"#]);
    second.flush(&name("t")).await.unwrap();
    assert!(commit(&second) > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_took_is_recorded() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    let ten: Vec<&str> = vec!["{\"a\":1}"; 10];
    log.append("t", 0, &ten);
    let exporter = exporter(&objects, &log);
    exporter.flush(&name("t")).await.unwrap();
    for _ in 0..3 {
        log.append("t", 0, &ten);
    }
    log.delete_below("t", 0, 25);
    exporter.flush(&name("t")).await.unwrap();
    let status = exporter.status().remove(0);
    assert_eq!((status.rows, status.skipped_records), (25, 15));
    let expected: BTreeSet<_> = (0..10).chain(25..40).map(|offset| (0, offset)).collect();
    assert_eq!(listed(folder.path()), expected);
}

/// No row is made of what is damaged, and the commits say what the table lacks, wherever in a file's range it lies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_batches_are_passed_over_and_counted() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    for _ in 0..8 {
        log.append("t", 0, &["{\"a\":1}"; 10]);
    }
    // Two before the first row, one between rows, one behind the last.
    for base in [0, 10, 40, 70] {
        log.damage("t", 0, base);
    }
    let first = exporter(&objects, &log);
    first.flush(&name("t")).await.unwrap();
    let expected: BTreeSet<_> = (20..40).chain(50..70).map(|offset| (0, offset)).collect();
    let check = |status: TableStatus| {
        assert_eq!((status.files, status.rows, status.skipped_records), (1, 40, 40));
        assert_eq!(status.partitions[0].exported_end, Some(80));
        status.last_error
    };
    let told = check(first.status().remove(0)).unwrap();
    assert!(told.what.contains("passed over damage: damaged at 70"), "{told:?}");
    assert_eq!(listed(folder.path()), expected);
    first.stop().await;
    // The commits tell it to the next process.
    log.next_epoch();
    let second = exporter(&objects, &log);
    until("the table is loaded", || second.status().first().is_some_and(|table| table.rows == 40)).await;
    check(second.status().remove(0));
    log.append("t", 0, &["{\"a\":1}"]);
    log.damage("t", 0, 80);
    second.flush(&name("t")).await.unwrap();
    let status = second.status().remove(0);
    assert_eq!((status.files, status.rows, status.skipped_records), (1, 40, 41), "nothing but damage");
    assert_eq!(listed(folder.path()), expected);
}

/// Records go between the commit that names them and the file, and the process dies after the file was put.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_before_its_file_is_recorded_though_the_process_dies() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    for _ in 0..3 {
        log.append("t", 0, &["{\"a\":1}"; 10]);
    }
    let first = exporter(&objects, &log);
    first.flush(&name("t")).await.unwrap();
    first.stop().await;
    // As after a crash between the two.
    let file = files(folder.path()).remove(0);
    std::fs::remove_file(&file).unwrap();
    log.delete_below("t", 0, 20);
    log.next_epoch();
    let (faulty, faults) = objects.with_faults();
    faults.next(".parquet", Fault::Pass);
    faults.next(".parquet", Fault::LoseAnswer);
    let second = exporter(&faulty.with_limits(Limits { attempts: 1, ..Limits::default() }), &log);
    until("the file is put", || file.exists()).await;
    second.stop().await;
    log.next_epoch();
    let third = exporter(&objects, &log);
    third.flush(&name("t")).await.unwrap();
    let status = third.status().remove(0);
    assert_eq!((status.files, status.rows, status.skipped_records), (1, 10, 20));
    assert_eq!(listed(folder.path()), (20..30).map(|offset| (0, offset)).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_leader_stops() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    let old = exporter(&objects, &log);
    log.append("t", 0, &["{\"a\":1}"]);
    old.flush(&name("t")).await.unwrap();

    // Another process leads from now on; the old one has not heard of it.
    let theirs = MemoryLog::new();
    theirs.create("t", 1, Some(patient()));
    theirs.next_epoch();
    for value in ["{\"a\":1}", "{\"a\":2}"] {
        theirs.append("t", 0, &[value]);
    }
    let new = exporter(&objects, &theirs);
    new.flush(&name("t")).await.unwrap();
    log.append("t", 0, &["{\"a\":2}"]);
    let refused = old.flush(&name("t")).await.unwrap_err();
    assert_eq!(refused.to_string(), "the export ended: a later leader (epoch 1) commits this table");
    assert_eq!(listed(folder.path()).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_turned_off_holds_nothing() {
    let (_folder, objects) = store().await;
    let log = MemoryLog::new();
    let table = log.create("t", 1, Some(patient()));
    let exporter = exporter(&objects, &log);
    exporter.flush(&name("t")).await.unwrap();
    assert_eq!(partition(&exporter, &log, "t", 0), Exported::Unknown, "nothing was exported yet");
    log.set("t", None);
    exporter.refresh();
    let id = table.partition(PartitionIndex(0));
    until("the task ends", || exporter.exported(&id) == Exported::NotATable).await;
    assert!(exporter.status().is_empty());
}

/// A start: retention may run before the export has asked which topics are tables.
#[tokio::test]
async fn nothing_is_released_before_the_tables_are_known() {
    let (_folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    let plain = log.create("plain", 1, None).partition(PartitionIndex(0));
    let exporter = exporter(&objects, &log);
    // No task has run yet: this runtime has one thread.
    assert_eq!(partition(&exporter, &log, "t", 0), Exported::Unknown);
    assert_eq!(exporter.exported(&plain), Exported::Unknown);
    until("the tables are known", || exporter.exported(&plain) == Exported::NotATable).await;
    assert_eq!(partition(&exporter, &log, "t", 0), Exported::Unknown);
}

/// Retention may run right after a table was made, and before the export's own task has had its turn.
#[tokio::test]
async fn a_table_that_was_made_a_moment_ago_releases_nothing() {
    let (_folder, objects) = store().await;
    let log = MemoryLog::new();
    let plain = log.create("plain", 1, None).partition(PartitionIndex(0));
    let exporter = exporter(&objects, &log);
    until("the tables are known", || exporter.exported(&plain) == Exported::NotATable).await;
    log.create("t", 1, Some(patient()));
    exporter.refresh();
    // This runtime has one thread, and nothing here waits.
    assert_eq!(partition(&exporter, &log, "t", 0), Exported::Unknown);
    assert_eq!(exporter.exported(&plain), Exported::NotATable);
}

/// A stop: retention may run after the export has ended and before the logs are closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_was_stopped_releases_nothing() {
    let (_folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    let plain = log.create("plain", 1, None).partition(PartitionIndex(0));
    let exporter = exporter(&objects, &log);
    until("the tables are known", || exporter.exported(&plain) == Exported::NotATable).await;
    exporter.stop().await;
    assert_eq!(partition(&exporter, &log, "t", 0), Exported::Unknown);
    // Nor does anything that still comes bring the export back.
    exporter.refresh();
    let stopped = exporter.flush(&name("t")).await.unwrap_err();
    assert_eq!(stopped.to_string(), "the export ended: the export was stopped");
    assert_eq!(partition(&exporter, &log, "t", 0), Exported::Unknown);
    assert!(exporter.status().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_cannot_be_read_holds_up_no_other() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    let table = log.create("t", 3, Some(TableSettings { flush_interval: Duration::from_millis(1), ..patient() }));
    let exporter = exporter(&objects, &log);
    let broken = table.partition(PartitionIndex(0));
    log.append("t", 0, &["{\"a\":0}"]);
    until("the first record is exported", || exporter.status().first().is_some_and(|s| s.rows == 1)).await;
    log.set_broken(&broken, true);
    for index in 0..3 {
        log.append("t", index, &["{\"a\":1}", "{\"a\":2}"]);
    }
    until("the others are exported", || exporter.status()[0].rows == 5).await;
    until("it is told", || exporter.status()[0].last_error.is_some()).await;
    let error = exporter.status().remove(0).last_error.unwrap().what;
    assert_eq!(error, "partition 0: the log cannot be read right now: the partition is offline");
    let topic = name("t");
    let mend = async { log.set_broken(&broken, false) };
    let (flushed, ()) = tokio::join!(exporter.flush(&topic), mend);
    flushed.unwrap();
    assert_eq!(listed(folder.path()).len(), 7);
    exporter.stop().await;

    // The same when the file that a commit names is still to be put.
    let file = files(folder.path()).into_iter().find(|file| file.to_string_lossy().contains("partition=0")).unwrap();
    let last = files(file.parent().unwrap()).pop().unwrap();
    std::fs::remove_file(&last).unwrap();
    log.next_epoch();
    log.set_broken(&broken, true);
    log.append("t", 1, &["{\"a\":3}"]);
    let second = support::exporter(&objects, &log);
    until("the others go on", || partition(&second, &log, "t", 1) == Exported::Below(Offset(3))).await;
    log.set_broken(&broken, false);
    until("the file is put", || last.exists()).await;
    second.flush(&topic).await.unwrap();
    assert_eq!(listed(folder.path()).len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_ends_before_what_the_table_has_ends_the_export() {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    log.create("t", 1, Some(patient()));
    log.append("t", 0, &[r#"{"a":1}"#, r#"{"a":2}"#]);
    log.append("t", 0, &[r#"{"a":3}"#]);
    let first = exporter(&objects, &log);
    first.flush(&name("t")).await.unwrap();
    first.stop().await;
    log.cut("t", 0, 2);
    log.next_epoch();
    let second = exporter(&objects, &log);
    let refused = second.flush(&name("t")).await.unwrap_err();
    let told = "partition 0 ends at offset 2, and the table has rows up to offset 3";
    assert!(matches!(&refused, FlushError::Stopped(reason) if reason.contains(told)), "{refused:?}");
    let status = second.status().remove(0);
    assert!(
        matches!(&status.phase, Phase::Stopped(reason) if reason.contains(status.folder.rsplit('/').next().unwrap())),
        "{status:?}"
    );
    second.stop().await;

    // As the reason says.
    std::fs::remove_dir_all(folder.path().join(&status.folder)).unwrap();
    log.append("t", 0, &[r#"{"a":4}"#]);
    log.next_epoch();
    let third = exporter(&objects, &log);
    third.flush(&name("t")).await.unwrap();
    assert_eq!(third.status().remove(0).rows, 3);
}
