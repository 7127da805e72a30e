//! The static table (RFC 7541 appendix A), and by which number its names go.

use std::sync::LazyLock;

use super::field::{Entry, Name};

/// Names, and values where there are any, from number 1 on.
pub(super) const FIELDS: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The number of the first entry that is not of the static table (RFC 7541 §2.3.3).
pub(super) const FIRST_OF_CONNECTION: usize = FIELDS.len() + 1;

/// The numbers of names that come without a value.
pub(super) const METHOD: usize = 2;
pub(super) const PATH: usize = 4;
pub(super) const STATUS: usize = 8;

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let entry = |(name, value): &(&str, &str)| Entry::new(Name::read(name.as_bytes()), name.len(), value.as_bytes());
    FIELDS.iter().map(entry).collect()
});

/// The entry of that number, if it is one of the static table.
pub(super) fn entry(number: usize) -> Option<&'static Entry> {
    ENTRIES.get(number.checked_sub(1)?)
}

/// Names by a number that is made of their length and two letters; those of the same one follow each other.
static NAMES: [u8; 256] = {
    let (mut names, mut field) = ([0; 256], 0);
    while field < FIELDS.len() {
        let name = FIELDS[field].0.as_bytes();
        let mut place = place(name);
        // The first number of a name is its number.
        while names[place] != 0 && !is_equal(FIELDS[names[place] as usize - 1].0.as_bytes(), name) {
            place = (place + 1) % names.len();
        }
        field += 1;
        if names[place] == 0 {
            #[expect(clippy::cast_possible_truncation, reason = "there are 61; `try_from` is not const")]
            let number = field as u8;
            names[place] = number;
        }
    }
    names
};

const fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

const fn place(name: &[u8]) -> usize {
    match name {
        [] => 0,
        [first, ..] => (name.len() * 37 + *first as usize * 7 + name[name.len() / 2] as usize * 3) % 256,
    }
}

/// The first number of a name, if it stands in the static table.
pub(super) fn number_of(name: &str) -> Option<usize> {
    let mut place = place(name.as_bytes());
    loop {
        let number = usize::from(NAMES[place]);
        if number == 0 {
            return None;
        }
        if FIELDS[number - 1].0 == name {
            return Some(number);
        }
        place = (place + 1) % NAMES.len();
    }
}
