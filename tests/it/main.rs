//! All integration tests, as one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod access_log;
mod balance;
mod changes;
mod cli;
mod command;
mod config;
mod contracts;
mod decisions;
mod deps;
mod draining;
mod early_answers;
mod extended_connect;
mod faults;
mod flags;
mod floods;
mod forwarding;
mod framing;
mod governance;
mod half_closed;
mod http2;
mod http2_answers;
mod http2_bodies;
mod http2_connections;
mod http2_limits;
mod interim;
mod intermediary;
mod layers;
mod limits;
mod listeners;
mod metrics;
mod names;
mod ofrep;
mod propagation;
mod readme;
mod reference;
mod reloading;
mod requirements;
mod resting;
mod shared_state;
mod simulation;
mod soak;
mod sticky;
mod support;
mod tenure;
mod tls;
mod tokens;
mod tunnel_ends;
mod upgrades;
mod upstream_faults;
mod upstream_health;
mod upstream_http2;
mod upstream_http2_limits;
mod upstream_limits;
mod upstream_retries;
mod upstream_tls;
mod upstream_tunnels;
mod upstreams;

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

/// One service of HTTP/1.1 that reads the trailers of requests.
fn trailers_config(upstream: std::net::SocketAddr) -> String {
    arms_config(&format!("arms.stable = {{ endpoints = [\"{upstream}\"], trailers = true }}"), "", "")
}

/// One service `o` with the arms that are written here, and a route to it with more keys.
fn arms_config(arms: &str, route: &str, rest: &str) -> String {
    format!(
        r#"
[services.o]
{arms}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
{route}
{rest}
"#
    )
}

/// The series of a metric of the route `o` and one of its arms, with another label.
fn lane_series(metric: &str, arm: &str, label: &str, value: &str) -> String {
    format!("{metric}{{route=\"o\",service=\"o\",arm=\"{arm}\",{label}=\"{value}\"}}")
}

/// The series of the answers that weir itself gives on an arm of [`split_config`] for this cause.
fn rejections(arm: &str, cause: &str) -> String {
    let causes = weir::telemetry::names::CAUSES;
    let error = causes.iter().find(|known| known.code == cause).expect("a known cause").error;
    format!("weir_rejections_total{{route=\"o\",service=\"o\",arm=\"{arm}\",cause=\"{cause}\",error=\"{error}\"}}")
}
