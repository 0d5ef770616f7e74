//! Threads, clocks and timers: the parts of the shell that know nothing of partitions.

pub(crate) mod clock;
pub(crate) mod pool;
pub(crate) mod timers;
