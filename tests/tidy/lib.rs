//! Nothing to use: the house rules are tests, in `main.rs`.
