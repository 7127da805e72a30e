//! weir
pub mod admin;
pub mod app;
pub mod bucket;
pub mod cli;
pub mod config;
pub mod contract;
pub mod identity;
pub mod live;
pub mod plan;
pub mod proxy;
pub mod reload;
pub mod rollout;
pub mod route;
pub mod store;
pub mod telemetry;
pub mod toggle;
