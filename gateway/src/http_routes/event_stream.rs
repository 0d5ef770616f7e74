//! Turns a reader's items into bytes: lines for GET, server-sent events for EventSource. Holds at most one piece; a client
//! that takes nothing stops the reading, a client that is gone drops it.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use tidelog_broker::BrokerError;
use tokio::time::Instant;

use crate::context::Ended;
use crate::events::line::{write_record, write_undecodable};
use crate::events::position;
use crate::events::read::{Fill, Item, Patience, Reader};
use crate::limits::KEEP_ALIVE;

/// Bytes after which a piece goes out.
const PIECE: usize = 64 * 1024;

/// Lines of JSON up to a limit, an end, or a deadline without events.
pub(crate) struct Lines {
    reader: Reader,
    topic: String,
    left: u64,
    deadline: Instant,
    /// With the object store.
    patience: Patience,
    sent: bool,
}

impl Lines {
    pub(crate) fn new(reader: Reader, topic: String, limit: u64, deadline: Instant) -> Self {
        Lines { reader, topic, left: limit, deadline, patience: Patience::default(), sent: false }
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BrokerError> {
        let mut out = Vec::new();
        while self.left > 0 && out.len() < PIECE {
            match self.reader.next_item() {
                Some(Ok((partition, item))) => {
                    match item {
                        Item::Record(record) => {
                            write_record(&mut out, &self.topic, partition, &record);
                            self.left -= 1;
                        }
                        Item::Undecodable(gap) => write_undecodable(&mut out, &self.topic, partition, &gap),
                        Item::Gap(..) => continue,
                    }
                    out.push(b'\n');
                }
                Some(Err(error)) if out.is_empty() && !self.sent => return Err(error),
                Some(Err(error)) => {
                    write_error(&mut out, &error);
                    self.left = 0;
                }
                None if !out.is_empty() => break,
                None => {
                    // Only the first event is waited for.
                    let wait = if self.sent { Duration::ZERO } else { self.deadline.duration_since(Instant::now()) };
                    let fill = self.reader.fill(wait).await;
                    match fill.and_then(|fill| self.patience.after(Instant::now(), fill).map(|()| fill)) {
                        Ok(Fill::Ready | Fill::Loading) => {}
                        Ok(Fill::Ended) => self.left = 0,
                        Ok(Fill::Idle) if wait.is_zero() || Instant::now() >= self.deadline => self.left = 0,
                        Ok(Fill::Idle) => {}
                        Err(error) if !self.sent => return Err(error),
                        Err(error) => {
                            write_error(&mut out, &error);
                            self.left = 0;
                        }
                    }
                }
            }
        }
        if out.is_empty() {
            return Ok(None);
        }
        self.sent = true;
        Ok(Some(Bytes::from(out)))
    }

    /// The remaining pieces, until `ended`.
    pub(crate) fn into_stream(
        self,
        ended: impl Future<Output = Ended> + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        let state = (self, Box::pin(ended), false);
        futures::stream::unfold(state, |(mut lines, mut ended, over)| async move {
            if over {
                return None;
            }
            let piece = tokio::select! {
                piece = lines.next() => piece,
                _ = &mut ended => return None,
            };
            match piece {
                Ok(piece) => Some((Ok(piece?), (lines, ended, false))),
                Err(error) => {
                    let mut out = Vec::new();
                    write_error(&mut out, &error);
                    Some((Ok(Bytes::from(out)), (lines, ended, true)))
                }
            }
        })
    }
}

fn error_json(error: &BrokerError) -> serde_json::Value {
    serde_json::json!({ "error_code": error.error.name(), "message": error.message })
}

/// The headers are gone: an error is the last line.
fn write_error(out: &mut Vec<u8>, error: &BrokerError) {
    out.extend_from_slice(error_json(error).to_string().as_bytes());
    out.push(b'\n');
}

/// Server-sent events (WHATWG HTML, section 9.2).
pub(crate) struct Sse {
    reader: Reader,
    topic: String,
    left: Option<u64>,
    positions: position::Positions,
    greeted: bool,
    over: bool,
}

impl Sse {
    pub(crate) fn new(reader: Reader, topic: String, limit: Option<u64>) -> Self {
        let positions = reader.positions();
        Sse { reader, topic, left: limit, positions, greeted: false, over: false }
    }

    fn write_item(&mut self, out: &mut Vec<u8>, partition: tidelog_model::PartitionIndex, item: Item) {
        let (event, next) = match &item {
            Item::Record(record) => (None, record.offset.plus(1)),
            Item::Undecodable(gap) => (Some("undecodable"), gap.last_offset.plus(1)),
            Item::Gap(_, to) => (Some("deleted"), *to),
        };
        self.positions.insert(partition, next);
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(position::encode(&self.positions).as_bytes());
        if let Some(event) = event {
            out.extend_from_slice(b"\nevent: ");
            out.extend_from_slice(event.as_bytes());
        }
        out.extend_from_slice(b"\ndata: ");
        match item {
            Item::Record(record) => {
                write_record(out, &self.topic, partition, &record);
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            Item::Undecodable(gap) => write_undecodable(out, &self.topic, partition, &gap),
            Item::Gap(from, to) => {
                let gap = serde_json::json!({
                    "topic": self.topic, "partition": partition.0, "offset": from.0, "next_offset": to.0,
                });
                out.extend_from_slice(gap.to_string().as_bytes());
            }
        }
        out.extend_from_slice(b"\n\n");
    }

    /// An error ends the stream; the browser reconnects by itself with the last id.
    fn write_failure(&mut self, out: &mut Vec<u8>, error: &BrokerError) {
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(error_json(error).to_string().as_bytes());
        out.extend_from_slice(b"\n\n");
        self.over = true;
    }

    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        if !self.greeted {
            self.greeted = true;
            // The id goes out at once, so that a client which never saw an event resumes here too.
            out.extend_from_slice(b"retry: 1000\nid: ");
            out.extend_from_slice(position::encode(&self.positions).as_bytes());
            out.extend_from_slice(b"\n\n");
            return Some(Bytes::from(out));
        }
        while !self.over && self.left != Some(0) && out.len() < PIECE {
            match self.reader.next_item() {
                Some(Ok((partition, item))) => self.write_item(&mut out, partition, item),
                Some(Err(error)) => self.write_failure(&mut out, &error),
                None if !out.is_empty() => break,
                None => match self.reader.fill(KEEP_ALIVE).await {
                    Ok(Fill::Ready) => {}
                    Ok(Fill::Idle | Fill::Loading) => out.extend_from_slice(b": nothing new\n\n"),
                    Ok(Fill::Ended) => self.over = true,
                    Err(error) => self.write_failure(&mut out, &error),
                },
            }
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    /// All pieces, until `ended`.
    pub(crate) fn into_stream(
        self,
        ended: impl Future<Output = Ended> + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        futures::stream::unfold((self, Box::pin(ended)), |(mut sse, mut ended)| async move {
            let piece = tokio::select! {
                piece = sse.next() => piece?,
                _ = &mut ended => return None,
            };
            Some((Ok(piece), (sse, ended)))
        })
    }
}
