//! The log as a whole: what a real Kafka wrote, seeded lives, and single hard cases.

mod kafka;
mod seeds;
