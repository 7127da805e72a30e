use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Frame, SizeHint};
use proptest::prelude::*;
use tokio::io::AsyncWrite;

use super::*;
use crate::proxy::http1::Unsendable;

/// A body of these pieces. Before each one it is asked twice.
struct Pieces {
    pieces: VecDeque<Frame<Bytes>>,
    asked: bool,
    length: Option<u64>,
}

impl Pieces {
    fn of(pieces: impl IntoIterator<Item = Frame<Bytes>>, length: Option<u64>) -> Pieces {
        Pieces { pieces: pieces.into_iter().collect(), asked: false, length }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        self.asked = !self.asked;
        if self.asked {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.pieces.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0) && self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A stream that takes no more than so many bytes at once.
struct Slow(Vec<u8>, usize);

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = buf.len().min(self.1);
        self.0.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn data(bytes: &[u8]) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(bytes))
}

/// What is written of a request, at most so many bytes at once; `None` when its body is not what its head says.
fn written(mut request: Request<Pieces>, at_once: usize) -> Option<String> {
    let mut outbox = Outbox::new(Duration::from_secs(60));
    begin(&mut outbox, &request, "endpoint", Duration::ZERO, true).ok()?;
    let stream = RefCell::new(Slow(Vec::new(), at_once));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    for _ in 0..1000 {
        match outbox.poll(&mut cx, &stream, request.body_mut()) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                assert!(outbox.is_done() && outbox.is_begun());
                return Some(String::from_utf8(stream.into_inner().0).unwrap());
            }
            Poll::Ready(Err(Unsendable::Body(_) | Unsendable::Length)) => return None,
            Poll::Ready(Err(Unsendable::Lost(error))) => panic!("{error}"),
        }
    }
    panic!("it does not end")
}

#[test]
fn a_body_is_framed_as_its_head_or_its_length_says() {
    let trailers = || Frame::trailers(HeaderMap::from_iter([(HeaderName::from_static("x-t"), "1".parse().unwrap())]));
    for (method, told, pieces, length, expected) in [
        ("GET", None, vec![], Some(0), Some("\r\n")),
        ("POST", Some("0"), vec![], Some(0), Some("content-length: 0\r\n\r\n")),
        ("POST", Some("2"), vec![data(b"ab")], Some(2), Some("content-length: 2\r\n\r\nab")),
        ("POST", None, vec![data(b"a"), data(b"b")], Some(2), Some("content-length: 2\r\n\r\nab")),
        (
            "POST",
            None,
            vec![data(b"a"), data(b""), data(b"b")],
            None,
            Some("transfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        ),
        (
            "POST",
            None,
            vec![data(b"a"), trailers()],
            None,
            Some("transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: 1\r\n\r\n"),
        ),
        ("POST", None, vec![], None, Some("transfer-encoding: chunked\r\n\r\n0\r\n\r\n")),
        // Who asks for something mostly sends nothing with it.
        ("GET", None, vec![], None, Some("\r\n")),
        ("GET", None, vec![data(b"")], None, Some("\r\n")),
        ("GET", None, vec![data(b"a")], None, Some("transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")),
        // Whoever reads that would wait, or take the rest for the next request.
        ("POST", Some("3"), vec![data(b"ab")], Some(2), None),
        ("POST", Some("1"), vec![data(b"ab")], None, None),
        ("POST", Some("3"), vec![data(b"ab")], None, None),
        ("POST", Some("3"), vec![], Some(0), None),
        ("POST", Some("x"), vec![], Some(0), None),
    ] {
        let mut request = Request::builder().method(method).uri("/a?b").header(header::HOST, "a");
        if let Some(told) = told {
            request = request.header(header::CONTENT_LENGTH, told);
        }
        let case = format!("{method} {told:?} {pieces:?} {length:?}");
        let written = written(request.body(Pieces::of(pieces, length)).unwrap(), usize::MAX);
        let expected = expected.map(|rest| format!("{method} /a?b HTTP/1.1\r\nhost: a\r\n{rest}"));
        assert_eq!(written, expected, "{case}");
    }
}

#[test]
fn targets_are_written_as_they_came() {
    for (uri, target) in [("/", "/"), ("/a//b?c=%20", "/a//b?c=%20"), ("*", "*"), ("http://a?b", "/?b")] {
        let request = Request::options(uri).body(Pieces::of([], Some(0))).unwrap();
        assert_eq!(written(request, usize::MAX), Some(format!("OPTIONS {target} HTTP/1.1\r\nhost: endpoint\r\n\r\n")));
    }
}

#[test]
fn trailers_alone_are_no_body_to_a_service_that_reads_none() {
    let trailers = Frame::trailers(HeaderMap::from_iter([(HeaderName::from_static("x-t"), "1".parse().unwrap())]));
    let mut request = Request::get("/").body(Pieces::of([trailers], None)).unwrap();
    let mut outbox = Outbox::new(Duration::from_secs(60));
    begin(&mut outbox, &request, "endpoint", Duration::ZERO, false).unwrap();
    let stream = RefCell::new(Slow(Vec::new(), usize::MAX));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    // Pieces come every other time.
    let sent = [(); 3].map(|()| outbox.poll(&mut cx, &stream, request.body_mut()).is_ready());
    assert!(sent.contains(&true) && outbox.is_done());
    assert_eq!(stream.into_inner().0, b"GET / HTTP/1.1\r\nhost: endpoint\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_asked_for_waits_for_an_answer_but_not_for_ever() {
    for told in [true, false] {
        let request = Request::post("/").header(header::EXPECT, "100-continue");
        let mut request = request.body(Pieces::of([data(b"a")], Some(1))).unwrap();
        let mut outbox = Outbox::new(Duration::from_secs(60));
        begin(&mut outbox, &request, "endpoint", Duration::from_secs(1), true).unwrap();
        let stream = RefCell::new(Slow(Vec::new(), usize::MAX));
        let begun = tokio::time::Instant::now();
        std::future::poll_fn(|cx| {
            let sent = outbox.poll(cx, &stream, request.body_mut());
            let text = String::from_utf8(stream.borrow().0.clone()).unwrap();
            if outbox.asks() {
                assert!(sent.is_pending() && outbox.is_untouched() && text.ends_with("\r\n\r\n"), "{text}");
                if told {
                    outbox.go_on();
                    cx.waker().wake_by_ref();
                }
            }
            sent.map(|sent| assert!(sent.is_ok() && text.ends_with("\r\n\r\na"), "{text}"))
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), u64::from(!told));
    }
}

proptest! {
    #[test]
    fn it_does_not_matter_how_much_is_taken_at_once(
        lengths in prop::collection::vec(0..9000_usize, 0..5),
        chunked in any::<bool>(),
        at_once in 64..6000_usize,
    ) {
        let pieces = || lengths.iter().map(|length| data(&vec![b'x'; *length]));
        let length = (!chunked).then(|| lengths.iter().sum::<usize>() as u64);
        let request = |length| Request::post("/").body(Pieces::of(pieces(), length)).unwrap();
        let text = written(request(length), at_once).unwrap();
        prop_assert_eq!(&text, &written(request(length), usize::MAX).unwrap());
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let framed: String = match length {
            Some(_) => lengths.iter().map(|length| "x".repeat(*length)).collect(),
            None => {
                let chunks = lengths.iter().filter(|length| **length > 0);
                chunks.map(|length| format!("{length:x}\r\n{}\r\n", "x".repeat(*length))).collect::<String>() + "0\r\n\r\n"
            }
        };
        prop_assert_eq!(body, framed);
    }
}

/// A stream that takes everything and, as TLS may, holds it back for a while.
struct Held(bool);

impl AsyncWrite for Held {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_not_sent_and_not_waited_for_for_ever() {
    for let_go in [true, false] {
        let mut request = Request::post("/").body(Pieces::of([data(b"a")], Some(1))).unwrap();
        let mut outbox = Outbox::new(Duration::from_secs(60));
        begin(&mut outbox, &request, "endpoint", Duration::ZERO, true).unwrap();
        let stream = RefCell::new(Held(true));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..3 {
            assert!(outbox.poll(&mut cx, &stream, request.body_mut()).is_pending());
        }
        assert!(!outbox.is_done());
        stream.borrow_mut().0 = !let_go;
        let begun = tokio::time::Instant::now();
        let sent = std::future::poll_fn(|cx| outbox.poll(cx, &stream, request.body_mut())).await;
        match sent {
            Ok(()) => assert!(let_go && outbox.is_done()),
            Err(Unsendable::Lost(error)) => {
                assert_eq!((error.kind(), begun.elapsed().as_secs(), let_go), (io::ErrorKind::TimedOut, 60, false));
            }
            Err(other) => panic!("{other}"),
        }
    }
}
