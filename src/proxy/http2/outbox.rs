//! What waits to be written on a connection.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

use crate::proxy::transport::JOINED_BYTES_MAX;

/// Pieces that are written at once.
const SLICES_MAX: usize = 32;

/// Room that is kept for what comes next.
const ROOM_BYTES_KEPT: usize = 4 << 10;

/// Frames in their order. Large pieces are passed on as they are, small ones are copied behind each other.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    first: VecDeque<Bytes>,
    first_bytes: usize,
    /// Behind all others, and from `done` on.
    tail: Vec<u8>,
    done: usize,
}

impl Outbox {
    /// Where frames are written.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Puts a piece behind what is there.
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.len() <= JOINED_BYTES_MAX {
            self.tail.extend_from_slice(&piece);
            return;
        }
        let mut before = Bytes::from(std::mem::take(&mut self.tail));
        before.advance(std::mem::take(&mut self.done));
        self.first_bytes += before.len() + piece.len();
        self.first.extend([before, piece].into_iter().filter(|piece| !piece.is_empty()));
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.first_bytes + self.tail.len() - self.done
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be written next, when that is one piece.
    pub(super) fn only(&self) -> Option<&[u8]> {
        self.first.is_empty().then(|| &self.tail[self.done..])
    }

    /// What is to be written next, as far as it goes at once.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let first = self.first.iter().map(|piece| &**piece);
        first.chain([&self.tail[self.done..]]).take(SLICES_MAX).map(IoSlice::new).collect()
    }

    /// So much was written.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        while let Some(piece) = self.first.front_mut() {
            let taken = bytes.min(piece.len());
            piece.advance(taken);
            (bytes, self.first_bytes) = (bytes - taken, self.first_bytes - taken);
            if !piece.is_empty() {
                return;
            }
            self.first.pop_front();
        }
        self.done += bytes;
        // No more is moved than was written, and what is done with takes no more room than what is not.
        if self.done >= self.tail.len() - self.done {
            self.tail.drain(..self.done);
            self.done = 0;
        }
        if self.tail.is_empty() {
            self.tail.shrink_to(ROOM_BYTES_KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_in_its_order_however_it_is_taken(
            acts in proptest::collection::vec((0..3_u8, 0..10_000_usize, any::<u8>()), 0..60),
        ) {
            let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
            for (act, length, byte) in acts {
                match act {
                    0 => outbox.tail().extend(std::iter::repeat_n(byte, length / 50)),
                    1 => outbox.push(vec![byte; length].into()),
                    _ => {
                        let taken = length.min(outbox.len());
                        outbox.advance(taken);
                        expected.drain(..taken);
                    }
                }
                let came = [length / 50, length, 0][usize::from(act)];
                expected.extend(std::iter::repeat_n(byte, came));
                let (first, whole) = (joined(&outbox.slices()), outbox.len());
                prop_assert_eq!(whole, expected.len());
                prop_assert_eq!(outbox.is_empty(), expected.is_empty());
                prop_assert_eq!(&first, &expected[..first.len()]);
                prop_assert!(first.len() == whole || outbox.slices().len() == SLICES_MAX);
                prop_assert!(outbox.only().is_none_or(|only| only == expected));
            }
        }
    }

    fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }
}
