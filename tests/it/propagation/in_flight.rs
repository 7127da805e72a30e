//! The decision of a request in flight, found by its trace.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Barrier},
};

use tempfile::TempDir;
use tokio::sync::mpsc;
use weir::{
    config::{Sources, compile},
    live::{Live, Serving},
    propagation::TraceId,
    proxy::{Bound, Crew, InFlight, OwnAddresses, Resolver, Sights, Upstreamward},
    telemetry::Meters,
    toggle::Reason,
};

use super::{Secrets, TRACE, config, now, other, signed};
use crate::support::{Client, Upstream};

/// A worker with the directory of requests in flight, as the flag API has it kept.
struct Listing {
    live: Live,
    in_flight: InFlight,
    address: SocketAddr,
    drain: tokio::sync::watch::Sender<Option<std::time::Duration>>,
    crew: Crew,
}

impl Listing {
    fn start(directory: &TempDir, config: &str) -> Listing {
        let listener =
            "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\ntrusted_networks = [\"127.0.0.0/8\"]\n";
        fs::write(directory.path().join("weir.toml"), format!("{listener}{config}")).unwrap();
        let mut plan = compile(&Sources::read(directory.path()).unwrap()).unwrap().plan;
        plan.in_flight = true;
        let meters = Arc::new(Meters::new(&plan, 2));
        let bound = Bound::bind(&plan.listeners[0].address, 2, false).unwrap();
        let address = bound.address.tcp().unwrap();
        let live = Live::new(Serving::new(Arc::new(plan), Arc::default(), meters, 1));
        let (_log, lines) = weir::proxy::AccessLog::start(Arc::default()).unwrap();
        let (in_flight, questions) = InFlight::new(2);
        let (drain, draining) = tokio::sync::watch::channel(None);
        let (_sights, sights) = tokio::sync::watch::channel(Sights::default());
        let upstreamward = Upstreamward { own: OwnAddresses::default(), resolver: Resolver::system(), sights };
        let crew = Crew::start(&live, vec![bound], questions, &lines, &draining, &upstreamward).unwrap();
        Listing { live, in_flight, address, drain, crew }
    }
}

#[tokio::test]
async fn a_request_in_flight_is_found_by_its_trace_and_gone_when_it_ends() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let release = Arc::new(Barrier::new(3));
    let released = Arc::clone(&release);
    let upstream = Upstream::raw(move |mut stream, _number| {
        use std::io::Write;
        arrived.send(()).unwrap();
        released.wait();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    });
    let (secrets, directory) = (Secrets::new(), TempDir::new().unwrap());
    let config = config(&(other("u", "0%") + &secrets.table("a", "")), [upstream.address; 2], "", "100%");
    let listing = Listing::start(&directory, &config);
    let trace = TraceId::parse(TRACE.as_bytes()).unwrap();
    assert_eq!(listing.in_flight.find(trace).await, None);
    let fields = [("traceparent", TRACE), ("x-user-id", "1")];
    let (mut one, mut two) = (Client::connect(listing.address).await, Client::connect(listing.address).await);
    let asking = tokio::spawn(async move { one.get("/", &fields).await });
    arrivals.recv().await.unwrap();
    let found = listing.in_flight.find(trace).await.unwrap();
    let found: Vec<_> = found.pins.iter().map(|pin| (&*pin.toggle, &*pin.variant, pin.reason)).collect();
    assert_eq!(found, [("t", "on", Reason::Split), ("u", "off", Reason::Split)]);
    assert_eq!(listing.in_flight.find(TraceId::new(1)).await, None);
    // Another request of the trace that decided otherwise, as its fields say.
    let good = signed('a', TRACE, now(), &[("u", "on")]);
    let other =
        tokio::spawn(
            async move { two.get("/", &[("traceparent", TRACE), ("x-user-id", "1"), ("baggage", &good)]).await },
        );
    arrivals.recv().await.unwrap();
    let found = listing.in_flight.find(trace).await.unwrap();
    let found: Vec<_> = found.pins.iter().map(|pin| &*pin.toggle).collect();
    assert_eq!(found, ["t"], "of what they disagree about nothing is said");
    tokio::task::spawn_blocking(move || release.wait()).await.unwrap();
    assert_eq!(
        (asking.await.unwrap().status, other.await.unwrap().status),
        (http::StatusCode::OK, http::StatusCode::OK)
    );
    assert_eq!(listing.in_flight.find(trace).await, None);
    listing.drain.send_replace(Some(std::time::Duration::ZERO));
    listing.crew.join().await;
    assert_eq!(listing.in_flight.find(trace).await, None, "workers that ended answer nobody");
    drop(listing.live);
}
