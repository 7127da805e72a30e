//! Fields: one line, and what it says about the message's frame.

use super::{bytes, flaw::Flaw, scanner::Side, target::is_authority};

/// What the fields of one head say about its frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    pub(super) count: usize,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    /// `Connection` has the option `upgrade`.
    pub(super) wants_upgrade: bool,
    /// Where the value of `Upgrade` stands in the head.
    pub(super) upgrade: Option<(usize, usize)>,
    /// Where the value of `Host` stands in the head.
    pub(super) host: Option<(usize, usize)>,
}

impl Fields {
    /// Reads one field line without its end; `at` is where the line stands in the head.
    pub(super) fn read(&mut self, side: Side, line: &[u8], at: usize) -> Result<(), Flaw> {
        let (name, value_at) = split(line)?;
        self.judge(side, name, &line[value_at..], at + value_at)
    }

    /// Judges one field; `at` is where its value stands in the head, white space around it included.
    pub(super) fn judge(&mut self, side: Side, name: &[u8], raw: &[u8], at: usize) -> Result<(), Flaw> {
        self.count += 1;
        // What frames or addresses a message is known by the length of its name; all else is passed by.
        match name.len() {
            4 if side == Side::Requests && name.eq_ignore_ascii_case(b"host") => self.host(value(raw), at),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                let (value, start) = value(raw);
                // A second one is another protocol to choose from: none of both is tunnelled.
                let several = self.upgrade.is_some();
                self.upgrade = Some(if several { (0, 0) } else { (at + start, at + start + value.len()) });
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut options = value(raw).0.split(|byte| *byte == b',').map(bytes::trimmed);
                self.wants_upgrade |= options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
                Ok(())
            }
            14 if resembles(name, b"content-length") => {
                // A tab is white space to one parser and a part of the number to another; nobody honest sends one.
                if raw.contains(&b'\t') {
                    return Err(Flaw::Length);
                }
                self.length(name, value(raw).0)
            }
            17 if resembles(name, b"transfer-encoding") => self.coding(name, value(raw).0),
            _ => Ok(()),
        }
    }

    fn host(&mut self, (value, start): (&[u8], usize), at: usize) -> Result<(), Flaw> {
        let first = self.host.is_none();
        self.host = Some((at + start, at + start + value.len()));
        if first && is_authority(value) { Ok(()) } else { Err(Flaw::Host) }
    }

    fn length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Flaw> {
        if !name.eq_ignore_ascii_case(b"content-length") {
            return Err(Flaw::FieldName);
        }
        if self.chunked {
            return Err(Flaw::Ambiguous);
        }
        // A leading zero is octal to somebody.
        let plain = matches!(value, b"0" | [b'1'..=b'9', ..]) && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        match number.filter(|number| plain && self.length.is_none() && *number <= i64::MAX as u64) {
            Some(number) => {
                self.length = Some(number);
                Ok(())
            }
            None => Err(Flaw::Length),
        }
    }

    fn coding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Flaw> {
        if !name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(Flaw::FieldName);
        }
        if self.chunked || self.length.is_some() {
            return Err(Flaw::Ambiguous);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        // One coding that weir does not know is honest; a list, or something near to chunked, is not.
        let known = [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress"];
        let honest = known.iter().any(|coding| value.eq_ignore_ascii_case(coding));
        Err(if honest { Flaw::Coding } else { Flaw::Ambiguous })
    }
}

/// A field's name, and where its value begins.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], usize), Flaw> {
    let end = line.iter().position(|byte| !bytes::is_token(*byte)).ok_or(Flaw::FieldName)?;
    match line {
        [b' ' | b'\t', ..] => Err(Flaw::Fold),
        _ if end == 0 || line[end] != b':' => Err(Flaw::FieldName),
        _ if !bytes::is_value(&line[end + 1..]) => Err(Flaw::FieldValue),
        _ => Ok((&line[..end], end + 1)),
    }
}

/// The value without white space around it, and where it begins.
fn value(raw: &[u8]) -> (&[u8], usize) {
    let value = bytes::trimmed(raw);
    let leading = raw.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (value, if value.is_empty() { 0 } else { leading })
}

/// The same name, or one that CGI and its heirs read as the same: to most of them an underscore is a dash, and to some
/// every sign is.
pub(in crate::proxy) fn resembles(name: &[u8], other: &[u8]) -> bool {
    let read = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.len() == other.len() && name.iter().map(read).eq(other.iter().map(read))
}
