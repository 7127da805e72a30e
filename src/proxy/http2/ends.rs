//! The ends of a stream: who reads the request's body, who says the answer, and who carries a tunnel by both.

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
    date,
    frame::Code,
    session::{Gone, Key, Session},
};
use crate::proxy::{
    idle::IdleTimer,
    received::BodyFault,
    reply::{Reply, ReplyError},
    wire::Half,
};

/// A session, as all that have a part in it refer to it.
pub(super) type Shared = Rc<RefCell<Session>>;

/// One stream.
struct Held {
    session: Shared,
    key: Key,
}

/// The body of a request. Dropped, no more of it is wanted.
#[derive(Debug)]
pub(in crate::proxy) struct Inflow(Held);

/// Where interim responses are said.
#[derive(Debug)]
pub(in crate::proxy) struct Aside(Held);

/// Where the answer is said. Dropped, what has no end by then gets none.
#[derive(Debug)]
pub(super) struct Outflow {
    held: Held,
    unread: IdleTimer,
}

/// Why an answer was not said to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsaid {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error("the client took nothing of the answer for {0:?}")]
    Unread(Duration),
    #[error(transparent)]
    Reply(#[from] ReplyError),
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
    pub(super) fn new(session: &Shared, key: Key) -> Inflow {
        Inflow(Held::new(session, key))
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
    /// Of a stream whose client may take nothing of the answer for so long.
    pub(super) fn new(session: &Shared, key: Key, unread_for: Duration) -> Outflow {
        Outflow { held: Held::new(session, key), unread: IdleTimer::new(unread_for) }
    }

    /// Somebody works on the stream.
    pub(super) fn begin(&self) {
        self.held.session.borrow_mut().look_at(self.held.key);
    }

    /// Says an answer as a whole; of one to HEAD the head alone. One that makes a tunnel goes on as that.
    ///
    /// # Errors
    /// [`Unsaid`].
    pub(super) async fn answer(
        mut self,
        response: Response<Reply>,
        to_head: bool,
        inflow: Option<Inflow>,
    ) -> Result<(), Unsaid> {
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
        drop(head);
        if let Some((tunnel, inflow)) = tunnel {
            // The request has ended, and what it held.
            drop(reply);
            let ends = Ends { inflow, outflow: self, piece: Bytes::new() };
            let half = Half { stream: Box::pin(ends), glued: Vec::new() };
            return Box::pin(tunnel.carry(half)).await.map_err(Unsaid::Tunnel);
        }
        if all { Ok(()) } else { self.body(&mut reply).await }
    }

    async fn body(&mut self, reply: &mut Reply) -> Result<(), Unsaid> {
        loop {
            let piece = std::future::poll_fn(|cx| Pin::new(&mut *reply).poll_frame(cx)).await;
            let (data, ended) = match piece.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => (data, reply.is_end_stream()),
                None => (Bytes::new(), true),
                Some(Err(frame)) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    if trailers.is_empty() {
                        return self.data(Bytes::new(), true).await;
                    }
                    return Ok(self.held.session.borrow_mut().say_trailers(self.held.key, &trailers)?);
                }
            };
            self.data(data, ended).await?;
            if ended {
                return Ok(());
            }
        }
    }

    async fn data(&mut self, mut data: Bytes, ended: bool) -> Result<(), Unsaid> {
        while !data.is_empty() {
            let room = std::future::poll_fn(|cx| self.poll_room(cx)).await?;
            let piece = data.split_to(room.min(data.len()));
            let last = ended && data.is_empty();
            self.held.session.borrow_mut().say_data(self.held.key, piece, last)?;
            if last {
                return Ok(());
            }
        }
        // The end takes no room.
        if ended {
            self.held.session.borrow_mut().say_data(self.held.key, data, true)?;
        }
        Ok(())
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Unsaid>> {
        let room = self.held.session.borrow_mut().poll_room(self.held.key, cx);
        if room.is_pending() {
            ready!(self.unread.poll(cx));
            self.held.session.borrow_mut().reset(self.held.key, Code::Cancel);
            return Poll::Ready(Err(Unsaid::Unread(self.unread.after())));
        }
        self.unread.reset();
        room.map_err(Unsaid::Gone)
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        self.held.session.borrow_mut().leave_answer(self.held.key, Code::Internal);
    }
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
        let room = ready!(self.outflow.poll_room(cx)).map_err(io::Error::other)?;
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
