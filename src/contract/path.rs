//! Finds the Path Item of a raw request path.
//!
//! *Invariants*
//! - A path is split before it is percent-decoded: `%2F` never makes a segment.
//! - Segment by segment from the left, a literal wins over a pattern; a dead end goes back.
//! - A search visits each node of the tree at most once.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::template::{Pattern, Segment};

/// Which Path Item of a contract.
pub(crate) type PathId = usize;

/// The templates under one server base path.
#[derive(Debug, Default)]
pub(crate) struct PathTree {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    /// The most concrete first.
    patterns: Vec<(Pattern, Node)>,
    item: Option<PathId>,
}

/// A Path Item that matched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'r> {
    pub(crate) path: PathId,
    /// Raw values in the order of the template's parameters.
    pub(crate) captures: Vec<&'r str>,
}

impl PathTree {
    /// Adds a template; the Path Item that already has an equal one is the error.
    pub(crate) fn insert(&mut self, template: &[Segment], path: PathId) -> Result<(), PathId> {
        let mut node = &mut self.root;
        for segment in template {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
                Segment::Pattern(pattern) => node.pattern(pattern),
            };
        }
        match node.item {
            Some(earlier) => Err(earlier),
            None => {
                node.item = Some(path);
                Ok(())
            }
        }
    }

    /// `path` is what follows the server's base path: empty, or it starts with `/`.
    pub(crate) fn find<'r>(&self, path: &'r str) -> Option<Found<'r>> {
        let segments: Vec<_> = path.strip_prefix('/')?.split('/').collect();
        let mut captures = Vec::new();
        let path = self.root.search(&segments, &mut captures)?;
        Some(Found { path, captures })
    }
}

impl Node {
    fn pattern(&mut self, pattern: &Pattern) -> &mut Node {
        let at = match self.patterns.iter().position(|(other, _)| other == pattern) {
            Some(at) => at,
            None => {
                let fixed = pattern.literal_bytes();
                let at = self.patterns.partition_point(|(other, _)| other.literal_bytes() >= fixed);
                self.patterns.insert(at, (pattern.clone(), Node::default()));
                at
            }
        };
        &mut self.patterns[at].1
    }

    fn search<'r>(&self, segments: &[&'r str], captures: &mut Vec<&'r str>) -> Option<PathId> {
        let Some((raw, rest)) = segments.split_first() else {
            return self.item;
        };
        let decoded = percent_decode_str(raw).decode_utf8().ok();
        // RFC 3986 section 6.2.2.3: these are steps, not names. An upstream that takes them
        // would leave the path that was judged.
        if matches!(decoded.as_deref(), Some("." | "..")) {
            return None;
        }
        let literal = decoded.and_then(|decoded| self.literals.get(decoded.as_ref()));
        if let Some(path) = literal.and_then(|node| node.search(rest, captures)) {
            return Some(path);
        }
        for (pattern, node) in &self.patterns {
            let Some(values) = pattern.captures(raw) else {
                continue;
            };
            let before = captures.len();
            captures.extend(values);
            if let Some(path) = node.search(rest, captures) {
                return Some(path);
            }
            captures.truncate(before);
        }
        None
    }
}

/// The segments of a template and the names of its parameters.
pub(crate) fn parse_template(template: &str) -> Result<(Vec<Segment>, Vec<String>), &'static str> {
    let Some(path) = template.strip_prefix('/') else {
        return Err("it does not start with `/`");
    };
    let mut names = Vec::new();
    let segments: Result<_, _> = path.split('/').map(|segment| Segment::parse(segment, &mut names)).collect();
    Ok((segments?, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(templates: &[&str]) -> PathTree {
        let mut tree = PathTree::default();
        for (path, template) in templates.iter().enumerate() {
            let (segments, _) = parse_template(template).expect("a template");
            tree.insert(&segments, path).expect("not ambiguous");
        }
        tree
    }

    #[track_caller]
    fn check(templates: &[&str], path: &str, expected: Option<(PathId, &[&str])>) {
        let tree = tree(templates);
        let found = tree.find(path);
        let found = found.as_ref().map(|found| (found.path, found.captures.as_slice()));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_literal_wins_over_a_pattern_segment_by_segment() {
        let templates = ["/{a}/x", "/orders/{id}", "/orders/new", "/orders/{id}.json"];
        check(&templates, "/orders/new", Some((2, &[])));
        check(&templates, "/orders/7", Some((1, &["7"])));
        check(&templates, "/orders/7.json", Some((3, &["7"])));
        check(&templates, "/users/x", Some((0, &["users"])));
    }

    #[test]
    fn a_dead_end_goes_back_to_the_pattern() {
        let templates = ["/orders/new/a", "/{kind}/{id}/b"];
        check(&templates, "/orders/new/b", Some((1, &["orders", "new"])));
    }

    #[test]
    fn an_encoded_slash_does_not_split() {
        check(&["/a/{id}"], "/a/x%2Fy", Some((0, &["x%2Fy"])));
        check(&["/a/b"], "/a%2Fb", None);
        check(&["/a/b c"], "/%61/b%20c", Some((0, &[])));
    }

    #[test]
    fn a_trailing_slash_counts() {
        check(&["/a"], "/a/", None);
        check(&["/a/{id}"], "/a/", None);
        check(&["/a/"], "/a/", Some((0, &[])));
        check(&["/"], "/", Some((0, &[])));
        check(&["/"], "", None);
    }

    #[test]
    fn dot_segments_match_nothing() {
        check(&["/a/{id}"], "/a/..", None);
        check(&["/a/{id}"], "/a/%2e%2E", None);
        check(&["/a/{id}/b"], "/a/./b", None);
    }

    #[test]
    fn templates_that_differ_only_in_names_are_ambiguous() {
        let mut tree = tree(&["/a/{x}", "/b/{x}/c"]);
        for (template, expected) in [("/a/{y}", Err(0)), ("/b/{y}/d", Ok(())), ("/a/{y}.z", Ok(()))] {
            let (segments, _) = parse_template(template).expect("a template");
            assert_eq!(tree.insert(&segments, 9), expected, "{template}");
        }
    }
}
