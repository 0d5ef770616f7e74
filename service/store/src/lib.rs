//! The metadata store: carries out what `tidelog-metadata` decides. Decides nothing itself.
//!
//! [`EmbeddedStore`] keeps everything in one local file, for a node alone. A shared store for several nodes implements the same port and
//! passes the same [`conformance`] suite.

#[cfg(test)]
mod cluster_tests;
pub mod conformance;
mod embedded;
mod limits;
mod run;

pub use embedded::EmbeddedStore;
pub use run::{Ran, run, run_all};
