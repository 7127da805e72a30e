//! The same of a service of HTTP/2: streams that are reset, departures, and connections that end within a frame.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{self, SendResponse},
};
use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::faulty::{Fault, Faulty};

/// A connection that breaks behind so many bytes more.
struct Breaking {
    stream: TcpStream,
    left: Arc<AtomicUsize>,
}

/// Serves one connection, a fault or none for each request. A peer that goes away ends it.
pub(super) async fn serve(
    stream: TcpStream,
    mut random: fastrand::Rng,
    arrived: Arc<[AtomicUsize]>,
    draw: fn(&mut fastrand::Rng, usize) -> Fault,
) {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let breaking = Breaking { stream, left: Arc::clone(&left) };
    let Ok(mut connection) = server::handshake(breaking).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let Ok(number) = request.uri().path()[1..].parse::<usize>() else { continue };
        let body = Faulty::body(number);
        arrived[number].fetch_add(1, Ordering::SeqCst);
        let fault = draw(&mut random, body.len());
        match fault {
            Fault::Truncate(bytes) => left.store(bytes, Ordering::SeqCst),
            Fault::Garbage => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
            Fault::Early => connection.graceful_shutdown(),
            _ => {}
        }
        let random = random.fork();
        // Whatever breaks it off is what is tried.
        tokio::spawn(async move { answer(request, respond, fault, random, body.into()).await.ok() });
    }
}

/// Reads a request, unless the fault is not to, and answers it as the fault has it.
async fn answer(
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    fault: Fault,
    mut random: fastrand::Rng,
    body: Bytes,
) -> Result<(), h2::Error> {
    if !matches!(fault, Fault::Early) {
        while let Some(piece) = request.body_mut().data().await {
            request.body_mut().flow_control().release_capacity(piece?.len())?;
        }
    }
    if let Fault::Interim(count) = fault {
        for _ in 0..count {
            respond.send_informational(Response::builder().status(103).body(()).unwrap())?;
        }
    }
    if let Fault::Reset(0) = fault {
        respond.send_reset(reason(&mut random));
        return Ok(());
    }
    if let Fault::Stall(0) = fault {
        std::future::poll_fn(|cx| respond.poll_reset(cx)).await?;
        return Ok(());
    }
    let mut head = Response::builder();
    if matches!(fault, Fault::Surplus) || random.bool() {
        head = head.header("content-length", body.len());
    }
    let mut send = respond.send_response(head.body(()).unwrap(), false)?;
    match fault {
        Fault::Reset(bytes) => {
            send.send_data(body.slice(..bytes), false)?;
            tokio::task::yield_now().await;
            send.send_reset(reason(&mut random));
        }
        // Until the proxy gives it up.
        Fault::Stall(bytes) => {
            send.send_data(body.slice(..bytes), false)?;
            std::future::poll_fn(|cx| send.poll_reset(cx)).await?;
        }
        Fault::Drip => {
            for byte in 0..body.len() {
                send.send_data(body.slice(byte..=byte), false)?;
                tokio::task::yield_now().await;
            }
            send.send_data(Bytes::new(), true)?;
        }
        // Less than it said.
        Fault::Surplus => send.send_data(body.slice(..body.len() / 2), true)?,
        _ => send.send_data(body, true)?,
    }
    Ok(())
}

/// What a stream may be reset with that was processed.
fn reason(random: &mut fastrand::Rng) -> Reason {
    [Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::CANCEL][random.usize(..3)]
}

impl AsyncRead for Breaking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..buf.len().min(left)]);
        if let (Poll::Ready(Ok(bytes)), true) = (&written, left < usize::MAX) {
            self.left.fetch_sub(*bytes, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
