use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::identity::{Asking, Caller};

fn pattern(host: &str, path: &str, methods: &[Method], headers: &[(&'static str, &'static str)]) -> Pattern {
    let path = path.strip_suffix('*').map_or_else(|| PathPattern::exact(path), PathPattern::prefix);
    Pattern {
        host: if host == "*" { HostPattern::Any } else { host.parse().unwrap() },
        path: path.unwrap(),
        methods: methods.to_vec(),
        headers: headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect(),
    }
}

fn find(table: &RouteTable, method: &Method, host: &str, path: &str, headers: &HeaderMap) -> Option<usize> {
    let caller = Caller { ip: "127.0.0.1".parse().unwrap(), trusted: false, client_trusted: false };
    let asking = Asking { method, host: host.into(), path, query: None, headers, caller, consumer: None, claims: None };
    table.find(&asking).map(|route| route.0)
}

#[test]
fn the_most_specific_route_wins() {
    let table = RouteTable::new(vec![
        pattern("*", "/*", &[], &[]),
        pattern("*.example.com", "/*", &[], &[]),
        pattern("*.shop.example.com", "/*", &[], &[]),
        pattern("shop.example.com", "/*", &[], &[]),
        pattern("shop.example.com", "/checkout*", &[], &[]),
        pattern("shop.example.com", "/checkout/pay*", &[], &[]),
        pattern("shop.example.com", "/checkout/pay", &[], &[]),
        pattern("shop.example.com", "/checkout/pay", &[Method::POST], &[]),
        pattern("shop.example.com", "/checkout/pay", &[Method::POST], &[("x-api", "2")]),
        pattern("shop.example.com", "/checkout/pay", &[], &[("x-api", "2")]),
    ])
    .unwrap();
    let plain = HeaderMap::new();
    let api: HeaderMap = [(HeaderName::from_static("x-api"), HeaderValue::from_static("2"))].into_iter().collect();
    for (method, host, path, headers, expected) in [
        (Method::GET, "other.org", "/x", &plain, 0),
        (Method::GET, "a.example.com", "/x", &plain, 1),
        (Method::GET, "a.shop.example.com", "/x", &plain, 2),
        (Method::GET, "shop.example.com", "/x", &plain, 3),
        (Method::GET, "shop.example.com", "/checkout", &plain, 4),
        (Method::GET, "shop.example.com", "/checkout/", &plain, 4),
        (Method::GET, "shop.example.com", "/checkouts", &plain, 3),
        (Method::GET, "shop.example.com", "/checkout/pay/now", &plain, 5),
        (Method::GET, "shop.example.com", "/checkout/pay", &plain, 6),
        (Method::POST, "shop.example.com", "/checkout/pay", &plain, 7),
        (Method::POST, "shop.example.com", "/checkout/pay", &api, 8),
        (Method::GET, "shop.example.com", "/checkout/pay", &api, 9),
        (Method::GET, "example.com", "/x", &plain, 0),
    ] {
        assert_eq!(find(&table, &method, host, path, headers), Some(expected), "{method} {host}{path}");
    }
}

#[test]
fn the_path_of_a_server_as_a_whole_is_below_the_empty_prefix_alone() {
    for deeper in [None, Some(pattern("*", "/a/b*", &[], &[]))] {
        let table = RouteTable::new([pattern("*", "/*", &[], &[])].into_iter().chain(deeper).collect()).unwrap();
        assert_eq!(find(&table, &Method::OPTIONS, "a.org", "*", &HeaderMap::new()), Some(0));
    }
}

#[test]
fn a_request_that_nothing_matches_has_no_route() {
    let table = RouteTable::new(vec![pattern("a.org", "/x*", &[Method::GET], &[])]).unwrap();
    for (method, host, path) in
        [(Method::GET, "b.org", "/x"), (Method::GET, "a.org", "/y"), (Method::POST, "a.org", "/x")]
    {
        assert_eq!(find(&table, &method, host, path, &HeaderMap::new()), None, "{method} {host}{path}");
    }
}

#[test]
fn routes_that_one_request_matches_equally_well_are_a_tie() {
    let post = [Method::POST];
    for (left, right, tied) in [
        (pattern("*", "/a*", &[], &[]), pattern("*", "/a/*", &[], &[]), true),
        (pattern("*", "/a", &post, &[]), pattern("*", "/a", &[Method::GET, Method::POST], &[]), true),
        (pattern("*", "/a", &[], &[("x-a", "1")]), pattern("*", "/a", &[], &[("x-b", "1")]), true),
        (pattern("*", "/a", &[], &[("x-a", "1")]), pattern("*", "/a", &[], &[("x-a", "2")]), false),
        (pattern("*", "/a", &post, &[]), pattern("*", "/a", &[Method::GET], &[]), false),
        (pattern("*", "/a", &post, &[]), pattern("*", "/a", &[], &[]), false),
        (pattern("*", "/a", &[], &[]), pattern("*", "/a*", &[], &[]), false),
        (pattern("a.org", "/a", &[], &[]), pattern("b.org", "/a", &[], &[]), false),
    ] {
        let label = format!("{left} | {right}");
        let outcome = RouteTable::new(vec![left, right]).err();
        assert_eq!(outcome, tied.then(|| vec![Tie { first: RouteId(0), second: RouteId(1) }]), "{label}");
    }
}

#[test]
fn hosts_and_paths_that_cannot_match_are_refused() {
    for host in ["", "*.", "a.org:80", "*", "a b", "*.*.org", "a.org.."] {
        assert_eq!(host.parse::<HostPattern>(), Err(HostPatternError), "{host}");
    }
    for path in ["", "a", "/a?b", "/a#b", "/a b"] {
        assert_eq!(PathPattern::exact(path), Err(PathPatternError), "{path}");
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_a_search_through_all_finds(
        prefixes in proptest::collection::hash_set("(/[ab]{1,2}){0,3}", 1..8),
        path in "(/[ab]{0,2}){1,5}",
    ) {
        let prefixes: Vec<String> = prefixes.into_iter().collect();
        let patterns = prefixes.iter().map(|prefix| pattern("*", &format!("{prefix}/*"), &[], &[])).collect();
        let table = RouteTable::new(patterns).unwrap();
        let covers = |prefix: &&String| path == **prefix || path.starts_with(&format!("{prefix}/"));
        let longest = prefixes.iter().filter(covers).max_by_key(|prefix| prefix.len());
        let found = find(&table, &Method::GET, "h", &path, &HeaderMap::new());
        prop_assert_eq!(found.map(|route| &prefixes[route]), longest);
    }
}
