//! A broker, a router, and requests to it without a network.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tidelog_broker::{Broker, BrokerOptions, DataDir, Trouble};
use tidelog_gateway::{
    Gateway, GatewayInfo, GatewayOptions, GatewayParts, PortError, PortFuture, SqlAnswer, SqlColumn, SqlPort,
    StatusPort,
};
use tidelog_model::{Caller, KafkaError, NodeId, Timestamp};
use tidelog_security::{Authenticator, KeySet, TokenRequest, TokenRules, issue_token};
use tidelog_store::EmbeddedStore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) const SECRET: &[u8] = b"a secret of thirty-two bytes, ok";

pub(crate) struct Server {
    pub(crate) router: axum::Router,
    pub(crate) shutdown: CancellationToken,
    pub(crate) broker: Broker,
    store: EmbeddedStore,
    directory: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is problem+json with the status and Kafka's name.
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["error_code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string() && problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

/// Answers every statement with itself.
struct EchoSql;

impl SqlPort for EchoSql {
    fn query<'a>(&'a self, caller: &'a Caller, sql: &'a str) -> PortFuture<'a, SqlAnswer> {
        Box::pin(async move {
            if sql.starts_with("BAD") {
                return Err(PortError::new(KafkaError::InvalidRequest, "no such statement"));
            }
            let rows = json!([{ "sql": sql, "principal": caller.principal.as_str() }]);
            Ok(SqlAnswer {
                columns: vec![SqlColumn { name: "sql".into(), kind: "VARCHAR".into() }],
                rows: serde_json::value::to_raw_value(&rows).unwrap(),
            })
        })
    }
}

struct FixedStatus;

impl StatusPort for FixedStatus {
    fn tier<'a>(&'a self, _: &'a Caller) -> PortFuture<'a, Value> {
        Box::pin(async { Ok(json!({ "topics": [] })) })
    }

    fn tables<'a>(&'a self, _: &'a Caller) -> PortFuture<'a, Value> {
        Box::pin(async { Ok(json!({ "tables": [] })) })
    }

    fn troubles(&self) -> Vec<Trouble> {
        Vec::new()
    }
}

#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) secure: bool,
    pub(crate) wired: bool,
    pub(crate) options: GatewayOptions,
}

impl Default for Setup {
    fn default() -> Self {
        let options = GatewayOptions { max_body_bytes: 4 * 1024 * 1024, ..GatewayOptions::default() };
        Setup { secure: false, wired: true, options }
    }
}

impl Setup {
    pub(crate) fn secure() -> Self {
        let mut setup = Setup { secure: true, ..Setup::default() };
        setup.options.open_listener = false;
        setup
    }

    pub(crate) async fn start(self) -> Server {
        self.start_in(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn start_in(self, directory: tempfile::TempDir) -> Server {
        let store = EmbeddedStore::open(directory.path()).await.unwrap();
        let data_dir = DataDir::open(&directory.path().join("data"), NodeId(1), None).unwrap();
        let options = BrokerOptions::new(data_dir.path(), Arc::new(store.clone()));
        let broker = Broker::open(data_dir, options).await.unwrap();
        let ready = async {
            while !broker.is_ready() {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), ready).await.expect("the partitions open");
        let rules =
            TokenRules { issuer: Some("us".into()), audiences: vec!["tidelog".into()], ..TokenRules::default() };
        let keys = KeySet::default().with_secret(SECRET).unwrap();
        let shutdown = CancellationToken::new();
        let router = Gateway::router(GatewayParts {
            broker: broker.clone(),
            authenticator: self.secure.then(|| Arc::new(Authenticator::new(keys, rules).unwrap())),
            sql: self.wired.then(|| Arc::new(EchoSql) as Arc<dyn SqlPort>),
            status: self.wired.then(|| Arc::new(FixedStatus) as Arc<dyn StatusPort>),
            metrics: Box::new(|| Box::pin(async { "# metrics\n".to_owned() })),
            info: GatewayInfo { version: "1.2.3".into(), commit: "abc".into(), cluster_id: "cluster".into() },
            options: self.options,
            shutdown: shutdown.clone(),
        });
        Server { router, shutdown, broker, store, directory }
    }
}

impl Server {
    pub(crate) async fn open() -> Self {
        Setup::default().start().await
    }

    /// Stops everything and hands the directory on.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        drop(self.router);
        self.broker.close().await;
        self.store.close().await;
        self.directory
    }

    pub(crate) async fn respond(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.respond(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        self.send(request("POST", path).header(header::CONTENT_TYPE, content_type).body(body.into()).unwrap()).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = request(method, path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn topic(&self, name: &str, partitions: i32) {
        let answer = self.json("POST", "/v1/topics", json!({ "name": name, "partitions": partitions })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
    }
}

pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "localhost:8082")
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis() as i64)
}

pub(crate) fn token_for(audience: &str, issued: Timestamp, secret: &[u8]) -> String {
    let request = TokenRequest {
        subject: "alice".into(),
        ttl: std::time::Duration::from_secs(600),
        audiences: vec![audience.into()],
        issuer: Some("us".into()),
    };
    issue_token(&request, secret, issued).unwrap()
}

pub(crate) fn good_token() -> String {
    token_for("tidelog", now(), SECRET)
}
