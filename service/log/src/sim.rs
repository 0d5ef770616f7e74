//! A deterministic disk for tests, and a seeded life of one log on it. Nothing here is used by the product.

mod content;
mod disk;
mod faults;
mod file;
mod life;
mod names;
mod random;

pub use disk::SimDisk;
pub use faults::{Faults, Operation};
pub use life::{SimReport, run};
pub use random::SimRandom;

#[cfg(test)]
#[path = "sim/disk_tests.rs"]
mod tests;
