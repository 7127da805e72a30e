//! Tunnels by extended CONNECT (RFC 8441): who asks for them over HTTP/2, and a service of HTTP/2 that takes
//! them.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{self, SendRequest},
    ext::Protocol,
    server::{self, SendResponse},
};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use super::{proxy::Proxy, raw::Raw, upstream::Upstream};
use crate::arms_config;

/// What a service of WebSocket makes of a key (RFC 6455 §4.2.2).
pub(crate) fn accept(key: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let keyed = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, keyed.as_bytes());
    BASE64_STANDARD.encode(digest)
}

/// The handshake that RFC 6455 §1.3 has as its example.
pub(crate) const ASK: &str = "GET /chat?room=1 HTTP/1.1\r\nhost: shop.example.com\r\nconnection: keep-alive, Upgrade\r\n\
                   upgrade: WebSocket\r\nsec-websocket-version: 13\r\nte: trailers\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client that was told that it may ask.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    over(tokio::net::TcpStream::connect(address).await.unwrap()).await
}

/// The same, over a connection that stands.
pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> SendRequest<Bytes> {
    let (sender, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
        sender = sender.ready().await.unwrap();
    }
    sender
}

/// Asks for a tunnel.
pub(crate) fn ask(protocol: &'static str, fields: &[(&'static str, &'static str)]) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri("http://shop.example.com/chat?room=1");
    let mut request = request.extension(Protocol::from_static(protocol)).header("sec-websocket-version", "13");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// One stream, as far as it got.
pub(crate) struct Asked {
    pub(crate) response: Response<RecvStream>,
    pub(crate) up: SendStream<Bytes>,
}

impl Asked {
    pub(crate) async fn of(client: &mut SendRequest<Bytes>, request: Request<()>) -> Asked {
        let (response, up) = client.send_request(request, false).unwrap();
        Asked { response: response.await.unwrap(), up }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Reads until the text ends so, or the stream does.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let Some(Ok(piece)) = self.response.body_mut().data().await else { break };
            // Of a stream that was reset there is none left.
            self.response.body_mut().flow_control().release_capacity(piece.len()).ok();
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).unwrap()
    }

    pub(crate) fn write(&mut self, text: &'static str) {
        self.up.send_data(text.into(), false).unwrap();
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

pub(crate) const BOTH: [Speaks; 2] = [Speaks::Http1, Speaks::Http2];

/// A client that asked for a WebSocket, and was answered.
pub(crate) struct WebSocket {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) end: End,
}

pub(crate) enum End {
    Http1(Raw),
    Http2(Asked),
}

impl WebSocket {
    /// Asks. One of HTTP/1.1 sends a line right behind, as it must not; of HTTP/2 it is its stream's own.
    pub(crate) async fn ask(speaks: Speaks, address: SocketAddr) -> WebSocket {
        WebSocket::ask_by(speaks, address, ASK).await
    }

    pub(crate) async fn ask_by(speaks: Speaks, address: SocketAddr, head: &str) -> WebSocket {
        match speaks {
            Speaks::Http1 => {
                let mut raw = Raw::connect(address);
                raw.write(head);
                let head = raw.head();
                let (line, fields) = head.split_once("\r\n").unwrap();
                let fields = fields.lines().filter_map(|line| line.split_once(": "));
                let headers = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
                WebSocket { status: line.split(' ').nth(1).unwrap().parse().unwrap(), headers, end: End::Http1(raw) }
            }
            Speaks::Http2 => {
                let asked = Asked::of(&mut connect(address).await, ask("websocket", &[])).await;
                WebSocket { status: asked.status(), headers: asked.response.headers().clone(), end: End::Http2(asked) }
            }
        }
    }

    /// Whether the answer is an agreement, as its protocol has it.
    pub(crate) fn agreed(&self) -> bool {
        let agreement =
            if matches!(self.end, End::Http1(_)) { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
        self.status == agreement
    }

    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        match &mut self.end {
            End::Http1(raw) => raw.read_until(end),
            End::Http2(asked) => asked.read_until(end).await,
        }
    }

    /// What comes until the tunnel has ended.
    pub(crate) async fn rest(&mut self) -> String {
        self.read_until("never").await
    }

    pub(crate) fn write(&mut self, text: &'static str) {
        match &mut self.end {
            End::Http1(raw) => raw.write(text),
            End::Http2(asked) => asked.write(text),
        }
    }

    /// Ends its own side.
    pub(crate) fn end(&mut self) {
        match &mut self.end {
            End::Http1(raw) => raw.stream.shutdown(std::net::Shutdown::Write).unwrap(),
            End::Http2(asked) => asked.up.send_data(Bytes::new(), true).unwrap(),
        }
    }

    /// Breaks off.
    pub(crate) fn reset(self) {
        match self.end {
            End::Http1(raw) => socket2::SockRef::from(&raw.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap(),
            End::Http2(mut asked) => asked.up.send_reset(h2::Reason::CANCEL),
        }
    }
}

/// A stream as the service has it.
pub(crate) struct Stream {
    pub(crate) head: request::Parts,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Stream {
    /// Answers with this status; what follows ends the stream.
    pub(crate) fn answer(&mut self, status: StatusCode, body: &'static str) {
        let response = Response::builder().status(status).header("x-why", "because");
        let response = response.header("content-length", body.len()).body(()).unwrap();
        self.respond.send_response(response, false).unwrap().send_data(body.into(), true).unwrap();
    }

    /// Agrees, and greets with the agreement.
    pub(crate) fn agree(&mut self) -> SendStream<Bytes> {
        let response = Response::builder().header("sec-websocket-protocol", "chat").body(()).unwrap();
        let mut down = self.respond.send_response(response, false).unwrap();
        down.send_data("glued\n".into(), false).unwrap();
        down
    }

    /// The next piece that came; `None` when the client has ended its side.
    pub(crate) async fn piece(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let piece = self.body.data().await?;
        if let Ok(piece) = &piece {
            self.body.flow_control().release_capacity(piece.len()).unwrap();
        }
        Some(piece)
    }

    /// Agrees to a tunnel and echoes what comes by it until that ends; answers anything else at once.
    pub(crate) async fn echo(mut self) {
        if self.head.method != Method::CONNECT {
            return self.answer(StatusCode::OK, "plain");
        }
        let mut down = self.agree();
        while let Some(Ok(piece)) = self.piece().await {
            down.send_data(piece, false).unwrap();
        }
        // After a reset there is nobody to be told.
        down.send_data(Bytes::new(), true).ok();
    }
}

/// An arm of HTTP/2 with more keys, a route to it with more keys, and more.
pub(crate) fn config(service: SocketAddr, arm: &str, route: &str, rest: &str) -> String {
    let arm = format!("arms.stable = {{ endpoints = [\"{service}\"], protocol = \"h2\"{arm} }}");
    arms_config(&arm, route, rest)
}

/// Waits until no tunnel is open.
pub(crate) async fn gone(proxy: &Proxy) {
    while proxy.metric("weir_tunnels").await > 0.0 {
        tokio::task::yield_now().await;
    }
}

/// A service of HTTP/2 that announces that it takes tunnels.
pub(crate) struct TunnelService {
    pub(crate) upstream: Upstream,
    heads: mpsc::UnboundedReceiver<request::Parts>,
}

impl TunnelService {
    /// Lets a task do whatever it likes with each stream.
    pub(crate) fn start<F>(act: impl Fn(Stream) -> F + Clone + Send + Sync + 'static) -> TunnelService
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (told, heads) = mpsc::unbounded_channel();
        let upstream = Upstream::acting(move |stream, _number, _seen| serve(stream, told.clone(), act.clone()));
        TunnelService { upstream, heads }
    }

    pub(crate) fn echo() -> TunnelService {
        TunnelService::start(Stream::echo)
    }

    /// A proxy in front of it.
    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::start(&config(self.upstream.address, "", "", ""))
    }

    /// The head of the next stream.
    pub(crate) async fn head(&mut self) -> request::Parts {
        self.heads.recv().await.unwrap()
    }

    /// Whether no stream came that was not looked at.
    pub(crate) fn saw_nothing(&mut self) -> bool {
        self.heads.try_recv().is_err()
    }
}

/// Serves one connection; tells of the heads of its streams.
pub(crate) async fn serve<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    heads: mpsc::UnboundedSender<request::Parts>,
    act: impl Fn(Stream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = server::Builder::new().enable_connect_protocol().handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (head, body) = request.into_parts();
        // Who looks at no heads has dropped the other end.
        heads.send(head.clone()).ok();
        tokio::spawn(act(Stream { head, body, respond }));
    }
}
