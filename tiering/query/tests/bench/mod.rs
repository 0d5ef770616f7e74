//! A query engine over a log in memory and a store in a folder.

#![allow(dead_code, unreachable_pub)]

#[path = "../../../tables/tests/support/mod.rs"]
pub mod support;

use std::sync::Arc;

use serde_json::Value;
use support::{MemoryLog, exporter, store, until};
use tidelog_model::Offset;
use tidelog_query::{MayRead, QueryAnswer, QueryEngine, QueryError, QueryLimits};
use tidelog_tables::{CommittedLog, Exporter};

pub struct Bench {
    _folder: tempfile::TempDir,
    pub log: Arc<MemoryLog>,
    pub exporter: Arc<Exporter>,
    pub engine: QueryEngine,
}

pub async fn bench(limits: QueryLimits, fill: impl FnOnce(&MemoryLog)) -> Bench {
    let (folder, objects) = store().await;
    let log = MemoryLog::new();
    fill(&log);
    let exporter = exporter(&objects, &log);
    let engine = QueryEngine::new(&objects, log.clone(), Arc::clone(&exporter), limits).unwrap();
    until("the tables are loaded", || {
        let status = exporter.status();
        status.len() == log.tables().len() && status.iter().all(|table| table.schema_id.is_some())
    })
    .await;
    Bench { _folder: folder, log, exporter, engine }
}

pub fn anyone() -> MayRead {
    Arc::new(|_| true)
}

impl Bench {
    pub async fn try_ask(&self, sql: &str) -> Result<QueryAnswer, QueryError> {
        self.engine.query(sql, anyone()).await
    }

    pub async fn ask(&self, sql: &str) -> Value {
        let answer = self.try_ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        serde_json::from_str(answer.rows.get()).unwrap()
    }

    /// Waits until the exporter has seen everything up to `end`, so that it looks at the log no more.
    pub async fn is_scanned(&self, topic: &str, end: i64) {
        let table = self.log.tables().into_iter().find(|table| table.name.as_str() == topic).unwrap();
        until("the exporter has seen everything", || {
            let view = self.exporter.view(&table).unwrap();
            view.partitions.iter().all(|partition| partition.scanned == Some(Offset(end)))
        })
        .await;
    }

    pub async fn refused(&self, sql: &str) -> String {
        self.try_ask(sql).await.expect_err(sql).to_string()
    }
}

pub fn fill(log: &MemoryLog, topic: &str, partitions: i32, lines: &[String]) {
    for (at, chunk) in lines.chunks(50).enumerate() {
        let values: Vec<&str> = chunk.iter().map(String::as_str).collect();
        log.append(topic, at as i32 % partitions, &values);
    }
}
