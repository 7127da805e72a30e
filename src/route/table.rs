//! The table that requests are matched with.

use std::{cmp::Reverse, collections::HashMap};

use super::pattern::{HostPattern, PathPattern, Pattern};
use crate::identity::Asking;

/// A route's place in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(pub usize);

/// Two routes that one request would match equally well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The earlier route.
    pub first: RouteId,
    /// The later route.
    pub second: RouteId,
}

/// All routes, indexed by host and path.
#[derive(Debug, Default)]
pub struct RouteTable {
    patterns: Vec<Pattern>,
    exact_hosts: HashMap<String, Paths>,
    host_suffixes: HashMap<String, Paths>,
    any_host: Paths,
}

/// The routes of one host pattern; those of one path stand in the order of their rank.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<String, Vec<RouteId>>,
    prefixes: HashMap<String, Vec<RouteId>>,
    /// Slashes in the deepest prefix: no cut behind it can be one.
    depth: usize,
}

impl RouteTable {
    /// Indexes the patterns; their order gives the ids.
    ///
    /// # Errors
    /// Every tie between two of them.
    pub fn new(patterns: Vec<Pattern>) -> Result<RouteTable, Vec<Tie>> {
        let mut table = RouteTable::default();
        for (index, pattern) in patterns.iter().enumerate() {
            let paths = match &pattern.host {
                HostPattern::Exact(host) => table.exact_hosts.entry(host.clone()).or_default(),
                HostPattern::Suffix(suffix) => table.host_suffixes.entry(suffix.clone()).or_default(),
                HostPattern::Any => &mut table.any_host,
            };
            paths.insert(&pattern.path, RouteId(index));
        }
        let mut ties = Vec::new();
        let hosts = table.exact_hosts.values_mut().chain(table.host_suffixes.values_mut());
        for paths in hosts.chain([&mut table.any_host]) {
            for routes in paths.exact.values_mut().chain(paths.prefixes.values_mut()) {
                ties.extend(ties_among(routes, &patterns));
                routes.sort_by_key(|route| Reverse(patterns[route.0].rank()));
            }
        }
        table.patterns = patterns;
        ties.sort_by_key(|tie| (tie.first.0, tie.second.0));
        if ties.is_empty() { Ok(table) } else { Err(ties) }
    }

    /// The most specific route that the request matches.
    #[must_use]
    pub fn find(&self, asking: &Asking<'_>) -> Option<RouteId> {
        let exact = || self.exact_hosts.get(&*asking.host).and_then(|paths| self.find_path(paths, asking));
        let any = || self.find_path(&self.any_host, asking);
        exact().or_else(|| self.find_suffix(asking)).or_else(any)
    }

    /// What the route asks of a request.
    #[must_use]
    pub fn pattern(&self, route: RouteId) -> &Pattern {
        &self.patterns[route.0]
    }

    fn find_suffix(&self, asking: &Asking<'_>) -> Option<RouteId> {
        if self.host_suffixes.is_empty() {
            return None;
        }
        let host: &str = &asking.host;
        let dots = host.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
        let mut tables = dots.filter_map(|(dot, _)| self.host_suffixes.get(&host[dot + 1..]));
        tables.find_map(|paths| self.find_path(paths, asking))
    }

    fn find_path(&self, paths: &Paths, asking: &Asking<'_>) -> Option<RouteId> {
        let admitted =
            |routes: &Vec<RouteId>| routes.iter().copied().find(|route| self.patterns[route.0].admits(asking));
        let exact = paths.exact.get(asking.path).and_then(admitted);
        exact.or_else(|| paths.cuts(asking.path).find_map(|prefix| paths.prefixes.get(prefix).and_then(admitted)))
    }
}

impl Paths {
    fn insert(&mut self, path: &PathPattern, route: RouteId) {
        match path {
            PathPattern::Exact(path) => self.exact.entry(path.clone()).or_default().push(route),
            PathPattern::Prefix(prefix) => {
                self.depth = self.depth.max(slashes(prefix));
                self.prefixes.entry(prefix.clone()).or_default().push(route);
            }
        }
    }

    /// The path cut at segment ends, longest first, no deeper than any prefix.
    fn cuts<'a>(&self, path: &'a str) -> impl Iterator<Item = &'a str> {
        let ends = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/').map(|(end, _)| end);
        let deepest = ends.chain([path.len()]).take(self.depth).last().unwrap_or(0);
        let mut rest = Some(&path[..deepest]);
        std::iter::from_fn(move || {
            let cut = rest?;
            // The empty prefix is every path, that of `OPTIONS *` too.
            rest = cut.rfind('/').map(|slash| &cut[..slash]).or_else(|| (!cut.is_empty()).then_some(""));
            Some(cut)
        })
    }
}

fn slashes(prefix: &str) -> usize {
    prefix.bytes().filter(|byte| *byte == b'/').count()
}

/// One tie for each route that ties with an earlier one: more would only repeat it.
fn ties_among(routes: &[RouteId], patterns: &[Pattern]) -> Vec<Tie> {
    let tie = |(index, &second): (usize, &RouteId)| {
        let ties = |first: &&RouteId| patterns[first.0].ties_with(&patterns[second.0]);
        routes[..index].iter().find(ties).map(|&first| Tie { first, second })
    };
    routes.iter().enumerate().filter_map(tie).collect()
}
