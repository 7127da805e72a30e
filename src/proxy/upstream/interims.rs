//! Interim responses of HTTP/2 are counted here, since hyper passes over any number of them.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::framing::Flaw;

/// Bytes of what stands before each frame's payload (RFC 9113 §4.1).
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

/// Streams whose heads are counted at once. Those that end, or whose body has begun, are counted no more; what is left
/// is mostly of requests that were given up.
const STREAMS_MAX: usize = 512;

/// A connection to an endpoint of HTTP/2 that fails when one of its streams has too many interim responses. Frames
/// alone are looked at and not what they say, so a head is taken for an interim one when it neither ends its stream
/// nor is the last one: one too many is borne where the final head ends the stream.
#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    frames: Frames,
    /// Why it failed, for those who wait for answers: h2 tells no more than that it did.
    flaw: Rc<Cell<Option<Flaw>>>,
}

/// Follows frames.
#[derive(Debug)]
struct Frames {
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of the frame's head that are there.
    known: usize,
    /// Bytes of its payload that are to come.
    payload: usize,
    /// Heads of streams that may have more.
    heads: Vec<(u32, usize)>,
    heads_max: usize,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, interim_max: usize, flaw: Rc<Cell<Option<Flaw>>>) -> Counted<S> {
        Counted { stream, frames: Frames::new(interim_max), flaw }
    }
}

impl Frames {
    fn new(interim_max: usize) -> Frames {
        // And the final one.
        let heads_max = interim_max.saturating_add(1);
        Frames { head: [0; FRAME_HEAD_BYTES], known: 0, payload: 0, heads: Vec::new(), heads_max }
    }

    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Flaw> {
        loop {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = (FRAME_HEAD_BYTES - self.known).min(bytes.len());
            self.head[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
            self.known += taken;
            bytes = &bytes[taken..];
            if self.known == FRAME_HEAD_BYTES {
                self.known = 0;
                self.frame()?;
            }
        }
    }

    fn frame(&mut self) -> Result<(), Flaw> {
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let stream = u32::from_be_bytes(stream);
        match kind {
            HEADERS if flags & END_STREAM == 0 => self.head_of(stream),
            HEADERS | DATA | RST_STREAM => {
                self.heads.retain(|(other, _)| *other != stream);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn head_of(&mut self, stream: u32) -> Result<(), Flaw> {
        let Some((_, heads)) = self.heads.iter_mut().find(|(other, _)| *other == stream) else {
            if self.heads.len() == STREAMS_MAX {
                self.heads.remove(0);
            }
            self.heads.push((stream, 1));
            return Ok(());
        };
        *heads += 1;
        if *heads > self.heads_max { Err(Flaw::Interim) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let followed = self.frames.follow(&buf.filled()[before..]);
        Poll::Ready(followed.map_err(|flaw| {
            self.flaw.set(Some(flaw));
            io::Error::new(io::ErrorKind::InvalidData, flaw)
        }))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload).unwrap(), kind, flags, 0, 0, 0, stream];
        // Filled with what would be heads.
        frame.resize(FRAME_HEAD_BYTES + payload, HEADERS);
        frame
    }

    #[test]
    fn only_heads_of_one_stream_before_its_body_are_counted_together() {
        let (head, data, last) = ((HEADERS, 0), (DATA, 0), (HEADERS, END_STREAM));
        for (frames, sound) in [
            (&[(head, 1), (head, 1), (head, 1), (data, 1), (last, 1)][..], true),
            (&[(head, 1), (head, 1), (head, 1), (last, 1)], true),
            (&[(head, 1), (head, 1), (head, 1), (head, 1)], false),
            (&[(head, 1), (head, 1), (head, 1), (head, 3), (head, 3), (head, 3)], true),
            (&[(head, 1), (head, 1), (head, 1), (last, 1), (head, 1)], true),
            (&[(head, 1), (head, 1), (head, 1), ((RST_STREAM, 0), 1), (head, 1)], true),
            (&[(head, 1), ((6, 0), 0), (head, 1), ((8, 0), 1), (head, 1), (head, 1)], false),
        ] {
            let mut followed = Frames::new(2);
            let bytes: Vec<u8> =
                frames.iter().flat_map(|((kind, flags), stream)| frame(*kind, *flags, *stream, 20)).collect();
            assert_eq!(followed.follow(&bytes).is_ok(), sound, "{frames:?}");
        }
    }

    #[test]
    fn streams_that_are_given_up_are_forgotten() {
        let mut frames = Frames::new(2);
        for stream in 0..2000_u32 {
            frames.head_of(stream).unwrap();
        }
        assert_eq!(frames.heads.len(), STREAMS_MAX);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_frames_are_read(
            frames in prop::collection::vec((0..9_u8, 0..2_u8, 1..4_u8, 0..40_usize), 0..30),
            cuts in prop::collection::vec(1..30_usize, 1..60),
        ) {
            let bytes: Vec<u8> =
                frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, *payload)).collect();
            let whole = Frames::new(1).follow(&bytes);
            let mut rest = &bytes[..];
            let mut pieces = Frames::new(1);
            let mut followed = Ok(());
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                followed = pieces.follow(piece);
                rest = after;
                if rest.is_empty() || followed.is_err() {
                    break;
                }
            }
            prop_assert_eq!(whole, followed);
        }
    }
}
