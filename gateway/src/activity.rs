//! What a connection is used for. Decides since when it is of no use to anybody who is known; closes nothing.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

/// Marks an answer to somebody who may pass.
#[derive(Clone, Copy)]
pub(crate) struct Known;

/// One connection's requests.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Mutex<Uses>>);

struct Uses {
    /// Requests whose answers are not sent to their end.
    open: usize,
    /// When the last one of somebody known ended, or the connection was opened.
    last: Instant,
}

/// A request until its answer ends.
pub(crate) struct Use {
    activity: Activity,
    known: bool,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Activity(Arc::new(Mutex::new(Uses { open: 0, last: Instant::now() })))
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(crate) fn begin(&self) -> Use {
        self.uses().open += 1;
        Use { activity: self.clone(), known: false }
    }

    /// Waits until nothing was open and nobody known has asked for so long.
    pub(crate) async fn unused_for(&self, limit: Duration) {
        loop {
            let left = {
                let uses = self.uses();
                if uses.open > 0 { limit } else { limit.saturating_sub(uses.last.elapsed()) }
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

impl Use {
    /// The request lasts as long as its answer.
    pub(crate) fn with(mut self, answer: http::Response<Body>) -> http::Response<Body> {
        self.known = answer.extensions().get::<Known>().is_some();
        answer.map(|body| Body::new(Used { body, _use: self }))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut uses = self.activity.uses();
        uses.open -= 1;
        if self.known {
            uses.last = Instant::now();
        }
    }
}

/// An answer's body, and the request that it belongs to.
struct Used {
    body: Body,
    _use: Use,
}

impl hyper::body::Body for Used {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
