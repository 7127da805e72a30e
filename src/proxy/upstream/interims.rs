//! Interim responses of HTTP/2 are counted here, since hyper passes over any number of them.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of what stands before each frame's payload (RFC 9113 §4.1).
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

/// Streams whose heads are counted at once. Those that end, or whose body has begun, are counted no more; what is left
/// is mostly of requests that were given up.
const STREAMS_MAX: usize = 512;

/// The code of that reset, by which whoever waits for the answer knows why there is none. It is no code of RFC 9113
/// §7; a service that sends it itself gains nothing: its stream fails either way.
const TOO_MANY: u32 = u32::from_be_bytes(*b"weir");

/// A connection to an endpoint of HTTP/2 on which a stream that has too many interim responses ends, and no other one:
/// before the head that is one too many h2 reads a reset that the service did not send. What the service says on that
/// stream from then on h2 answers with a reset each time; when it does not stop, h2 ends the connection. Frames alone
/// are looked at and not what they say, so a head is taken for an interim one when it neither ends its stream nor is
/// the last one: one too many is borne where the final head ends the stream.
#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    frames: Frames,
    /// What was followed, and is to be read before anything else.
    followed: Vec<u8>,
}

/// Follows frames.
#[derive(Debug)]
struct Frames {
    /// The part of a frame's head that is there. It is held back until it is whole.
    head: [u8; FRAME_HEAD_BYTES],
    known: usize,
    /// Bytes of the frame's payload that are to come.
    payload: usize,
    /// Heads of streams that may have more.
    heads: Vec<(u32, usize)>,
    heads_max: usize,
}

/// Whether a stream was reset for having too many interim responses.
pub(super) fn has_too_many(error: &hyper::Error) -> bool {
    let mut errors = std::iter::successors(error.source(), |error| (*error).source());
    let reset = errors.find_map(|error| error.downcast_ref::<h2::Error>()).filter(|error| error.is_reset());
    reset.is_some_and(|reset| reset.is_remote() && reset.reason() == Some(TOO_MANY.into()))
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, interim_max: usize) -> Counted<S> {
        Counted { stream, frames: Frames::new(interim_max), followed: Vec::new() }
    }

    /// Follows what was read into `buf` behind `before`, and leaves there what may be passed on.
    fn follow(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let bytes = &buf.filled()[before..];
        let excess = self.frames.follow(bytes);
        let whole = bytes.len() - self.frames.known;
        let passed = excess.first().map_or(whole, |(at, _)| *at);
        let mut from = passed;
        for (at, stream) in excess {
            self.followed.extend_from_slice(&bytes[from..at]);
            self.followed.extend_from_slice(&reset(stream));
            from = at;
        }
        self.followed.extend_from_slice(&bytes[from..whole]);
        buf.set_filled(before + passed);
    }
}

impl<S: AsyncRead + Unpin> Counted<S> {
    /// Reads on in a frame's head of which a part is there.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Frames { head, known, .. } = &mut self.frames;
        let mut rest = ReadBuf::new(&mut head[*known..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest))?;
        let read = rest.filled().len();
        *known += read;
        // Where the stream ends amid a head, that is what is passed on.
        if read == 0 || *known == FRAME_HEAD_BYTES {
            let head = head[..std::mem::take(known)].to_vec();
            if let Some(stream) = (read > 0).then(|| self.frames.frame()).flatten() {
                self.followed.extend_from_slice(&reset(stream));
            }
            self.followed.extend_from_slice(&head);
        }
        Poll::Ready(Ok(()))
    }
}

impl Frames {
    fn new(interim_max: usize) -> Frames {
        // And the final one.
        let heads_max = interim_max.saturating_add(1);
        Frames { head: [0; FRAME_HEAD_BYTES], known: 0, payload: 0, heads: Vec::new(), heads_max }
    }

    /// Follows bytes that begin within a payload or with a frame; gives where heads are that are too many, and of which
    /// streams.
    fn follow(&mut self, bytes: &[u8]) -> Vec<(usize, u32)> {
        let (mut at, mut excess) = (0, Vec::new());
        loop {
            let skipped = self.payload.min(bytes.len() - at);
            self.payload -= skipped;
            at += skipped;
            self.known = FRAME_HEAD_BYTES.min(bytes.len() - at);
            self.head[..self.known].copy_from_slice(&bytes[at..at + self.known]);
            if self.known < FRAME_HEAD_BYTES {
                return excess;
            }
            self.known = 0;
            excess.extend(self.frame().map(|stream| (at, stream)));
            at += FRAME_HEAD_BYTES;
        }
    }

    /// Takes in a frame by its head; gives its stream if it begins a head that is one too many.
    fn frame(&mut self) -> Option<u32> {
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        // One bit is reserved, and means nothing.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        match kind {
            HEADERS if flags & END_STREAM == 0 => self.head_of(stream),
            HEADERS | DATA | RST_STREAM => {
                self.forget(stream);
                None
            }
            _ => None,
        }
    }

    fn head_of(&mut self, stream: u32) -> Option<u32> {
        let Some((_, heads)) = self.heads.iter_mut().find(|(other, _)| *other == stream) else {
            if self.heads.len() == STREAMS_MAX {
                self.heads.remove(0);
            }
            self.heads.push((stream, 1));
            return None;
        };
        *heads += 1;
        let too_many = *heads > self.heads_max;
        if too_many {
            self.forget(stream);
        }
        too_many.then_some(stream)
    }

    fn forget(&mut self, stream: u32) {
        self.heads.retain(|(other, _)| *other != stream);
    }
}

fn reset(stream: u32) -> [u8; FRAME_HEAD_BYTES + 4] {
    let mut frame = [0, 0, 4, RST_STREAM, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame[5..9].copy_from_slice(&stream.to_be_bytes());
    frame[9..].copy_from_slice(&TOO_MANY.to_be_bytes());
    frame
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        loop {
            if !this.followed.is_empty() {
                let taken = this.followed.len().min(buf.remaining());
                buf.put_slice(&this.followed[..taken]);
                this.followed.drain(..taken);
                return Poll::Ready(Ok(()));
            }
            if this.frames.known > 0 {
                ready!(this.poll_head(cx))?;
                continue;
            }
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let ended = buf.filled().len() == before;
            this.follow(buf, before);
            if ended || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
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
        // Where a reset of the first stream stands behind so many frames.
        for (frames, resets) in [
            (&[(head, 1), (head, 1), (head, 1), (data, 1), (last, 1)][..], None),
            (&[(head, 1), (head, 1), (head, 1), (last, 1)], None),
            (&[(head, 1), (head, 1), (head, 1), (head, 1)], Some(3)),
            (&[(head, 1), (head, 1), (head, 1), (head, 1), (data, 1)], Some(3)),
            (&[(head, 1), (head, 1), (head, 1), (head, 3), (head, 3), (head, 3)], None),
            (&[(head, 1), (head, 1), (head, 1), (last, 1), (head, 1)], None),
            (&[(head, 1), (head, 1), (head, 1), ((RST_STREAM, 0), 1), (head, 1)], None),
            (&[(head, 1), ((6, 0), 0), (head, 1), ((8, 0), 1), (head, 1), (head, 1)], Some(5)),
        ] {
            let frames: Vec<_> =
                frames.iter().map(|((kind, flags), stream)| frame(*kind, *flags, *stream, 20)).collect();
            let mut expected = frames.clone();
            if let Some(behind) = resets {
                expected.insert(behind, reset(1).to_vec());
            }
            assert_eq!(read(&frames.concat(), &[usize::MAX], 2), expected.concat(), "{frames:?}");
        }
    }

    #[test]
    fn a_bit_that_means_nothing_makes_no_other_stream() {
        let mut heads = [1, 1, 1].map(|stream| frame(HEADERS, 0, stream, 0)).concat();
        heads[FRAME_HEAD_BYTES + 5] = 0x80;
        let expected = [&heads[..2 * FRAME_HEAD_BYTES], &reset(1), &heads[2 * FRAME_HEAD_BYTES..]].concat();
        assert_eq!(read(&heads, &[usize::MAX], 1), expected);
    }

    #[test]
    fn streams_that_are_given_up_are_forgotten() {
        let mut frames = Frames::new(2);
        for stream in 0..2000_u32 {
            frames.head_of(stream);
        }
        assert_eq!(frames.heads.len(), STREAMS_MAX);
    }

    /// What is read of these bytes, at most so many at a time.
    fn read(bytes: &[u8], cuts: &[usize], interim_max: usize) -> Vec<u8> {
        let mut counted = Counted::new(bytes, interim_max);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut room, mut read) = ([0; 4096], Vec::new());
        for cut in cuts.iter().cycle() {
            let mut buf = ReadBuf::new(&mut room[..(*cut).min(4096)]);
            assert!(Pin::new(&mut counted).poll_read(&mut cx, &mut buf).is_ready());
            if buf.filled().is_empty() {
                break;
            }
            read.extend_from_slice(buf.filled());
        }
        read
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_frames_are_read(
            frames in prop::collection::vec((0..10_u8, 0..6_u8, 1..4_u8, 0..40_usize), 0..30),
            cuts in prop::collection::vec(1..30_usize, 1..60),
        ) {
            let bytes: Vec<u8> =
                frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, *payload)).collect();
            // Nor where they end.
            for bytes in [&bytes[..], &bytes[..bytes.len() - bytes.len().min(3)]] {
                prop_assert_eq!(read(bytes, &[usize::MAX], 1), read(bytes, &cuts, 1));
            }
        }
    }
}
