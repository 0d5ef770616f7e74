//! What each setting does, on a server that runs: topics' settings said by the topic and by the broker, the broker's own, those of groups.
//! `tests/tidy/settings.rs` names the test of every setting, here or elsewhere, and fails where there is none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod appends;
mod broker;
mod case;
mod compaction;
mod groups;
mod identity;
mod life;
mod segments;
mod tables;
