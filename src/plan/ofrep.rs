//! Who may ask the flag API, and what it may cost.

use std::{fmt, time::Duration};

use super::{IssuerId, Plan};
use crate::toggle::ToggleId;

/// `[ofrep]`, without its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ofrep {
    /// Who may ask; empty lets in everybody who reaches the address.
    pub keys: Vec<AppKey>,
    /// Whose tokens prove who the user is that a question is about.
    pub issuer: Option<IssuerId>,
    /// Origins of pages in a browser that may ask, as a browser writes them.
    pub allowed_origins: Vec<String>,
    /// Names, without port, that the address may be called by besides its loopback names.
    pub allowed_hosts: Vec<String>,
    /// What peers may cost.
    pub limits: OfrepLimits,
}

/// What peers of the flag API may cost. Each is one key of `[ofrep]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfrepLimits {
    /// Open connections, those of event streams included.
    pub connections_max: usize,
    /// Open event streams.
    pub streams_max: usize,
    /// Requests answered in a second.
    pub requests_per_second_max: u64,
    /// Bytes of one request body.
    pub body_bytes_max: usize,
    /// Values of one evaluation context, on all levels together.
    pub context_values_max: usize,
    /// Levels of one evaluation context.
    pub context_depth_max: usize,
    /// Bytes of one text in an evaluation context.
    pub context_text_bytes_max: usize,
    /// For the decisions of one question.
    pub evaluation_timeout: Duration,
    /// From one request's end to the next one's whole head.
    pub idle_timeout: Duration,
    /// For a request's body, and for a peer that does not read.
    pub request_timeout: Duration,
    /// Between two signs of life on an event stream.
    pub stream_heartbeat: Duration,
    /// The least time after which a stream that ended is opened again; at most it is twice that.
    pub stream_retry: Duration,
}

/// An application that may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppKey {
    /// Its name, for the log.
    pub name: String,
    /// What its secret hashes to.
    pub digest: SecretDigest,
    /// Opens its event stream: a browser can send no header with that request.
    pub stream_token: String,
    /// The toggles that it may ask for, in ascending order; `None` is all of them.
    pub toggles: Option<Vec<ToggleId>>,
}

/// SHA-256 of a secret: what is kept and compared instead of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest(pub [u8; 32]);

impl Default for OfrepLimits {
    fn default() -> OfrepLimits {
        OfrepLimits {
            connections_max: 256,
            streams_max: 128,
            requests_per_second_max: 10_000,
            body_bytes_max: 1 << 20,
            context_values_max: 1000,
            context_depth_max: 16,
            context_text_bytes_max: 8 << 10,
            evaluation_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
            stream_heartbeat: Duration::from_secs(15),
            stream_retry: Duration::from_secs(2),
        }
    }
}

impl Ofrep {
    /// The same for another plan, which does not speak of it: keys open what they opened, by its name. What is
    /// said of an issuer no more is verified no more.
    #[must_use]
    pub fn moved(&self, from: &Plan, to: &Plan) -> Ofrep {
        let moved = |id: &ToggleId| to.toggle_named(&from.toggle(*id).toggle.name);
        let mut ofrep = Ofrep { issuer: None, ..self.clone() };
        for toggles in ofrep.keys.iter_mut().filter_map(|key| key.toggles.as_mut()) {
            *toggles = toggles.iter().filter_map(moved).collect();
            toggles.sort_unstable();
        }
        ofrep
    }
}

impl AppKey {
    /// Whether it may ask for the toggle.
    #[must_use]
    pub fn may_ask(&self, toggle: ToggleId) -> bool {
        self.toggles.as_ref().is_none_or(|toggles| toggles.binary_search(&toggle).is_ok())
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest")
    }
}
