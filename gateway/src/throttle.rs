//! Time of requests over HTTP and gRPC (KIP-124): counts what the server's threads do for a caller, refuses who has used too much, and makes
//! long answers pause between their pieces. What exceeds a quota is decided behind the use cases.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tidelog_broker::Broker;
use tidelog_model::{Caller, QuotaKind};
use tokio::time::Sleep;

use crate::context::{Session, Shared};
use crate::error::{ApiError, grpc_status};
use crate::media::is_grpc;

/// Around every request whose caller is known.
pub(crate) async fn throttle(State(context): State<Shared>, request: Request, next: Next) -> Response {
    let Some(session) = request.extensions().get::<Session>() else { return next.run(request).await };
    let caller = Arc::clone(&session.caller);
    if let Err(error) = context.broker.admit_request(&caller) {
        return match is_grpc(request.headers()) {
            true => grpc_status(&error).into_http::<Body>(),
            false => ApiError::from(error).into_response(),
        };
    }
    let mut meter = Meter { broker: context.broker.clone(), caller, busy: Duration::ZERO };
    let mut answer = pin!(next.run(request));
    let response = poll_fn(|cx| meter.time(|| answer.as_mut().poll(cx))).await;
    meter.settle();
    response.map(|body| Body::new(Metered { body, meter, pieces: 0, pause: None, throttled: false }))
}

/// What one request costs its caller.
struct Meter {
    broker: Broker,
    caller: Arc<Caller>,
    /// Not charged yet.
    busy: Duration,
}

impl Meter {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.busy += began.elapsed();
        done
    }

    /// Says how long the caller must pause.
    fn settle(&mut self) -> Duration {
        self.broker.charge_time(&self.caller, std::mem::take(&mut self.busy))
    }
}

impl Drop for Meter {
    /// Whoever hangs up has used what it used.
    fn drop(&mut self) {
        self.settle();
    }
}

/// An answer's body, whose making counts.
struct Metered {
    body: Body,
    meter: Meter,
    pieces: usize,
    pause: Option<Pin<Box<Sleep>>>,
    /// It has paused, and that is counted.
    throttled: bool,
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(context));
            this.pause = None;
        }
        let frame = this.meter.time(|| Pin::new(&mut this.body).poll_frame(context));
        if frame.is_ready() {
            this.pieces += 1;
            let pause = this.meter.settle();
            // One piece is an answer, and its end need not wait: the caller's next request will. More are a stream.
            if this.pieces > 1 && !pause.is_zero() {
                // A stream is one request, however often it pauses.
                if !std::mem::replace(&mut this.throttled, true) {
                    this.meter.broker.count_throttled(&this.meter.caller, QuotaKind::RequestPercentage);
                }
                this.pause = Some(Box::pin(tokio::time::sleep(pause)));
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
