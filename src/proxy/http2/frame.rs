//! Frames (RFC 9113 §4 and §6), without what they carry.

/// What a client sends first (RFC 9113 §3.4).
pub(in crate::proxy) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of what stands before each frame's payload (RFC 9113 §4.1).
pub(super) const HEAD_BYTES: usize = 9;

/// What every peer takes of one frame (RFC 9113 §4.2).
pub(super) const PAYLOAD_BYTES_MIN: usize = 16 << 10;

/// What a window may have (RFC 9113 §6.9.1).
pub(super) const WINDOW_MAX: i64 = (1 << 31) - 1;

/// What each window begins with (RFC 9113 §6.9.2).
pub(super) const WINDOW_FIRST: u32 = (1 << 16) - 1;

/// The stream that stands for the connection.
pub(super) const CONNECTION: u32 = 0;

/// The greatest number that a stream may have.
pub(super) const STREAM_MAX: u32 = (1 << 31) - 1;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITIZED: u8 = 32;

/// The settings that are read or told (RFC 9113 §6.5.2, RFC 8441 §3).
pub(super) mod setting {
    pub(in crate::proxy::http2) const TABLE_BYTES: u16 = 1;
    pub(in crate::proxy::http2) const PUSH: u16 = 2;
    pub(in crate::proxy::http2) const STREAMS_MAX: u16 = 3;
    pub(in crate::proxy::http2) const WINDOW: u16 = 4;
    pub(in crate::proxy::http2) const FRAME_BYTES_MAX: u16 = 5;
    pub(in crate::proxy::http2) const HEAD_BYTES_MAX: u16 = 6;
    pub(in crate::proxy::http2) const EXTENDED_CONNECT: u16 = 8;
}

/// Why a stream or a connection ends (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Code {
    NoError = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    Refused = 7,
    Cancel = 8,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// The head that these bytes begin with, if it is there as a whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Head> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD_BYTES>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // One bit is reserved, and means nothing.
        Some(Head { length, kind, flags, stream: u32::from_be_bytes(stream) & STREAM_MAX })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag > 0
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.bytes());
    }

    /// The same, over what was left free for it.
    pub(super) fn bytes(&self) -> [u8; HEAD_BYTES] {
        let [_, a, b, c] = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        let [s, t, r, e] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s, t, r, e]
    }
}

/// Writes a whole frame of few bytes.
pub(super) fn write(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    Head { length: payload.len(), kind, flags, stream }.write(to);
    to.extend_from_slice(payload);
}

/// A number of four bytes, without the bit that is reserved.
pub(super) fn number(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & STREAM_MAX
}
