//! One router, one fallback. Decides which route exists and which layers it passes; each resource has its own file.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Router, middleware};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tidelog_model::KafkaError;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::GatewayParts;
use crate::budget::Budget;
use crate::context::{Context, Shared};
use crate::error::{ApiError, confluent_error, is_confluent};
use crate::http_routes::{docs, events, health, query, status, topics};
use crate::limits::REQUEST_TIMEOUT;
use crate::{grpc, guard, heads, media, observe, throttle, unread};

pub(crate) fn router(parts: GatewayParts) -> Router {
    let half = parts.options.memory_budget_bytes / 2;
    let context: Shared = Arc::new(Context {
        broker: parts.broker,
        authenticator: parts.authenticator,
        sql: parts.sql,
        status: parts.status,
        metrics: parts.metrics,
        info: parts.info,
        options: parts.options,
        budget: Budget::new(half),
        answers: Budget::new(half),
        shutdown: parts.shutdown,
    });

    // Answered in one piece within a bounded time.
    let mut short = Router::new();
    short = both(short, "/v1/topics", topics::collection());
    short = both(short, "/v1/topics/{topic}", topics::one());
    if context.sql.is_some() {
        short = both(short, "/v1/query", query::route());
    }
    if context.status.is_some() {
        short = both(short, "/v1/tier", status::tier());
        short = both(short, "/v1/tables", status::tables());
    }
    // Labels name topics and groups.
    short = both(short, "/metrics", health::metrics());
    let short = short.layer(middleware::from_fn(time_out)).layer(CompressionLayer::new());

    // Streams, long polls and gRPC: no time-out, no compression.
    let guarded = both(Router::new(), "/v1/topics/{topic}/events", events::route())
        .merge(short)
        .merge(grpc::services(&context))
        .layer(middleware::from_fn_with_state(Arc::clone(&context), throttle::throttle))
        .layer(middleware::from_fn_with_state(Arc::clone(&context), guard::authenticate));

    let mut open = Router::new();
    open = both(open, "/healthz", health::alive());
    open = both(open, "/readyz", health::ready());
    open = open.route("/", health::root());
    let open = open.merge(docs::routes(&context)).merge(grpc::open_services(&context));

    let router = guarded
        .merge(open)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(&context), guard::same_site));
    let router = match cors(&context.options.allowed_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(middleware::from_fn(heads::refuse_large))
        .layer(middleware::from_fn(unread::discard_unread))
        .layer(middleware::from_fn(observe::observe))
        .with_state(context)
}

/// A route with and without a slash at its end.
fn both(router: Router<Shared>, path: &str, methods: MethodRouter<Shared>) -> Router<Shared> {
    router.route(&format!("{path}/"), methods.clone()).route(path, methods)
}

async fn time_out(request: Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(KafkaError::RequestTimedOut, "The request took too long.").into_response(),
    }
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let last_event_id = HeaderName::from_static("last-event-id");
    let request_id = HeaderName::from_static("x-request-id");
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, last_event_id, request_id.clone()])
        .expose_headers([request_id, WWW_AUTHENTICATE]);
    Some(layer)
}

async fn not_found(request: Request) -> Response {
    if media::is_grpc(request.headers()) {
        let message = format!("There is no gRPC method {}.", request.uri().path());
        return tonic::Status::unimplemented(message).into_http::<axum::body::Body>();
    }
    let path = request.uri().path();
    if is_confluent(path) {
        return confluent_error(StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found");
    }
    let detail = "There is no such path. GET /docs shows the API.";
    ApiError::with_status(StatusCode::NOT_FOUND, KafkaError::ResourceNotFound, detail).into_response()
}

async fn method_not_allowed(request: Request) -> Response {
    let detail = format!("{} is not allowed here. GET /docs shows the API.", request.method());
    ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, KafkaError::InvalidRequest, detail).into_response()
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic hook has logged it.
    ApiError::new(KafkaError::UnknownServerError, "The server failed to answer.").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confluent_paths_are_told_by_whole_segments() {
        for path in ["/topics", "/topics/x", "/v3/clusters", "/kafka/v3", "/subjects/a/versions", "/v1/metadata/id"] {
            assert!(is_confluent(path), "{path}");
        }
        for path in ["/", "/topicsx", "/v1/topics", "/v1/other", "/v30", "/x/topics"] {
            assert!(!is_confluent(path), "{path}");
        }
    }
}
