//! Runs SQL over tables: parse, find the topics, plan, execute, collect; on threads of its own and within limits.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::config::Dialect;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::TableReference;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use tidelog_model::TopicName;
use tidelog_objects::Objects;
use tidelog_tables::exporter::ViewError;
use tidelog_tables::{CommittedLog, Exporter, SourceError, TableTopic, TableView, TopicLookup};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::answer::AnswerBuilder;
use crate::catalog::{self, Question};
use crate::limits::{LOAD_POLL, LOAD_WAIT, QueryLimits, THREAD_STACK_BYTES};
use crate::pace::paced;
use crate::table::{STORE_URL, TopicTable};
use crate::work::counted;
use crate::{QueryAnswer, QueryError, QueryWork, growth, names, shape};

/// Tells whether the caller of a query may read a topic.
pub type MayRead = Arc<dyn Fn(&TopicName) -> bool + Send + Sync>;

/// Tells whether the caller of a query may have the engine work for it at all.
pub type MayRun = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a caller may read.
#[derive(Clone)]
pub struct Rights {
    /// Asked of a topic that the statement names: a no refuses it.
    pub may_read: MayRead,
    /// The same of every topic, where listings and hints leave out what the caller may not read: nobody is refused.
    pub shows: MayRead,
    /// Asked when the statement names no topic: a no refuses it.
    pub may_run: MayRun,
}

impl From<MayRead> for Rights {
    fn from(may_read: MayRead) -> Self {
        Rights { shows: Arc::clone(&may_read), may_read, may_run: Arc::new(|| true) }
    }
}

/// The query engine of one broker.
pub struct QueryEngine {
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

struct Shared {
    exporter: Arc<Exporter>,
    log: Arc<dyn CommittedLog>,
    environment: Arc<RuntimeEnv>,
    limits: QueryLimits,
    running: Semaphore,
}

impl Drop for QueryEngine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting is not allowed on an async thread; a query in flight ends at its next step.
            runtime.shutdown_background();
        }
    }
}

impl QueryEngine {
    /// `objects` and `log` are those that the exporter was given. Starts `limits.threads` threads.
    pub fn new(
        objects: &Objects,
        log: Arc<dyn CommittedLog>,
        exporter: Arc<Exporter>,
        limits: QueryLimits,
    ) -> Result<Self, QueryError> {
        let internal = |text: String| QueryError::Internal(text);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory_bytes)))
            // Queries touch no local file: what does not fit into memory fails.
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(|e| QueryError::from_datafusion(&e))?;
        let url = ObjectStoreUrl::parse(STORE_URL).map_err(|e| QueryError::from_datafusion(&e))?;
        environment.register_object_store(url.as_ref(), objects.object_store());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(limits.threads.max(1))
            .thread_name("query")
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|e| internal(format!("no threads for queries: {e}")))?;
        let running = Semaphore::new(limits.running.max(1));
        Ok(QueryEngine {
            shared: Arc::new(Shared { exporter, log, environment, limits, running }),
            runtime: Some(runtime),
        })
    }

    /// Runs one SELECT. `rights` are asked for every topic that the statement names, before anything is read.
    ///
    /// The answer includes every record that was committed when the query was planned. Dropping the future ends the query.
    pub async fn query(&self, sql: &str, rights: impl Into<Rights>) -> Result<QueryAnswer, QueryError> {
        self.query_counted(sql, rights, &Arc::default()).await
    }

    /// The same; what the threads do for it is counted in `work`.
    pub async fn query_counted(
        &self,
        sql: &str,
        rights: impl Into<Rights>,
        work: &Arc<QueryWork>,
    ) -> Result<QueryAnswer, QueryError> {
        let rights = rights.into();
        let Some(runtime) = &self.runtime else {
            return Err(QueryError::Unavailable("the query engine stops".to_owned()));
        };
        shape::check(sql)?;
        let (shared, sql) = (Arc::clone(&self.shared), sql.to_owned());
        let task = {
            let _on_the_engines_threads = runtime.enter();
            SpawnedTask::spawn(counted(work, async move { shared.run(&sql, &rights).await }))
        };
        // The time is taken here: a step that is busy for long must not keep the caller. Dropping the task ends it.
        let limit = self.shared.limits.time;
        match tokio::time::timeout(limit, task).await {
            Ok(answer) => answer.map_err(|e| QueryError::Internal(e.to_string()))?,
            Err(_) => Err(QueryError::Time(limit)),
        }
    }
}

impl Shared {
    async fn run(&self, sql: &str, rights: &Rights) -> Result<QueryAnswer, QueryError> {
        let _permit = self.running.acquire().await.map_err(|e| QueryError::Internal(e.to_string()))?;
        match self.attempt(sql, rights).await {
            // Between plan and read the records were exported and deleted from the log: now they are in a file.
            Err(Attempt::Moved(_)) => self.attempt(sql, rights).await,
            first => first,
        }
        .map_err(|attempt| match attempt {
            Attempt::Failed(error) | Attempt::Moved(error) => error,
        })
    }

    async fn attempt(&self, sql: &str, rights: &Rights) -> Result<QueryAnswer, Attempt> {
        let context = SessionContext::new_with_config_rt(self.config(), Arc::clone(&self.environment));
        let state = context.state();
        // Messages name no topic that the caller may not read.
        let topics: Vec<TopicName> = self.log.topic_names().into_iter().filter(|topic| (rights.shows)(topic)).collect();
        let statement = state.sql_to_statement(sql, &Dialect::Generic).map_err(|error| {
            match (QueryError::from_datafusion(&error), names::quote_hint(sql, &topics)) {
                (QueryError::Sql(text), Some(hint)) => QueryError::Sql(format!("{text}{hint}")),
                (error, _) => error,
            }
        })?;
        if let Some(question) = catalog::question(&statement) {
            return self.catalog(question, &topics, rights).await;
        }
        only_select(&statement)?;
        let references = state.resolve_table_references(&statement).map_err(|e| QueryError::from_datafusion(&e))?;
        let mut asked = false;
        for reference in references {
            let is_topic = topics.iter().any(|topic| topic.as_str() == reference.table());
            if !is_topic && context.table_function(reference.table()).is_ok() {
                continue;
            }
            let name = names::topic_name(&reference, &topics)?;
            let table = self.table(&name, &topics, rights).await?;
            asked = true;
            context
                .register_table(TableReference::bare(name), Arc::new(table))
                .map_err(|e| QueryError::from_datafusion(&e))?;
        }
        if !asked && !(rights.may_run)() {
            return Err(QueryError::DeniedWithoutTopic.into());
        }
        // The tables are known only now.
        let plan = context.state().statement_to_plan(statement).await.map_err(|e| QueryError::from_datafusion(&e))?;
        read_only().verify_plan(&plan).map_err(|e| QueryError::ReadOnly(e.strip_backtrace()))?;
        let state = context.state();
        let plan = state.optimize(&growth::bounded(plan)?)?;
        growth::check_literals(&plan)?;
        let plan = paced(state.query_planner().create_physical_plan(&plan, &state).await?)?;
        let mut stream = execute_stream(plan, context.task_ctx())?;
        let mut answer = AnswerBuilder::new(&stream.schema(), self.limits);
        while let Some(batch) = stream.next().await {
            answer.push(&batch?)?;
        }
        Ok(answer.finish()?)
    }

    /// Answers what tables there are, or what columns one has.
    async fn catalog(&self, question: Question, topics: &[TopicName], rights: &Rights) -> Result<QueryAnswer, Attempt> {
        match question {
            Question::Tables => {
                let tables = topics.iter().filter(|topic| self.is_table(topic));
                let mut names: Vec<String> = tables.map(ToString::to_string).collect();
                names.sort_unstable();
                Ok(catalog::tables(names, self.limits)?)
            }
            Question::Columns(reference) => {
                let name = names::topic_name(&reference, topics)?;
                let table = self.table(&name, topics, rights).await?;
                Ok(catalog::columns(&table.schema(), self.limits)?)
            }
        }
    }

    fn is_table(&self, topic: &TopicName) -> bool {
        matches!(self.log.lookup(topic.as_str()), TopicLookup::Table(_))
    }

    fn config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.limits.threads.max(1))
            .with_create_default_catalog_and_schema(true)
            .with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        options.execution.parquet.schema_force_view_types = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        config
    }

    async fn table(&self, name: &str, topics: &[TopicName], rights: &Rights) -> Result<TopicTable, Attempt> {
        let lookup = self.log.lookup(name);
        if TopicName::new(name).is_ok() {
            // Whether it exists is not for everyone to know either.
            self.authorize(name, rights)?;
        }
        let topic: TableTopic = match lookup {
            TopicLookup::Unknown => {
                let tables: Vec<TopicName> = topics.iter().filter(|topic| self.is_table(topic)).cloned().collect();
                return Err(names::unknown(name, topics, &tables).into());
            }
            TopicLookup::NotATable => return Err(QueryError::NotATable { name: name.to_owned() }.into()),
            TopicLookup::Table(topic) => *topic,
        };
        let failed = |error: SourceError| {
            let answer = QueryError::Unavailable(error.to_string());
            if matches!(error, SourceError::OutOfRange { .. }) { Attempt::Moved(answer) } else { answer.into() }
        };
        // The log before the files: what retention takes after this look is in files by the next one, so that nothing falls between.
        let mut ranges = Vec::new();
        for index in topic.indexes() {
            let partition = topic.partition(index);
            let range = self.log.range(&partition).map_err(failed)?;
            ranges.push((partition, range));
        }
        let view = self.view(&topic).await?;
        TopicTable::plan(view, ranges, &self.log).await.map_err(failed)
    }

    /// What the exporter knows; waits a little while it is still reading.
    async fn view(&self, topic: &TableTopic) -> Result<TableView, QueryError> {
        let deadline = Instant::now() + LOAD_WAIT;
        loop {
            match self.exporter.view(topic) {
                Ok(view) => return Ok(view),
                Err(ViewError::NotLoaded { reason: None, .. } | ViewError::NotATable(_))
                    if Instant::now() < deadline =>
                {
                    tokio::time::sleep(LOAD_POLL).await;
                }
                Err(error) => return Err(QueryError::Unavailable(error.to_string())),
            }
        }
    }

    fn authorize(&self, name: &str, rights: &Rights) -> Result<(), QueryError> {
        match TopicName::new(name) {
            Ok(topic) if (rights.may_read)(&topic) => Ok(()),
            _ => Err(QueryError::Denied(name.to_owned())),
        }
    }
}

/// How one attempt failed.
enum Attempt {
    Failed(QueryError),
    /// The log's start went past what was to be read.
    Moved(QueryError),
}

impl From<QueryError> for Attempt {
    fn from(error: QueryError) -> Self {
        Attempt::Failed(error)
    }
}

impl From<datafusion::error::DataFusionError> for Attempt {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        let answer = QueryError::from_datafusion(&error);
        match error.find_root() {
            datafusion::error::DataFusionError::External(inner)
                if matches!(inner.downcast_ref(), Some(SourceError::OutOfRange { .. })) =>
            {
                Attempt::Moved(answer)
            }
            _ => Attempt::Failed(answer),
        }
    }
}

/// Refuses everything but queries by its form; [`read_only`] refuses what hides inside one.
fn only_select(statement: &Statement) -> Result<(), QueryError> {
    match statement {
        Statement::Statement(inner) if matches!(**inner, ast::Statement::Query(_)) => {
            growth::check_table_functions(inner).map_err(|e| QueryError::from_datafusion(&e))
        }
        Statement::Explain(explain) => only_select(&explain.statement),
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or_default();
            Err(QueryError::ReadOnly(format!("{verb} is refused")))
        }
    }
}

fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}
