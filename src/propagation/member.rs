//! Members: the codec of one request's decisions.

use std::fmt::Write;

use super::keyring::{Keyring, MAC_BYTES, is_name_byte};
use super::{Refusal, TraceId};

/// The largest member that is read, in bytes, its key included.
pub const MEMBER_BYTES_MAX: usize = 1024;

/// The format's version, which every member begins with.
const VERSION: &str = "1";

/// Between two parts of a member; no name has it.
const BETWEEN: char = '~';

/// The longest name of a toggle or variant, as configuration allows it.
const NAME_BYTES_MAX: usize = 100;

/// One toggle's decision as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The toggle's name.
    pub toggle: &'a str,
    /// The name of the variant that it gave.
    pub variant: &'a str,
    /// The code of the reason, where it was decided.
    pub reason: &'a str,
}

/// A member whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    text: String,
    entries_from: usize,
    issued: i64,
}

/// A member that is being written.
#[derive(Debug)]
pub struct Draft<'a> {
    keyring: &'a Keyring,
    text: String,
    bytes_max: usize,
    entries: usize,
    left_out: usize,
}

impl Member {
    /// When its first decision was made, in seconds since 1970.
    #[must_use]
    pub fn issued(&self) -> i64 {
        self.issued
    }

    /// What was decided, each toggle once.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        entries(&self.text[self.entries_from..])
    }

    /// Verifies and reads a member's value.
    pub(super) fn verified(value: &str, keyring: &Keyring, trace: Option<TraceId>) -> Result<Member, Refusal> {
        let (signed, mac) = value.rsplit_once(BETWEEN).ok_or(Refusal::Malformed)?;
        let mut parts = signed.splitn(4, BETWEEN);
        let (version, id, issued) = (parts.next(), parts.next(), parts.next());
        if version != Some(VERSION) || mac.len() != MAC_BYTES {
            return Err(Refusal::Malformed);
        }
        let (Some(id), Some(issued)) = (id, issued) else { return Err(Refusal::Malformed) };
        let trace = trace.ok_or(Refusal::Traceless)?;
        if !keyring.verifies(id, trace, signed.as_bytes(), mac.as_bytes()) {
            return Err(if keyring.knows(id) { Refusal::BadSignature } else { Refusal::UnknownKey });
        }
        // What follows was signed, so it is well formed unless a later version of weir writes otherwise.
        let entries = parts.next().unwrap_or_default();
        let entries_from = signed.len() - entries.len();
        let issued = issued.parse().map_err(|_not_a_number| Refusal::Malformed)?;
        if !well_formed(entries) {
            return Err(Refusal::Malformed);
        }
        Ok(Member { text: signed.to_owned(), entries_from, issued })
    }
}

/// Whether it is names in threes.
fn well_formed(text: &str) -> bool {
    let name = |part: &str| (1..=NAME_BYTES_MAX).contains(&part.len()) && part.bytes().all(is_name_byte);
    text.is_empty() || (text.split(BETWEEN).all(name) && text.split(BETWEEN).count().is_multiple_of(3))
}

fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut parts = text.split(BETWEEN);
    std::iter::from_fn(move || Some(Entry { toggle: parts.next()?, variant: parts.next()?, reason: parts.next()? }))
}

impl<'a> Draft<'a> {
    /// Begins a member of at most `bytes_max` bytes, for decisions of that second.
    #[must_use]
    pub fn new(keyring: &'a Keyring, issued: i64, bytes_max: usize) -> Draft<'a> {
        let bytes_max = bytes_max.min(MEMBER_BYTES_MAX);
        let mut text = String::with_capacity(bytes_max);
        let begun = write!(text, "weir={VERSION}{BETWEEN}{}{BETWEEN}{issued}", keyring.signing().id());
        debug_assert!(begun.is_ok(), "writing to a String cannot fail");
        Draft { keyring, text, bytes_max, entries: 0, left_out: 0 }
    }

    /// Adds a decision; one that has no room any more is left out, and later ones that have are not.
    pub fn add(&mut self, entry: Entry<'_>) {
        let Entry { toggle, variant, reason } = entry;
        let more = toggle.len() + variant.len() + reason.len() + 3;
        if self.text.len() + more + 1 + MAC_BYTES > self.bytes_max {
            self.left_out += 1;
            return;
        }
        for part in [toggle, variant, reason] {
            self.text.push(BETWEEN);
            self.text.push_str(part);
        }
        self.entries += 1;
    }

    /// Decisions that had no room.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Signs the member for a trace, and gives it with its key; `None` when it would say nothing.
    #[must_use]
    pub fn sign(mut self, trace: TraceId) -> Option<String> {
        if self.entries == 0 {
            return None;
        }
        let signed = self.text.strip_prefix("weir=").unwrap_or_default();
        let mac = self.keyring.signing().sign(trace, signed.as_bytes());
        self.text.push(BETWEEN);
        self.text.extend(mac.iter().map(|digit| char::from(*digit)));
        Some(self.text)
    }
}
