//! Health checks: one question to one host, and what so many answers in a row say of it.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body::Frame;

use super::{
    connect::{OwnAddresses, carry},
    host::At,
    http1::Http1,
    http2::{Answer, Http2, Rules},
    resolve::Resolver,
};
use crate::{
    plan::{Endpoint, HealthCheck, Place, Probe, Protocol},
    proxy::{
        body::Outbound,
        framing::Bounds,
        http2::{Linger, Terms},
        received::BodyFault,
    },
};

/// What an answer is held to; what a check asks for is short.
const BOUNDS: Bounds = Bounds {
    head_bytes_max: 16 << 10,
    target_bytes_max: 0,
    fields_max: 100,
    trailer_bytes_max: 4 << 10,
    interim_max: 10,
};

/// Bytes of an answer's body that are read.
const BODY_BYTES_MAX: usize = 1 << 10;

/// How the answers of one host went.
#[derive(Debug)]
pub(super) struct Streak {
    up: bool,
    other: u32,
}

impl Streak {
    /// A host counts as well until it is found not to be.
    pub(super) fn new(up: bool) -> Streak {
        Streak { up, other: 0 }
    }

    /// Takes in an answer; says whether the host is well now.
    pub(super) fn note(&mut self, well: bool, check: &HealthCheck) -> bool {
        if well == self.up {
            self.other = 0;
            return self.up;
        }
        self.other += 1;
        if self.other >= if self.up { check.fall } else { check.rise } {
            *self = Streak::new(well);
        }
        self.up
    }
}

/// Whether the host answers the question well and in time.
pub(super) async fn check(settings: &Endpoint, check: &HealthCheck, at: &At, ways: (&OwnAddresses, &Resolver)) -> bool {
    matches!(tokio::time::timeout(check.timeout, ask(settings, check, at, ways)).await, Ok(Some(true)))
}

/// `None` when there is no answer.
async fn ask(settings: &Endpoint, check: &HealthCheck, at: &At, ways: (&OwnAddresses, &Resolver)) -> Option<bool> {
    let (carrier, protocol, line) = carry(settings, at, ways, None, check.timeout, check.timeout).await.ok()?;
    let mut request = match &check.probe {
        Probe::Connect => return Some(true),
        Probe::Http(path) => question(Method::GET, path.clone(), Bytes::new()),
        Probe::Grpc(service) => {
            let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
            let mut request = question(Method::POST, path, health_request(service));
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
            request
        }
    };
    let authority = if matches!(settings.place, Place::Unix(_)) { "localhost" } else { &settings.authority };
    let mut connection = match protocol {
        Protocol::Http2 => Connection::Http2(Http2::begin(carrier, line, &rules(check.timeout)), None),
        Protocol::Http1 | Protocol::Auto => {
            Connection::Http1(Box::new(Http1::new(carrier, BOUNDS, check.timeout, false)))
        }
    };
    let response = connection.exchange(&mut request, authority, check.timeout).await?;
    match check.probe {
        Probe::Grpc(_) => is_serving(&response, &mut connection).await,
        _ => Some(response.status().is_success()),
    }
}

fn question(method: Method, path: PathAndQuery, body: Bytes) -> Request<Outbound> {
    let mut request = Request::new(if body.is_empty() { Outbound::Empty } else { Outbound::Whole(body) });
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("weir"));
    // It ends with its one answer; over HTTP/2 that goes without saying.
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    request
}

fn rules(within: Duration) -> Rules {
    let terms = Terms {
        head_bytes_max: BOUNDS.head_bytes_max,
        trailer_bytes_max: BOUNDS.trailer_bytes_max,
        fields_max: BOUNDS.fields_max,
        frame_bytes_max: 16 << 10,
        stream_window_bytes: 64 << 10,
        connection_window_bytes: 64 << 10,
        growth_bytes_max: 0,
        send_bytes_max: 64 << 10,
    };
    let linger = Linger { bytes_max: 64 << 10, longest: within };
    Rules { terms, interims_max: BOUNDS.interim_max, unread_for: within, ping: within, pong: within, linger }
}

/// A connection for one question, and its answer.
enum Connection {
    Http1(Box<Http1>),
    Http2(Http2, Option<Box<Answer>>),
}

impl Connection {
    async fn exchange(
        &mut self,
        request: &mut Request<Outbound>,
        authority: &str,
        patience: Duration,
    ) -> Option<Response<()>> {
        match self {
            Connection::Http1(connection) => connection.exchange(request, authority, None, patience).await.ok(),
            Connection::Http2(connection, answer) => {
                let call = connection.call(request, authority, patience).await.ok()?;
                let (response, body) = call.answer(request, None, &BOUNDS, (&(), false)).await.ok()?;
                *answer = Some(Box::new(body));
                Some(response)
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self {
            Connection::Http1(connection) => connection.poll_piece(cx),
            Connection::Http2(_, Some(answer)) => answer.poll_piece(cx),
            Connection::Http2(_, None) => Poll::Ready(None),
        }
    }
}

/// `HealthCheckRequest { service }` as one message of gRPC.
fn health_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, a text; its length as a varint.
        message.put_u8(0x0a);
        let mut length = service.len();
        while length > 0x7f {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or_default());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or_default());
    framed.put(message);
    framed.freeze()
}

/// Whether an answer says `SERVING`.
async fn is_serving(response: &Response<()>, connection: &mut Connection) -> Option<bool> {
    if response.status() != StatusCode::OK {
        return Some(false);
    }
    let mut read = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| connection.poll_piece(cx)).await {
        match frame.ok()?.into_data() {
            Ok(data) if read.len() + data.len() <= BODY_BYTES_MAX => read.put(data),
            Ok(_too_long) => return Some(false),
            Err(trailers) => {
                let status = trailers.trailers_ref().and_then(|trailers| trailers.get("grpc-status"));
                return Some(status.is_some_and(|status| status == "0") && says_serving(&read));
            }
        }
    }
    Some(false)
}

/// `HealthCheckResponse { status: SERVING }`: field 1, the enumeration's 1.
fn says_serving(framed: &[u8]) -> bool {
    framed == [0, 0, 0, 0, 2, 0x08, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_answers_in_a_row_turn_a_host_over_and_one_does_not() {
        let check = HealthCheck {
            probe: Probe::Connect,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        };
        let mut streak = Streak::new(true);
        let answers = [false, false, true, false, false, false, true, false, true, true];
        let found = answers.map(|well| streak.note(well, &check));
        assert_eq!(found, [true, true, true, true, true, false, false, false, false, true]);
    }

    #[test]
    fn a_question_of_grpc_is_framed_as_the_protocol_says() {
        assert_eq!(health_request(""), &[0, 0, 0, 0, 0][..]);
        assert_eq!(health_request("a.B"), &[0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B'][..]);
        let long = health_request(&"s".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
        assert!(says_serving(&[0, 0, 0, 0, 2, 8, 1]) && !says_serving(&[0, 0, 0, 0, 2, 8, 2]) && !says_serving(&[]));
    }
}
