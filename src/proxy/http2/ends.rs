//! The ends of a stream: who reads what comes on it, who says what goes, and who carries a tunnel by both.

use std::{
    cell::RefCell,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    fault::StreamFault,
    frame::Code,
    session::{Gone, Key, Session, Told},
};
use crate::proxy::{
    date,
    idle::IdleTimer,
    received::BodyFault,
    reply::Reply,
    tunnel::{Half, Tunnel},
};

/// A session, as all that have a part in it refer to it.
pub(in crate::proxy) type Shared = Rc<RefCell<Session>>;

/// One stream.
struct Held {
    session: Shared,
    key: Key,
}

/// What comes: the body of a request, or an answer. Dropped, no more of it is wanted.
#[derive(Debug)]
pub(in crate::proxy) struct Inflow(Held);

/// Where interim responses are said.
#[derive(Debug)]
pub(in crate::proxy) struct Aside(Held);

/// Where an answer is said, or the body of a request. Dropped, what has no end by then gets none.
#[derive(Debug)]
pub(in crate::proxy) struct Outflow {
    held: Held,
    unread: IdleTimer,
    /// What was taken of a body, and whether that is the last of it.
    piece: Bytes,
    last: bool,
}

/// What follows the head of an answer.
#[derive(Debug)]
pub(super) enum Rest {
    Nothing,
    Body(Reply),
    Tunnel(Box<Tunnel>, Inflow),
}

/// Why something was not said to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum Unsaid<E> {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error("the peer took nothing of it for {0:?}")]
    Unread(Duration),
    #[error(transparent)]
    Body(E),
    #[error("the tunnel broke")]
    Tunnel(#[source] io::Error),
}

impl Held {
    fn new(session: &Shared, key: Key) -> Held {
        session.borrow_mut().hold(key);
        Held { session: Rc::clone(session), key }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl Inflow {
    pub(in crate::proxy) fn new(session: &Shared, key: Key) -> Inflow {
        Inflow(Held::new(session, key))
    }

    /// The next head of an answer to what weir asked.
    ///
    /// # Errors
    /// Why there is none.
    pub(in crate::proxy) fn poll_told(&self, cx: &Context<'_>) -> Poll<Result<Told, BodyFault>> {
        self.0.session.borrow_mut().poll_told(self.0.key, cx)
    }

    /// All of the body, when it is there and has no trailers.
    pub(in crate::proxy) fn whole(&self) -> Option<Bytes> {
        self.0.session.borrow_mut().whole(self.0.key)
    }

    /// Whether no byte was written of the request that it answers.
    pub(in crate::proxy) fn is_unsent(&self) -> bool {
        self.0.session.borrow().is_unsent(self.0.key)
    }

    /// Whether nothing has come on the connection since the request that it answers.
    pub(in crate::proxy) fn is_unheard(&self) -> bool {
        self.0.session.borrow().is_unheard(self.0.key)
    }

    /// The next piece; `None` at the end.
    pub(in crate::proxy) fn poll_piece(&self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.0.session.borrow_mut().poll_piece(self.0.key, cx)
    }

    /// Whether nothing more comes.
    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        self.0.session.borrow().is_read(self.0.key)
    }

    /// How long the rest is, when that is known.
    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        self.0.session.borrow().left(self.0.key).map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        self.0.session.borrow_mut().leave_body(self.0.key);
    }
}

impl Aside {
    pub(super) fn new(session: &Shared, key: Key) -> Aside {
        Aside(Held::new(session, key))
    }

    /// Says an interim response, unless it is too late for one.
    pub(in crate::proxy) fn say(&self, status: StatusCode, fields: &HeaderMap) {
        self.0.session.borrow_mut().say_interim(self.0.key, status, fields);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.session.borrow_mut().let_go(self.0.key);
    }
}

impl Outflow {
    /// Of a stream whose peer may take nothing for so long.
    pub(in crate::proxy) fn new(session: &Shared, key: Key, unread_for: Duration) -> Outflow {
        let unread = IdleTimer::new(unread_for);
        Outflow { held: Held::new(session, key), unread, piece: Bytes::new(), last: false }
    }

    /// Somebody works on the stream.
    pub(super) fn begin(&self) {
        self.held.session.borrow_mut().look_at(self.held.key);
    }

    /// Says the head of an answer, which of one to HEAD is all of it; gives what follows.
    ///
    /// # Errors
    /// [`Gone`].
    pub(super) fn begin_answer(
        &self,
        response: Response<Reply>,
        to_head: bool,
        inflow: Option<Inflow>,
    ) -> Result<Rest, Gone> {
        let (mut head, mut reply) = response.into_parts();
        let tunnel = reply.take_tunnel().zip(inflow);
        let all = tunnel.is_none() && (to_head || reply.is_end_stream());
        if !head.headers.contains_key(header::DATE) {
            head.headers.insert(header::DATE, date::now());
        }
        if let (false, None, Some(length)) = (all, &tunnel, reply.size_hint().exact()) {
            head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        self.held.session.borrow_mut().say_head(self.held.key, head.status, &head.headers, all)?;
        // Where there is a tunnel the request has ended, and what it held.
        Ok(match tunnel {
            Some((tunnel, inflow)) => Rest::Tunnel(tunnel, inflow),
            None if all => Rest::Nothing,
            None => Rest::Body(reply),
        })
    }

    /// Says a body as far as that goes; ready when all of it was said.
    ///
    /// # Errors
    /// [`Unsaid`].
    pub(in crate::proxy) fn poll_body<B>(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut B,
    ) -> Poll<Result<(), Unsaid<B::Error>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            if !self.piece.is_empty() {
                let room = ready!(self.poll_room(cx))?;
                let piece = self.piece.split_to(room.min(self.piece.len()));
                let all = self.last && self.piece.is_empty();
                self.held.session.borrow_mut().say_data(self.held.key, piece, all)?;
                if all {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if self.last {
                // The end takes no room.
                return Poll::Ready(Ok(self.held.session.borrow_mut().say_data(self.held.key, Bytes::new(), true)?));
            }
            let piece = ready!(Pin::new(&mut *body).poll_frame(cx)).transpose().map_err(Unsaid::Body)?;
            match piece.map(Frame::into_data) {
                Some(Ok(data)) => (self.piece, self.last) = (data, body.is_end_stream()),
                Some(Err(frame)) if frame.trailers_ref().is_some_and(|trailers| !trailers.is_empty()) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(Ok(self.held.session.borrow_mut().say_trailers(self.held.key, &trailers)?));
                }
                Some(Err(_)) | None => self.last = true,
            }
        }
    }

    fn poll_room<E>(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Unsaid<E>>> {
        let Held { session, key } = &self.held;
        let room = session.borrow_mut().poll_room(*key, cx);
        if room.is_pending() {
            ready!(self.unread.poll(cx));
            session.borrow_mut().reset(*key, Code::Cancel, StreamFault::Untaken);
            return Poll::Ready(Err(Unsaid::Unread(self.unread.after())));
        }
        self.unread.reset();
        room.map_err(Unsaid::Gone)
    }

    /// Goes on by a task of its own, which ends with its stream and holds something until then; not at all where that is
    /// over.
    pub(in crate::proxy) fn go_on<B>(mut self, mut body: B, held: impl fmt::Debug + 'static)
    where
        B: Body<Data = Bytes, Error: std::error::Error> + Unpin + 'static,
    {
        let Held { session, key } = &self.held;
        let (session, key) = (Rc::clone(session), *key);
        if session.borrow().is_over(key) {
            return;
        }
        let task = tokio::task::spawn_local(async move {
            let _held = held;
            if let Err(error) = std::future::poll_fn(|cx| self.poll_body(cx, &mut body)).await {
                tracing::debug!(%error, "a request was not sent to its end");
            }
        });
        session.borrow_mut().works_on(key, task.abort_handle());
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        self.held.session.borrow_mut().leave_unsaid(self.held.key);
    }
}

/// A stream that was turned into a tunnel, as one end of that.
pub(in crate::proxy) fn half(inflow: Inflow, outflow: Outflow) -> Half {
    Half { stream: Box::pin(Ends { inflow, outflow, piece: Bytes::new() }), glued: Vec::new() }
}

/// Both ends of a stream that was turned into a tunnel (RFC 8441 §5).
struct Ends {
    inflow: Inflow,
    outflow: Outflow,
    /// What came and was not read.
    piece: Bytes,
}

impl AsyncRead for Ends {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match ready!(self.inflow.poll_piece(cx)) {
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                Some(Err(fault)) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, fault))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let fits = self.piece.len().min(buf.remaining());
        buf.put_slice(&self.piece[..fits]);
        self.piece.advance(fits);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ends {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.outflow.poll_room::<Gone>(cx)).map_err(io::Error::other)?;
        let length = room.min(buf.len());
        let piece = Bytes::copy_from_slice(&buf[..length]);
        let Held { session, key } = &self.outflow.held;
        session.borrow_mut().say_data(*key, piece, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Held { session, key } = &self.outflow.held;
        Poll::Ready(session.borrow_mut().say_data(*key, Bytes::new(), true).map_err(io::Error::other))
    }
}
