//! Versions and their ranges, ordered as Semantic Versioning 2.0 §11 says.

use std::cmp::Ordering;

use semver::{BuildMetadata, Comparator, Op, Prerelease, Version, VersionReq};

use crate::identity::Seen;

/// A range of versions, such as `>=2.1.0 <3`. A pre-release comes before its release and belongs to whatever
/// range it falls into by that order; the upper end of `=`, `~`, `^` and `*` leaves out the pre-releases of
/// the version that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange(Vec<Bound>);

/// Why a text is no range of versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionRangeError {
    /// A version alone could mean just that one or all that are compatible.
    #[error("{0:?} alone may mean two things: write \"={0}\" for just that version, \"^{0}\" for all compatible ones")]
    Bare(String),
    /// It does not read.
    #[error("{0}; a range is written as in \">=2.1.0 <3\", \"^2.1\" or \"~2.1.3\"")]
    Syntax(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bound {
    AtLeast(Version),
    Above(Version),
    AtMost(Version),
    Below(Version),
}

impl VersionRange {
    /// Reads a range. Comparators are divided by blanks or commas, and all of them have to hold.
    ///
    /// # Errors
    /// When the text is no range.
    pub fn parse(text: &str) -> Result<VersionRange, VersionRangeError> {
        let spelled = spelled(text)?;
        let bare = |piece: &&str| piece.starts_with(|c: char| c.is_ascii_digit()) && !piece.ends_with(['*', 'x', 'X']);
        if let Some(bare) = spelled.split(',').find(bare) {
            return Err(VersionRangeError::Bare(bare.to_owned()));
        }
        let parsed = VersionReq::parse(&spelled).map_err(|error| VersionRangeError::Syntax(error.to_string()))?;
        Ok(VersionRange(parsed.comparators.iter().flat_map(bounds).collect()))
    }

    pub(super) fn holds(&self, version: &Version) -> bool {
        self.0.iter().all(|bound| match bound {
            Bound::AtLeast(least) => order(version, least).is_ge(),
            Bound::Above(other) => order(version, other).is_gt(),
            Bound::AtMost(most) => order(version, most).is_le(),
            Bound::Below(other) => order(version, other).is_lt(),
        })
    }
}

/// Precedence (§11); mostly the numbers decide, and pre-releases are not looked at.
fn order(left: &Version, right: &Version) -> Ordering {
    let numbers = |version: &Version| (version.major, version.minor, version.patch);
    numbers(left).cmp(&numbers(right)).then_with(|| left.pre.cmp(&right.pre))
}

/// The version that an attribute shows: `v` before it and parts that are left out are forgiven, as flagd does.
pub(super) fn read(seen: &Seen<'_>) -> Option<Version> {
    match seen {
        Seen::Text(text) => version(text).or_else(|| version(text.trim())),
        Seen::Number(number) => version(&number.to_string()),
        Seen::Flag(_) | Seen::List(_) => None,
    }
}

fn version(text: &str) -> Option<Version> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let ([major, minor, patch], rest) = numbers(text)?;
    let pre = match rest.strip_prefix('-') {
        Some(pre) => {
            let pre = pre.split_once('+').map_or(pre, |(pre, _build)| pre);
            Prerelease::new(pre).ok().filter(|pre| !pre.is_empty())?
        }
        None if rest.is_empty() || rest.starts_with('+') => Prerelease::EMPTY,
        None => return None,
    };
    Some(Version { major, minor, patch, pre, build: BuildMetadata::EMPTY })
}

/// One to three numbers divided by dots, zero where they are left out, and what follows them.
fn numbers(text: &str) -> Option<([u64; 3], &str)> {
    let mut numbers = [0_u64; 3];
    let (mut place, mut begun) = (0, false);
    let mut end = text.len();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => {
                numbers[place] = numbers[place].checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                begun = true;
            }
            b'.' if begun && place < 2 => (place, begun) = (place + 1, false),
            _ => {
                end = at;
                break;
            }
        }
    }
    begun.then_some((numbers, text.get(end..)?))
}

/// The range as the library spells it: comparators divided by commas, without blanks and without `v`.
fn spelled(text: &str) -> Result<String, VersionRangeError> {
    let mut spelled = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.trim().chars() {
        let last = spelled.chars().next_back();
        let divided = blank && last.is_some_and(|last| last != ',' && !is_operator(last));
        match c {
            _ if c.is_whitespace() => {
                blank = true;
                continue;
            }
            'v' | 'V' if last.is_none_or(is_operator) => continue,
            _ if is_operator(c) && last.is_some_and(|last| last != ',' && !is_operator(last)) => spelled.push(','),
            ',' => {}
            _ if divided => spelled.push(','),
            _ => {}
        }
        blank = false;
        spelled.push(c);
    }
    if spelled.is_empty() { Err(VersionRangeError::Syntax("it is empty".to_owned())) } else { Ok(spelled) }
}

fn is_operator(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '^' | '~' | '!')
}

fn bounds(comparator: &Comparator) -> Vec<Bound> {
    let Comparator { op, major, minor, patch, pre } = comparator;
    let full = Version {
        major: *major,
        minor: minor.unwrap_or(0),
        patch: patch.unwrap_or(0),
        pre: pre.clone(),
        build: BuildMetadata::EMPTY,
    };
    let after = |major: u64, minor: u64, patch: u64| Version::new(major, minor, patch);
    // The first version that has other parts than those that are written.
    let next = || match (minor, patch) {
        (None, _) => after(major.saturating_add(1), 0, 0),
        (Some(minor), None) => after(*major, minor.saturating_add(1), 0),
        (Some(minor), Some(patch)) => after(*major, *minor, patch.saturating_add(1)),
    };
    let partial = patch.is_none();
    match op {
        Op::Exact | Op::Wildcard if partial => vec![Bound::AtLeast(full), below_all_of(next())],
        Op::Greater if partial => vec![Bound::AtLeast(next())],
        Op::LessEq if partial => vec![below_all_of(next())],
        Op::Greater => vec![Bound::Above(full)],
        Op::GreaterEq => vec![Bound::AtLeast(full)],
        Op::Less => vec![Bound::Below(full)],
        Op::LessEq => vec![Bound::AtMost(full)],
        Op::Tilde => {
            let end = minor.map_or_else(next, |minor| after(*major, minor.saturating_add(1), 0));
            vec![Bound::AtLeast(full), below_all_of(end)]
        }
        Op::Caret => {
            let end = match (major, minor, patch) {
                (0, Some(0), Some(_) | None) => next(),
                (0, Some(minor), _) => after(0, minor.saturating_add(1), 0),
                _ => after(major.saturating_add(1), 0, 0),
            };
            vec![Bound::AtLeast(full), below_all_of(end)]
        }
        _ => vec![Bound::AtLeast(full.clone()), Bound::AtMost(full)],
    }
}

/// Below a version and all of its pre-releases, of which `0` is the first.
fn below_all_of(version: Version) -> Bound {
    let pre = Prerelease::new("0").unwrap_or(Prerelease::EMPTY);
    Bound::Below(Version { pre, ..version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        for (range, inside, outside) in [
            (
                ">=2.1.0 <3",
                &["2.1.0", "2.9.9", "v2.1", "2.2.0-beta.1", "2.1.0+build"][..],
                &["2.0.9", "3.0.0", "3", "2.1.0-rc"][..],
            ),
            (">= 2.1.0, < 3", &["2.5.0"], &["3.1.0"]),
            (">=v2.1", &["2.1.0", "V3"], &["2"]),
            ("=1.2.3", &["1.2.3", "1.2.3+other"], &["1.2.4", "1.2.3-a"]),
            ("=1.2", &["1.2.0", "1.2.9"], &["1.3.0", "1.3.0-a"]),
            ("1.*", &["1.0.0", "1.9.9"], &["2.0.0"]),
            ("*", &["0.0.1", "9"], &["x"]),
            ("~2.1.3", &["2.1.3", "2.1.9"], &["2.1.2", "2.2.0"]),
            ("~2", &["2.9.0"], &["3.0.0"]),
            ("^2.1", &["2.1.0", "2.9.0"], &["3.0.0-a", "2.0.0"]),
            ("^0.2.3", &["0.2.9"], &["0.3.0"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4"]),
            (">1.2", &["1.3.0"], &["1.2.9"]),
            ("<=1.2", &["1.2.9"], &["1.3.0"]),
            (">2.0.0", &["2.0.1"], &["2.0.0", "2.0.0-alpha", "2.0.0.0", "1..0", "", "v", "1.0-", "-1", "+1.0"]),
        ] {
            let parsed = VersionRange::parse(range).unwrap();
            let holds = |text: &str| version(text).is_some_and(|version| parsed.holds(&version));
            inside.iter().for_each(|text| assert!(holds(text), "{text} in {range}"));
            outside.iter().for_each(|text| assert!(!holds(text), "{text} not in {range}"));
        }
    }

    #[test]
    fn what_is_no_range_says_so() {
        for text in ["2.1.0", "2.1 3.0", "=2.1 3", "", "  ", "!=2", ">=", "two", ">=2.1.0.0", ">=2 || <1", "=>2"] {
            assert!(VersionRange::parse(text).is_err(), "{text}");
        }
    }
}
