//! Names of endpoints: every address is used, the last good answer holds, and few are looked up at once.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;
use weir::Resolver;

use crate::{
    arms_config,
    support::{Client, Proxy, Upstream},
};

/// A name's addresses, as a test changes them; `None` is a DNS that fails.
fn telling(answer: Option<Vec<SocketAddr>>) -> (watch::Sender<Option<Vec<SocketAddr>>>, Resolver) {
    let (tell, told) = watch::channel(answer);
    let resolver = Resolver::new(move |host, port| {
        assert_eq!((host, port), ("orders.test", 80));
        let answer = told.borrow().clone().ok_or_else(|| io::Error::other("SERVFAIL"));
        async move { answer }
    });
    (tell, resolver)
}

fn start(resolver: Resolver, arm: &str) -> Proxy {
    let arms = format!("arms.stable = {{ endpoints = [\"orders.test:80\"]{arm} }}");
    let quick = "[timeouts]\ndns_refresh = \"10ms\"";
    Proxy::start_resolving(&arms_config(&arms, "", quick), &[], resolver)
}

/// Asks until exactly these have answered the last thirty.
async fn settle(client: &mut Client, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    let mut seen = BTreeSet::new();
    while seen != expected {
        seen.clear();
        for _ in 0..30 {
            seen.insert(client.get("/", &[]).await.text().to_owned());
        }
    }
}

async fn lookups(proxy: &Proxy, outcome: &str) -> f64 {
    let series = "weir_upstream_dns_lookups_total{endpoint=\"orders.test:80\",outcome=";
    proxy.metric(&format!("{series}\"{outcome}\"}}")).await
}

#[tokio::test]
async fn every_address_of_a_name_is_used_and_who_leaves_it_is_not_asked_any_more() {
    let [first, second, third] = ["first", "second", "third"].map(Upstream::named);
    let (tell, resolver) = telling(Some(vec![first.address, second.address]));
    let proxy = start(resolver, "");
    let mut client = proxy.client().await;
    settle(&mut client, &["first", "second"]).await;
    tell.send_replace(Some(vec![third.address, second.address, third.address]));
    settle(&mut client, &["second", "third"]).await;
    let known = "weir_upstream_hosts{endpoint=\"orders.test:80\",state=\"known\"}";
    assert_eq!(proxy.metric(known).await, 2.0, "one that is named twice is one");
}

#[tokio::test]
async fn the_last_good_answer_stays_in_force_when_dns_fails_or_says_nothing() {
    let upstream = Upstream::named("v1");
    let (tell, resolver) = telling(Some(vec![upstream.address]));
    let proxy = start(resolver, "");
    let mut client = proxy.client().await;
    while lookups(&proxy, "resolved").await < 1.0 {}
    for answer in [None, Some(Vec::new())] {
        tell.send_replace(answer);
        let failed = lookups(&proxy, "failed").await;
        while lookups(&proxy, "failed").await < failed + 3.0 {
            assert_eq!(client.get("/", &[]).await.text(), "v1");
        }
    }
    // A reload does not forget it either.
    let arms = "arms.stable = { endpoints = [\"orders.test:80\"] }";
    proxy.reload(&arms_config(arms, "timeout = \"9s\"", "[timeouts]\ndns_refresh = \"20ms\"")).await;
    assert_eq!(client.get("/", &[]).await.text(), "v1");
}

#[tokio::test]
async fn a_name_that_has_no_address_yet_is_a_502_until_it_has_one() {
    let upstream = Upstream::named("v1");
    let (tell, resolver) = telling(None);
    let proxy = start(resolver, "");
    let mut client = proxy.client().await;
    assert_eq!(client.get("/", &[]).await.problem(), "connect_failed");
    tell.send_replace(Some(vec![upstream.address]));
    assert_eq!(client.get("/", &[]).await.text(), "v1");
}

#[tokio::test]
async fn dns_lookups_max_are_under_way_at_once() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&running), Arc::clone(&most));
    let (go, going) = watch::channel(false);
    let resolver = Resolver::new(move |_host, port| {
        let (counted, highest, mut going) = (Arc::clone(&counted), Arc::clone(&highest), going.clone());
        async move {
            highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            going.wait_for(|going| *going).await.unwrap();
            counted.fetch_sub(1, Ordering::SeqCst);
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        }
    });
    let names: Vec<_> = (0..6).map(|number| format!("\"n{number}.test:80\"")).collect();
    let arms = format!("arms.stable = {{ endpoints = [{}] }}", names.join(", "));
    let config = |limit: u32| arms_config(&arms, "", &format!("[limits]\ndns_lookups_max = {limit}"));
    let proxy = Proxy::start_resolving(&config(2), &[], resolver);
    while running.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    go.send_replace(true);
    for number in 0..6 {
        let series = format!("weir_upstream_dns_lookups_total{{endpoint=\"n{number}.test:80\",outcome=\"resolved\"}}");
        while proxy.metric(&series).await < 1.0 {}
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}
