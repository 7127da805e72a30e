//! The socket of a connection, and how it is read and written.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{ends::Shared, frame::Code, session::Begun};
use crate::proxy::{idle::IdleTimer, turn::Turn};

/// Room for what is read at once.
const ROOM_BYTES: usize = 32 << 10;

/// After so many reads without a pause others get a turn. Whoever sends small frames as fast as they are taken would
/// else have a worker for itself, for as long as a megabyte of them takes.
const READS_IN_A_TURN: u32 = 4;

thread_local! {
    /// One room for all connections of a worker: most of what comes is whole frames, and nothing of it stays.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM_BYTES].into());
}

/// A connection's socket.
#[derive(Debug)]
pub(in crate::proxy) struct Driver<T> {
    transport: T,
    session: Shared,
    /// The beginning of a frame.
    rest: Vec<u8>,
    reads: u32,
    /// Others have it.
    turn: Turn,
    unwritten: IdleTimer,
    unflushed: bool,
    /// When something came last.
    heard: Instant,
    ending: Option<Ending>,
    linger: Linger,
}

/// What may still come of a peer that has had its last bytes: closed over it, the connection would end with a reset,
/// and what is on its way to the peer be lost. Until it closes, nothing comes for so long, or so much has come.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Linger {
    pub(in crate::proxy) bytes_max: usize,
    pub(in crate::proxy) longest: Duration,
}

/// A connection whose last bytes are on their way.
#[derive(Debug)]
struct Ending {
    shut: bool,
    left: usize,
    late: Pin<Box<Sleep>>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Of a connection whose peer may leave what is sent unread for so long.
    pub(in crate::proxy) fn new(transport: T, session: Shared, unread_for: Duration, linger: Linger) -> Driver<T> {
        Driver {
            transport,
            session,
            rest: Vec::new(),
            reads: 0,
            turn: Turn::default(),
            unwritten: IdleTimer::new(unread_for),
            unflushed: false,
            heard: Instant::now(),
            ending: None,
            linger,
        }
    }

    /// When a peer of whom streams are open has to have sent something again, or is asked to; `None` when it had to
    /// before. It may be silent for so long, and then take so long to answer.
    pub(in crate::proxy) fn silent_until(&self, ping: Duration, pong: Duration) -> Option<Instant> {
        let (now, mut session) = (Instant::now(), self.session.borrow_mut());
        let next = self.heard + ping;
        if session.counts().0 == 0 {
            return Some(now + ping);
        }
        if next > now {
            return Some(next);
        }
        session.ask_for_life().then(|| now + pong)
    }

    /// Reads and writes as far as that goes, and tells of each request. Ready at the end of the connection.
    pub(in crate::proxy) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        begin: &mut dyn FnMut(Begun),
    ) -> Poll<io::Result<()>> {
        self.session.borrow_mut().begin_turn(cx);
        let polled = self.poll_turn(cx, begin);
        self.session.borrow_mut().end_turn();
        polled
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, begin: &mut dyn FnMut(Begun)) -> Poll<io::Result<()>> {
        while self.ending.is_none() {
            match self.poll_read(cx, begin) {
                Poll::Ready(Ok(Ok(()))) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(Err(code))) => {
                    tracing::debug!(?code, "a peer of HTTP/2 broke its rules");
                    self.session.borrow_mut().end(code);
                    self.end();
                    break;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            let read_all = self.session.borrow().wants_more();
            ready!(self.poll_write(cx))?;
            if self.session.borrow().is_done() {
                self.end();
            } else if read_all {
                return Poll::Pending;
            }
        }
        self.poll_end(cx)
    }

    /// Nothing more is served.
    fn end(&mut self) {
        let late = Box::pin(tokio::time::sleep(self.linger.longest));
        self.ending = Some(Ending { shut: false, left: self.linger.bytes_max, late });
    }

    /// Pending for as long as there is more to come; at its end ready without a fault, or with the peer's.
    fn poll_read(&mut self, cx: &mut Context<'_>, begin: &mut dyn FnMut(Begun)) -> Poll<io::Result<Result<(), Code>>> {
        while self.session.borrow().wants_more() {
            if self.reads >= READS_IN_A_TURN {
                ready!(self.turn.poll(cx));
                (self.reads, self.turn) = (0, Turn::default());
            }
            let taken = ROOM.with_borrow_mut(|room| {
                let mut room = ReadBuf::new(room);
                let read = Pin::new(&mut self.transport).poll_read(cx, &mut room);
                self.reads = if read.is_ready() { self.reads + 1 } else { 0 };
                ready!(read)?;
                let more = !room.filled().is_empty();
                Poll::Ready(io::Result::Ok(more.then(|| self.take(room.filled(), begin))))
            });
            match ready!(taken)? {
                Some(Ok(())) => {}
                Some(Err(code)) => return Poll::Ready(Ok(Err(code))),
                None => return Poll::Ready(Ok(Ok(()))),
            }
        }
        Poll::Pending
    }

    fn take(&mut self, read: &[u8], begin: &mut dyn FnMut(Begun)) -> Result<(), Code> {
        self.heard = Instant::now();
        self.session.borrow_mut().hear();
        let mut rest = std::mem::take(&mut self.rest);
        let kept = !rest.is_empty();
        if kept {
            rest.extend_from_slice(read);
        }
        let bytes = if kept { &rest[..] } else { read };
        let mut at = 0;
        loop {
            let (taken, begun) = self.session.borrow_mut().take(&bytes[at..])?;
            at += taken;
            match begun {
                Some(begun) => begin(begun),
                None => break,
            }
        }
        // Whoever rests keeps nothing.
        if at < bytes.len() && kept {
            rest.drain(..at);
            self.rest = rest;
        } else if at < bytes.len() {
            self.rest = read[at..].to_vec();
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = self.session.borrow_mut();
        while !session.outbox().is_empty() {
            let transport = Pin::new(&mut self.transport);
            let written = match session.outbox().only() {
                Some(bytes) => transport.poll_write(cx, bytes),
                None => transport.poll_write_vectored(cx, &session.outbox().slices()),
            };
            match written? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(bytes) => {
                    self.unwritten.reset();
                    self.unflushed = true;
                    session.written(bytes);
                }
                Poll::Pending => {
                    ready!(self.unwritten.poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the last bytes, and takes for a while what was under way.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut ending) = self.ending.take() else { return Poll::Pending };
        let ended = self.poll_ending(cx, &mut ending);
        self.ending = Some(ending);
        ended
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>, ending: &mut Ending) -> Poll<io::Result<()>> {
        if ending.late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if !ending.shut {
            ready!(self.poll_write(cx))?;
            ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
            ending.shut = true;
        }
        ROOM.with_borrow_mut(|room| {
            while ending.left > 0 {
                let mut room = ReadBuf::new(room);
                ready!(Pin::new(&mut self.transport).poll_read(cx, &mut room))?;
                match room.filled().len() {
                    0 => break,
                    read => {
                        ending.left = ending.left.saturating_sub(read);
                        ending.late.as_mut().reset(Instant::now() + self.linger.longest);
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        rc::Rc,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Wake, Waker},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
    };

    use super::*;
    use crate::proxy::{
        http2::session::{Conduct, Session, Terms},
        transport::{Stream, Transport, Wire},
    };

    const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    fn driven() -> (UnixStream, Driver<Transport>) {
        let (client, own) = UnixStream::pair().unwrap();
        let terms = Terms {
            head_bytes_max: 1 << 16,
            trailer_bytes_max: 1 << 10,
            fields_max: 10,
            frame_bytes_max: 1 << 14,
            stream_window_bytes: 1 << 16,
            connection_window_bytes: 1 << 16,
            growth_bytes_max: 0,
            send_bytes_max: 1 << 16,
        };
        let conduct = Conduct { streams_max: 1 << 20, resets_max: 10, cancels_max: 10 };
        let session = Rc::new(RefCell::new(Session::with_client(terms, conduct)));
        let linger = Linger { bytes_max: 1 << 16, longest: Duration::from_secs(60) };
        let transport = Transport::Clear(Wire::new(Stream::Unix(own)));
        (client, Driver::new(transport, session, Duration::from_secs(60), linger))
    }

    /// The head of a GET on a stream.
    fn get(stream: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        crate::proxy::http2::frame::write(&mut bytes, 1, 5, stream, b"\x82\x86\x84\x41\x01a");
        bytes
    }

    #[tokio::test]
    async fn a_client_that_always_has_more_to_be_read_leaves_others_their_turn() {
        let (mut client, mut driver) = driven();
        let bytes = [GREETING.to_vec(), (1..30_000).step_by(2).flat_map(get).collect()].concat();
        // Before all of it is there, as much as the socket takes.
        client.writable().await.unwrap();
        let there = client.try_write(&bytes).unwrap();
        assert!(there > ROOM_BYTES * READS_IN_A_TURN as usize);
        let session = Rc::clone(&driver.session);
        let (mut begun, mut turns) = (0, vec![0]);
        poll_fn(|cx| {
            let polled = driver.poll(cx, &mut |one| {
                session.borrow_mut().hold(one.key);
                begun += 1;
            });
            assert!(polled.is_pending());
            turns.push(begun);
            if begun == (there - GREETING.len()) / get(1).len() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let most = ROOM_BYTES * READS_IN_A_TURN as usize / get(1).len();
        assert!(begun > most && turns.windows(2).all(|turn| turn[1] - turn[0] <= most), "{turns:?}");
        client.shutdown().await.unwrap();
    }

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test]
    async fn what_is_said_in_its_own_turn_is_written_and_wakes_nobody() {
        let (mut client, mut driver) = driven();
        let ping = b"\0\0\x08\x06\0\0\0\0\0pingping";
        client.write_all(&[GREETING, ping].concat()).await.unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        while woken.0.load(Relaxed) == 0 {
            assert!(driver.poll(&mut cx, &mut |_begun| ()).is_pending());
            // The runtime looks at what came.
            tokio::task::yield_now().await;
        }
        assert!(driver.poll(&mut cx, &mut |_begun| ()).is_pending());
        assert_eq!(woken.0.load(Relaxed), 1, "for what came, and not for what it says of that");
        let mut told = Vec::new();
        while !told.ends_with(b"pingping") {
            client.read_buf(&mut told).await.unwrap();
        }
        let before = woken.0.load(Relaxed);
        assert!(driver.session.borrow_mut().ask_for_life());
        assert_eq!(woken.0.load(Relaxed), before + 1);
    }

    #[tokio::test]
    async fn who_has_its_last_bytes_is_waited_for_and_whoever_rests_keeps_nothing() {
        let (mut client, mut driver) = driven();
        let get = get(1);
        for piece in [GREETING, &get[..3], &get[3..]] {
            client.write_all(piece).await.unwrap();
            assert!(poll_fn(|cx| Poll::Ready(driver.poll(cx, &mut |_begun| ()))).await.is_pending());
            while driver.rest.len() != usize::from(piece.len() == 3) * 3 {
                tokio::task::yield_now().await;
                assert!(poll_fn(|cx| Poll::Ready(driver.poll(cx, &mut |_begun| ()))).await.is_pending());
            }
        }
        assert_eq!(driver.rest.capacity(), 0);
        // Half a ping is no frame.
        client.write_all(b"\0\0\x04\x06\0\0\0\0\0ping").await.unwrap();
        let ended = tokio::spawn(async move {
            let mut told = Vec::new();
            client.read_to_end(&mut told).await.unwrap();
            // It learns of it, says something more, and goes.
            client.write_all(b"more").await.unwrap();
            told
        });
        poll_fn(|cx| driver.poll(cx, &mut |_begun| ())).await.unwrap();
        assert!(ended.is_finished(), "it has gone before");
        assert!(ended.await.unwrap().ends_with(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\x06"));
    }
}
