//! Errors as the gateway's callers read them. Decides their wording and shape per door; never the status of a Kafka
//! error, which the table beside this file decides.

mod rpc;
mod table;

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tidelog_broker::BrokerError;
use tidelog_model::KafkaError;
use utoipa::ToSchema;

use crate::json::Json;

pub(crate) use rpc::{grpc_error, grpc_status};
pub use table::{grpc_code, http_status};

/// Paths that belong to the Confluent APIs; their errors have that style.
const CONFLUENT: [&str; 13] = [
    "/topics",
    "/consumers",
    "/brokers",
    "/subjects",
    "/schemas",
    "/config",
    "/mode",
    "/contexts",
    "/compatibility",
    "/connectors",
    "/connector-plugins",
    "/v3",
    "/kafka/v3",
];

/// Is this a path of those APIs?
pub(crate) fn is_confluent(path: &str) -> bool {
    let under = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    CONFLUENT.iter().any(|prefix| under(prefix)) || under("/v1/metadata")
}

/// An error of a native route: `application/problem+json` (RFC 9457) with Kafka's name of the error.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    error: KafkaError,
    detail: Cow<'static, str>,
    offsets: Option<Box<serde_json::value::RawValue>>,
    /// The body's coding was the mistake (RFC 9110 §15.5.16).
    coded: bool,
    /// How long to wait before the next try, if anybody knows.
    pause: Option<Duration>,
}

/// The body of an error (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    /// Always `about:blank`: `title` and `error_code` say what happened.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What the caller should know and do.
    #[schema(example = "This server does not host the topic or partition.")]
    detail: &'a str,
    /// Kafka's name of the error.
    #[schema(example = "UNKNOWN_TOPIC_OR_PARTITION")]
    error_code: &'static str,
    /// Only if every record of a publish request failed: the error of each, in input order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    offsets: Option<&'a serde_json::value::RawValue>,
}

impl ApiError {
    /// An error with the status that its Kafka error maps to.
    pub fn new(error: KafkaError, detail: impl Into<Cow<'static, str>>) -> Self {
        ApiError::with_status(http_status(error), error, detail)
    }

    /// An error of HTTP itself, with a status of its own.
    pub fn with_status(status: StatusCode, error: KafkaError, detail: impl Into<Cow<'static, str>>) -> Self {
        ApiError { status, error, detail: detail.into(), offsets: None, coded: false, pause: None }
    }

    /// The caller's request makes no sense: 400, INVALID_REQUEST.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        ApiError::new(KafkaError::InvalidRequest, detail)
    }

    /// The body is larger than allowed: 413.
    pub fn too_large(limit: usize) -> Self {
        ApiError::with_status(
            StatusCode::PAYLOAD_TOO_LARGE,
            KafkaError::MessageTooLarge,
            format!("The body is larger than {limit} bytes. Send it in several requests."),
        )
    }

    /// The body has a Content-Encoding: 415.
    pub(crate) fn coded() -> Self {
        let detail = "Bodies are read as they are: send this one without Content-Encoding.";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        ApiError { coded: true, ..ApiError::with_status(status, KafkaError::InvalidRequest, detail) }
    }

    /// The budget of bytes in memory is used up: 503.
    pub(crate) fn busy() -> Self {
        let error = crate::budget::used_up();
        ApiError::with_status(StatusCode::SERVICE_UNAVAILABLE, error.error, error.message)
    }

    /// Adds the answer per record to an error of all records.
    pub(crate) fn with_offsets(mut self, offsets: Box<serde_json::value::RawValue>) -> Self {
        self.offsets = Some(offsets);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fact behind it.
    pub fn error(&self) -> KafkaError {
        self.error
    }

    /// The sentence for the caller.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        ApiError { pause: error.pause, ..ApiError::new(error.error, error.message) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            error_code: self.error.name(),
            offsets: self.offsets.as_deref(),
        };
        let mut response = (self.status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.status == StatusCode::TOO_MANY_REQUESTS {
            // Upwards: who comes back too soon is refused again.
            let seconds = self.pause.map_or(1, |pause| pause.as_millis().div_ceil(1_000).max(1) as u64);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.coded {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response
    }
}

/// An error in the style of the Confluent APIs: `{"error_code":40401,"message":"…"}`.
pub(crate) fn confluent_error(status: StatusCode, code: u32, message: &str) -> Response {
    (status, Json(serde_json::json!({ "error_code": code, "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one() {
        for error in KafkaError::ALL.iter().copied().filter(|error| *error != KafkaError::None) {
            let status = http_status(error);
            assert!(status.is_client_error() || status.is_server_error(), "{error}");
            assert_ne!(grpc_code(error), tonic::Code::Ok, "{error}");
        }
    }

    #[test]
    fn the_errors_that_people_meet() {
        let cases = [
            (KafkaError::UnknownTopicOrPartition, 404, tonic::Code::NotFound),
            (KafkaError::TopicAlreadyExists, 409, tonic::Code::AlreadyExists),
            (KafkaError::TopicAuthorizationFailed, 403, tonic::Code::PermissionDenied),
            (KafkaError::MessageTooLarge, 413, tonic::Code::InvalidArgument),
            (KafkaError::OffsetOutOfRange, 416, tonic::Code::OutOfRange),
            (KafkaError::InvalidTopicException, 400, tonic::Code::InvalidArgument),
            (KafkaError::NotEnoughReplicas, 503, tonic::Code::Unavailable),
            (KafkaError::KafkaStorageError, 503, tonic::Code::Unavailable),
            (KafkaError::RequestTimedOut, 504, tonic::Code::DeadlineExceeded),
            (KafkaError::ThrottlingQuotaExceeded, 429, tonic::Code::ResourceExhausted),
            (KafkaError::UnknownServerError, 500, tonic::Code::Unknown),
        ];
        for (error, http, grpc) in cases {
            assert_eq!((http_status(error).as_u16(), grpc_code(error)), (http, grpc), "{error}");
        }
    }
}
