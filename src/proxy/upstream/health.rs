//! Health checks: one question to one host, and what so many answers in a row say of it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};

use super::{
    connect::{ConnectError, OwnAddresses, broke, carry, http2_builder},
    host::At,
    resolve::Resolver,
};
use crate::{
    plan::{Endpoint, HealthCheck, Place, Probe, Protocol},
    proxy::socket::Socket,
};

/// Bytes of an answer's head; what a check asks for is short.
const HEAD_BYTES_MAX: usize = 16 << 10;

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
    matches!(tokio::time::timeout(check.timeout, ask(settings, check, at, ways)).await, Ok(Ok(true)))
}

async fn ask(
    settings: &Endpoint,
    check: &HealthCheck,
    at: &At,
    ways: (&OwnAddresses, &Resolver),
) -> Result<bool, ConnectError> {
    let (carrier, protocol, _line) = carry(settings, at, ways, None, check.timeout, check.timeout).await?;
    let request = match &check.probe {
        Probe::Connect => return Ok(true),
        Probe::Http(path) => question(settings, Method::GET, path.clone(), Bytes::new()),
        Probe::Grpc(service) => {
            let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
            let mut request = question(settings, Method::POST, path, health_request(service));
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
            request
        }
    };
    let response = exchange(carrier, protocol, request, check.timeout).await?;
    match check.probe {
        Probe::Grpc(_) => is_serving(response).await,
        _ => Ok(response.status().is_success()),
    }
}

fn question(settings: &Endpoint, method: Method, path: PathAndQuery, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(path);
    let authority = if matches!(settings.place, Place::Unix(_)) { "localhost" } else { &settings.authority };
    if let Ok(host) = HeaderValue::from_str(authority) {
        request.headers_mut().insert(header::HOST, host);
    }
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("weir"));
    request
}

/// Both the exchange and its connection end with this.
async fn exchange(
    carrier: super::wire::Carrier,
    protocol: Protocol,
    mut request: Request<Full<Bytes>>,
    idle: Duration,
) -> Result<Response<Incoming>, ConnectError> {
    let socket = Socket::new(carrier, idle);
    if protocol == Protocol::Http2 {
        let (mut sender, connection) = http2_builder(HEAD_BYTES_MAX).handshake(socket).await.map_err(broke)?;
        tokio::task::spawn_local(async move { drop(connection.await) });
        let host = request.headers_mut().remove(header::HOST);
        let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        if let Ok(uri) = Uri::try_from(format!("http://{authority}{}", request.uri())) {
            *request.uri_mut() = uri;
        }
        *request.version_mut() = Version::HTTP_2;
        return sender.send_request(request).await.map_err(broke);
    }
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(socket).await.map_err(broke)?;
    tokio::task::spawn_local(async move { drop(connection.await) });
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    sender.send_request(request).await.map_err(broke)
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
async fn is_serving(response: Response<Incoming>) -> Result<bool, ConnectError> {
    if response.status() != StatusCode::OK {
        return Ok(false);
    }
    let mut body = response.into_body();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(broke)?.into_data() {
            Ok(data) if read.len() + data.len() <= BODY_BYTES_MAX => read.put(data),
            Ok(_too_long) => return Ok(false),
            Err(trailers) => {
                let status = trailers.trailers_ref().and_then(|trailers| trailers.get("grpc-status"));
                return Ok(status.is_some_and(|status| status == "0") && says_serving(&read));
            }
        }
    }
    Ok(false)
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
