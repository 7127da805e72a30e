//! What a peer is owed: short frames that it has brought about, among others that wait with them.

use std::collections::VecDeque;

/// Bytes that wait to be written and that the peer has brought about.
#[derive(Debug, Default)]
pub(super) struct Owed {
    bytes: usize,
    /// Runs of them: where each ends in all that is ever written, and how long it is.
    runs: VecDeque<(u64, usize)>,
}

impl Owed {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many more wait, which end there.
    pub(super) fn add(&mut self, bytes: usize, end: u64) {
        self.bytes += bytes;
        match self.runs.back_mut() {
            Some((last, length)) if *last + bytes as u64 == end => (*last, *length) = (end, *length + bytes),
            _ => self.runs.push_back((end, bytes)),
        }
    }

    /// All is written up to there.
    pub(super) fn written(&mut self, to: u64) {
        while let Some((_, length)) = self.runs.pop_front_if(|(end, _)| *end <= to) {
            self.bytes -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_owed_no_longer_whatever_waits_behind_it() {
        let mut owed = Owed::default();
        for (bytes, end) in [(10, 10), (10, 20), (5, 100), (5, 200)] {
            owed.add(bytes, end);
        }
        assert_eq!(owed.runs.len(), 3);
        for (to, left) in [(19, 30), (20, 10), (150, 5), (200, 0), (300, 0)] {
            owed.written(to);
            assert_eq!(owed.bytes(), left, "{to}");
        }
    }
}
