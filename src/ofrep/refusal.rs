//! What is answered instead of a decision.

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// Why there is no decision. By whose fault: the caller's, the load, weir's.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this address may not be called by that host name; allow it by ofrep.allowed_hosts")]
    Host,
    #[error("pages of that origin may not ask; allow it by ofrep.allowed_origins")]
    Origin,
    #[error("there is no such endpoint: post to /ofrep/v1/evaluate/flags or /ofrep/v1/evaluate/flags/{{key}}")]
    NoEndpoint,
    #[error("ask by {0}")]
    Method(Method),
    #[error("a known key is needed, as a bearer token or in X-API-Key")]
    NoKey,
    #[error("the key does not open this toggle")]
    Forbidden,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not come in time")]
    Slow,
    #[error("the body broke off")]
    Broken,
    #[error("the body is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("the context cannot be used: {0}")]
    Context(&'static str),
    #[error("the context has more than {0} values")]
    TooMany(usize),
    #[error("the context has more than {0} levels")]
    TooDeep(usize),
    #[error("the context has a text of more than {0} bytes")]
    TooLong(usize),
    #[error("a share decides, and neither targetingKey nor any attribute of bucket_by tells whom for")]
    NoTargetingKey,
    #[error("the toggle's targeting gives no variant of it")]
    NoVariant,
    #[error("the toggle is not configured")]
    Unknown,
    #[error("more questions than requests_per_second_max; ask again later")]
    Busy,
    #[error("the decisions took longer than evaluation_timeout; ask for fewer toggles or with a smaller context")]
    Laborious,
    #[error("more event streams than streams_max; try again later")]
    Streams,
    #[error("weir stops")]
    Draining,
    #[error("the flag API is not configured")]
    Closed,
    #[error("the answer cannot be written: {0}")]
    Unwritable(serde_json::Error),
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(rename = "errorCode")]
    error_code: &'static str,
    #[serde(rename = "errorDetails")]
    error_details: String,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::NoKey => StatusCode::UNAUTHORIZED,
            Refusal::Host | Refusal::Origin | Refusal::Forbidden => StatusCode::FORBIDDEN,
            Refusal::NoEndpoint | Refusal::Unknown => StatusCode::NOT_FOUND,
            Refusal::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Broken
            | Refusal::NotJson(_)
            | Refusal::Context(_)
            | Refusal::TooMany(_)
            | Refusal::TooDeep(_)
            | Refusal::TooLong(_)
            | Refusal::NoTargetingKey
            | Refusal::NoVariant => StatusCode::BAD_REQUEST,
            Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Laborious | Refusal::Streams | Refusal::Draining | Refusal::Closed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::Unwritable(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The word that OpenFeature has for it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Refusal::NotJson(_) | Refusal::Broken => "PARSE_ERROR",
            Refusal::Context(_) | Refusal::TooMany(_) | Refusal::TooDeep(_) | Refusal::TooLong(_) => "INVALID_CONTEXT",
            Refusal::NoTargetingKey => "TARGETING_KEY_MISSING",
            Refusal::Unknown => "FLAG_NOT_FOUND",
            _ => "GENERAL",
        }
    }

    /// The answer about a toggle, or about the question as a whole.
    pub(super) fn into_response(self, key: Option<&str>) -> Response {
        let body = Body { key, error_code: self.code(), error_details: self.to_string() };
        let mut response = (self.status(), axum::Json(body)).into_response();
        let mut field = |name, value| response.headers_mut().insert(name, value);
        match self {
            Refusal::NoKey => field(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\"")),
            Refusal::Method(Method::GET) => field(header::ALLOW, HeaderValue::from_static("GET, OPTIONS")),
            Refusal::Method(_) => field(header::ALLOW, HeaderValue::from_static("POST, OPTIONS")),
            Refusal::Busy | Refusal::Laborious | Refusal::Streams | Refusal::Draining => {
                field(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            // What is left of the body is not waited for.
            Refusal::TooLarge(_) | Refusal::Slow => field(header::CONNECTION, HeaderValue::from_static("close")),
            _ => None,
        };
        response
    }
}
