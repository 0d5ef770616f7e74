//! What the APIs are used for and what that takes. Counted in relaxed atomics that a request finds by its API's key, so that nothing on its way
//! is looked up by name; decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use tidelog_protocol::api::TABLE;
use tidelog_protocol::{ApiKey, Response};

use crate::times::{Times, TimesSoFar};

/// One more than the highest key that is served.
const KEYS: usize = {
    let (mut keys, mut place) = (0, 0);
    while place < TABLE.len() {
        let key = TABLE[place].key.code() as usize;
        keys = if key < keys { keys } else { key + 1 };
        place += 1;
    }
    keys
};

/// Of the process, as its other metrics are.
static USED: [Usage; KEYS] = [const { Usage::new() }; KEYS];

/// One API's.
pub(crate) struct Usage {
    pub(crate) requests: AtomicU64,
    pub(crate) request_bytes: AtomicU64,
    pub(crate) response_bytes: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) total: Times,
    pub(crate) queue: Times,
    pub(crate) local: Times,
    pub(crate) remote: Times,
    pub(crate) throttle: Times,
    pub(crate) send: Times,
}

/// What one API was used for until now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiUsage {
    /// Kafka's name of the API.
    pub api: &'static str,
    /// Requests that were read.
    pub requests: u64,
    /// Their bytes.
    pub request_bytes: u64,
    /// Bytes of answers.
    pub response_bytes: u64,
    /// Requests that wait for their answer.
    pub waiting: u64,
    /// From a frame's announcement to the last byte of the answer.
    pub total: TimesSoFar,
    /// Until there was room for the frame (Kafka: until a thread took it).
    pub queue: TimesSoFar,
    /// In the ordered stage: until the connection's next request may be looked at.
    pub local: TimesSoFar,
    /// From there to the answer: in the queue of a partition, for a flush, other members of a group, more records, the object store.
    pub remote: TimesSoFar,
    /// For how long the client was told to pause.
    pub throttle: TimesSoFar,
    /// Until the connection had taken the answer.
    pub send: TimesSoFar,
}

impl Usage {
    const fn new() -> Self {
        Usage {
            requests: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            total: Times::new(),
            queue: Times::new(),
            local: Times::new(),
            remote: Times::new(),
            throttle: Times::new(),
            send: Times::new(),
        }
    }

    /// This API's.
    pub(crate) fn of(api: ApiKey) -> &'static Usage {
        // Every key is below the length; the first stands for those that are not.
        usize::try_from(api.code()).ok().and_then(|key| USED.get(key)).unwrap_or(&USED[0])
    }
}

/// Every API, in the order of the keys.
pub fn api_usage() -> Vec<ApiUsage> {
    let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let used = TABLE.iter().map(|row| (row.name, Usage::of(row.key)));
    used.map(|(api, usage)| ApiUsage {
        api,
        requests: read(&usage.requests),
        request_bytes: read(&usage.request_bytes),
        response_bytes: read(&usage.response_bytes),
        waiting: read(&usage.waiting),
        total: usage.total.so_far(),
        queue: usage.queue.so_far(),
        local: usage.local.so_far(),
        remote: usage.remote.so_far(),
        throttle: usage.throttle.so_far(),
        send: usage.send.so_far(),
    })
    .collect()
}

/// Counts the errors of an answer, each as often as it stands there. Only an answer that has some costs a look-up.
pub(crate) fn count_errors<R: Response>(response: &R) {
    let mut found: Vec<(i16, u64)> = Vec::new();
    response.error_codes(&mut |code| {
        if code != 0 {
            match found.iter_mut().find(|(one, _)| *one == code) {
                Some((_, times)) => *times += 1,
                None => found.push((code, 1)),
            }
        }
    });
    for (code, times) in found {
        let api = ApiKey::from_code(R::KEY).map_or("unknown", ApiKey::name);
        let error = tidelog_model::KafkaError::from_code(code).map_or("unknown", |error| error.name());
        metrics::counter!("tidelog_kafka_errors_total", "api" => api, "error" => error).increment(times);
    }
}
