//! What every gRPC call meets before its method and after it: the media type, the caller's deadline, the memory that its
//! messages take, the end of the server. Decides nothing about messages.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::body::Frame;
use tidelog_model::KafkaError;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::metered::{Held, Metered};
use crate::activity::Asker;
use crate::context::{Ended, Shared};
use crate::error::{ApiError, grpc_error};
use crate::limits::{OPEN_CALL_LIFE, TAKE_TIMEOUT};
use crate::media::is_grpc_proto;
use crate::taken::while_taken;

/// Around the services of tidelog.v1, whose streams end with the server by themselves.
pub(super) async fn guarded(State(context): State<Shared>, request: Request, next: Next) -> Response {
    call(&context, request, next, None).await
}

/// Around health and reflection, whose streams would hold up a stop, and stay for ever.
pub(super) async fn open(State(context): State<Shared>, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Asker>().and_then(Asker::connection_over);
    let stop = end_of_open_call(context.shutdown.clone(), connection.unwrap_or_default(), OPEN_CALL_LIFE);
    call(&context, request, next, Some(Box::pin(stop))).await
}

/// Ends with the status of the stream that ends with it.
type Stop = Pin<Box<dyn Future<Output = Status> + Send>>;

async fn end_of_open_call(shutdown: CancellationToken, connection: CancellationToken, life: Duration) -> Status {
    let why = tokio::select! {
        () = shutdown.cancelled() => return Ended::Stopping.status(),
        () = connection.cancelled() => "A connection on which nobody says who he is ends after ten minutes. Open the stream on another.",
        () = tokio::time::sleep(life) => "A stream of this service ends after an hour: nobody has to say who he is. Open it again.",
    };
    grpc_error(KafkaError::BrokerNotAvailable, why)
}

async fn call(context: &Shared, request: Request, next: Next, stop: Option<Stop>) -> Response {
    if let Some(refusal) = refusal(&request) {
        return refusal;
    }
    let deadline = match deadline(request.headers()) {
        Ok(deadline) => deadline,
        Err(status) => return status.into_http::<Body>(),
    };
    let held = Held::new(&context.budget);
    let (parts, body) = request.into_parts();
    let body = Body::new(Metered::new(body, context.options.max_body_bytes, Arc::clone(&held)));
    let payer = Arc::clone(&held);
    let answer = next.run(Request::from_parts(parts, body));
    let answer = tidelog_proto::charging(Arc::new(move |bytes| payer.grow(bytes)), answer);
    let response = match deadline {
        None => answer.await,
        Some(at) => match tokio::time::timeout_at(at, answer).await {
            Ok(response) => response,
            Err(_) => return overdue().into_http::<Body>(),
        },
    };
    held.answered();
    response.map(|body| {
        let body = if deadline.is_none() && stop.is_none() {
            body
        } else {
            let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
            Body::new(Ending { body: Some(body), deadline, stop })
        };
        while_taken(body, TAKE_TIMEOUT)
    })
}

/// Only gRPC itself may reach a method (the protocol asks for 415 otherwise); a web page cannot send this type unasked.
fn refusal(request: &Request) -> Option<Response> {
    if request.method() != Method::POST {
        let detail = "gRPC methods are called with POST.";
        let error = ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, KafkaError::InvalidRequest, detail);
        let mut response = error.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    if !is_grpc_proto(request.headers()) {
        let detail = "This is a gRPC method: its Content-Type is application/grpc.";
        let error = ApiError::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, KafkaError::InvalidRequest, detail);
        return Some(error.into_response());
    }
    None
}

fn overdue() -> Status {
    grpc_error(KafkaError::RequestTimedOut, "The call's deadline is over.")
}

fn deadline(headers: &HeaderMap) -> Result<Option<Instant>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse_timeout);
    let timeout = timeout.ok_or_else(|| super::convert::invalid("grpc-timeout is malformed."))?;
    // Further than the clock reaches is no deadline.
    Ok(Instant::now().checked_add(timeout))
}

/// At most eight digits and a unit: H, M, S, m, u or n.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A response body that ends at the deadline or with the server, with the status that says so.
struct Ending {
    body: Option<Body>,
    deadline: Option<Pin<Box<Sleep>>>,
    stop: Option<Stop>,
}

impl Ending {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(overdue());
        }
        match &mut self.stop {
            Some(stop) => stop.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.body.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = this.poll_end(context) {
            this.body = None;
            let mut trailers = HeaderMap::new();
            // A status of our own always fits into headers.
            let _ = status.add_header(&mut trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match &mut this.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_open_to_anybody_ends_by_itself() {
        use http_body_util::BodyExt;

        let shutdown = CancellationToken::new();
        let open_on = |connection, life| {
            let body = Body::from_stream(futures::stream::pending::<Result<Bytes, axum::Error>>());
            let stop: Stop = Box::pin(end_of_open_call(shutdown.clone(), connection, life));
            Body::new(Ending { body: Some(body), deadline: None, stop: Some(stop) }).collect()
        };
        let open = |life| open_on(CancellationToken::new(), life);
        let status =
            |ended: http_body_util::Collected<Bytes>| Status::from_header_map(ended.trailers().unwrap()).unwrap();
        let ended = status(open(Duration::from_millis(10)).await.unwrap());
        assert!(ended.code() == tonic::Code::Unavailable && ended.message().contains("after an hour"), "{ended:?}");
        let over = CancellationToken::new();
        over.cancel();
        let ended = status(open_on(over, OPEN_CALL_LIFE).await.unwrap());
        assert!(ended.code() == tonic::Code::Unavailable && ended.message().contains("ten minutes"), "{ended:?}");
        shutdown.cancel();
        let ended = status(open(OPEN_CALL_LIFE).await.unwrap());
        assert!(ended.code() == tonic::Code::Unavailable && ended.message().contains("stops"), "{ended:?}");
    }

    #[test]
    fn timeouts_of_the_protocol() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("0m", Some(Duration::ZERO)),
            ("100000000S", None),
            ("1", None),
            ("S", None),
            ("", None),
            ("1.5S", None),
            ("-1S", None),
            ("1ö", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }
}
