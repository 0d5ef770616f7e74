//! Reads a request's body into memory: within its size limit, within the budget, and only as long as it keeps coming.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use tidelog_model::KafkaError;
use tokio::time::Instant;

use crate::budget::{Budget, Reservation};
use crate::error::ApiError;
use crate::limits::{BODY_MIN_RATE, BODY_STALL_TIMEOUT};

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
    read_while_it_comes(headers, body, limit, budget, &Pace::default()).await
}

/// How slow a body may be.
pub(crate) struct Pace {
    /// Longest silence.
    pub(crate) stall: Duration,
    /// After `stall`, bytes per second since the beginning.
    pub(crate) rate: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { stall: BODY_STALL_TIMEOUT, rate: BODY_MIN_RATE }
    }
}

impl Pace {
    /// How long the next bytes may take when `size` bytes have taken that long.
    pub(crate) fn left(&self, took: Duration, size: usize) -> Duration {
        let earned = Duration::from_secs_f64(size as f64 / f64::from(self.rate));
        self.stall.min((self.stall + earned).saturating_sub(took))
    }
}

async fn read_while_it_comes(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    budget: &Budget,
    pace: &Pace,
) -> Result<Buffered, ApiError> {
    uncoded(headers)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit as u64) {
        return Err(ApiError::too_large(limit));
    }
    let started = Instant::now();
    let mut reservation = budget.reservation();
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut size = 0usize;
    loop {
        let frame = tokio::time::timeout(pace.left(started.elapsed(), size), body.frame()).await.map_err(|_| {
            let detail = "The body stopped coming, or comes too slowly.";
            ApiError::with_status(StatusCode::REQUEST_TIMEOUT, KafkaError::RequestTimedOut, detail)
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| {
            ApiError::with_status(StatusCode::BAD_REQUEST, KafkaError::NetworkException, "The body broke off.")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        size = size.saturating_add(data.len());
        if size > limit {
            return Err(ApiError::too_large(limit));
        }
        if !reservation.grow(data.len()) {
            return Err(ApiError::busy());
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

/// A coded body is not the bytes that its Content-Type speaks of: stored as they are they would be a record that nobody sent.
fn uncoded(headers: &HeaderMap) -> Result<(), ApiError> {
    let identity = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    match headers.get_all(header::CONTENT_ENCODING).iter().all(identity) {
        true => Ok(()),
        false => Err(ApiError::coded()),
    }
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
    async fn a_body_that_stops_or_drips_is_given_up() {
        let none = HeaderMap::new();
        let stuck = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let pace = Pace { stall: Duration::from_millis(1), rate: 1 };
        let error = read_while_it_comes(&none, stuck, 10, &budget(), &pace).await.err().unwrap();
        assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
        // A byte every few milliseconds is never silent for long.
        let drip = || {
            Body::from_stream(futures::stream::unfold(0, |sent| async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                (sent < 200).then_some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), sent + 1))
            }))
        };
        let pace = Pace { stall: Duration::from_millis(100), rate: 1_000_000 };
        let error = read_while_it_comes(&none, drip(), 1000, &budget(), &pace).await.err().unwrap();
        assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
        let pace = Pace { stall: Duration::from_secs(20), rate: 1 };
        let body = read_while_it_comes(&none, drip(), 1000, &budget(), &pace).await.ok().unwrap();
        assert_eq!(body.bytes.len(), 200);
    }
}
