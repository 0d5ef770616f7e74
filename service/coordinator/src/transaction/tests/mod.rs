mod driver;
mod interleaving;
mod kafka_data;
mod records;
mod rules;
mod transcript;
