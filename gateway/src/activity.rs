//! What a connection is used for. Decides since when it is of no use to anybody who is known; closes nothing.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tidelog_broker::Stranger;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One connection's requests.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Mutex<Uses>>);

struct Uses {
    /// Requests of somebody known whose answers are not sent to their end.
    open: usize,
    /// When the last one of those ended, or the connection was opened.
    last: Instant,
    /// Until somebody is known to use it.
    stranger: Option<Stranger>,
    /// Of no use any more: what is still open has to end.
    over: CancellationToken,
}

/// A request until its answer ends.
pub(crate) struct Use(Arc<Asked>);

struct Asked {
    activity: Activity,
    known: AtomicBool,
}

/// Whose request this is: comes with it, and whoever finds out says so.
#[derive(Clone)]
pub(crate) struct Asker(Weak<Asked>);

impl Activity {
    pub(crate) fn new(stranger: Option<Stranger>) -> Self {
        Activity(Arc::new(Mutex::new(Uses { open: 0, last: Instant::now(), stranger, over: CancellationToken::new() })))
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(crate) fn begin(&self) -> Use {
        Use(Arc::new(Asked { activity: self.clone(), known: AtomicBool::new(false) }))
    }

    /// Waits until nobody known has had anything open for so long. What strangers have open is no use: it costs them nothing. Then that ends.
    pub(crate) async fn unused_for(self, limit: Duration) {
        loop {
            let left = {
                let uses = self.uses();
                if uses.open > 0 { limit } else { limit.saturating_sub(uses.last.elapsed()) }
            };
            if left.is_zero() {
                self.uses().over.cancel();
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

impl Use {
    /// To be put into the request.
    pub(crate) fn asker(&self) -> Asker {
        Asker(Arc::downgrade(&self.0))
    }

    /// The request lasts as long as its answer.
    pub(crate) fn with(self, answer: http::Response<Body>) -> http::Response<Body> {
        answer.map(|body| Body::new(Used { body, _use: self }))
    }
}

impl Asker {
    /// Cancelled when its connection is of no use any more.
    pub(crate) fn connection_over(&self) -> Option<CancellationToken> {
        Some(self.0.upgrade()?.activity.uses().over.clone())
    }

    /// It is somebody who may pass.
    pub(crate) fn is_known(&self) {
        // Otherwise the client has hung up meanwhile.
        let Some(asked) = self.0.upgrade() else { return };
        let mut uses = asked.activity.uses();
        if !asked.known.swap(true, Ordering::Relaxed) {
            uses.open += 1;
        }
        let no_more = uses.stranger.take();
        drop(uses);
        drop(no_more);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if *self.known.get_mut() {
            let mut uses = self.activity.uses();
            uses.open -= 1;
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
