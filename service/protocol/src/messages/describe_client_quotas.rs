//! DescribeClientQuotas (key 48): the quotas of users, client ids and addresses (KIP-546).

use crate::Str;
use crate::describe::{api, message, structure};

api!(48, DescribeClientQuotasRequest => DescribeClientQuotasResponse);

message! {
    /// Which quotas.
    DescribeClientQuotasRequest, versions(0, 1), flexible(1) {
        /// What their entities must be like.
        components: Vec<QuotaFilterComponent>, since(0);
        /// The entities have no other parts.
        strict: bool, since(0);
    }
}

structure! {
    /// One part of an entity.
    QuotaFilterComponent {
        /// `user`, `client-id` or `ip`.
        entity_type: Str, since(0);
        /// 0: this name, 1: the default, 2: any.
        match_type: i8, since(0);
        /// The name, or null.
        match_name: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}

message! {
    /// The quotas.
    DescribeClientQuotasResponse, versions(0, 1), flexible(1) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The quotas by entity; null with an error.
        entries: Option<Vec<DescribedQuotas>> = Some(Vec::new()), since(0).null(0);
    }
}

structure! {
    /// One entity's quotas.
    DescribedQuotas {
        /// The entity.
        entity: Vec<QuotaEntityPart>, since(0);
        /// Its quotas.
        values: Vec<DescribedQuota>, since(0);
    }
}

structure! {
    /// One part of an entity.
    QuotaEntityPart {
        /// `user`, `client-id` or `ip`.
        entity_type: Str, since(0);
        /// The name; null is the default.
        entity_name: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}

structure! {
    /// One quota.
    DescribedQuota {
        /// Its name.
        key: Str, since(0);
        /// Its value.
        value: f64, since(0);
    }
}
