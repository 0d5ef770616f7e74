//! UnregisterBroker (key 64): a broker that is gone for good (KIP-631).

use crate::Str;
use crate::describe::{api, message};

api!(64, UnregisterBrokerRequest => UnregisterBrokerResponse);

message! {
    /// Which broker is gone.
    UnregisterBrokerRequest, versions(0, 0), flexible(0) {
        /// Its number.
        broker_id: i32, since(0);
    }
}

message! {
    /// Whether it is no longer registered.
    UnregisterBrokerResponse, versions(0, 0), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}
