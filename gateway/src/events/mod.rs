//! Events in and out, whatever the door: what REST and gRPC share.

pub(crate) mod line;
pub(crate) mod pointer;
pub(crate) mod position;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod split;
pub(crate) mod start;
