//! HPACK (RFC 7541): the fields of a head in as few bytes as a connection's past allows.
//!
//! *Invariants*
//! - A table holds at most as many bytes as RFC 7541 §4.1 counts of what its peer may fill it with. What it holds has
//!   memory of its own, however large the block was that it came in.
//! - A block costs its reader time by its own bytes, and memory by what is taken of it: a field that is named by one
//!   byte is not copied.
//! - What cannot be decoded ends the connection, since its table is not known any more; a field that is none does not.

mod decoder;
mod encoder;
mod field;
mod huffman;
#[cfg(any(test, fuzzing))]
pub(super) mod naive;
mod tables;
#[cfg(test)]
mod tests;

pub(super) use decoder::{Decoder, Fields};
pub(super) use encoder::{Encoder, Pseudo};
pub(super) use field::{FIELD_BYTES, Field};

/// Bytes that a table may have: what every connection begins with, and more is neither taken nor offered.
const TABLE_BYTES_MAX: usize = 4096;

/// A block cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of fields cannot be decoded")]
pub(super) struct Undecodable;
