//! Wires: what the stream of an HTTP/1 connection and the requests on it tell each other around hyper.

mod client;
mod upstream;

use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub(super) use client::{Answering, ClientWire, Note};
pub(super) use upstream::{Gate, UpstreamWire};

/// A stream whose protocol was switched, taken from under hyper.
pub(super) struct Half {
    pub(super) stream: Pin<Box<dyn Duplex>>,
    /// What came behind the handshake, and was read with it.
    pub(super) glued: Vec<u8>,
}

/// What can be read and written.
pub(super) trait Duplex: AsyncRead + AsyncWrite {}

impl<S: AsyncRead + AsyncWrite> Duplex for S {}

impl std::fmt::Debug for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Half").field("glued", &self.glued.len()).finish_non_exhaustive()
    }
}
