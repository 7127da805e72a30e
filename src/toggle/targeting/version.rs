//! Versions as flagd's `sem_ver` compares them: Semantic Versioning 2.0.0 with an optional `v`, where the
//! minor and patch numbers may be missing and build metadata does not count.

use std::cmp::Ordering;

/// A version; nothing is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version<'a> {
    /// Major, minor and patch, as digits without leading zeros.
    numbers: [&'a str; 3],
    /// The identifiers of a pre-release; empty for a release.
    before: &'a str,
}

/// Whether the comparison holds; `None` when a version or the operator is none.
pub(super) fn compare(left: &str, operator: &str, right: &str) -> Option<bool> {
    let (left, right) = (Version::parse(left)?, Version::parse(right)?);
    let order = left.order(right);
    Some(match operator {
        "=" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "^" => left.numbers[0] == right.numbers[0],
        "~" => left.numbers[..2] == right.numbers[..2],
        _ => return None,
    })
}

/// Whether it is one of the operators of [`compare`].
pub(super) fn is_operator(text: &str) -> bool {
    compare("1", text, "1").is_some()
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Version<'a>> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (core, before) = text.split_once('-').map_or((text, None), |(core, before)| (core, Some(before)));
        let mut numbers = ["0"; 3];
        let mut parts = core.split('.');
        let mut count = 0;
        for (number, part) in numbers.iter_mut().zip(parts.by_ref()) {
            *number = Some(part).filter(|part| is_number(part))?;
            count += 1;
        }
        let whole = parts.next().is_none() && (count == 3 || (before.is_none() && build.is_none()));
        let identifiers = |text: &str| text.split('.').all(is_identifier);
        let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let ordered = |text: &str| text.split('.').all(|part| !numeric(part) || is_number(part));
        let sound = before.is_none_or(|before| identifiers(before) && ordered(before)) && build.is_none_or(identifiers);
        (whole && sound).then_some(Version { numbers, before: before.unwrap_or_default() })
    }

    fn order(self, other: Version<'_>) -> Ordering {
        let numbers = self.numbers.iter().zip(other.numbers).map(|(left, right)| by_number(left, right));
        numbers.fold(Ordering::Equal, Ordering::then).then_with(|| match (self.before, other.before) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (left, right) => by_identifiers(left, right),
        })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Without leading zeros the longer number is the greater one.
fn by_number(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Semantic Versioning 2.0.0, item 11.4.
fn by_identifiers(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => match (is_number(left), is_number(right)) {
                (true, true) => by_number(left, right),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => left.cmp(right),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_flagd_compares_them() {
        for (left, operator, right, expected) in [
            ("2.0.0", "=", "2.0.0", Some(true)),
            ("2.0.0-alpha", "<", "2.0.0", Some(true)),
            ("2.0.0-alpha.2", "<", "2.0.0-alpha.10", Some(true)),
            ("2.0.0-alpha.2", "<", "2.0.0-alpha.x", Some(true)),
            ("2.0.0-alpha", "<", "2.0.0-alpha.1", Some(true)),
            ("10.0.0", ">", "9.9.9", Some(true)),
            ("1.0.0", "!=", "1.0.1", Some(true)),
            ("1.0.0", "<=", "1.0.0", Some(true)),
            ("1.0.0", ">=", "1.0.1", Some(false)),
            ("3.0.1", "~", "3.0.0", Some(true)),
            ("3.1.0", "~", "3.0.0", Some(false)),
            ("3.1.0", "^", "3.0.0", Some(true)),
            ("4.0.0", "^", "3.0.0", Some(false)),
            ("V1.0.0", "=", "v1", Some(true)),
            ("1.0.0+build", "=", "1.0.0+other", Some(true)),
            ("1.2", ">", "1.1.9", Some(true)),
            ("2.0.0.0", "=", "2.0.0", None),
            ("01.0.0", "=", "1.0.0", None),
            ("1.0.0-01", "=", "1.0.0", None),
            ("1.0-alpha", "=", "1.0.0", None),
            ("1.0.0-", "=", "1.0.0", None),
            ("vv1", "=", "1.0.0", None),
            ("", "=", "1.0.0", None),
            ("1.0.0", "===", "1.0.0", None),
        ] {
            assert_eq!(compare(left, operator, right), expected, "{left} {operator} {right}");
        }
    }
}
