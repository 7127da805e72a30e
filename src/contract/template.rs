//! One segment of a path template, and how a raw segment of a request matches it.

use percent_encoding::percent_decode_str;

/// A segment that holds at least one `{name}`.
///
/// *Invariants*
/// - `literals` has one element more than there are names; the inner ones are not empty, so a
///   match needs no backtracking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    literals: Vec<String>,
}

/// A segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Percent-decoded.
    Literal(String),
    Pattern(Pattern),
}

impl Segment {
    /// Reads one segment of a template; the names of its parameters are pushed to `names`.
    pub(crate) fn parse(text: &str, names: &mut Vec<String>) -> Result<Self, &'static str> {
        let mut literals = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err("a `{` is not closed");
            };
            if name.is_empty() || name.contains('{') {
                return Err("a parameter has no name");
            }
            if literal.contains('}') {
                return Err("a `}` is not opened");
            }
            if literal.is_empty() && !literals.is_empty() {
                return Err("two parameters touch, so nothing tells where one ends");
            }
            if names.iter().any(|other| other == name) {
                return Err("a parameter stands twice");
            }
            literals.push(literal.to_owned());
            names.push(name.to_owned());
            rest = after;
        }
        if rest.contains('}') {
            return Err("a `}` is not opened");
        }
        if literals.is_empty() {
            let decoded = percent_decode_str(rest).decode_utf8();
            return decoded.map(|literal| Self::Literal(literal.into_owned())).or(Err("a literal is not UTF-8"));
        }
        literals.push(rest.to_owned());
        Ok(Self::Pattern(Pattern { literals }))
    }
}

impl Pattern {
    /// The raw values of the parameters, in order. No value is empty.
    pub(crate) fn captures<'r>(&self, raw: &'r str) -> Option<Vec<&'r str>> {
        let (last, starts) = self.literals.split_last()?;
        let (first, inner) = starts.split_first()?;
        let mut rest = raw.strip_prefix(first.as_str())?.strip_suffix(last.as_str())?;
        let mut values = Vec::with_capacity(starts.len());
        for literal in inner {
            // From the second char on: the value before the literal is not empty.
            let skip = rest.chars().next()?.len_utf8();
            let end = skip + rest[skip..].find(literal.as_str())?;
            values.push(&rest[..end]);
            rest = &rest[end + literal.len()..];
        }
        values.push(rest);
        (!rest.is_empty()).then_some(values)
    }

    /// How much of the segment is fixed; the most concrete pattern is tried first.
    pub(crate) fn literal_bytes(&self) -> usize {
        self.literals.iter().map(String::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, raw: &str, expected: Option<&[&str]>) {
        let mut names = Vec::new();
        let Ok(Segment::Pattern(pattern)) = Segment::parse(template, &mut names) else {
            panic!("{template} is a pattern");
        };
        assert_eq!(pattern.captures(raw).as_deref(), expected, "{template} {raw}");
    }

    #[test]
    fn a_pattern_is_anchored_at_both_ends() {
        check("{id}", "7", Some(&["7"]));
        check("{id}", "", None);
        check("{id}.json", "a.json", Some(&["a"]));
        check("{id}.json", "a.json.gz", None);
        check("v{major}", "v2", Some(&["2"]));
        check("v{major}", "av2", None);
        check("ab{x}ba", "aba", None);
    }

    #[test]
    fn several_parameters_share_a_segment() {
        check("{a}-{b}", "x-y-z", Some(&["x", "y-z"]));
        check("{a}-{b}", "-y", None);
        check("{a}-{b}", "x-", None);
        check("{a}..{b}.txt", "ü..2.txt", Some(&["ü", "2"]));
    }

    #[test]
    fn a_template_that_cannot_be_matched_is_refused() {
        for template in ["{a", "a}", "{}", "{a}{b}", "{a}-{a}", "{a{b}}"] {
            assert!(Segment::parse(template, &mut Vec::new()).is_err(), "{template}");
        }
    }
}
