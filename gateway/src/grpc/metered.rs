//! A gRPC request's body: counted against the budget until its messages have been taken, whole messages only, and only as long
//! as it keeps coming. tonic takes memory for a message as soon as it has read its announced length, and after the message of
//! a unary call it waits for the end of the body, however long. Decides when a message is shown to it and when a call is given
//! up; never what a message means.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use tidelog_model::KafkaError;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use super::frames::Frames;
use crate::body::Pace;
use crate::budget::{Budget, Reservation};
use crate::error::grpc_error;

/// The memory of one call's messages.
pub(super) struct Held {
    reservation: Mutex<Reservation>,
    /// A call whose answer began takes its further messages one by one; before, its only message is still at work.
    answered: AtomicBool,
}

impl Held {
    pub(super) fn new(budget: &Budget) -> Arc<Self> {
        Arc::new(Held { reservation: Mutex::new(budget.reservation()), answered: AtomicBool::new(false) })
    }

    /// Takes more; false if there is not that much.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        self.reservation.lock().unwrap_or_else(PoisonError::into_inner).grow(bytes)
    }

    fn shrink_to(&self, bytes: usize) {
        self.reservation.lock().unwrap_or_else(PoisonError::into_inner).shrink_to(bytes);
    }

    /// The answer has begun.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Release);
    }

    fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }
}

/// A request body as tonic gets it.
pub(super) struct Metered {
    body: Body,
    limit: usize,
    frames: Frames,
    /// The message that is not whole yet.
    begun: BytesMut,
    held: Arc<Held>,
    pace: Pace,
    /// Bytes that have come, and the time that was spent waiting for them: of the message at hand, of a unary call of all.
    size: usize,
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Metered {
    /// `limit` is the largest message that tonic accepts, bytes; a larger one is left to tonic to refuse.
    pub(super) fn new(body: Body, limit: usize, held: Arc<Held>) -> Self {
        Metered {
            body,
            limit,
            frames: Frames::default(),
            begun: BytesMut::new(),
            held,
            pace: Pace::default(),
            size: 0,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    /// Between the messages of a stream everybody may be silent.
    fn hurries(&self) -> bool {
        !self.held.is_answered() || self.frames.unfinished() > 0
    }

    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if !self.hurries() {
            self.waiting = None;
            return Poll::Pending;
        }
        let left = self.pace.left(self.waited, self.size);
        let (_, sleep) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        sleep.as_mut().poll(context).map(|()| {
            grpc_error(KafkaError::RequestTimedOut, "The request stopped coming, comes too slowly, or was not ended.")
        })
    }

    /// Takes bytes; gives out the whole messages, if there are any.
    fn take(&mut self, data: Bytes) -> Result<Option<Bytes>, Status> {
        if !self.held.grow(data.len()) {
            let message = "Too many request bodies are in memory. Try again.";
            return Err(grpc_error(KafkaError::ThrottlingQuotaExceeded, message));
        }
        self.size = self.size.saturating_add(data.len());
        self.frames.feed(&data);
        let rest = match self.frames.announced() > self.limit {
            true => 0,
            false => self.frames.unfinished(),
        };
        let whole = match self.begun.is_empty() && rest == 0 {
            true => data,
            false => {
                self.begun.extend_from_slice(&data);
                let whole = self.begun.len().saturating_sub(rest);
                self.begun.split_to(whole).freeze()
            }
        };
        if whole.is_empty() {
            return Ok(None);
        }
        if self.held.is_answered() {
            (self.size, self.waited) = (rest, Duration::ZERO);
        }
        Ok(Some(whole))
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::codegen::StdError>>> {
        let this = self.get_mut();
        // Who asks for more has decoded every whole message before.
        if this.held.is_answered() {
            this.held.shrink_to(this.begun.len());
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
                return this.poll_overdue(context).map(|status| Some(Err(status.into())));
            };
            if let Some((since, _)) = this.waiting.take() {
                this.waited += since.elapsed();
            }
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => {
                    if let Some(whole) = this.take(data)? {
                        return Poll::Ready(Some(Ok(Frame::data(whole))));
                    }
                }
                // Trailers of a request say nothing.
                Some(Err(_)) => {}
                None if this.begun.is_empty() => return Poll::Ready(None),
                None => {
                    let status = grpc_error(KafkaError::InvalidRequest, "The body ends within a message.");
                    return Poll::Ready(Some(Err(status.into())));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
#[path = "metered_tests.rs"]
mod tests;
