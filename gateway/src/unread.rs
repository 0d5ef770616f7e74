//! A client that is refused while it still sends its body lives to see why. HTTP/1 has no way to say "stop sending": a
//! connection that is closed with unread bytes is reset, and the reset overtakes the answer. Decides how much of a body that
//! nobody wants is read and thrown away before the answer goes out.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::{Version, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use crate::limits::{DISCARD_TIMEOUT, MAX_DISCARDED_BYTES};

/// Around every route.
pub(crate) async fn discard_unread(request: Request, next: Next) -> Response {
    // HTTP/2 resets one stream, not the connection; a client that asked before it sends has sent nothing.
    if request.version() >= Version::HTTP_2
        || request.body().is_end_stream()
        || request.headers().contains_key(header::EXPECT)
    {
        return next.run(request).await;
    }
    let left = Arc::new(Mutex::new(None));
    let (parts, body) = request.into_parts();
    let body = Body::new(Watched { body: Some(body), left: Arc::clone(&left) });
    let response = next.run(Request::from_parts(parts, body)).await;
    let unread = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(body) = unread {
        discard(body).await;
    }
    response
}

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

/// A body that, dropped before its end, leaves what is not read.
struct Watched {
    body: Option<Body>,
    left: Arc<Mutex<Option<Body>>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            this.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
