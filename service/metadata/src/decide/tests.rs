mod alter;
mod crash;
mod create;
mod start;
mod transcript;
mod world;
