//! The broker: opens what the image gives it, hosts the partitions, and carries out the use cases of all doors.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidelog_coordinator::group::GroupConfig;
use tidelog_coordinator::transaction::TransactionConfig;
use tidelog_log::{Disk, FileCache, RemoteLog, SyncFs};
use tidelog_metadata::decide::{LastStop, Plan, Registration, claim_controller, register_broker, start_leading, sweep};
use tidelog_metadata::keys::BrokerValue;
use tidelog_metadata::{BrokerConfig, ClusterImage, Revision, TopicConfig};
use tidelog_model::{BrokerEpoch, KafkaError, NodeId, OFFSETS_TOPIC, TRANSACTIONS_TOPIC, TopicId};
use tidelog_security::{AclAuthorizer, AllowAuthenticated, Audit, AuditEvent, Audited, Authorizer};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};
use uuid::Uuid;

use crate::alterations::Concerns;
use crate::checkpoints::CheckpointFiles;
use crate::cluster::{Cluster, store_error};
use crate::cold_loans::ColdLoans;
use crate::connections::Places;
use crate::core::Core;
use crate::counters;
use crate::data_dir::DataDir;
use crate::fair_places::{FairPlaces, Sharer};
use crate::groups::{group_config, load_shard};
use crate::limits::{
    BROKER_LEASE, COORDINATORS_BUDGET_BYTES, COORDINATORS_LEAST_BYTES, EXPRESSIONS, OPEN_FILES, RECONCILE_PAUSE,
    SYNCFS_FROM, SYNCFS_MOST,
};
use crate::marking::load_transactions;
use crate::producer_ids::ProducerIds;
use crate::producer_room::producers_memory;
use crate::quotas::Used;
use crate::replica::{Decided, Replica};
use crate::replicas::{Led, Replicas};
use crate::room::Room;
use crate::shared_memory::SharedMemory;
use crate::shell::clock::Clock;
use crate::shell::pool::{Many, Pool, Work};
use crate::shell::timers::Timers;
use crate::transactions::transaction_config;
use crate::users::Passwords;
use crate::{BrokerError, BrokerOptions, LogLevels, Observer, TlsListeners};

struct Inner {
    core: Arc<Core>,
    config: BrokerConfig,
    tier_by_default: bool,
    cluster_id: String,
    directory_id: TopicId,
    cluster: Cluster,
    replicas: Arc<Replicas>,
    producer_ids: ProducerIds,
    used: Used,
    places: Places,
    authorizer: Arc<dyn Authorizer>,
    /// Do access rules bind?
    has_acls: bool,
    audit: Option<Arc<dyn Audit>>,
    passwords: Passwords,
    /// Of clients' expressions that are compiled and matched.
    expressions: FairPlaces<Sharer>,
    log_levels: Option<Arc<dyn LogLevels>>,
    tls_listeners: Option<Arc<dyn TlsListeners>>,
    /// One change of listeners' TLS is judged and carried out at a time: what was judged is what holds.
    tls_changes: Arc<tokio::sync::Mutex<()>>,
    /// The metadata can no longer be followed.
    blind: AtomicBool,
    /// The revision whose settings every hosted partition has been given.
    reconciled: watch::Sender<Revision>,
    /// What answers may hold of the cold tier.
    cold_loans: Arc<ColdLoans>,
    /// Deleted topics may have remains.
    deletions: Notify,
    stop: CancellationToken,
    /// Locked for as long as the broker lives.
    data_dir: DataDir,
}

/// One broker. Cheap to clone; every door has one.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

impl Broker {
    /// Registers with the metadata store, raises the leader epochs of what it leads, and begins to open its partitions.
    ///
    /// Returns before recovery has ended: partitions that are not ready say so. Must be called within a runtime.
    pub async fn open(data_dir: DataDir, options: BrokerOptions) -> Result<Self, BrokerError> {
        counters::begin();
        let clock = Clock::start();
        let acls = options.acls.clone().map(|defaults| Arc::new(AclAuthorizer::new(defaults)));
        let cluster = Cluster::load(Arc::clone(&options.store), acls.clone()).await?;
        let has_acls = acls.is_some();
        let authorizer: Arc<dyn Authorizer> = match acls {
            Some(acls) => acls,
            None => Arc::new(AllowAuthenticated),
        };
        let authorizer = match &options.audit {
            Some(audit) => Arc::new(Audited::new(authorizer, Arc::clone(audit))) as Arc<dyn Authorizer>,
            None => authorizer,
        };
        let (decided, marking) = mpsc::unbounded_channel();
        let core = Arc::new(core(&data_dir, &options, clock, decided)?);
        let (groups, transactions) = (group_config(&options.config), transaction_config(&options.config));
        let led: Led = Box::new(move |replica| begin(replica, &groups, &transactions));
        let replicas = Replicas::new(Arc::clone(&core), led);
        let inner = Inner {
            core,
            config: options.config.clone(),
            tier_by_default: options.tier_by_default && options.remote.is_some(),
            cluster_id: data_dir.meta.cluster_id.clone(),
            directory_id: data_dir.directory_id,
            cluster,
            replicas,
            producer_ids: ProducerIds::default(),
            used: Used::default(),
            places: Places::new(),
            authorizer,
            has_acls,
            audit: options.audit.clone(),
            passwords: Passwords::new(data_dir.strangers_key),
            expressions: FairPlaces::new(EXPRESSIONS),
            log_levels: options.log_levels.clone(),
            tls_listeners: options.tls_listeners.clone(),
            tls_changes: Arc::default(),
            blind: AtomicBool::new(false),
            reconciled: watch::channel(Revision::ZERO).0,
            cold_loans: ColdLoans::new(),
            deletions: Notify::new(),
            stop: CancellationToken::new(),
            data_dir,
        };
        let broker = Broker { inner: Arc::new(inner) };
        // First the image follows the store, then the epochs rise, and only then partitions open: with the new epochs.
        broker.spawn_follower();
        broker.adopt().await?;
        broker.register(&options).await?;
        broker.inner.data_dir.claim().map_err(|error| {
            error!(%error, "cannot write whose directory this is");
            BrokerError::new(KafkaError::KafkaStorageError, "cannot write whose directory this is")
        })?;
        broker.remove_deleted().await;
        broker.spawn_keepers(options.checkpoint_interval);
        let marker = broker.clone();
        broker.spawn(async move { marker.keep_marking(marking).await });
        // The first client is counted as every later one.
        broker.follow_connection_limits(&broker.image());
        broker.connection_limits_hold().await;
        // Not before: partitions open with the epochs that this start was elected with.
        let reconciler = broker.clone();
        broker.spawn(async move { reconciler.keep_reconciled().await });
        Ok(broker)
    }

    /// Registers, takes the controller's role if nobody has it, and raises epochs: a start is an election.
    async fn register(&self, options: &BrokerOptions) -> Result<(), BrokerError> {
        let cluster = &self.inner.cluster;
        let lease = cluster.store().grant(BROKER_LEASE).await.map_err(|error| store_error(&error))?;
        let value = BrokerValue {
            incarnation: Uuid::new_v4(),
            rack: None,
            endpoints: options.endpoints.clone(),
            http: options.http.clone(),
        };
        let node = options.node;
        let registration = Registration { node, value, lease, cluster_id: self.inner.cluster_id.clone() };
        cluster.carry_out(|image| Ok(((), Plan::of(register_broker(image, &registration)?)))).await?;
        let epoch = cluster.image().broker_epoch(node).unwrap_or(BrokerEpoch(0));
        let claim = |image: &ClusterImage| {
            Ok(((), claim_controller(image, node, epoch, lease).map_or_else(Plan::default, Plan::of)))
        };
        cluster.carry_out(claim).await?;
        // With fsync everything acknowledged is on the disk however the last stop went. With page-cache durability a power cut may have
        // taken acknowledged records (the operator chose that), but each partition has one replica: there is nobody better to lead it,
        // and `LastStop::Uncertain` would change nothing. With several nodes an unclean stop must be told here (KIP-966).
        cluster.carry_out_all(|image| start_leading(image, node, epoch, LastStop::Complete)).await?;
        cluster.carry_out(|image| Ok(((), sweep(image)))).await?;
        info!(%node, %epoch, cluster_id = %self.inner.cluster_id, "registered");
        Ok(())
    }

    fn spawn_follower(&self) {
        let broker = self.clone();
        self.spawn(async move {
            let failure = broker.inner.cluster.follow().await;
            broker.inner.blind.store(true, Ordering::Release);
            error!(error = %failure, "the metadata can no longer be followed; restart this broker");
        });
    }

    fn spawn_keepers(&self, checkpoint_interval: Duration) {
        let inner = &self.inner;
        let timers = Arc::clone(&inner.core.timers);
        let replicas = Arc::clone(&inner.replicas);
        self.spawn(async move { timers.run(move |key| replicas.timer(key)).await });
        let broker = self.clone();
        self.spawn(async move { broker.keep_deleting().await });
        let broker = self.clone();
        self.spawn(async move { broker.keep_reopening().await });
        let stop = inner.stop.clone();
        inner.core.tasks.spawn(self.clone().keep_checkpoints(checkpoint_interval, stop.clone()));
        inner.core.tasks.spawn(self.clone().keep_compacted(stop.clone()));
        inner.core.tasks.spawn(self.clone().keep_logs(stop.clone()));
        inner.core.tasks.spawn(self.clone().keep_scrubbed(stop.clone()));
        inner.core.tasks.spawn(self.clone().keep_tokens(stop));
    }

    /// A task that ends with the broker.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.inner.stop.clone();
        self.inner.core.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Acts on every difference between the image and what is hosted.
    async fn keep_reconciled(&self) {
        let mut revisions = self.inner.cluster.revisions();
        let mut hosted = self.inner.replicas.changes();
        let mut seen = None;
        loop {
            revisions.borrow_and_update();
            hosted.borrow_and_update();
            let image = self.image();
            if let Some(observer) = self.inner.core.observer.as_ref().filter(|_| seen != Some(image.revision())) {
                observer.topics_changed();
            }
            seen = Some(image.revision());
            // First the old, then the new: a topic may have been created again under its name, and waits until the old one's files are
            // gone. Nobody else does.
            let (gone, offline) = self.inner.replicas.take_gone(&image);
            if !gone.is_empty() || !offline.is_empty() {
                let broker = self.clone();
                self.spawn(async move { broker.end_gone(gone, offline).await });
            }
            self.reconcile(&image);
            self.follow_connection_limits(&image);
            self.inner.reconciled.send_replace(image.revision());
            if image.deletions().next().is_some() {
                self.inner.deletions.notify_one();
            }
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return },
                changed = self.many_hosted(&mut hosted) => if changed.is_err() { return },
            }
        }
    }

    /// Something has been opened. Thousands are opened one after the other, and each look is at all of them: a new look is worth it
    /// only after a while, for the few whose topic was deleted or changed meanwhile.
    async fn many_hosted(&self, hosted: &mut watch::Receiver<u64>) -> Result<(), watch::error::RecvError> {
        hosted.changed().await?;
        tokio::time::sleep(RECONCILE_PAUSE).await;
        Ok(())
    }

    fn reconcile(&self, image: &ClusterImage) {
        // Once per topic: there may be thousands of partitions.
        let defaults = self.topic_defaults(image);
        let mut last: Option<(TopicId, Arc<TopicConfig>)> = None;
        self.inner.replicas.reconcile(image, |topic: TopicId| match &last {
            Some((known, config)) if *known == topic => Arc::clone(config),
            _ => {
                let config = self.topic_config(image, topic, &defaults);
                last = Some((topic, Arc::clone(&config)));
                config
            }
        });
    }

    /// Waits until whom it concerns has the settings of the image as it was at `stored`. `None` if the broker ends.
    pub(crate) async fn settings_taken(&self, stored: Revision, concerns: Concerns) -> Option<()> {
        let mut reconciled = self.inner.reconciled.subscribe();
        reconciled.wait_for(|seen| *seen >= stored).await.ok()?;
        // One that ends takes no settings any more.
        self.inner.replicas.settings_hold(concerns).await;
        if concerns == Concerns::Everything {
            self.connection_limits_hold().await;
        }
        Some(())
    }

    /// Stops in order: refuses new work, flushes and closes every log, gives the metadata up.
    pub async fn close(&self) {
        let inner = &self.inner;
        inner.stop.cancel();
        inner.core.tasks.close();
        self.close_logs().await;
        inner.core.tasks.wait().await;
        let core = Arc::clone(&inner.core);
        let pools = tokio::task::spawn_blocking(move || {
            core.log_threads.close();
            core.flushers.close();
        });
        if pools.await.is_err() {
            error!("the log threads did not end in order");
        }
        // What their last pieces of work have left to others.
        inner.core.tasks.wait().await;
        info!("closed");
    }

    /// Does the broker still do what it is for: no log offline, the metadata followed?
    pub fn is_alive(&self) -> bool {
        !self.is_stopping() && !self.is_blind() && !self.disk_failed() && !self.inner.replicas.any_offline()
    }

    /// May clients come? Coordinators may still load.
    pub fn is_ready(&self) -> bool {
        !self.is_stopping() && self.inner.replicas.have_started(&self.image())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stop.is_cancelled()
    }

    /// Can the metadata no longer be followed?
    pub(crate) fn is_blind(&self) -> bool {
        self.inner.blind.load(Ordering::Acquire)
    }

    /// Did the metadata store not take the last change?
    pub(crate) fn metadata_refuses(&self) -> bool {
        self.inner.cluster.refuses()
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
    }

    /// The data directory's id; zero if it has none of Kafka's form.
    pub(crate) fn directory_id(&self) -> TopicId {
        self.inner.directory_id
    }

    /// This broker's number.
    pub fn node(&self) -> NodeId {
        self.inner.core.node
    }

    pub(crate) fn image(&self) -> Arc<ClusterImage> {
        self.inner.cluster.image()
    }

    pub(crate) fn cluster_image(&self) -> &Cluster {
        &self.inner.cluster
    }

    pub(crate) fn replicas(&self) -> &Arc<Replicas> {
        &self.inner.replicas
    }

    /// The settings that hold from the start on; a door finds its own among them.
    pub fn config(&self) -> &BrokerConfig {
        &self.inner.config
    }

    pub(crate) fn tiers_by_default(&self) -> bool {
        self.inner.tier_by_default
    }

    pub(crate) fn remote(&self) -> Option<&Arc<dyn RemoteLog>> {
        self.inner.core.remote.as_ref()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.core.clock
    }

    pub(crate) fn authorizer(&self) -> &dyn Authorizer {
        &*self.inner.authorizer
    }

    /// Is there an audit log?
    pub(crate) fn has_audit(&self) -> bool {
        self.inner.audit.is_some()
    }

    /// Tells the audit log of an authentication, which only a door sees. What callers ask for it hears from the authorizer, and of tokens
    /// from their use cases.
    pub fn audit(&self, event: &AuditEvent<'_>) {
        if let Some(audit) = &self.inner.audit {
            audit.record(event);
        }
    }

    pub(crate) fn has_acls(&self) -> bool {
        self.inner.has_acls
    }

    pub(crate) fn expressions(&self) -> &FairPlaces<Sharer> {
        &self.inner.expressions
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    pub(crate) fn producer_ids(&self) -> &ProducerIds {
        &self.inner.producer_ids
    }

    pub(crate) fn used(&self) -> &Used {
        &self.inner.used
    }

    pub(crate) fn places(&self) -> &Places {
        &self.inner.places
    }

    pub(crate) fn checkpoints(&self) -> &CheckpointFiles {
        &self.inner.core.checkpoints
    }

    /// Resolves when some partition has grown so much that its recovery point shall follow.
    pub(crate) async fn checkpoint_due(&self) {
        self.inner.core.checkpoint_due.notified().await;
    }

    pub(crate) fn log_levels(&self) -> Option<&dyn LogLevels> {
        self.inner.log_levels.as_deref()
    }

    pub(crate) fn tls_listeners(&self) -> Option<Arc<dyn TlsListeners>> {
        self.inner.tls_listeners.clone()
    }

    pub(crate) fn tls_changes(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.inner.tls_changes)
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.inner.core.observer.as_ref()
    }

    /// Has a start of ours registered with this directory before?
    pub(crate) fn has_been_here(&self) -> bool {
        self.inner.data_dir.meta.ours
    }

    /// The directory that holds every log, absolute.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.inner.core.data_dir
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.inner.core.disk
    }

    /// Has the data directory failed?
    pub(crate) fn disk_failed(&self) -> bool {
        self.inner.core.disk_failed.load(Ordering::Acquire)
    }

    /// What clients may still take of the disk.
    pub(crate) fn room(&self) -> &Room {
        &self.inner.core.room
    }

    pub(crate) fn cold_loans(&self) -> &Arc<ColdLoans> {
        &self.inner.cold_loans
    }

    pub(crate) fn deletions(&self) -> &Notify {
        &self.inner.deletions
    }
}

fn core(
    data_dir: &DataDir,
    options: &BrokerOptions,
    clock: Clock,
    decided: mpsc::UnboundedSender<Decided>,
) -> Result<Core, BrokerError> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let or = |count: usize, default: usize| if count == 0 { default } else { count };
    let failed = |error: std::io::Error| {
        error!(%error, "cannot start the log threads");
        BrokerError::new(KafkaError::UnknownServerError, "cannot start the log threads")
    };
    let drain = Work { slot: Replica::drain_slot, run: Replica::drain, panicked: Replica::panicked, many: None };
    let together = Many {
        from: SYNCFS_FROM,
        possible: Replica::may_flush_together,
        most: SYNCFS_MOST,
        run: Replica::flush_together,
    };
    let flush =
        Work { slot: Replica::flush_slot, run: Replica::flush, panicked: Replica::panicked, many: Some(together) };
    Ok(Core {
        node: options.node,
        data_dir: data_dir.path.clone(),
        durability: options.durability,
        clock,
        runtime: tokio::runtime::Handle::current(),
        tasks: TaskTracker::new(),
        disk_failed: AtomicBool::new(false),
        disk: Arc::clone(&data_dir.disk),
        room: Room::new(Arc::clone(&data_dir.disk), data_dir.path.clone()),
        producers: producers_memory(),
        groups_memory: SharedMemory::new(COORDINATORS_BUDGET_BYTES, COORDINATORS_LEAST_BYTES),
        transactions_memory: SharedMemory::new(COORDINATORS_BUDGET_BYTES, COORDINATORS_LEAST_BYTES),
        sync_fs: SyncFs::open(&data_dir.path).map_err(failed)?,
        foreign_writes: options.foreign_writes.clone(),
        files: FileCache::new(OPEN_FILES),
        checkpoints: Arc::clone(&data_dir.checkpoints),
        checkpoint_due: Notify::new(),
        timers: Timers::new(clock),
        log_threads: Pool::start("log", or(options.log_threads, cores.clamp(2, 8)), drain).map_err(failed)?,
        flushers: Pool::start("flush", or(options.flush_threads, 4), flush).map_err(failed)?,
        remote: options.remote.clone(),
        decided,
        observer: options.observer.clone(),
    })
}

/// A partition begins to serve: its coordinator loads, its cold tier is told.
fn begin(replica: &Arc<Replica>, groups: &GroupConfig, transactions: &TransactionConfig) {
    match replica.id.topic.as_str() {
        OFFSETS_TOPIC => {
            let (replica, config) = (Arc::clone(replica), groups.clone());
            tokio::task::spawn_blocking(move || load_shard(&replica, config));
        }
        TRANSACTIONS_TOPIC => {
            let (replica, config) = (Arc::clone(replica), transactions.clone());
            tokio::task::spawn_blocking(move || load_transactions(&replica, config));
        }
        _ => {}
    }
    replica.begin_remote();
}
