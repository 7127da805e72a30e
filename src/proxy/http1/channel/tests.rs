use std::future::poll_fn;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::advance,
};

use super::*;
use crate::proxy::transport::{Stream, Wire};

const BOUNDS: Bounds =
    Bounds { head_bytes_max: 1024, target_bytes_max: 128, fields_max: 16, trailer_bytes_max: 128, interim_max: 2 };

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\n";

fn connected_for(half_closed_for: Duration) -> (UnixStream, Channel) {
    let (client, own) = UnixStream::pair().unwrap();
    (client, Channel::new(Transport::Clear(Wire::new(Stream::Unix(own))), BOUNDS, half_closed_for))
}

fn connected() -> (UnixStream, Channel) {
    connected_for(Duration::ZERO)
}

/// The body of the next request, which comes.
async fn request(client: &mut UnixStream, channel: &Shared, head: &str) -> Option<Inflow> {
    client.write_all(head.as_bytes()).await.unwrap();
    let came = poll_fn(|cx| channel.borrow_mut().poll_head(cx)).await;
    assert!(matches!(came, Came::Head(_)), "{came:?}");
    Channel::begin(channel, false)
}

#[tokio::test]
async fn no_more_is_read_ahead_of_an_answer_than_there_is_room_for() {
    let (mut client, mut channel) = connected();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(matches!(poll_fn(|cx| channel.poll_head(cx)).await, Came::Head(_)));
    let mut sent = 0;
    while let Ok(more) = client.try_write(&[b'x'; 4096]) {
        sent += more;
    }
    assert!(sent > 4 * AHEAD_BYTES_MAX);
    while channel.inbox.len() < AHEAD_BYTES_MAX {
        assert!(poll_fn(|cx| Poll::Ready(channel.poll_meanwhile(cx))).await.is_pending());
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        assert!(poll_fn(|cx| Poll::Ready(channel.poll_meanwhile(cx))).await.is_pending());
        tokio::task::yield_now().await;
    }
    assert!(channel.inbox.len() < 2 * AHEAD_BYTES_MAX);
}

#[tokio::test]
async fn interim_responses_that_nobody_reads_are_bounded_and_a_consent_is_none_of_them() {
    let (client, mut channel) = connected();
    for _ in 0..100 {
        channel.send_interims(&[b'x'; 4096]);
    }
    assert_eq!(channel.interims.len(), INTERIMS_BYTES_MAX);
    channel.answer();
    channel.send_interims(b"too late");
    assert!(channel.interims.is_empty());
    drop(client);
}

#[tokio::test]
async fn a_body_that_was_not_asked_for_before_the_answer_is_none_behind_it() {
    let (mut client, channel) = connected();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    let channel = Rc::new(RefCell::new(channel));
    poll_fn(|cx| channel.borrow_mut().poll_head(cx)).await;
    let inflow = Channel::begin(&channel, true).unwrap();
    channel.borrow_mut().answer();
    assert!(matches!(poll_fn(|cx| inflow.poll_piece(cx)).await, Some(Err(BodyFault::Closed))));
    drop(inflow);
    assert!(!poll_fn(|cx| channel.borrow_mut().poll_over(cx)).await);
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_passed_over_up_to_a_bound() {
    for (bytes, goes_on) in [(UNWANTED_BYTES_MAX, true), (UNWANTED_BYTES_MAX + 1, false)] {
        let (mut client, channel) = connected();
        let channel = Rc::new(RefCell::new(channel));
        drop(request(&mut client, &channel, &format!("{POST}content-length: {bytes}\r\n\r\n")).await);
        client.write_all(&vec![b'x'; bytes]).await.unwrap();
        // The runtime hears of it.
        tokio::task::yield_now().await;
        assert_eq!(poll_fn(|cx| channel.borrow_mut().poll_over(cx)).await, goes_on, "{bytes} bytes");
    }
}

#[tokio::test]
async fn who_still_holds_a_body_gets_nothing_of_the_next_one() {
    let (mut client, channel) = connected();
    let channel = Rc::new(RefCell::new(channel));
    let earlier = request(&mut client, &channel, &format!("{POST}content-length: 1\r\n\r\n1")).await.unwrap();
    assert!(poll_fn(|cx| earlier.poll_piece(cx)).await.unwrap().is_ok());
    assert!(poll_fn(|cx| channel.borrow_mut().poll_over(cx)).await);
    let body = request(&mut client, &channel, &format!("{POST}content-length: 2\r\n\r\n22")).await.unwrap();
    assert!(earlier.is_end_stream() && earlier.size_hint().exact() == Some(0));
    assert!(poll_fn(|cx| earlier.poll_piece(cx)).await.is_none());
    drop(earlier);
    assert!(channel.borrow().is_read, "somebody reads the later one");
    let piece = poll_fn(|cx| body.poll_piece(cx)).await.unwrap().unwrap();
    assert_eq!(piece.into_data().unwrap(), "22");
}

#[tokio::test]
async fn nothing_follows_an_answer_whose_request_has_a_flawed_body() {
    let (mut client, channel) = connected();
    let channel = Rc::new(RefCell::new(channel));
    let chunked = format!("{POST}transfer-encoding: chunked\r\n\r\nnone\r\n");
    let body = request(&mut client, &channel, &chunked).await.unwrap();
    assert!(channel.borrow().goes_on());
    assert!(matches!(poll_fn(|cx| body.poll_piece(cx)).await, Some(Err(BodyFault::Flawed(_)))));
    assert!(!channel.borrow().goes_on());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_more_is_there_as_long_as_it_takes_its_answer() {
    let within = Duration::from_secs(5);
    let (mut client, channel) = connected_for(within);
    let channel = Rc::new(RefCell::new(channel));
    let none = request(&mut client, &channel, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(none.is_none() && channel.borrow().goes_on());
    client.shutdown().await.unwrap();
    let look = || poll_fn(|cx| Poll::Ready(channel.borrow_mut().poll_meanwhile(cx)));
    while channel.borrow().half_closed.is_none() {
        assert!(look().await.is_pending());
        tokio::task::yield_now().await;
    }
    assert!(!channel.borrow().goes_on(), "nothing can follow");
    for _ in 0..3 {
        advance(within - Duration::from_millis(1)).await;
        assert!(look().await.is_pending());
        let written = poll_fn(|cx| Pin::new(&mut *channel.borrow_mut()).poll_write(cx, b"a piece")).await;
        assert_eq!(written.unwrap(), 7);
        advance(Duration::from_millis(1)).await;
        assert!(look().await.is_pending(), "it took something");
    }
    advance(within).await;
    assert!(look().await.is_ready());
    let mut taken = [0; 21];
    client.read_exact(&mut taken).await.unwrap();
}
