//! SQL over topics: the exported files and the part of the log that is not exported yet, so that an answer includes every
//! committed record. The only crate that knows DataFusion; none of its types appear in the public interface.
//!
//! It decides what may be asked (SELECT, SHOW TABLES and DESCRIBE, within [`QueryLimits`]) and never writes anything.

mod adapt;
mod answer;
mod catalog;
mod engine;
mod error;
mod growth;
pub mod limits;
mod names;
mod pace;
mod shape;
mod table;
mod work;

pub use answer::{Column, QueryAnswer};
pub use engine::{MayRead, MayRun, QueryEngine, Rights};
pub use error::QueryError;
pub use limits::QueryLimits;
pub use work::QueryWork;
