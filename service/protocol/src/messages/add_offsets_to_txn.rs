//! AddOffsetsToTxn (key 25): a transaction will commit positions of this group (KIP-98).

use crate::Str;
use crate::describe::{api, message};

api!(25, AddOffsetsToTxnRequest => AddOffsetsToTxnResponse);

message! {
    /// The group whose positions follow.
    AddOffsetsToTxnRequest, versions(0, 4), flexible(3) {
        /// The transactional id.
        transactional_id: Str, since(0);
        /// The producer id.
        producer_id: i64, since(0);
        /// Its epoch.
        producer_epoch: i16, since(0);
        /// The group.
        group_id: Str, since(0);
    }
}

message! {
    /// What became of it.
    AddOffsetsToTxnResponse, versions(0, 4), flexible(3) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
