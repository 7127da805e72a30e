//! The services behind the proxies: a stable and a canary one, on TCP and on Unix sockets.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    task::JoinSet,
};

use crate::{Result, machine::pinned};

const SMALL: &[u8] = br#"{"id":1,"item":"book","quantity":2,"note":"small"}"#;
static BULK: [u8; 1 << 20] = [b'x'; 1 << 20];

/// Upstreams that run in a process of their own.
pub(crate) struct Upstreams {
    child: Child,
    pub(crate) stable: String,
    pub(crate) canary: String,
    pub(crate) stable_unix: PathBuf,
    pub(crate) canary_unix: PathBuf,
}

/// Starts them on the load's core.
pub(crate) fn start(directory: &Path) -> Result<Upstreams> {
    let mut command = pinned(1, &std::env::current_exe()?);
    let mut child = command.arg("upstream").arg(directory).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let mut line = || lines.next().ok_or("the upstreams ended")?.map_err(Into::<Box<dyn std::error::Error>>::into);
    let (stable, canary) = (line()?, line()?);
    let unix = |name: &str| directory.join(format!("{name}.sock"));
    Ok(Upstreams { child, stable, canary, stable_unix: unix("stable"), canary_unix: unix("canary") })
}

pub(crate) async fn serve(directory: &Path) -> Result<()> {
    let mut accepting = JoinSet::new();
    for name in ["stable", "canary"] {
        let unix = UnixListener::bind(directory.join(format!("{name}.sock")))?;
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", tcp.local_addr()?);
        accepting.spawn(async move {
            while let Ok((stream, _peer)) = tcp.accept().await {
                stream.set_nodelay(true).ok();
                tokio::spawn(answer(stream));
            }
        });
        accepting.spawn(async move {
            while let Ok((stream, _peer)) = unix.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    }
    while accepting.join_next().await.is_some() {}
    Ok(())
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(async |request: Request<Incoming>| {
        let body = if request.uri().path().ends_with("/bulk") { &BULK[..] } else { SMALL };
        let response = Response::builder().header("content-type", "application/json");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(body))).expect("a response"))
    });
    // A proxy that goes away is no fault.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
