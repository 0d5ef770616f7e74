mod alter;
mod crash;
mod create;
mod elect;
mod start;
mod transcript;
mod world;
