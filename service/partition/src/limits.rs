//! Limits of one partition, each with its reason.

/// Producers that may wait for their coordinator's word at a time, as many as may have a transaction open. A client names its
/// producer id itself; without a limit made-up ones would fill the memory.
pub(crate) const MAX_VERIFICATIONS: usize = tidelog_record::limits::MAX_OPEN_TRANSACTIONS;
