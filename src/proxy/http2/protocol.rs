//! The protocol that extended CONNECT asks for.

use std::sync::Arc;

/// `:protocol` of a request (RFC 8441 §4). A request that has one among its extensions asks for a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Protocol(Arc<str>);

impl Protocol {
    pub(in crate::proxy) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Protocol {
    fn from(name: &str) -> Protocol {
        Protocol(name.into())
    }
}
