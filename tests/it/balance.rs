//! Who gets how much: slow starts, and how failures and what was seen long ago count.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use http::Response;
use http_body_util::Full;

use crate::{
    arms_config,
    support::{Client, Proxy, Upstream},
};

/// A service that takes its time, so that anybody else is preferred to it.
fn slow() -> Upstream {
    Upstream::answering(|_seen| {
        thread::sleep(Duration::from_millis(5));
        Response::new("slow".into())
    })
}

/// How many of so many requests got this answer.
async fn share(client: &mut Client, requests: usize, expected: &str) -> usize {
    let mut count = 0;
    for _ in 0..requests {
        count += usize::from(client.get("/", &[]).await.text() == expected);
    }
    count
}

fn config(endpoints: &[&Upstream], keys: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|upstream| format!("\"{}\"", upstream.address)).collect();
    arms_config(&format!("arms.stable = {{ endpoints = [{}], {keys} }}", endpoints.join(", ")), "", "")
}

#[tokio::test]
async fn an_endpoint_that_is_new_starts_slowly_and_gets_its_share_in_the_end() {
    let (old, new) = (slow(), Upstream::named("new"));
    for (slow_start, cold) in [("1h", true), ("1s", false)] {
        let keys = format!("slow_start = \"{slow_start}\"");
        let proxy = Proxy::start(&config(&[&old], &keys));
        let mut client = proxy.client().await;
        assert_eq!(share(&mut client, 5, "slow").await, 5);
        proxy.reload(&config(&[&old, &new], &keys)).await;
        if cold {
            // A tenth of what it would get, which is nearly all.
            let count = share(&mut client, 200, "new").await;
            assert!((1..=60).contains(&count), "{count} of 200");
        } else {
            while share(&mut client, 20, "new").await < 19 {}
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_well_again_starts_slowly() {
    let (old, well) = (slow(), Arc::new(AtomicBool::new(true)));
    let is_well = Arc::clone(&well);
    let sick = Upstream::answering(move |seen| {
        let sick = seen.uri == "/healthz" && !is_well.load(Ordering::SeqCst);
        Response::builder().status(if sick { 503 } else { 200 }).body(Full::from("sick")).unwrap()
    });
    let check = "health = { http = \"/healthz\", interval = \"10ms\", rise = 1, fall = 1 }";
    let proxy = Proxy::start(&config(&[&old, &sick], &format!("slow_start = \"1h\", {check}")));
    let mut client = proxy.client().await;
    // Who is there from the start needs no time.
    while share(&mut client, 20, "sick").await < 19 {}
    well.store(false, Ordering::SeqCst);
    while share(&mut client, 20, "slow").await < 20 {}
    well.store(true, Ordering::SeqCst);
    while share(&mut client, 1, "sick").await < 1 {}
    let count = share(&mut client, 200, "sick").await;
    assert!(count <= 60, "{count} of 200");
}

#[tokio::test]
async fn a_failure_counts_by_its_penalty_and_for_as_long_as_decay_says() {
    let failing = Upstream::answering(|_seen| Response::builder().status(500).body(Full::from("failed")).unwrap());
    let slow = slow();
    for (balance, failures) in [
        ("balance = {}", 0..=10),
        // As little as a quick answer: it fails faster than the other one answers, and gets nearly all.
        ("balance = { penalty = \"1ms\" }", 150..=200),
        // Forgotten before the next request.
        ("balance = { decay = \"1ms\" }", 20..=200),
    ] {
        let proxy = Proxy::start(&config(&[&failing, &slow], &format!("ejection = \"off\", {balance}")));
        let count = share(&mut proxy.client().await, 200, "failed").await;
        assert!(failures.contains(&count), "{balance}: {count} of 200");
    }
}
