//! What clients, peers and services send to the data plane, against slower readings of the same.
#![allow(clippy::expect_used, reason = "what cannot be, is a finding")]

mod heads;
mod http1;
mod told;

use std::sync::LazyLock;

use http::HeaderValue;

use super::{
    asking::Peer,
    framing::{Bounds, naive::Maxima},
    sample,
};
use crate::plan::Plan;

#[cfg(test)]
pub(super) use self::http1::{Scanned, scan};
pub(crate) use self::{
    heads::{forwarded, request, response},
    http1::{authority, framing, interim, preamble},
    told::{access_log, certificate},
};
pub(crate) use super::http2::fuzzing::{answers, frames, hpack};
pub(crate) use super::upstream::fuzzing::{answer, grpc_timeout, keep_alive};

/// What the targets are served by.
static PLAN: LazyLock<Plan> = LazyLock::new(|| plan("json"));

/// Trusted peers, every way of forwarding, and an access log of that format.
fn plan(format: &str) -> Plan {
    let more = format!("[forwarding]\nclient = \"both\"\n[access_log]\npath = \"stdout\"\nformat = \"{format}\"");
    sample::plan("trusted_networks = [\"127.0.0.0/8\", \"10.0.0.0/8\"]", &more)
}

/// A client over HTTP/2 on a connection in clear.
fn peer(ip: [u8; 4]) -> Peer {
    let text = ip.map(|part| part.to_string()).join(".");
    Peer {
        ip: ip.into(),
        ip_text: HeaderValue::try_from(text).expect("an address is a value"),
        listener: 0,
        http1: false,
        secure: false,
        consumer: None,
    }
}

/// Bounds as the naive parser takes them.
fn maxima(bounds: &Bounds) -> Maxima {
    Maxima {
        head: bounds.head_bytes_max,
        target: bounds.target_bytes_max,
        fields: bounds.fields_max,
        trailer: bounds.trailer_bytes_max,
        interims: bounds.interim_max,
    }
}
