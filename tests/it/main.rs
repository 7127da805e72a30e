//! All integration tests as one binary: one link, one run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod cli;
mod command;
mod config;
mod deps;
mod layers;
mod reference;
