//! gRPC: the services of tidelog.v1, health and reflection. Translates messages into use cases, one file per service.

mod call;
mod convert;
mod event_service;
mod frames;
mod metered;
mod publish_stream;
mod read;
mod topic_service;

use std::sync::Arc;

use axum::{Router, middleware};
use tidelog_proto::v1::FILE_DESCRIPTOR_SET;
use tidelog_proto::v1::event_service_server::EventServiceServer;
use tidelog_proto::v1::topic_service_server::TopicServiceServer;
use tonic::service::Routes;
use tonic::{Request, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::context::{Session, Shared};
use crate::error::grpc_error;
use crate::limits::MAX_ADMIN_BODY_BYTES;

/// Services that need a caller. Messages in a coding are refused, as REST refuses bodies in one: what they become is not counted.
pub(crate) fn services(context: &Shared) -> Router<Shared> {
    let limit = context.options.max_body_bytes;
    let events =
        EventServiceServer::new(event_service::Events::new(Arc::clone(context))).max_decoding_message_size(limit);
    let topics = TopicServiceServer::new(topic_service::Topics::new(Arc::clone(context)))
        .max_decoding_message_size(MAX_ADMIN_BODY_BYTES);
    routes(Routes::new(events).add_service(topics))
        .layer(middleware::from_fn_with_state(Arc::clone(context), call::guarded))
}

/// Services that anybody may ask, also without a token: health, because probes have none, and reflection, which says no more
/// than the published .proto files.
pub(crate) fn open_services(context: &Shared) -> Router<Shared> {
    let mut all = Routes::default();
    // Names of services that are compiled in: registering them cannot fail; if it did, they would not be listed.
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    if let Ok(reflection) = builder().build_v1() {
        all = all.add_service(reflection.max_decoding_message_size(MAX_ADMIN_BODY_BYTES));
    }
    if let Ok(reflection) = builder().build_v1alpha() {
        all = all.add_service(reflection.max_decoding_message_size(MAX_ADMIN_BODY_BYTES));
    }
    routes(all.add_service(health(context))).layer(middleware::from_fn_with_state(Arc::clone(context), call::open))
}

/// tonic's routes bring a fallback that answers every unknown path with 200: it is taken away.
fn routes(routes: Routes) -> Router<Shared> {
    routes.into_axum_router().reset_fallback().with_state(())
}

fn health(context: &Shared) -> HealthServer<HealthService> {
    let reporter = HealthReporter::new();
    let service = HealthService::from_health_reporter(reporter.clone());
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(report_health(reporter, Arc::clone(context)));
    }
    HealthServer::new(service).max_decoding_message_size(MAX_ADMIN_BODY_BYTES)
}

/// Mirrors the broker's readiness until the server stops; then every service is NOT_SERVING.
async fn report_health(reporter: HealthReporter, context: Shared) {
    const PERIOD: std::time::Duration = std::time::Duration::from_secs(1);
    loop {
        let stopping = context.shutdown.is_cancelled();
        let ready = context.broker.is_ready() && !stopping;
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", "tidelog.v1.EventService", "tidelog.v1.TopicService"] {
            reporter.set_service_status(service, status).await;
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = context.shutdown.cancelled() => {}
        }
    }
}

/// Who calls; put into the request by the authentication layer.
fn session<T>(request: &Request<T>) -> Result<Session, Status> {
    request
        .extensions()
        .get::<Session>()
        .cloned()
        .ok_or_else(|| grpc_error(tidelog_model::KafkaError::UnknownServerError, "The method is not guarded."))
}
