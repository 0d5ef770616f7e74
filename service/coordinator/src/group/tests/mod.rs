//! Groups as a whole: scenario transcripts, random interleavings, what a real Kafka wrote, and single rules.

mod consumer_interleaving;
mod driver;
mod expressions;
mod forget;
mod interleaving;
mod kafka_data;
mod migration_interleaving;
mod rules;
mod transactions;
mod transcript;
