//! EndTxn (key 26): commits or aborts a transaction (KIP-98). From 5 on the answer names the producer's next epoch (KIP-890).

use crate::Str;
use crate::describe::{api, message};

api!(26, EndTxnRequest => EndTxnResponse);

message! {
    /// How a transaction ends.
    EndTxnRequest, versions(0, 5), flexible(3) {
        /// The transactional id.
        transactional_id: Str, since(0);
        /// The producer id.
        producer_id: i64, since(0);
        /// Its epoch.
        producer_epoch: i16, since(0);
        /// Commit or abort?
        committed: bool, since(0);
    }
}

message! {
    /// What the producer goes on with.
    EndTxnResponse, versions(0, 5), flexible(3) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// The producer id, from version 5.
        producer_id: i64 = -1, since(5).ignorable();
        /// Its epoch, from version 5.
        producer_epoch: i16 = -1, since(5).ignorable();
    }
}
