//! What the traffic tests are made of: fake upstreams, a proxy on a configuration of its own, clients.

mod client;
mod faulty;
mod faulty_http2;
pub(crate) mod frames;
mod pki;
mod proxy;
mod raw;
mod seeds;
pub(crate) mod tunnels;
mod upstream;

pub(crate) use client::{Answer, Client, raw_exchange, request};
pub(crate) use faulty::{Fault, Faulty};
pub(crate) use pki::Authority;
pub(crate) use proxy::{Process, Proxy};
pub(crate) use raw::{Raw, RawUpstream};
pub(crate) use seeds::{every_seed, number};
pub(crate) use upstream::{Upstream, dead, read_head};
