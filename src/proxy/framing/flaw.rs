//! Flaws: why a message is refused.

use http::StatusCode;

/// What is wrong with a message's framing. Of a request it is answered with [`Flaw::status`]; of a response
/// the exchange ends as 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A line does not end with CR LF, or a CR stands alone.
    #[error("a line ends otherwise than with CR LF")]
    LineEnd,
    /// There is no method, target and version with one space between.
    #[error("the request line is not a method, a target and a version with single spaces between")]
    RequestLine,
    /// The method is no token.
    #[error("the method is not a token")]
    Method,
    /// The method is one that weir does not forward.
    #[error("the method is not forwarded")]
    MethodNotSupported,
    /// The target is not of a form that its method may have, or has bytes that belong in no URI.
    #[error("the target is not one that a URI can have")]
    Target,
    /// The target is over its limit.
    #[error("the target is too long")]
    TargetTooLong,
    /// The version is not written as one.
    #[error("the version is not HTTP and two digits")]
    VersionSyntax,
    /// The version is neither 1.0 nor 1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// The status line of a response is none.
    #[error("the status line is not a version, three digits and a reason")]
    StatusLine,
    /// A field's name is empty, no token, or one that is easily taken for a framing field.
    #[error("a field has no valid name")]
    FieldName,
    /// A field's value has control bytes.
    #[error("a field's value has control bytes")]
    FieldValue,
    /// A field goes on in the next line.
    #[error("a field is folded over several lines")]
    Fold,
    /// `Host` is missing, repeated, malformed, or other than the target's.
    #[error("the request names no host, several hosts, or no valid one")]
    Host,
    /// `Content-Length` is repeated or not a plain number.
    #[error("the length is repeated or not a plain number")]
    Length,
    /// `Transfer-Encoding` beside `Content-Length`, repeated, with HTTP/1.0, or where there is no body.
    #[error("the message says in more than one way how long it is")]
    Ambiguous,
    /// A transfer coding other than chunked.
    #[error("the transfer coding is not chunked")]
    Coding,
    /// The head is over its limit.
    #[error("the head is too large")]
    HeadTooLarge,
    /// There are too many fields.
    #[error("the head has too many fields")]
    FieldCount,
    /// HEAD or TRACE has content.
    #[error("a request of HEAD or TRACE has content")]
    Content,
    /// A chunk's size line, its extension or its end is malformed.
    #[error("a chunk is malformed")]
    Chunk,
    /// A trailer section is malformed, over its limit, or has fields that frame or address a message.
    #[error("the trailer section is malformed or too large")]
    Trailer,
    /// Bytes that answer no request.
    #[error("bytes came that answer no request")]
    Unsolicited,
    /// An upgrade that nobody asked for, or to another protocol than was asked for.
    #[error("the protocol was switched without or against what was asked")]
    Upgrade,
    /// More interim responses than their limit.
    #[error("there are too many interim responses")]
    Interim,
}

impl Flaw {
    /// The status of the answer to a request.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Flaw::MethodNotSupported | Flaw::Coding => StatusCode::NOT_IMPLEMENTED,
            Flaw::TargetTooLong => StatusCode::URI_TOO_LONG,
            Flaw::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Flaw::HeadTooLarge | Flaw::FieldCount => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
