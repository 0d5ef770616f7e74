//! AlterClientQuotas (key 49): changes the quotas of users, client ids and addresses (KIP-546).

use super::QuotaEntityPart;
use crate::Str;
use crate::describe::{api, message, structure};

api!(49, AlterClientQuotasRequest => AlterClientQuotasResponse);

message! {
    /// The changes.
    AlterClientQuotasRequest, versions(0, 1), flexible(1) {
        /// The changes by entity.
        entries: Vec<AlteredQuotas>, since(0);
        /// Only check them.
        validate_only: bool, since(0);
    }
}

structure! {
    /// One entity's changes.
    AlteredQuotas {
        /// The entity.
        entity: Vec<QuotaEntityPart>, since(0);
        /// Its changes.
        ops: Vec<AlteredQuota>, since(0);
    }
}

structure! {
    /// One change.
    AlteredQuota {
        /// The quota's name.
        key: Str, since(0);
        /// Its value; ignored if it is removed.
        value: f64, since(0);
        /// Take the quota away.
        remove: bool, since(0);
    }
}

message! {
    /// What became of them.
    AlterClientQuotasResponse, versions(0, 1), flexible(1) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by entity.
        entries: Vec<AlteredQuotasResult>, since(0);
    }
}

structure! {
    /// One entity's result.
    AlteredQuotasResult {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The entity.
        entity: Vec<QuotaEntityPart>, since(0);
    }
}
