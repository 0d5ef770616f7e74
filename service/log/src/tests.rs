//! The log as a whole: what a real Kafka wrote, seeded lives, and single hard cases.

mod append;
mod compaction;
mod damage;
mod kafka;
mod kraft;
mod modified;
mod recovery;
mod scrub;
mod seeds;
pub(crate) mod support;
mod tiered;
mod times;
