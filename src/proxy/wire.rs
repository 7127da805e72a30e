//! The wire of a client's connection of HTTP/1: what its stream and the requests on it tell each other around hyper.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use http::{HeaderValue, Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{framing::Flaw, reply::Reply, tunnel::Tunnel};

/// Bytes of interim responses that may wait to be written; those of more are left out. No key of the configuration: what
/// operators set is `interim_responses_max`, and ten of the size that anybody sends fit many times.
const OUTBOX_BYTES_MAX: usize = 64 << 10;

/// What is special about a request, so that its service has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It was refused; hyper sees another one in its place.
    Refused(Flaw),
    /// It asks for another protocol; nothing behind it is read before its answer.
    Upgrade,
    /// `OPTIONS` for the whole server in absolute form (RFC 9112 §3.2.4).
    ServerWide,
}

/// What the stream of a client's connection and the requests on it tell each other.
#[derive(Debug, Default)]
pub(super) struct ClientWire {
    /// Heads that were passed to hyper.
    heads: Cell<u64>,
    /// Requests that hyper made of them.
    calls: Cell<u64>,
    /// Those of them that were answered, to the last byte.
    answered: Cell<u64>,
    /// Who waits for that.
    waits: RefCell<Option<Waker>>,
    /// Nothing is left to be read, and what was read ended with a message.
    read_up: Cell<bool>,
    /// hyper has more to write.
    writing: Cell<bool>,
    /// What is special, by the number of the head.
    notes: RefCell<VecDeque<(u64, Note)>>,
    /// What is special about the request in flight.
    note: Cell<Option<Note>>,
    /// Whether the stream waits for the answer to an upgrade, and what became of it.
    pause: Cell<Pause>,
    outbox: RefCell<Vec<u8>>,
    /// Part of the outbox is on its way.
    outbox_begun: Cell<bool>,
    tunnel: RefCell<Option<Tunnel>>,
    half: RefCell<Option<Half>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pause {
    #[default]
    None,
    Waiting,
    Resumed,
    Switching,
}

impl ClientWire {
    /// The service's side: a request came, which `answer` answers, perhaps as the connection's `last` one. It is begun
    /// here, when what is special about the request is known.
    pub(super) fn serve<F>(self: &Rc<Self>, answer: impl FnOnce() -> F, last: bool) -> Serving<F> {
        let call = self.calls.get() + 1;
        self.calls.set(call);
        let note = self.notes.borrow_mut().pop_front_if(|(head, _)| *head == call).map(|(_, note)| note);
        self.note.set(note);
        Serving { answer: answer(), wire: Rc::clone(self), last }
    }

    /// How many requests came.
    pub(super) fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// How many requests came before the head that is waited for, if one is: everything that came is answered.
    pub(super) fn awaits_head(&self) -> Option<u64> {
        (self.answered == self.heads && !self.writing.get()).then_some(self.calls.get())
    }

    /// Whether nothing at all was begun: of the head that is waited for not a byte is there.
    pub(super) fn is_resting(&self) -> bool {
        self.awaits_head().is_some() && self.read_up.get() && !self.has_interims() && self.pause.get() == Pause::None
    }

    /// What is special about the request in flight.
    pub(super) fn note(&self) -> Option<Note> {
        self.note.get()
    }

    /// Puts interim responses in line, to be written before anything else.
    pub(super) fn send_interims(&self, bytes: &[u8]) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.len() + bytes.len() <= OUTBOX_BYTES_MAX {
            outbox.extend_from_slice(bytes);
        }
    }

    /// A request's answer has ended, or nobody waits for it any more.
    fn answer_ended(&self) {
        self.answered.set(self.answered.get() + 1);
        if let Some(waker) = self.waits.take() {
            waker.wake();
        }
    }

    /// Whether interim responses wait to be written.
    pub(super) fn has_interims(&self) -> bool {
        !self.outbox.borrow().is_empty()
    }

    /// The upstream switched protocols: the stream is given up with the answer's last byte.
    pub(super) fn switch(&self, tunnel: Tunnel) {
        self.pause.set(Pause::Switching);
        self.tunnel.replace(Some(tunnel));
    }

    /// The tunnel that was agreed on, and the client's end of it; taken when hyper is done with the
    /// connection.
    pub(super) fn take_tunnel(&self) -> Option<(Tunnel, Half)> {
        self.tunnel.take().zip(self.half.take())
    }

    // The stream's side.

    pub(super) fn set_read_up(&self, is: bool) {
        self.read_up.set(is);
    }

    pub(super) fn set_writing(&self, is: bool) {
        self.writing.set(is);
    }

    pub(super) fn passed_head(&self, note: Option<Note>) {
        let head = self.heads.get() + 1;
        self.heads.set(head);
        if let Some(note) = note {
            self.notes.borrow_mut().push_back((head, note));
            if note == Note::Upgrade {
                self.pause.set(Pause::Waiting);
            }
        }
    }

    /// Whether requests have come that are not answered; wakes when one is.
    pub(super) fn owes_answers(&self, cx: &Context<'_>) -> bool {
        let owes = self.heads.get() > self.answered.get();
        if owes {
            self.waits.replace(Some(cx.waker().clone()));
        }
        owes
    }

    /// Whether the upgrade that was waited for came to nothing; told once.
    pub(super) fn take_resumed(&self) -> bool {
        let resumed = self.pause.get() == Pause::Resumed;
        if resumed {
            self.pause.set(Pause::None);
        }
        resumed
    }

    pub(super) fn is_switching(&self) -> bool {
        self.pause.get() == Pause::Switching
    }

    pub(super) fn hand_over(&self, half: Half) {
        self.half.replace(Some(half));
    }

    /// Writes what waits, in pieces as `write` takes them. `idle`: nothing else is half written.
    pub(super) fn poll_outbox(
        &self,
        idle: bool,
        mut write: impl FnMut(&[u8]) -> Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<()>> {
        let mut outbox = self.outbox.borrow_mut();
        if !idle && !self.outbox_begun.get() {
            // What hyper writes now may end an earlier response or begin the final one: too late, or too
            // early to tell.
            outbox.clear();
        }
        while !outbox.is_empty() {
            let written = ready!(write(&outbox))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            outbox.drain(..written);
            self.outbox_begun.set(!outbox.is_empty());
        }
        Poll::Ready(Ok(()))
    }
}

/// One answer, until it has ended.
#[derive(Debug)]
pub(super) struct Answering(Rc<ClientWire>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answer_ended();
    }
}

pin_project_lite::pin_project! {
    /// An answer on its way. Once it is there and switches no protocol, the stream reads on, unless it says
    /// that it was the last one.
    pub(super) struct Serving<F> {
        #[pin]
        answer: F,
        wire: Rc<ClientWire>,
        last: bool,
    }
}

impl<F: Future<Output = Result<Response<Reply>, E>>, E> Future for Serving<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(cx));
        if *this.last
            && let Ok(response) = &mut answer
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            // By this field hyper knows, too.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if this.wire.pause.get() == Pause::Waiting && this.wire.calls.get() == this.wire.heads.get() {
            this.wire.pause.set(Pause::Resumed);
        }
        if let Ok(response) = &mut answer {
            response.body_mut().tell_end(Answering(Rc::clone(this.wire)));
        }
        Poll::Ready(answer)
    }
}

/// A stream whose protocol was switched, taken from under hyper.
pub(super) struct Half {
    pub(super) stream: Pin<Box<dyn Duplex>>,
    /// What came behind the handshake, and was read with it.
    pub(super) glued: Vec<u8>,
}

/// What can be read and written.
pub(super) trait Duplex: AsyncRead + AsyncWrite {}

impl<S: AsyncRead + AsyncWrite> Duplex for S {}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half").field("glued", &self.glued.len()).finish_non_exhaustive()
    }
}
