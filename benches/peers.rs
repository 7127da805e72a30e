//! CPU per request of weir beside HAProxy, in one run on one machine.
//!
//! ```text
//! cargo bench --bench peers              # 5 rounds of 3 s each; HAProxy takes part when it is installed
//! cargo bench --bench peers -- 9 5       # 9 rounds of 5 s
//! ```
//!
//! Each proxy has one thread on core 0 and does the same: a sticky 90/10 split by a header, forwarded
//! headers, a request id, keep-alive on both sides. Upstreams and load (32 connections, small JSON,
//! 1,000 users) are on core 1. Measured in turn, round after round; CPU is what `/proc/PID/stat` tells
//! of the proxy, so the load's own cost does not count. Figures are medians.

#![allow(clippy::print_stdout, reason = "what it has to tell goes to standard output")]

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CONNECTIONS: usize = 32;

/// A proxy under test; ended with its handle.
struct Peer {
    name: &'static str,
    child: Child,
    address: String,
    rounds: Vec<Round>,
}

/// Microseconds of CPU for each request of one round.
struct Round {
    user_us: f64,
    system_us: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["upstream"] => runtime()?.block_on(upstream()),
        ["load", address, seconds] => runtime()?.block_on(load(address, seconds.parse()?)),
        [] => compare(5, 3),
        [rounds, seconds] => compare(rounds.parse()?, seconds.parse()?),
        _ => Err("usage: cargo bench --bench peers [-- ROUNDS SECONDS]".into()),
    }
}

fn compare(rounds: usize, seconds: u64) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut upstreams = pinned(1, &std::env::current_exe()?).arg("upstream").stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(upstreams.stdout.take().ok_or("no output")?).lines();
    let mut upstream = || lines.next().ok_or("the upstream ended")?.map_err(Into::<Box<dyn Error>>::into);
    let (stable, canary) = (upstream()?, upstream()?);
    let mut peers = vec![weir(directory.path(), &stable, &canary)?];
    match haproxy(directory.path(), &stable, &canary) {
        Ok(haproxy) => peers.push(haproxy),
        Err(error) => println!("without HAProxy ({error}); Debian's package is haproxy"),
    }
    for round in 0..=rounds {
        for peer in &mut peers {
            let measured = measure(peer, seconds)?;
            // The first round warms up.
            if round > 0 {
                peer.rounds.push(measured);
            }
        }
    }
    println!("{:<10}{:>10}{:>10}{:>10}   µs of CPU a request, median of {rounds}", "", "user", "system", "total");
    for peer in &peers {
        let median = |part: fn(&Round) -> f64| median(peer.rounds.iter().map(part).collect());
        let (user, system) = (median(|round| round.user_us), median(|round| round.system_us));
        let total = median(|round| round.user_us + round.system_us);
        println!("{:<10}{user:>10.2}{system:>10.2}{total:>10.2}", peer.name);
    }
    if let [weir, haproxy] = &peers[..] {
        let ratios = weir.rounds.iter().zip(&haproxy.rounds);
        let total = |round: &Round| round.user_us + round.system_us;
        println!("ratio {:.2}", median(ratios.map(|(weir, haproxy)| total(weir) / total(haproxy)).collect()));
    }
    upstreams.kill()?;
    upstreams.wait()?;
    Ok(())
}

fn weir(directory: &Path, stable: &str, canary: &str) -> Result<Peer> {
    let config = format!(
        r#"
[weir]
workers = 1
state_dir = {:?}
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[services.orders]
split = {{ toggle = "orders-v2", on = "canary", off = "stable" }}
arms.stable = {{ endpoints = ["{stable}"] }}
arms.canary = {{ endpoints = ["{canary}"] }}
[[routes]]
name = "orders"
match = {{ path_prefix = "/orders" }}
service = "orders"
[toggles.orders-v2]
category = "ops"
owner = "bench"
variants = {{ on = true, off = false }}
default = "off"
bucket_by = "header:x-user-id"
[rollouts.orders]
toggle = "orders-v2"
variant = "on"
weight = "10%"
"#,
        directory.join("state")
    );
    let file = directory.join("weir.toml");
    fs::write(&file, config)?;
    let mut weir = pinned(0, &PathBuf::from(env!("CARGO_BIN_EXE_weir")));
    let mut child = weir.args(["run", "--log-format", "json", "--config"]).arg(&file).stderr(Stdio::piped()).spawn()?;
    let mut log = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
    loop {
        let line: serde_json::Value = serde_json::from_str(&log.next().ok_or("weir did not start")??)?;
        if line["message"] == "weir started" {
            let listeners = line["listeners"].as_str().and_then(|text| text.split_once('='));
            let address = listeners.ok_or("weir told no address")?.1.to_owned();
            return Ok(Peer { name: "weir", child, address, rounds: Vec::new() });
        }
    }
}

fn haproxy(directory: &Path, stable: &str, canary: &str) -> Result<Peer> {
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let config = format!(
        "
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 2s
  http-reuse always
  option forwardfor
frontend edge
  bind {address}
  unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
  unique-id-header x-request-id
  http-request set-header x-forwarded-proto http
  http-request set-header x-forwarded-host %[req.hdr(host)]
  http-request set-var(txn.slot) req.hdr(x-user-id),xxh32,mod(10)
  use_backend canary if {{ path_beg /orders }} {{ var(txn.slot) -m int 0 }}
  default_backend stable
backend stable
  server stable {stable}
backend canary
  server canary {canary}
"
    );
    let file = directory.join("haproxy.cfg");
    fs::write(&file, config)?;
    let child = pinned(0, Path::new("haproxy")).arg("-f").arg(&file).stderr(Stdio::null()).spawn()?;
    let mut peer = Peer { name: "haproxy", child, address, rounds: Vec::new() };
    let give_up = Instant::now() + Duration::from_secs(5);
    while std::net::TcpStream::connect(&peer.address).is_err() {
        if peer.child.try_wait()?.is_some() || Instant::now() > give_up {
            return Err("it did not start".into());
        }
        std::thread::yield_now();
    }
    Ok(peer)
}

fn measure(peer: &Peer, seconds: u64) -> Result<Round> {
    let before = cpu_ticks(peer.child.id())?;
    let load = pinned(1, &std::env::current_exe()?).args(["load", &peer.address, &seconds.to_string()]).output()?;
    let after = cpu_ticks(peer.child.id())?;
    let requests: f64 = String::from_utf8(load.stdout)?.trim().parse()?;
    // Linux tells process times in hundredths of a second, whatever its own clock is (time(7)).
    let each_us = |ticks: u64| f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) * 10_000.0 / requests;
    Ok(Round { user_us: each_us(after.0 - before.0), system_us: each_us(after.1 - before.1) })
}

fn cpu_ticks(pid: u32) -> Result<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse()?, fields[12].parse()?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn upstream() -> Result<()> {
    let mut listeners = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        listeners.push(tokio::spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                let body = Bytes::from_static(br#"{"id":1,"item":"book","quantity":2,"note":"small"}"#);
                let answer = service_fn(move |_request| {
                    let response = Response::builder().header("content-type", "application/json");
                    std::future::ready(response.body(Full::new(body.clone())))
                });
                stream.set_nodelay(true).ok();
                tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        }));
    }
    for listener in listeners {
        listener.await?;
    }
    Ok(())
}

/// Prints how many requests were answered with 200; any other answer ends it.
async fn load(address: &str, seconds: u64) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut connections = Vec::new();
    for connection in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, driver) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        connections.push(tokio::spawn(async move {
            let mut answered = 0;
            while Instant::now() < until {
                let user = (answered * CONNECTIONS + connection) % 1000;
                let request = Request::get("/orders/1").header("host", "shop.example.com");
                let request = request.header("x-user-id", user.to_string()).header("accept", "application/json");
                sender.ready().await.map_err(|error| error.to_string())?;
                let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
                let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
                if response.status() != 200 {
                    return Err(response.status().to_string());
                }
                response.into_body().collect().await.map_err(|error| error.to_string())?;
                answered += 1;
            }
            Ok(answered)
        }));
    }
    let mut answered = 0;
    for connection in connections {
        answered += connection.await??;
    }
    println!("{answered}");
    Ok(())
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
