//! Assembles a server: the only place where broker, doors, cold tier, tables and SQL meet.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tidelog_broker::{Broker, BrokerOptions, DataDir, LogLevels};
use tidelog_gateway::{Gateway, GatewayInfo, GatewayOptions, GatewayParts};
use tidelog_kafka::{KafkaDoor, ListenerName, ListenerSecurity, SaslOptions};
use tidelog_log::{Disk, OsDisk, replace_file};
use tidelog_metadata::BrokerConfig;
use tidelog_metadata::decide::AclFilter;
use tidelog_metadata::keys::Endpoint;
use tidelog_model::Caller;
use tidelog_objects::{HasRoom, Objects, StoreOptions};
use tidelog_segments::{Tier, TierLimits};
use tidelog_store::EmbeddedStore;
use tidelog_tables::{CommittedLog, Exporter, ExporterConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::audit::AuditLog;
use super::committed::Committed;
use super::config::{KafkaListener, ServeConfig};
use super::observer::Events;
use super::status::{Status, troubles};
use super::tls::Certificates;
use super::{api_gauges, endpoints, facts, gauges, group_gauges, metrics, process_gauges, safety, tls, tokens};

/// In the data directory: the object store that an earlier start has probed.
const STORE_MARKER: &str = "object-store-probed";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Unknown unless the build says.
const COMMIT: &str = match option_env!("TIDELOG_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// How often somebody looks whether the object store is there, if nobody uses it: a request that costs, though little.
const STORE_LOOKED_AT: Duration = Duration::from_secs(30);

/// How long clients may take to let go at a stop.
const DRAIN: Duration = Duration::from_secs(10);

/// A server that accepts on all its listeners.
pub(crate) struct Running {
    /// Where Kafka clients connect: the first listener.
    pub(crate) kafka: SocketAddr,
    /// Every Kafka listener by name.
    pub(crate) listeners: Vec<(String, SocketAddr)>,
    /// Where HTTP and gRPC clients connect.
    pub(crate) http: SocketAddr,
    /// `http` or `https`.
    pub(crate) http_scheme: &'static str,
    /// The data directory, absolute.
    pub(crate) data_dir: PathBuf,
    /// The object store's URL.
    pub(crate) object_store: String,
    /// The cluster's id.
    pub(crate) cluster_id: String,
    broker: Broker,
    door: KafkaDoor,
    http_task: JoinHandle<()>,
    exporter: Arc<Exporter>,
    store: EmbeddedStore,
    audit: Option<Arc<AuditLog>>,
    stop: CancellationToken,
}

/// Opens everything; returns when all listeners accept. Recovery of partitions goes on behind them.
pub(crate) async fn start(config: ServeConfig, log: Option<Arc<dyn LogLevels>>) -> Result<Running> {
    for warning in safety::check(&config)? {
        warn!("{warning}");
    }
    if let Some(files) = &config.tls {
        for warning in tls::check(files)? {
            warn!("{warning}");
        }
    }
    raise_open_files();
    let settings = BrokerConfig::new(config.broker.iter().map(|(name, value)| (name, value)))?;
    let certificates = config.tls.as_ref().map(|tls| Certificates::load(tls, &config, &settings));
    let certificates = certificates.transpose()?.map(Arc::new);
    let authenticator = config.jwt.as_ref().map(tokens::authenticator).transpose()?.map(Arc::new);
    let stop = CancellationToken::new();
    let keeper = config.jwt.as_ref().zip(authenticator.as_ref()).and_then(|(jwt, keys)| tokens::Keeper::new(jwt, keys));
    let keys_asked = keeper.map(|keeper| keeper.start(stop.clone()));
    if let Some(url) = &config.object_store {
        Objects::check(url, &store_options(&config))?;
    }

    // Ports first: a start that cannot listen should not touch anything.
    let mut sockets = Vec::with_capacity(config.kafka.len());
    for listener in &config.kafka {
        sockets.push((listener, bind(listener.listen, "--kafka-listen").await?));
    }
    let http_socket = bind(config.http, "--http-listen").await?;
    let http = http_socket.local_addr()?;
    // Before anything that counts.
    let counted: Arc<dyn Fn() -> String + Send + Sync> = Arc::from(metrics::start(stop.clone()));
    let (listeners, registered) = addresses(&sockets)?;
    let kafka = listeners.first().context("there is no Kafka listener")?.1;
    let (path, node) = (config.data_dir.clone(), config.node);
    let data_dir = tokio::task::spawn_blocking(move || DataDir::open(&path, node, None)).await??;
    let root = data_dir.path().to_owned();
    endpoints::remove(&root).context("cannot remove an earlier endpoints.json")?;

    // The metadata store after what may be away or misspelt: a start that is refused then leaves none that was not closed.
    let objects = open_objects(&config, &root).await?;
    let audit = config.audit_log.as_deref().map(AuditLog::open).transpose()?;
    let metadata = root.join("metadata");
    std::fs::create_dir_all(&metadata).with_context(|| format!("cannot create {}", metadata.display()))?;
    let store = EmbeddedStore::open(&metadata).await?;
    let object_store = objects.url().to_owned();
    let cluster_id = data_dir.cluster_id().to_owned();
    let tier = Arc::new(Tier::new(
        &objects,
        &cluster_id,
        &root.join("tier-cache"),
        TierLimits::default(),
        tokio::runtime::Handle::current(),
    )?);

    let foreign_writes = objects.local_puts().map(|puts| {
        let writing: tidelog_broker::ForeignWrites = Arc::new(move || puts.in_flight() > 0);
        writing
    });
    let events = Arc::new(Events::default());
    let options = BrokerOptions {
        node,
        durability: config.durability,
        config: settings.with_facts(facts::of(&config, &listeners, &registered, &root)),
        tier_by_default: true,
        endpoints: registered,
        http: Some(config.http_advertise.clone().unwrap_or_else(|| format!("{}://{http}", config.http_scheme()))),
        remote: Some(Arc::clone(&tier) as Arc<dyn tidelog_log::RemoteLog>),
        acls: config.acls.clone(),
        audit: audit.clone().map(|audit| audit as Arc<dyn tidelog_security::Audit>),
        foreign_writes,
        observer: Some(Arc::clone(&events) as Arc<dyn tidelog_broker::Observer>),
        log_levels: log,
        tls_listeners: certificates.clone().map(|certificates| certificates as Arc<dyn tidelog_broker::TlsListeners>),
        ..BrokerOptions::new(&root, Arc::new(store.clone()))
    };
    let broker = match Broker::open(data_dir, options).await {
        Ok(broker) => broker,
        Err(error) => {
            store.close().await;
            return Err(error.into());
        }
    };
    if let Some(certificates) = &certificates {
        let begun = broker.listener_tls().map_err(Into::into).and_then(|own| certificates.begin(&own));
        if let Err(error) = begun {
            broker.close().await;
            store.close().await;
            return Err(error);
        }
    }
    if safety::needs_rules(&config)
        && broker.describe_acls(&Caller::internal("start"), &AclFilter::ALL).is_ok_and(|rules| rules.is_empty())
    {
        warn!(
            "access rules bind and there are none, nor a super user: nobody may do anything, nor add a rule; start with \
             --super-user User:NAME (User:ANONYMOUS is whoever comes without saying who he is)"
        );
    }
    events.set_tier(broker.clone(), Arc::clone(&tier));
    let committed: Arc<dyn CommittedLog> = Arc::new(Committed::new(broker.clone()));
    let export = ExporterConfig { cluster_id: cluster_id.clone(), writer: format!("node {node}") };
    let exporter = Arc::new(Exporter::start(&objects, Arc::clone(&committed), &export)?);
    events.set_exporter(Arc::clone(&exporter));
    exporter.refresh();
    tokio::spawn(watch(objects.clone(), stop.clone()));

    let parts = GatewayParts {
        broker: broker.clone(),
        sql: sql(&objects, committed, &exporter, &broker)?,
        status: Some(Arc::new(Status {
            broker: broker.clone(),
            tier: Arc::clone(&tier),
            exporter: Arc::clone(&exporter),
            objects: objects.clone(),
        })),
        metrics: {
            let broker = broker.clone();
            Box::new(move || {
                let (counted, broker, objects) = (Arc::clone(&counted), broker.clone(), objects.clone());
                let tier = Arc::clone(&tier);
                Box::pin(async move {
                    let troubles = troubles(&objects, &tier);
                    let mut text = counted() + &api_gauges::render() + &gauges::render(&broker, troubles);
                    text += &process_gauges::render(VERSION, COMMIT);
                    text + &group_gauges::render(&broker).await
                })
            })
        },
        info: GatewayInfo { version: VERSION.into(), commit: COMMIT.into(), cluster_id: cluster_id.clone() },
        options: GatewayOptions {
            open_listener: authenticator.is_none() && !config.http_basic,
            basic: config.http_basic,
            allow_address_hosts: config.allow_unauthenticated,
            allowed_origins: config.allowed_origins.clone(),
            ..GatewayOptions::default()
        },
        authenticator: authenticator.clone(),
        shutdown: stop.clone(),
    };
    if let Some(asked) = keys_asked {
        // So that the first token finds its key. The end of the task is as good as an answer.
        let _ = asked.await;
    }
    let door = KafkaDoor::new(broker.clone());
    for (listener, socket) in sockets {
        let name = ListenerName { name: Arc::from(listener.name.as_str()), advertised: listener.advertise.clone() };
        let sasl = listener.protocol.has_sasl().then(|| SaslOptions {
            mechanisms: config.sasl_mechanisms.clone(),
            tokens: authenticator.clone(),
            max_session: broker.config().connections_max_reauth,
        });
        let tls = listener.protocol.has_tls().then_some(certificates.as_ref()).flatten();
        let tls = tls.map(|certificates| certificates.options(listener));
        door.listen(socket, name, ListenerSecurity { sasl, tls })?;
    }
    if let Some(certificates) = &certificates {
        tokio::spawn(Arc::clone(certificates).keep_fresh(stop.clone()));
    }
    let https = config.https.then_some(certificates.as_ref()).flatten().map(|certificates| certificates.https());
    let asks = !parts.options.open_listener;
    let router = Gateway::router(parts);
    let serving = tidelog_gateway::serve(http_socket, broker.clone(), router, https, asks, stop.clone());
    let http_task = tokio::spawn(serving);
    endpoints::write(&root, kafka, http, &listeners).context("cannot write endpoints.json")?;
    info!(%kafka, %http, data_dir = %root.display(), object_store, "ready");
    Ok(Running {
        kafka,
        listeners,
        http,
        http_scheme: config.http_scheme(),
        data_dir: root,
        object_store,
        cluster_id,
        broker,
        door,
        http_task,
        exporter,
        store,
        audit,
        stop,
    })
}

impl Running {
    /// Stops in order: no new clients, answers what was accepted, flushes and closes every log.
    pub(crate) async fn stop(self) -> Result<()> {
        endpoints::remove(&self.data_dir)?;
        self.stop.cancel();
        self.door.close(DRAIN).await;
        self.http_task.await?;
        self.exporter.stop().await;
        self.broker.close().await;
        self.store.close().await;
        if let Some(audit) = self.audit {
            tokio::task::spawn_blocking(move || audit.close()).await?;
        }
        Ok(())
    }
}

/// Listeners by name with the addresses that they got, and what is registered of them.
type Addresses = (Vec<(String, SocketAddr)>, Vec<Endpoint>);

fn addresses(sockets: &[(&KafkaListener, TcpListener)]) -> Result<Addresses> {
    let (mut listeners, mut endpoints) = (Vec::new(), Vec::new());
    for (listener, socket) in sockets {
        let address = socket.local_addr()?;
        let (host, port) = listener.advertise.clone().unwrap_or((address.ip().to_string(), address.port()));
        listeners.push((listener.name.clone(), address));
        endpoints.push(Endpoint {
            listener: listener.name.clone(),
            security: listener.protocol.name().into(),
            host,
            port,
        });
    }
    Ok((listeners, endpoints))
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; choose another address with {flag}, port 0 for a free one")
    })
}

async fn open_objects(config: &ServeConfig, root: &Path) -> Result<Objects> {
    let url = match &config.object_store {
        Some(url) => url.clone(),
        None => format!("file://{}", root.join("object-store").display()),
    };
    // What it was opened as; the same store may be away at a later start.
    let identity = format!("{url} {}", config.store.endpoint.as_deref().unwrap_or_default());
    let marker = root.join(STORE_MARKER);
    let known = std::fs::read_to_string(&marker).is_ok_and(|known| known == identity);
    let room = url.strip_prefix("file://").and_then(|folder| room_beside(root, Path::new(folder)));
    let options = StoreOptions { known, room, ..store_options(config) };
    let objects = Objects::open(&url, &options).await.with_context(|| format!("cannot use the object store {url}"))?;
    // A folder is not away; and a first start has no time for two more flushes.
    if !options.known && url.starts_with("s3://") {
        replace_file(&OsDisk, &marker, identity.as_bytes())
            .with_context(|| format!("cannot write {}", marker.display()))?;
    }
    Ok(objects)
}

/// What an object store in a folder may take of the data directory's file system, if it is on the same one: not the reserve.
fn room_beside(root: &Path, folder: &Path) -> Option<HasRoom> {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
    // The folder may be yet to be made.
    let there = folder.ancestors().find_map(device);
    let root = (there == device(root)).then(|| root.to_owned())?;
    Some(HasRoom(Arc::new(move |bytes| OsDisk.space(&root).is_none_or(|space| space.has(bytes)))))
}

/// How the configured store is reached.
pub(super) fn store_options(config: &ServeConfig) -> StoreOptions {
    StoreOptions {
        endpoint: config.store.endpoint.clone(),
        region: config.store.region.clone(),
        allow_http: config.store.allow_http,
        checksum: !config.store.no_checksum,
        ..StoreOptions::default()
    }
}

#[cfg(feature = "sql")]
fn sql(
    objects: &Objects,
    committed: Arc<dyn CommittedLog>,
    exporter: &Arc<Exporter>,
    broker: &Broker,
) -> Result<Option<Arc<dyn tidelog_gateway::SqlPort>>> {
    let limits = tidelog_query::QueryLimits::default();
    let engine = tidelog_query::QueryEngine::new(objects, committed, Arc::clone(exporter), limits)?;
    Ok(Some(Arc::new(super::sql::Sql::new(engine, broker.clone(), &limits))))
}

#[cfg(not(feature = "sql"))]
fn sql(
    _: &Objects,
    _: Arc<dyn CommittedLog>,
    _: &Arc<Exporter>,
    _: &Broker,
) -> Result<Option<Arc<dyn tidelog_gateway::SqlPort>>> {
    Ok(None)
}

/// Looks at the object store now and then: nobody may need it for days, and then it must be there.
async fn watch(objects: Objects, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(STORE_LOOKED_AT)).await.is_some() {
        objects.look().await;
    }
}

/// A broker holds a file per partition and a socket per client: the soft limit is meant for shells.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        warn!(%error, "cannot raise the limit of open files");
    }
}
