//! Media types and the ranges that a contract's `content` names (RFC 9110 section 8.3).

/// A media type as a request sends it, or a range as a contract declares it: lower case, with the
/// parameters that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType {
    kind: String,
    subtype: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// `None` when `text` is no media type.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut pieces = text.split(';');
        let (kind, subtype) = pieces.next()?.trim().split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let parameters = pieces.filter_map(parameter).collect();
        Some(Self { kind: kind.to_ascii_lowercase(), subtype: subtype.to_ascii_lowercase(), parameters })
    }

    /// RFC 6839 section 3.1: a `+json` suffix is JSON too.
    pub(crate) fn is_json(&self) -> bool {
        self.subtype.ends_with("+json") || (self.kind == "application" && self.subtype == "json")
    }

    /// Whether `self`, as a range, takes in `sent`. Its parameters must be among those sent.
    pub(crate) fn covers(&self, sent: &Self) -> bool {
        (self.kind == "*" || self.kind == sent.kind)
            && (self.subtype == "*" || self.subtype == sent.subtype)
            && self.parameters.iter().all(|parameter| sent.parameters.contains(parameter))
    }

    /// More specific ranges rank higher: `a/b;c=d` over `a/b` over `a/*` over `*/*`.
    pub(crate) fn specificity(&self) -> (bool, bool, usize) {
        (self.kind != "*", self.subtype != "*", self.parameters.len())
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn parameter(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let value = value.trim().trim_matches('"').to_ascii_lowercase();
    Some((name.trim().to_ascii_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: &str, sent: &str, expected: bool) {
        let range = MediaType::parse(range).expect("a range");
        let sent = MediaType::parse(sent).expect("a media type");
        assert_eq!(range.covers(&sent), expected);
    }

    #[test]
    fn a_range_covers_its_types_whatever_the_case() {
        check("application/json", "Application/JSON; charset=utf-8", true);
        check("application/*", "application/xml", true);
        check("*/*", "image/png", true);
        check("text/*", "application/xml", false);
        check("application/json", "application/problem+json", false);
    }

    #[test]
    fn parameters_count_only_where_the_range_has_them() {
        check("application/json;v=2", "application/json; v=\"2\"", true);
        check("application/json;v=2", "application/json", false);
    }

    #[test]
    fn json_is_told_by_type_or_suffix() {
        for (text, expected) in [
            ("application/json", true),
            ("application/vnd.a+JSON", true),
            ("text/json", false),
            ("application/jsonp", false),
        ] {
            assert_eq!(MediaType::parse(text).map(|media| media.is_json()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in ["", "json", "/json", "a/", "a b/c", "a/b/c"] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }
}
