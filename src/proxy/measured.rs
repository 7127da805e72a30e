//! What the micro-benchmarks call; nothing of it is for anybody else.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderValue, request};

use super::{
    asking::Peer,
    framing::{Bounds, Scanner, Side, Step},
    headers,
};
use crate::{
    identity::Caller,
    plan::{Limits, Plan},
};

/// A client's connection whose heads are judged.
#[derive(Debug)]
pub struct Framing(Scanner);

/// The headers of an untrusted client's requests.
#[derive(Debug)]
pub struct Rewriting(Peer);

impl Framing {
    /// A fresh connection.
    #[must_use]
    pub fn new(limits: &Limits) -> Framing {
        Framing(Scanner::new(Side::Requests, Bounds::of(limits)))
    }

    /// Judges the head of a request without a body; whether it goes on.
    pub fn passes(&mut self, head: &[u8]) -> bool {
        self.0.step(head) == Step::Head(head.len())
    }
}

impl Rewriting {
    /// Of one client.
    #[must_use]
    pub fn new() -> Rewriting {
        let ip = IpAddr::from(Ipv4Addr::new(203, 0, 113, 7));
        let ip_text = HeaderValue::from_static("203.0.113.7");
        Rewriting(Peer { ip, ip_text, listener: 0, secure: false, consumer: None, http1: false })
    }

    /// Makes a client's head the one for an upstream.
    pub fn rewrite(&self, head: &mut request::Parts, plan: &Plan) {
        headers::strip_hop_by_hop(&mut head.headers);
        let caller = Caller { ip: self.0.ip, trusted: false, client_trusted: false };
        headers::rewrite_request(head, caller, &self.0, plan);
    }
}

impl Default for Rewriting {
    fn default() -> Rewriting {
        Rewriting::new()
    }
}
