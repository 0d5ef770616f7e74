//! Answers that nobody takes are given up. A client may keep its connection alive and shut the window of one HTTP/2 stream:
//! the body is then never asked again, and what it holds would be held for ever. Decides only that.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The body, dropped when nobody has asked for its next piece for `limit` after the one before.
pub(crate) fn while_taken(body: Body, limit: Duration) -> Body {
    let slot = Arc::new(Mutex::new(Slot { body: Some(body), given: Some(Instant::now()) }));
    let watch = tokio::spawn(watch(Arc::downgrade(&slot), limit));
    Body::new(Taken { slot, watch })
}

struct Slot {
    body: Option<Body>,
    /// Since when the last piece waits to be taken; none while we are the ones who are waited for.
    given: Option<Instant>,
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(slot: Weak<Mutex<Slot>>, limit: Duration) {
    loop {
        let Some(due) = slot.upgrade().map(|slot| lock(&slot).given.unwrap_or_else(Instant::now) + limit) else {
            return;
        };
        tokio::time::sleep_until(due).await;
        let Some(slot) = slot.upgrade() else { return };
        let mut held = lock(&slot);
        if held.given.is_some_and(|given| given.elapsed() >= limit) {
            let untaken = held.body.take();
            drop(held);
            drop(untaken);
            return;
        }
    }
}

struct Taken {
    slot: Arc<Mutex<Slot>>,
    watch: JoinHandle<()>,
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut slot = lock(&self.slot);
        let Some(body) = &mut slot.body else {
            // An end would look like a whole answer.
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::from(std::io::ErrorKind::TimedOut)))));
        };
        let frame = Pin::new(body).poll_frame(context);
        slot.given = frame.is_ready().then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.slot).body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.slot).body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use http_body_util::BodyExt;

    /// A body of endless pieces that holds a part of the budget.
    fn endless(budget: &Budget) -> Body {
        let mut held = budget.reservation();
        assert!(held.grow(1));
        Body::from_stream(futures::stream::repeat_with(move || {
            let _held = &held;
            Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
        }))
    }

    #[tokio::test]
    async fn what_nobody_takes_is_given_up() {
        let budget = Budget::new(1);
        for taken in [0, 1] {
            let mut body = while_taken(endless(&budget), Duration::from_millis(20));
            for _ in 0..taken {
                body.frame().await.unwrap().unwrap();
            }
            let given_back = async {
                while !budget.reservation().grow(1) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), given_back).await.expect("it holds nothing more");
            assert!(body.frame().await.unwrap().is_err(), "and does not look whole");
        }
    }

    #[tokio::test]
    async fn slow_clients_and_slow_events_are_waited_for() {
        let mut body = while_taken(endless(&Budget::new(1)), Duration::from_secs(3));
        for _ in 0..7 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            body.frame().await.unwrap().unwrap();
        }
        let late = futures::stream::once(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b"late"))
        });
        let body = while_taken(Body::from_stream(late), Duration::from_millis(20));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "late");
    }
}
