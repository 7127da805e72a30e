//! The hash under every algorithm of bucketing.

/// MurmurHash3_x86_32 with seed 0, fed in pieces so that joining two keys allocates nothing.
/// Source: Austin Appleby's public-domain reference, `MurmurHash3_x86_32`.
#[derive(Default)]
pub(super) struct Murmur3 {
    hash: u32,
    block: u32,
    bytes_written: u32,
}

impl Murmur3 {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let place = self.bytes_written % 4;
            self.block |= u32::from(byte) << (8 * place);
            self.bytes_written = self.bytes_written.wrapping_add(1);
            if place == 3 {
                self.hash ^= scramble(self.block);
                self.hash = self.hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
                self.block = 0;
            }
        }
    }

    pub(super) fn finish(self) -> u32 {
        let mut hash = self.hash;
        if !self.bytes_written.is_multiple_of(4) {
            hash ^= scramble(self.block);
        }
        hash ^= self.bytes_written;
        hash ^= hash >> 16;
        hash = hash.wrapping_mul(0x85eb_ca6b);
        hash ^= hash >> 13;
        hash = hash.wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }
}

fn scramble(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn murmur3(text: &str) -> u32 {
        let mut hash = Murmur3::default();
        hash.write(text.as_bytes());
        hash.finish()
    }

    #[test]
    fn the_hash_is_flagds() {
        for (text, expected) in
            [("ejOoVL", 0), ("bY9fO-", 1), ("SI7p-", 0x7fff_ffff), ("6LvT0", 0x8000_0000), ("ceQdGm", 0xffff_ffff)]
        {
            assert_eq!(murmur3(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn joining_in_pieces_hashes_like_the_whole(left in ".*", right in ".*") {
            let mut pieces = Murmur3::default();
            pieces.write(left.as_bytes());
            pieces.write(right.as_bytes());
            prop_assert_eq!(pieces.finish(), murmur3(&format!("{left}{right}")));
        }
    }
}
