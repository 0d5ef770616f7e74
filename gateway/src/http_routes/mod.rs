//! REST, one file per resource.

pub(crate) mod docs;
pub(crate) mod event_stream;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod query;
pub(crate) mod status;
pub(crate) mod topics;
