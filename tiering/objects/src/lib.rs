//! Object store access: the only crate that opens a store, and the only user of the AWS SDK.
//!
//! It decides how a store is reached, how long it is waited for and what counts as an error. It never decides what is
//! stored: keys and contents belong to its callers.

mod counted;
mod error;
mod faulty;
pub mod limits;
mod local;
mod names;
mod objects;
mod open;
mod options;
mod probe;
#[cfg(feature = "s3")]
mod s3;
mod upload;

pub mod conformance;

pub use counted::{Counts, Requests};
pub use error::ObjectsError;
pub use faulty::{Fault, Faults};
pub use limits::Limits;
pub use local::LocalPuts;
pub use objects::{Listing, ObjectInfo, Objects};
pub use options::{Credentials, HasRoom, StoreOptions, without_password};
