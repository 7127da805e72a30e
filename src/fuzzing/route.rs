//! Routes: the table against a matcher that tries every route.

use http::Version;

use super::input;
use crate::{
    identity::{Asking, Caller},
    route::{HostPattern, PathPattern, Pattern, RouteTable},
};

/// Routes of one input: ties are looked for between each two.
const ROUTES_MAX: usize = 32;

/// A route a line, `HOST PATH METHODS FIELD=VALUE…` with `*` for any host or method and at the end of a path
/// for what is below it; and a request's head.
pub(super) fn route(input: &[u8]) {
    let [routes, head] = input::parts(input);
    let Ok(routes) = std::str::from_utf8(routes) else { return };
    let patterns: Vec<Pattern> = routes.lines().filter_map(pattern).take(ROUTES_MAX).collect();
    let tied = |(place, pattern): (usize, &Pattern)| patterns[..place].iter().any(|other| ties(pattern, other));
    let tied = patterns.iter().enumerate().any(tied);
    let table = RouteTable::new(patterns.clone());
    assert_eq!(table.is_err(), tied, "{patterns:?}");
    let (Ok(table), Some(head)) = (table, input::head(head, Version::HTTP_11)) else { return };
    let host = crate::identity::canonical_host(head.uri.host().unwrap_or_default());
    let caller = Caller { ip: [127, 0, 0, 1].into(), trusted: false, client_trusted: false };
    let asking = Asking {
        method: &head.method,
        host,
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
        caller,
        claims: None,
        consumer: None,
    };
    let matching = patterns.iter().enumerate().filter(|(_, pattern)| matches(pattern, &asking));
    let best = matching.max_by_key(|(_, pattern)| specificity(pattern));
    assert_eq!(table.find(&asking).map(|route| route.0), best.map(|(place, _)| place), "{asking:?} {patterns:?}");
}

fn pattern(line: &str) -> Option<Pattern> {
    let mut words = line.split(' ');
    let (host, path, methods) = (words.next()?, words.next()?, words.next().unwrap_or("*"));
    let path = match path.strip_suffix('*') {
        Some(prefix) => PathPattern::prefix(prefix),
        None => PathPattern::exact(path),
    };
    let methods = methods.split(',').filter(|method| *method != "*").map(|method| method.parse().ok());
    let headers = words
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| Some((name.to_ascii_lowercase().parse::<http::HeaderName>().ok()?, value.parse().ok()?)));
    let mut headers: Vec<_> = headers.collect::<Option<_>>()?;
    headers.sort_by(|(left, _): &(http::HeaderName, http::HeaderValue), (right, _)| left.as_str().cmp(right.as_str()));
    // The configuration's table has each name once.
    headers.dedup_by(|(left, _), (right, _)| left == right);
    Some(Pattern {
        host: if host == "*" { HostPattern::Any } else { host.parse().ok()? },
        path: path.ok()?,
        methods: methods.collect::<Option<_>>()?,
        headers,
    })
}

fn matches(pattern: &Pattern, asking: &Asking<'_>) -> bool {
    let host = match &pattern.host {
        HostPattern::Any => true,
        HostPattern::Exact(host) => *host == asking.host,
        HostPattern::Suffix(suffix) => asking.host.ends_with(&format!(".{suffix}")),
    };
    let path = match &pattern.path {
        PathPattern::Exact(path) => path == asking.path,
        PathPattern::Prefix(prefix) => {
            asking.path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || prefix.is_empty()
        }
    };
    let method = pattern.methods.is_empty() || pattern.methods.iter().any(|method| method == asking.method);
    let field = |(name, value): &(http::HeaderName, http::HeaderValue)| asking.headers.get(name) == Some(value);
    host && path && method && pattern.headers.iter().all(field)
}

/// As the documentation orders it: host, path, method, fields.
fn specificity(pattern: &Pattern) -> (usize, usize, usize, usize, bool, usize) {
    let (host, labels) = match &pattern.host {
        HostPattern::Any => (0, 0),
        HostPattern::Suffix(suffix) => (1, suffix.len()),
        HostPattern::Exact(_) => (2, 0),
    };
    let (path, length) = match &pattern.path {
        PathPattern::Prefix(prefix) => (0, prefix.len()),
        PathPattern::Exact(_) => (1, 0),
    };
    (host, labels, path, length, !pattern.methods.is_empty(), pattern.headers.len())
}

/// Whether some request would match both equally well.
fn ties(left: &Pattern, right: &Pattern) -> bool {
    let methods = left.methods.is_empty() && right.methods.is_empty()
        || left.methods.iter().any(|method| right.methods.contains(method));
    let contradict = |(name, value): &(http::HeaderName, http::HeaderValue)| {
        right.headers.iter().any(|(other, wanted)| name == other && value != wanted)
    };
    left.host == right.host
        && left.path == right.path
        && specificity(left) == specificity(right)
        && methods
        && !left.headers.iter().any(contradict)
}
