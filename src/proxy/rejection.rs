//! Rejections: the requests that weir itself answers with an error.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use super::{pool::ConnectError, reply::Reply};
use crate::{
    contract::{Breach, Violation},
    telemetry::names::REJECTION_CODES,
};

/// Why weir answers a request itself, by whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    // The client's.
    /// `Host` is missing, repeated or malformed.
    #[error("the request names no host, several hosts, or no valid one")]
    BadHost,
    /// A field that HTTP/2 can carry and HTTP/1.1 would read otherwise.
    #[error("a header field reads otherwise in HTTP/1.1, or the content length is given twice")]
    BadField,
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
    BodyBroken(#[source] hyper::Error),
    // The upstream's.
    /// No endpoint could be reached.
    #[error("no connection to the service could be made")]
    Connect(#[source] ConnectError),
    /// The exchange with the upstream broke.
    #[error("the service closed the connection or broke HTTP")]
    UpstreamBroken(#[source] hyper::Error),
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
    // Policy.
    /// CONNECT.
    #[error("the method CONNECT is not forwarded")]
    MethodNotSupported,
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

impl Rejection {
    /// The one table: the place of the cause in [`REJECTION_CODES`], and the status. Upstream faults
    /// have the statuses that RFC 9209 §2.3 recommends.
    fn table(&self) -> (usize, StatusCode) {
        match self {
            Rejection::BadHost => (0, StatusCode::BAD_REQUEST),
            Rejection::MethodNotSupported => (1, StatusCode::NOT_IMPLEMENTED),
            Rejection::NoRoute => (2, StatusCode::NOT_FOUND),
            Rejection::BodyTooLarge { .. } => (3, StatusCode::PAYLOAD_TOO_LARGE),
            Rejection::BodyTimeout { .. } => (4, StatusCode::REQUEST_TIMEOUT),
            Rejection::BodyBroken(_) => (5, StatusCode::BAD_REQUEST),
            Rejection::Contract { breach, .. } => (6, breach.status()),
            Rejection::Overloaded => (7, StatusCode::SERVICE_UNAVAILABLE),
            Rejection::Connect(ConnectError::Failed(_)) => (8, StatusCode::BAD_GATEWAY),
            Rejection::Connect(ConnectError::TimedOut) => (9, StatusCode::GATEWAY_TIMEOUT),
            Rejection::UpstreamBroken(_) => (10, StatusCode::BAD_GATEWAY),
            Rejection::UpstreamTimeout { .. } => (11, StatusCode::GATEWAY_TIMEOUT),
            Rejection::ContentCoding => (12, StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Rejection::NotGranted { status } => (13, *status),
            Rejection::BadField => (14, StatusCode::BAD_REQUEST),
            Rejection::TooManyFields { .. } => (15, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        }
    }

    /// The stable code of the cause: metric label, and `code` in the answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        REJECTION_CODES[self.index()]
    }

    /// The place of the cause in [`REJECTION_CODES`].
    pub(super) fn index(&self) -> usize {
        self.table().0
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.table().1
    }

    /// The answer: a problem document.
    pub(super) fn into_response(self) -> Response<Reply> {
        let mut response = Response::new(Reply::whole(self.document()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match &self {
            Rejection::Overloaded => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Rejection::ContentCoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Rejection::Contract { breach, .. } if self.status() == StatusCode::METHOD_NOT_ALLOWED => {
                let methods: Vec<&str> = breach.allow().iter().map(Method::as_str).collect();
                if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
                    headers.insert(header::ALLOW, methods);
                }
            }
            _ => {}
        }
        response
    }

    fn document(&self) -> Bytes {
        // Who is not to know that there is something is told what others are told where nothing is.
        if matches!(self, Rejection::NotGranted { status } if *status == StatusCode::NOT_FOUND) {
            return Rejection::NoRoute.document();
        }
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
