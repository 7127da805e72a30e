//! All integration tests, as one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod cli;
mod command;
mod config;
mod contracts;
mod decisions;
mod deps;
mod draining;
mod faults;
mod flags;
mod forwarding;
mod framing;
mod governance;
mod interim;
mod intermediary;
mod layers;
mod limits;
mod metrics;
mod ofrep;
mod propagation;
mod readme;
mod reference;
mod reloading;
mod requirements;
mod sticky;
mod support;
mod tls;
mod tokens;
mod upgrades;

/// One service `o` whose split follows the toggle `t`, and a route to it. `rest` may define more.
fn split_config(stable: std::net::SocketAddr, canary: std::net::SocketAddr, rest: &str) -> String {
    format!(
        r#"
[services.o]
split = {{ toggle = "t", on = "canary", off = "stable" }}
arms.stable = {{ endpoints = ["{stable}"] }}
arms.canary = {{ endpoints = ["{canary}"] }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
timeout = "30s"
{rest}
"#
    )
}

/// The toggle `t` of [`split_config`], with more keys, and its share.
fn toggle_config(more: &str, weight: &str) -> String {
    format!(
        r#"
[toggles.t]
category = "ops"
owner = "team"
variants = {{ on = true, off = false }}
default = "off"
bucket_by = "header:x-user-id"
{more}
[rollouts.r]
toggle = "t"
variant = "on"
weight = "{weight}"
"#
    )
}

/// One service with one arm, and a route to it with more keys.
fn plain_config(upstream: std::net::SocketAddr, route: &str, rest: &str) -> String {
    format!(
        r#"
[services.o]
arms.stable = {{ endpoints = ["{upstream}"] }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
{route}
{rest}
"#
    )
}
