//! The partition machine: what a leader writes, acknowledges and shows. It never writes, flushes, waits or looks at a clock.
//!
//! The shell (in `broker`) owns the log and the threads. It asks the machine to [`propose`](Partition::propose) offsets for what
//! waits in its queue, writes what was proposed, and then tells the machine what really happened. Only then do the log end,
//! sequences and transactions move. A second event tells that bytes became durable, which moves the high watermark and with
//! it the acknowledgements that wait under an offset.
//!
//! ```text
//! propose ──► write ──► written ──► (log end moves, acks=1 answered) ──► flush ──► flushed ──► (watermark moves, acks=all answered)
//!                └────► write_failed (nothing moved)
//! ```
//!
//! After every event: log start ≤ last stable ≤ high watermark ≤ log end.

mod limits;
mod machine;
mod proposal;
mod replicas;
mod verification;
mod waiting;

#[cfg(test)]
mod tests;

pub use machine::{Durability, Effects, Offsets, Partition, Reply};
pub use proposal::{Acks, Content, Intent, Placed, Proposal, Verdict};
pub use verification::{Guard, Question};
pub use waiting::Token;
