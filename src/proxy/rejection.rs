//! Rejections: the requests that weir itself answers with an error.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use super::{
    framing::Flaw,
    http2::StreamFault,
    received::BodyFault,
    reply::Reply,
    upstream::{ConnectError, Limit, UpstreamFault},
};
use crate::{
    contract::{Breach, Violation},
    telemetry::names::{CAUSES, cause_place},
};

/// Why weir answers a request itself, by whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    // The client's.
    /// The request's framing could be read in more than one way, or is none.
    #[error(transparent)]
    Framing(#[from] Flaw),
    /// `Expect` asks for something other than 100 (RFC 9110 §10.1.1).
    #[error("the only expectation that can be met is 100-continue")]
    Expectation,
    /// The request came round again.
    #[error("the request passed this proxy before")]
    Loop,
    /// `Host` is missing, repeated or malformed.
    #[error("the request names no host, several hosts, or no valid one")]
    BadHost,
    /// A field that HTTP/2 can carry and HTTP/1.1 would read otherwise.
    #[error("a header field reads otherwise in HTTP/1.1, or the content length is given twice")]
    BadField,
    /// A WebSocket handshake that weir has to answer itself has no key, or several, or one that is none.
    #[error("the WebSocket handshake has no sound Sec-WebSocket-Key")]
    WebSocketKey,
    /// The head has more fields than are allowed.
    #[error("the head has more than {limit} fields")]
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// The body is over a limit.
    #[error("the body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The client stopped sending its body.
    #[error("the body did not come within {after:?}")]
    BodyTimeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// The client broke off its body.
    #[error("the body ended before it was whole")]
    BodyBroken(#[source] BodyFault),
    /// What frames the body, or its trailers, may not pass.
    #[error("the body cannot be passed on: {0}")]
    BodyMalformed(Flaw),
    // The upstream's.
    /// The upstream switched protocols, and weir could not.
    #[error("the service switched the protocol, but the connection could not follow")]
    UpgradeFailed,
    /// The service speaks HTTP/2 and has not announced extended CONNECT (RFC 8441 §3).
    #[error("the service takes no tunnels over HTTP/2: its settings do not announce extended CONNECT")]
    UpgradeUnsupported,
    /// No endpoint could be reached.
    #[error("no connection to the service could be made")]
    Connect(#[source] ConnectError),
    /// The upstream's response could be read in more than one way, or is none.
    #[error("the service's response cannot be passed on: {0}")]
    UpstreamMalformed(Flaw),
    /// The exchange with the upstream broke.
    #[error("the service closed the connection or broke HTTP")]
    UpstreamBroken(#[source] UpstreamFault),
    /// The upstream was too slow.
    #[error("the service did not answer within {timeout:?}")]
    UpstreamTimeout {
        /// How long it was waited for.
        timeout: Duration,
    },
    // weir's.
    /// `requests_max` is reached.
    #[error("too many requests are in flight")]
    Overloaded,
    /// `limits.tunnels_max` is reached.
    #[error("too many tunnels are open")]
    TunnelsMax,
    /// A limit of the arm is reached.
    #[error("too many requests are at the service")]
    Limited(Limit),
    // Policy.
    /// CONNECT.
    #[error("the method CONNECT is not forwarded")]
    MethodNotSupported,
    /// Extended CONNECT for a protocol that the route does not list in `upgrades`.
    #[error("the route carries no tunnel of this protocol")]
    UpgradeNotAllowed,
    /// `Max-Forwards` ends here (RFC 9110 §7.6.2).
    #[error("the request may be forwarded no further")]
    LastHop {
        /// It was OPTIONS.
        options: bool,
    },
    /// The toggle that the route requires does not grant it.
    #[error("the request is not granted what the route requires")]
    NotGranted {
        /// How that is answered.
        status: StatusCode,
    },
    /// Nothing matches.
    #[error("no route matches the request")]
    NoRoute,
    /// The body is encoded where a contract has to be read.
    #[error("a body that is held to a contract must not be encoded")]
    ContentCoding,
    /// The request breaks its contract.
    #[error("the request breaks the contract {contract}")]
    Contract {
        /// `name@version`.
        contract: String,
        /// The operation that was called.
        operation: Option<String>,
        /// What is broken.
        breach: Breach,
    },
}

/// A problem document (RFC 9457), with `code` telling the cause, as metrics and logs do.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'a [Violation],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more_errors: bool,
}

/// Codes of gRPC's own (`google.rpc.Code`).
mod grpc {
    pub(super) const CANCELLED: u8 = 1;
    pub(super) const INVALID_ARGUMENT: u8 = 3;
    pub(super) const DEADLINE_EXCEEDED: u8 = 4;
    pub(super) const PERMISSION_DENIED: u8 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(super) const UNIMPLEMENTED: u8 = 12;
    pub(super) const INTERNAL: u8 = 13;
    pub(super) const UNAVAILABLE: u8 = 14;
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What weir itself answers to `OPTIONS` where it is the last hop.
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// How an answer of weir's own is dressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// The name in `Proxy-Status`.
    pub(super) name: &'a str,
    /// The request was of gRPC: only a status of that kind is understood.
    pub(super) grpc: bool,
}

impl Manner<'_> {
    /// Whether a request is of gRPC.
    pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
        let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
    }
}

impl Rejection {
    /// Of a request whose body failed.
    pub(super) fn of_body(fault: BodyFault) -> Rejection {
        match fault {
            BodyFault::Flawed(flaw) => Rejection::BodyMalformed(flaw),
            broken => Rejection::BodyBroken(broken),
        }
    }

    /// The one table: the code of the cause, which stands in [`CAUSES`] with the type of error that RFC 9209
    /// has for it; the status; the status of gRPC. Upstream faults have the statuses that RFC 9209 §2.3
    /// recommends.
    fn table(&self) -> (&'static str, StatusCode, u8) {
        match self {
            Rejection::Framing(flaw) => (framing_code(*flaw), flaw.status(), grpc::INTERNAL),
            Rejection::BadHost => ("bad_host", StatusCode::BAD_REQUEST, grpc::INTERNAL),
            Rejection::BadField | Rejection::WebSocketKey => ("bad_field", StatusCode::BAD_REQUEST, grpc::INTERNAL),
            Rejection::TooManyFields { .. } => {
                ("too_many_fields", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, grpc::RESOURCE_EXHAUSTED)
            }
            Rejection::Expectation => ("expectation", StatusCode::EXPECTATION_FAILED, grpc::UNIMPLEMENTED),
            Rejection::Loop => ("loop", StatusCode::LOOP_DETECTED, grpc::INTERNAL),
            Rejection::MethodNotSupported => ("method_not_supported", StatusCode::NOT_IMPLEMENTED, grpc::UNIMPLEMENTED),
            // RFC 9220 §3.
            Rejection::UpgradeNotAllowed => ("upgrade_not_allowed", StatusCode::NOT_IMPLEMENTED, grpc::UNIMPLEMENTED),
            Rejection::LastHop { options: true } => ("max_forwards", StatusCode::NO_CONTENT, grpc::UNIMPLEMENTED),
            Rejection::LastHop { options: false } => {
                ("max_forwards", StatusCode::METHOD_NOT_ALLOWED, grpc::UNIMPLEMENTED)
            }
            Rejection::NotGranted { status } => ("not_granted", *status, grpc::PERMISSION_DENIED),
            Rejection::NoRoute => ("no_route", StatusCode::NOT_FOUND, grpc::UNIMPLEMENTED),
            Rejection::BodyTooLarge { .. } => {
                ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, grpc::RESOURCE_EXHAUSTED)
            }
            Rejection::BodyTimeout { .. } => ("body_timeout", StatusCode::REQUEST_TIMEOUT, grpc::CANCELLED),
            Rejection::BodyMalformed(_) => ("malformed_body", StatusCode::BAD_REQUEST, grpc::INTERNAL),
            Rejection::BodyBroken(_) => ("body_broken", StatusCode::BAD_REQUEST, grpc::CANCELLED),
            Rejection::Contract { breach, .. } => ("contract", breach.status(), grpc::INVALID_ARGUMENT),
            Rejection::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, grpc::UNAVAILABLE),
            Rejection::TunnelsMax => ("tunnels_max", StatusCode::SERVICE_UNAVAILABLE, grpc::UNAVAILABLE),
            Rejection::Connect(ConnectError::Failed(_)) => {
                ("connect_failed", StatusCode::BAD_GATEWAY, grpc::UNAVAILABLE)
            }
            Rejection::Connect(ConnectError::TimedOut | ConnectError::TlsTimedOut) => {
                ("connect_timeout", StatusCode::GATEWAY_TIMEOUT, grpc::UNAVAILABLE)
            }
            Rejection::Connect(ConnectError::Tls(_)) => ("tls_failed", StatusCode::BAD_GATEWAY, grpc::UNAVAILABLE),
            Rejection::Connect(ConnectError::Loop(_)) => ("loop", StatusCode::BAD_GATEWAY, grpc::INTERNAL),
            Rejection::Connect(ConnectError::NoneHealthy) => {
                ("no_healthy_endpoint", StatusCode::SERVICE_UNAVAILABLE, grpc::UNAVAILABLE)
            }
            Rejection::Limited(limit) => (limit_code(*limit), StatusCode::SERVICE_UNAVAILABLE, grpc::UNAVAILABLE),
            Rejection::UpstreamBroken(fault) => (broken_code(fault), StatusCode::BAD_GATEWAY, grpc::UNAVAILABLE),
            Rejection::UpstreamMalformed(Flaw::Upgrade) | Rejection::UpgradeFailed => {
                ("upgrade_failed", StatusCode::BAD_GATEWAY, grpc::INTERNAL)
            }
            Rejection::UpstreamMalformed(_) => ("upstream_malformed", StatusCode::BAD_GATEWAY, grpc::UNAVAILABLE),
            Rejection::UpgradeUnsupported => ("upgrade_unsupported", StatusCode::NOT_IMPLEMENTED, grpc::UNIMPLEMENTED),
            Rejection::UpstreamTimeout { .. } => {
                ("upstream_timeout", StatusCode::GATEWAY_TIMEOUT, grpc::DEADLINE_EXCEEDED)
            }
            Rejection::ContentCoding => ("content_coding", StatusCode::UNSUPPORTED_MEDIA_TYPE, grpc::UNIMPLEMENTED),
        }
    }

    /// The connection to the service is gone before anything was sent.
    pub(super) fn gone() -> Rejection {
        Rejection::Connect(ConnectError::Failed(std::io::ErrorKind::NotConnected.into()))
    }

    /// The stable code of the cause: metric label, log field, and `code` in the answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.table().0
    }

    /// The type of error that RFC 9209 §2.3 registers for the cause.
    #[must_use]
    pub fn error(&self) -> &'static str {
        CAUSES[self.index()].error
    }

    /// The place of the cause in [`CAUSES`].
    pub(super) fn index(&self) -> usize {
        cause_place(self.code())
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.table().1
    }

    /// The answer: a problem document, or a status of gRPC alone (a response of nothing but trailers, as
    /// gRPC's protocol over HTTP/2 has it).
    pub(super) fn into_response(self, manner: Manner<'_>) -> Response<Reply> {
        // Who is not to know that there is something is told what others are told where nothing is.
        if matches!(self, Rejection::NotGranted { status } if status == StatusCode::NOT_FOUND) {
            return Rejection::NoRoute.into_response(manner);
        }
        let (code, status, grpc_status) = self.table();
        let body = if manner.grpc || status == StatusCode::NO_CONTENT { Bytes::new() } else { self.document() };
        let mut response = Response::new(Reply::whole(body));
        *response.status_mut() = if manner.grpc { StatusCode::OK } else { status };
        let headers = response.headers_mut();
        let text = |text: &str| HeaderValue::from_str(text).ok();
        if manner.grpc {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(grpc_status)));
            headers.extend(text(&self.to_string()).map(|message| (GRPC_MESSAGE, message)));
        } else if status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        }
        let proxy_status = format!("{}; error={}; details=\"{code}\"", identity(manner.name), self.error());
        headers.extend(text(&proxy_status).map(|value| (PROXY_STATUS, value)));
        match &self {
            Rejection::Framing(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Rejection::Overloaded | Rejection::TunnelsMax | Rejection::Limited(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Rejection::ContentCoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Rejection::LastHop { .. } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(ALLOW));
            }
            Rejection::Contract { breach, .. } if status == StatusCode::METHOD_NOT_ALLOWED => {
                let methods: Vec<&str> = breach.allow().iter().map(Method::as_str).collect();
                headers.extend(text(&methods.join(", ")).map(|methods| (header::ALLOW, methods)));
            }
            _ => {}
        }
        response
    }

    fn document(&self) -> Bytes {
        let status = self.status();
        let mut problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            code: self.code(),
            contract: None,
            operation: None,
            errors: &[],
            more_errors: false,
        };
        if let Rejection::Contract { contract, operation, breach } = self {
            problem.contract = Some(contract);
            problem.operation = operation.as_deref();
            problem.errors = breach.violations();
            problem.more_errors = breach.more();
        }
        // Texts, numbers and flags always serialise; an empty body would still carry the status.
        serde_json::to_vec(&problem).map_or_else(|_never| Bytes::new(), Bytes::from)
    }

    /// The causes behind the rejection, outermost first, for the log.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

/// Tells who receives a response that an upstream failed to make that it was the upstream (RFC 9209 §2.2).
pub(super) fn mark_failed(name: &str, status: StatusCode, headers: &mut HeaderMap) {
    let text = format!("{}; received-status={}", identity(name), status.as_u16());
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(PROXY_STATUS, value);
    }
}

/// A name as a structured field has it: a token begins with a letter (RFC 9651 §3.3.4).
fn identity(name: &str) -> std::borrow::Cow<'_, str> {
    let token = name.starts_with(|first: char| first.is_ascii_alphabetic());
    if token { name.into() } else { format!("\"{name}\"").into() }
}

fn framing_code(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::Host => "bad_host",
        Flaw::Method
        | Flaw::RequestLine
        | Flaw::StatusLine
        | Flaw::LineEnd
        | Flaw::VersionSyntax
        | Flaw::FieldName
        | Flaw::FieldValue
        | Flaw::Fold
        | Flaw::Unsolicited
        | Flaw::Interim
        | Flaw::Upgrade => "malformed_request",
        Flaw::MethodNotSupported => "method_not_supported",
        Flaw::Target => "bad_target",
        Flaw::TargetTooLong => "target_too_long",
        Flaw::Version => "version_not_supported",
        Flaw::Length | Flaw::Ambiguous => "ambiguous_length",
        Flaw::Coding => "transfer_coding",
        Flaw::HeadTooLarge | Flaw::FieldCount => "head_too_large",
        Flaw::Chunk | Flaw::Trailer | Flaw::Content => "malformed_body",
    }
}

fn limit_code(limit: Limit) -> &'static str {
    match limit {
        Limit::Requests => "arm_requests_max",
        Limit::Pending => "arm_pending_max",
        Limit::Connections => "arm_connections_max",
    }
}

fn broken_code(fault: &UpstreamFault) -> &'static str {
    match fault {
        UpstreamFault::Http2(StreamFault::Rules(_)) => "upstream_malformed",
        UpstreamFault::Http1(_) | UpstreamFault::Http2(_) | UpstreamFault::Request(_) => "upstream_broken",
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn where_nobody_is_to_know_that_there_is_something_the_answer_is_that_of_nothing() {
        for grpc in [false, true] {
            let manner = Manner { name: "weir", grpc };
            let told = async |rejection: Rejection| {
                let (head, body) = rejection.into_response(manner).into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).ok();
                (head.status, head.headers, body)
            };
            let nothing = told(Rejection::NoRoute).await;
            assert_eq!(told(Rejection::NotGranted { status: StatusCode::NOT_FOUND }).await, nothing, "grpc={grpc}");
            assert_ne!(told(Rejection::NotGranted { status: StatusCode::FORBIDDEN }).await, nothing, "grpc={grpc}");
        }
    }
}
