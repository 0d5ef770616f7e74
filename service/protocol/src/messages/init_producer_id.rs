//! InitProducerId (key 22): a producer id for idempotence or transactions (KIP-98); from 3 on with the epoch that the
//! producer has (KIP-360).

use crate::Str;
use crate::describe::{api, message};

api!(22, InitProducerIdRequest => InitProducerIdResponse);

message! {
    /// Who needs an id.
    InitProducerIdRequest, versions(0, 5), flexible(2) {
        /// The transactional id, or null for idempotence alone.
        transactional_id: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// An open transaction is aborted after this time, milliseconds.
        transaction_timeout_ms: i32, since(0);
        /// The id that the producer has, or −1.
        producer_id: i64 = -1, since(3);
        /// Its epoch, or −1.
        producer_epoch: i16 = -1, since(3);
    }
}

message! {
    /// The id.
    InitProducerIdResponse, versions(0, 5), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0).ignorable();
        /// The error, or 0.
        error_code: i16, since(0);
        /// The producer id.
        producer_id: i64 = -1, since(0);
        /// Its epoch.
        producer_epoch: i16, since(0);
    }
}
