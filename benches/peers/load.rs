//! The load: a process of its own that asks, waits and counts.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::ValueEnum;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::TlsConnector;

use crate::{Result, machine::pinned, peer::Certificate, scenario::Protocol, scenario::Scenario};

/// Users that ask, by turns.
const USERS: usize = 1_000;

/// What a load process is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    #[arg(long)]
    pace: Pace,
    #[arg(long)]
    address: String,
    #[arg(long)]
    path: String,
    #[arg(long)]
    http2: bool,
    /// The certificate to trust; without one there is no TLS.
    #[arg(long)]
    trust: Option<PathBuf>,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    streams: usize,
    #[arg(long)]
    seconds: u64,
    /// Requests a second, with an open pace.
    #[arg(long)]
    rate: f64,
}

/// When the next request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pace {
    /// When the last one is answered.
    Closed,
    /// When it is due, whatever became of the others.
    Open,
    /// Once on each connection; then they stay open until standard input ends.
    Idle,
}

/// What a load process tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    /// Microseconds at 50%, 99% and 99.9%.
    pub(crate) latency_us: [f64; 3],
}

/// A load process.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests / self.seconds
    }
}

impl Load {
    pub(crate) fn closed(scenario: &Scenario, address: &str, certificate: &Certificate, seconds: u64) -> Load {
        Load {
            pace: Pace::Closed,
            address: address.to_owned(),
            path: scenario.path.to_owned(),
            http2: scenario.protocol == Protocol::Http2,
            trust: scenario.tls.then(|| certificate.cert.clone()),
            connections: scenario.connections,
            streams: scenario.streams,
            seconds,
            rate: 0.0,
        }
    }

    pub(crate) fn open(scenario: &Scenario, address: &str, certificate: &Certificate, seconds: u64, rate: f64) -> Load {
        Load { pace: Pace::Open, rate, ..Load::closed(scenario, address, certificate, seconds) }
    }

    pub(crate) fn idle(scenario: &Scenario, address: &str, certificate: &Certificate, connections: usize) -> Load {
        Load { pace: Pace::Idle, connections, ..Load::closed(scenario, address, certificate, 0) }
    }

    /// Starts a process that does it, on the load's core.
    pub(crate) fn start(&self) -> Result<Running> {
        let mut command = pinned(1, &std::env::current_exe()?);
        let pace = self.pace.to_possible_value().expect("a name");
        command.args(["load", "--pace", pace.get_name(), "--address", &self.address, "--path", &self.path]);
        command.args(["--connections", &self.connections.to_string(), "--streams", &self.streams.to_string()]);
        command.args(["--seconds", &self.seconds.to_string(), "--rate", &self.rate.to_string()]);
        if self.http2 {
            command.arg("--http2");
        }
        if let Some(trust) = &self.trust {
            command.arg("--trust").arg(trust);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        Ok(Running { child, lines })
    }

    pub(crate) async fn run(self) -> Result<()> {
        let done = match self.pace {
            Pace::Closed => self.ask_in_turn().await?,
            Pace::Open => self.ask_when_due().await?,
            Pace::Idle => return self.hold().await,
        };
        println!("{}", serde_json::to_string(&done)?);
        Ok(())
    }

    async fn ask_in_turn(&self) -> Result<Done> {
        let started = Instant::now();
        let until = started + Duration::from_secs(self.seconds);
        let mut asking = Vec::new();
        let senders = self.senders().await?;
        let step = senders.len();
        for (first, mut sender) in senders.into_iter().enumerate() {
            let load = self.clone();
            asking.push(tokio::spawn(async move {
                let mut answered = 0_u32;
                while Instant::now() < until {
                    load.ask(&mut sender, first + step * answered as usize).await?;
                    answered += 1;
                }
                Ok::<u32, String>(answered)
            }));
        }
        let mut requests = 0.0;
        for asked in asking {
            requests += f64::from(asked.await??);
        }
        Ok(Done { requests, seconds: started.elapsed().as_secs_f64(), latency_us: [0.0; 3] })
    }

    async fn ask_when_due(&self) -> Result<Done> {
        let mut queues = Vec::new();
        let mut asking = Vec::new();
        for mut sender in self.senders().await? {
            let (queue, mut due) = mpsc::unbounded_channel::<(usize, Instant)>();
            let load = self.clone();
            queues.push(queue);
            asking.push(tokio::spawn(async move {
                let mut latencies = Vec::new();
                // What is due while another one is on its way waits here, and its wait counts.
                while let Some((number, due)) = due.recv().await {
                    load.ask(&mut sender, number).await?;
                    latencies.push(due.elapsed().as_secs_f64() * 1e6);
                }
                Ok::<Vec<f64>, String>(latencies)
            }));
        }
        let (rate, seconds) = (self.rate, self.seconds);
        // A thread keeps time: the runtime's own timers know whole milliseconds only.
        let clock = std::thread::spawn(move || {
            let started = Instant::now();
            let end = Duration::from_secs(seconds);
            for number in 0_u32.. {
                let after = Duration::from_secs_f64(f64::from(number) / rate);
                if after >= end {
                    break;
                }
                std::thread::sleep((started + after).saturating_duration_since(Instant::now()));
                let queue = &queues[number as usize % queues.len()];
                if queue.send((number as usize, started + after)).is_err() {
                    break;
                }
            }
        });
        let mut latencies = Vec::new();
        for asked in asking {
            latencies.extend(asked.await??);
        }
        clock.join().map_err(|_panic| "the clock broke")?;
        latencies.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list"
        )]
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let requests = latencies.len() as f64;
        #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
        let seconds = seconds as f64;
        Ok(Done { requests, seconds, latency_us: [at(0.5), at(0.99), at(0.999)] })
    }

    async fn hold(&self) -> Result<()> {
        let mut held = Vec::new();
        for number in 0..self.connections {
            let mut sender = self.connect().await?;
            self.ask(&mut sender, number).await?;
            held.push(sender);
        }
        println!("ready");
        std::io::stdout().flush()?;
        // Until whoever started this has looked.
        tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await?;
        Ok(())
    }

    async fn ask(&self, sender: &mut Sender, number: usize) -> std::result::Result<(), String> {
        let user = number % USERS;
        let request = match sender {
            Sender::Http1(_) => Request::get(&*self.path).header("host", "shop.example.com"),
            Sender::Http2(_) => {
                let scheme = if self.trust.is_some() { "https" } else { "http" };
                let uri = format!("{scheme}://shop.example.com{}", self.path);
                Request::get(uri).version(Version::HTTP_2)
            }
        };
        let request = request.header("x-user-id", user.to_string()).header("accept", "application/json");
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let response = match sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(|error| error.to_string())?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(|error| error.to_string())?;
                sender.send_request(request).await
            }
        };
        let response = response.map_err(|error| error.to_string())?;
        if response.status() != 200 {
            return Err(format!("answered with {}", response.status()));
        }
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// All connections, each as often as it may carry a request at once.
    async fn senders(&self) -> Result<Vec<Sender>> {
        let mut senders = Vec::new();
        for _connection in 0..self.connections {
            let sender = self.connect().await?;
            senders.extend((1..self.streams).filter_map(|_| sender.again()));
            senders.push(sender);
        }
        Ok(senders)
    }

    async fn connect(&self) -> Result<Sender> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let Some(trust) = &self.trust else { return self.speak(stream).await };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(trust)?)?;
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![if self.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = ServerName::try_from("shop.example.com")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        self.speak(stream).await
    }

    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender> {
        if self.http2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            Ok(Sender::Http2(sender))
        } else {
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            Ok(Sender::Http1(sender))
        }
    }
}

impl Sender {
    /// Another stream of the same connection, where there are several.
    fn again(&self) -> Option<Sender> {
        match self {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Sender::Http2(sender.clone())),
        }
    }
}

impl Running {
    pub(crate) fn finish(mut self) -> Result<Done> {
        let line = self.lines.next().ok_or("the load failed: an answer was not 200, or a connection broke")??;
        Ok(serde_json::from_str(&line)?)
    }

    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        self.lines.next().ok_or("the connections could not be made")??;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its input ends, and with it its wait; or it has ended by itself.
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}
