mod alter;
mod crash;
mod create;
mod elect;
mod quotas;
mod start;
mod transcript;
mod world;
