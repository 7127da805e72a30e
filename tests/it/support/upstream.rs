//! Fake upstreams: each on a thread of its own, telling what it saw.

use std::{
    convert::Infallible,
    io::Read,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

/// A request as an upstream saw it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server that ends with its handle.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: mpsc::UnboundedReceiver<Seen>,
    _stop: oneshot::Sender<()>,
}

impl Upstream {
    /// Answers every request with its name.
    pub(crate) fn named(name: &'static str) -> Upstream {
        Upstream::answering(move |_seen| Response::new(Full::from(name)))
    }

    /// Answers every request, read to its end, by a function.
    pub(crate) fn answering(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Upstream {
        let answer = Arc::new(answer);
        Upstream::serving(move |request, seen| {
            let answer = Arc::clone(&answer);
            async move {
                let (head, body) = request.into_parts();
                // A body that breaks off is no request that was seen.
                let body = body.collect().await.ok()?.to_bytes();
                let (method, uri, headers) = (head.method, head.uri.to_string(), head.headers);
                let request = Seen { method, uri, headers, body };
                let response = answer(&request);
                seen.send(request).ok();
                Some(response.map(BodyExt::boxed))
            }
        })
    }

    /// Answers every request, whose body it leaves alone, with so many bytes.
    pub(crate) fn streaming(bytes: u64) -> Upstream {
        Upstream::serving(move |_request, _seen| async move { Some(Response::new(Long { left: bytes }.boxed())) })
    }

    /// Counts the bytes of each body, and answers with the count.
    pub(crate) fn counting() -> Upstream {
        Upstream::serving(|request, _seen| async move {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(frame) = body.frame().await {
                count += frame.ok()?.data_ref().map_or(0, Bytes::len);
            }
            Some(Response::new(Full::from(count.to_string()).boxed()))
        })
    }

    /// Reads a head, then lets the function do whatever it likes with the connection; it is also told
    /// how many connections came before.
    pub(crate) fn raw(act: impl Fn(std::net::TcpStream, usize) + Send + Sync + 'static) -> Upstream {
        let act = Arc::new(act);
        Upstream::listening(move |stream, number, _seen| {
            let stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            let act = Arc::clone(&act);
            thread::spawn(move || {
                if read_head(&stream) {
                    act(stream, number);
                }
            });
        })
    }

    /// Lets a task do whatever it likes with each connection; it is also told how many came before.
    pub(crate) fn acting<F>(
        act: impl Fn(TcpStream, usize, mpsc::UnboundedSender<Seen>) -> F + Send + Sync + 'static,
    ) -> Upstream
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Upstream::listening(move |stream, number, seen| drop(tokio::spawn(act(stream, number, seen))))
    }

    /// Speaks HTTP/2 in clear: answers every request, read to its end, by a function.
    pub(crate) fn http2(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Upstream {
        let answer = Arc::new(answer);
        Upstream::acting(move |stream, _number, seen| {
            let answer = Arc::clone(&answer);
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, seen) = (Arc::clone(&answer), seen.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let (method, uri, headers) = (head.method, head.uri.to_string(), head.headers);
                        let request = Seen { method, uri, headers, body };
                        let response = answer(&request);
                        seen.send(request).ok();
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await.ok();
            }
        })
    }

    fn serving<F>(
        answer: impl Fn(Request<Incoming>, mpsc::UnboundedSender<Seen>) -> F + Send + Sync + 'static,
    ) -> Upstream
    where
        F: Future<Output = Option<Response<BoxBody<Bytes, Infallible>>>> + Send + 'static,
    {
        let answer = Arc::new(answer);
        Upstream::listening(move |stream, _number, seen| {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answered = answer(request, seen.clone());
                    async move { answered.await.ok_or("the body broke off") }
                });
                // A client that goes away is not the upstream's failure.
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
            });
        })
    }

    fn listening(mut accepted: impl FnMut(TcpStream, usize, mpsc::UnboundedSender<Seen>) + Send + 'static) -> Upstream {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (sender, seen) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(socket).unwrap();
                loop {
                    tokio::select! {
                        stream = listener.accept() => {
                            let (stream, _peer) = stream.unwrap();
                            stream.set_nodelay(true).unwrap();
                            accepted(stream, counted.fetch_add(1, Ordering::Relaxed), sender.clone());
                        }
                        _ = &mut stopped => return,
                    }
                }
            });
        });
        Upstream { address, connections, seen, _stop: stop }
    }

    /// The next request that came.
    pub(crate) async fn seen(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Whether no request is there that was not looked at.
    pub(crate) fn saw_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// An address that nothing listens on, nor will: its port stays taken until the process ends.
pub(crate) fn dead() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// Reads until the empty line; `false` when the peer went away before.
pub(crate) fn read_head(mut stream: &std::net::TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _gone => return false,
        }
    }
    true
}

/// So many bytes, in pieces.
struct Long {
    left: u64,
}

impl Body for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: &[u8] = &[b'x'; 64 << 10];
        let length = self.left.min(PIECE.len() as u64);
        self.left -= length;
        let length = usize::try_from(length).unwrap();
        Poll::Ready((length > 0).then(|| Ok(Frame::data(Bytes::from_static(&PIECE[..length])))))
    }
}
