//! The wire of a connection to an upstream.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Method};

use super::Half;
use crate::proxy::framing::{Awaited, interim_fields};

/// Bytes of interim responses that may wait for the request's task; those of more are left out. As fixed as the room
/// that they go to from here.
const INTERIM_BYTES_MAX: usize = 64 << 10;

/// What the stream of a connection to an upstream and the request on it tell each other.
#[derive(Debug, Default)]
pub(in crate::proxy) struct UpstreamWire {
    awaited: Cell<Option<Awaited>>,
    /// The protocol that the request asks for.
    protocol: RefCell<Option<HeaderValue>>,
    interims: RefCell<Vec<u8>>,
    /// Who waits for interim responses.
    listener: RefCell<Option<Waker>>,
    gate: Cell<Gate>,
    gatekeeper: RefCell<Option<Waker>>,
    half: RefCell<Option<Half>>,
}

/// Whether a body may go on to an upstream that was asked first (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) enum Gate {
    /// Nobody was asked, or the answer is 100.
    #[default]
    Open,
    /// There is no answer yet.
    Waiting,
    /// The final response came instead, and the exchange is over: the body stays where it is.
    Shut,
}

impl UpstreamWire {
    /// The request's side: a request is about to be sent.
    pub(in crate::proxy) fn begin(&self, method: &Method, protocol: Option<HeaderValue>, expects: bool) {
        let awaited = if method == Method::HEAD { Awaited::HeadResponse } else { Awaited::Response };
        self.awaited.set(Some(awaited));
        self.interims.borrow_mut().clear();
        self.gate.set(if expects { Gate::Waiting } else { Gate::Open });
        if protocol.is_some() || self.protocol.borrow().is_some() {
            self.protocol.replace(protocol);
        }
    }

    /// Whether the upstream has still not said that the body may come.
    pub(in crate::proxy) fn is_waiting(&self) -> bool {
        self.gate.get() == Gate::Waiting
    }

    /// Ready when the body may go on, or never will.
    pub(in crate::proxy) fn poll_gate(&self, cx: &Context<'_>) -> Poll<Gate> {
        match self.gate.get() {
            Gate::Waiting => {
                self.gatekeeper.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
            gate => Poll::Ready(gate),
        }
    }

    pub(in crate::proxy) fn open_gate(&self) {
        self.set_gate(Gate::Open);
    }

    /// The exchange is over: a body that still waits is not sent any more.
    pub(in crate::proxy) fn shut_gate(&self) {
        if self.gate.get() == Gate::Waiting {
            self.set_gate(Gate::Shut);
        }
    }

    fn set_gate(&self, gate: Gate) {
        self.gate.set(gate);
        if let Some(waker) = self.gatekeeper.take() {
            waker.wake();
        }
    }

    /// Takes the interim responses that came, as they are written to a client.
    pub(in crate::proxy) fn take_interims(&self, cx: &Context<'_>) -> Option<Vec<u8>> {
        let mut listener = self.listener.borrow_mut();
        if !listener.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *listener = Some(cx.waker().clone());
        }
        let interims = self.interims.take();
        (!interims.is_empty()).then_some(interims)
    }

    /// The upstream's end of a switched connection.
    pub(in crate::proxy) fn take_half(&self) -> Option<Half> {
        self.half.take()
    }

    // The stream's side.

    pub(in crate::proxy) fn take_awaited(&self) -> Option<Awaited> {
        self.awaited.take()
    }

    /// Whether the request asks for this protocol.
    pub(in crate::proxy) fn asked_for(&self, protocol: &[u8]) -> bool {
        self.protocol.borrow().as_ref().is_some_and(|asked| asked.as_bytes().eq_ignore_ascii_case(protocol))
    }

    pub(in crate::proxy) fn hand_over(&self, half: Half) {
        self.half.replace(Some(half));
    }

    /// An interim response came; its head ends with the empty line.
    pub(in crate::proxy) fn interim(&self, head: &[u8]) {
        if head[9..].starts_with(b"100") && self.gate.get() == Gate::Waiting {
            // hyper tells the client to go on as soon as its body is asked for.
            self.open_gate();
            return;
        }
        let mut interims = self.interims.borrow_mut();
        if interims.len() + head.len() > INTERIM_BYTES_MAX {
            return;
        }
        let line_end = memchr::memchr(b'\r', head).unwrap_or(head.len());
        interims.extend_from_slice(b"HTTP/1.1");
        interims.extend_from_slice(&head[8..line_end]);
        for field in interim_fields(head) {
            interims.extend_from_slice(b"\r\n");
            interims.extend_from_slice(field);
        }
        interims.extend_from_slice(b"\r\n\r\n");
        if let Some(waker) = self.listener.take() {
            waker.wake();
        }
    }
}
