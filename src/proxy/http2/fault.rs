//! Why streams of HTTP/2 end before their end.

use std::{fmt, io};

use super::frame::Code;

/// Why a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// Its peer reset it, by this code.
    #[error("its stream was reset by {0}")]
    Reset(Reason),
    /// Its peer went away, and says that nothing was made of it (RFC 9113 §6.8).
    #[error("its connection went away by {0} before anything was made of it")]
    WentAway(Reason),
    /// Its peer broke the rules of HTTP/2, by this code.
    #[error("its peer broke the rules of HTTP/2: {0}")]
    Rules(Reason),
    /// Its peer takes nothing of what is sent.
    #[error("its peer took nothing of it for too long")]
    Untaken,
    /// weir needs no more of it.
    #[error("it was given up")]
    GivenUp,
    /// Its connection was closed.
    #[error("its connection was closed")]
    Closed,
    /// Its connection broke.
    #[error("its connection broke: {0}")]
    Broke(io::ErrorKind),
}

/// A code of RFC 9113 §7, or another one that a peer sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub(super) u32);

/// The names of the codes, from 0 on.
const NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

impl StreamFault {
    /// Whether the peer says that it made nothing of the stream (RFC 9113 §8.7).
    pub(in crate::proxy) fn is_unprocessed(self) -> bool {
        matches!(self, StreamFault::WentAway(_)) || self == StreamFault::Reset(Code::Refused.into())
    }

    /// Whether the whole connection is lost, for no fault of what was sent on it.
    pub(in crate::proxy) fn is_lost(self) -> bool {
        matches!(self, StreamFault::Closed | StreamFault::Broke(_))
    }
}

impl Reason {
    pub(super) fn of(code: u32) -> Reason {
        Reason(code)
    }
}

impl From<Code> for Reason {
    fn from(code: Code) -> Reason {
        Reason(code as u32)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0).ok().and_then(|code| NAMES.get(code)) {
            Some(name) => f.write_str(name),
            None => write!(f, "the unknown code {:#x}", self.0),
        }
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_by_their_names() {
        for (code, name) in [
            (Code::NoError, "NO_ERROR"),
            (Code::FlowControl, "FLOW_CONTROL_ERROR"),
            (Code::StreamClosed, "STREAM_CLOSED"),
            (Code::FrameSize, "FRAME_SIZE_ERROR"),
            (Code::Refused, "REFUSED_STREAM"),
            (Code::Cancel, "CANCEL"),
            (Code::Compression, "COMPRESSION_ERROR"),
            (Code::EnhanceYourCalm, "ENHANCE_YOUR_CALM"),
        ] {
            assert_eq!(Reason::from(code).to_string(), name);
        }
        assert_eq!(Reason(0xff).to_string(), "the unknown code 0xff");
    }
}
