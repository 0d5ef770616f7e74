//! Reads a request's body into memory: within its size limit, within the budget, and only as long as it keeps coming.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tidelog_model::KafkaError;

use crate::budget::{Budget, Reservation};
use crate::error::ApiError;
use crate::limits::{BODY_STALL_TIMEOUT, DISCARD_TIMEOUT, MAX_DISCARDED_BYTES};

/// A body and the budget that it occupies.
pub(crate) struct Buffered {
    pub(crate) bytes: Bytes,
    _reservation: Reservation,
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    budget: &Budget,
) -> Result<Buffered, ApiError> {
    read_while_it_comes(headers, body, limit, budget, BODY_STALL_TIMEOUT).await
}

async fn read_while_it_comes(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    budget: &Budget,
    stall: Duration,
) -> Result<Buffered, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit as u64) {
        discard(body).await;
        return Err(ApiError::too_large(limit));
    }
    let mut reservation = budget.reservation();
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut size = 0usize;
    loop {
        let frame = tokio::time::timeout(stall, body.frame()).await.map_err(|_| {
            ApiError::with_status(StatusCode::REQUEST_TIMEOUT, KafkaError::RequestTimedOut, "The body stopped coming.")
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| {
            ApiError::with_status(StatusCode::BAD_REQUEST, KafkaError::NetworkException, "The body broke off.")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        size = size.saturating_add(data.len());
        if size > limit {
            drop((first, rest, reservation));
            discard(body).await;
            return Err(ApiError::too_large(limit));
        }
        if !reservation.grow(data.len()) {
            return Err(ApiError::with_status(
                StatusCode::SERVICE_UNAVAILABLE,
                KafkaError::ThrottlingQuotaExceeded,
                "Too many request bodies are in memory. Try again.",
            ));
        }
        // Most bodies are one frame: that one is not copied.
        match &first {
            None if rest.is_empty() => first = Some(data),
            _ => {
                if let Some(first) = first.take() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    let bytes = first.unwrap_or_else(|| rest.freeze());
    Ok(Buffered { bytes, _reservation: reservation })
}

/// Reads what a client still sends, within limits, so that it lives to see the answer.
async fn discard(mut body: Body) {
    let rest = async {
        let mut size = 0usize;
        while size < MAX_DISCARDED_BYTES {
            let Some(Ok(frame)) = body.frame().await else { break };
            size = size.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    // Whether it ended or ran out of time makes no difference.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest).await;
}

/// Reads a JSON body into `T`; the content type must be JSON, missing, or curl's form default.
pub(crate) fn parse_json<'a, T: serde::Deserialize<'a>>(headers: &HeaderMap, body: &'a [u8]) -> Result<T, ApiError> {
    use crate::media::Media;
    match crate::media::of_request(headers) {
        Media::Json | Media::Unsaid => {}
        Media::Ndjson | Media::Other => {
            return Err(ApiError::with_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                KafkaError::InvalidRequest,
                "Send JSON: -H 'Content-Type: application/json'.",
            ));
        }
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("The body is not the JSON expected: {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(1000)
    }

    fn chunks(parts: &[&'static [u8]]) -> Body {
        let parts: Vec<Result<Bytes, std::io::Error>> = parts.iter().map(|part| Ok(Bytes::from_static(part))).collect();
        Body::from_stream(futures::stream::iter(parts))
    }

    #[tokio::test]
    async fn bodies_are_whole_or_refused() {
        let none = HeaderMap::new();
        let body = read_body(&none, chunks(&[b"ab", b"", b"c"]), 3, &budget()).await.ok().unwrap();
        assert_eq!(&body.bytes[..], b"abc");
        assert_eq!(&read_body(&none, chunks(&[b"one"]), 3, &budget()).await.ok().unwrap().bytes[..], b"one");
        assert!(read_body(&none, Body::empty(), 3, &budget()).await.ok().unwrap().bytes.is_empty());
        let error = read_body(&none, chunks(&[b"ab", b"cd"]), 3, &budget()).await.err().unwrap();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let mut announced = HeaderMap::new();
        announced.insert(header::CONTENT_LENGTH, "4".parse().unwrap());
        let error = read_body(&announced, Body::empty(), 3, &budget()).await.err().unwrap();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn the_budget_is_shared_and_given_back() {
        let budget = Budget::new(4);
        let none = HeaderMap::new();
        let held = read_body(&none, chunks(&[b"abc"]), 10, &budget).await.ok().unwrap();
        let error = read_body(&none, chunks(&[b"ab"]), 10, &budget).await.err().unwrap();
        assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(held);
        assert!(read_body(&none, chunks(&[b"ab"]), 10, &budget).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_stops_is_given_up() {
        let stuck = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let stall = Duration::from_millis(1);
        let error = read_while_it_comes(&HeaderMap::new(), stuck, 10, &budget(), stall).await.err().unwrap();
        assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
