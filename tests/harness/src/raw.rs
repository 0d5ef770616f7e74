//! A Kafka connection without a client: any bytes can be sent, answers come as frames.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{Offset, Timestamp};
use tidelog_protocol::header::{read_response, request_frame};
use tidelog_protocol::messages::{PartitionProduceData, ProduceRequest, TopicProduceData};
use tidelog_protocol::{Records, Request, Str};
use tidelog_record::BatchBuilder;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub struct Raw {
    stream: TcpStream,
    next: i32,
}

impl Raw {
    /// Connects.
    pub fn connect(address: &str) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// Connects, if somebody listens.
    pub fn try_connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Raw { stream, next: 1 })
    }

    /// The correlation id of the next request.
    pub fn set_next(&mut self, correlation_id: i32) {
        self.next = correlation_id;
    }

    /// Sends bytes as they are. A server that hung up meanwhile is seen when reading.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a body behind its true length.
    pub fn send_frame(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap();
        self.send(&[&length.to_be_bytes(), body].concat());
    }

    /// Sends a request; returns its correlation id.
    pub fn request<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let id = self.next;
        self.next += 1;
        let frame = encode(version, id, request);
        self.send(&frame);
        id
    }

    /// Sends a request and reads its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = self.request(version, request);
        let (answered, response) = self.response::<R>(version);
        assert_eq!(answered, id, "correlation id");
        response
    }

    /// Sends a request and reads its answer; `None` if the connection ends instead.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let id = self.request(version, request);
        let (answered, response) = read_response::<R>(self.frame().ok()??, version).unwrap();
        assert_eq!(answered, id, "correlation id");
        Some(response)
    }

    /// Reads the answer to a request of this kind, with its correlation id.
    pub fn response<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        read_response::<R>(self.frame().unwrap().expect("an answer, not the end"), version).unwrap()
    }

    /// Waits until an answer begins to come, and leaves it where it is.
    pub fn wait_answer(&self) {
        assert_eq!(self.stream.peek(&mut [0]).unwrap(), 1, "an answer, not the end");
    }

    /// Neither an answer nor the end has come so far.
    pub fn is_silent(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The next frame without its length; `None` if the server hung up.
    pub fn frame(&mut self) -> io::Result<Option<Bytes>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                return Ok(None);
            }
            other => other?,
        }
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(Some(body.into()))
    }

    /// Waits until the server hangs up without an answer.
    pub fn assert_closed(mut self, why: &str) {
        match self.frame() {
            Ok(None) => {}
            other => panic!("{why}: expected the end of the connection, got {other:?}"),
        }
    }

    /// Nothing more will be sent.
    pub fn shut(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// A whole frame.
pub fn encode<R: Request>(version: i16, correlation_id: i32, request: &R) -> Bytes {
    let name = Str::from("raw");
    request_frame(version, correlation_id, Some(&name), request).unwrap().into_bytes().unwrap()
}

/// A batch with these values.
pub fn batch(values: &[&[u8]]) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    for value in values {
        builder.push(Timestamp(i64::try_from(now.as_millis()).unwrap()), None, Some(value), &[]).unwrap();
    }
    builder.build().unwrap().into_bytes()
}

/// A Produce request (up to version 12) for one partition.
pub fn produce(topic: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let partition =
        PartitionProduceData { index: partition, records: Some(Records::from(records)), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![partition], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() }
}
