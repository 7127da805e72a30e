//! The proxies that take part: how each is told to do the same.

mod envoy;
mod haproxy;
mod nginx;
mod weir;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Result,
    machine::{Cpu, pinned, resident_kib},
    scenario::Scenario,
    upstream::Upstreams,
};

/// A kind of proxy: writes its configuration into a folder, and gives the command that runs it.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    command: fn(&Setup<'_>) -> Result<Command>,
}

/// All kinds, in the order of the table.
pub(crate) const KINDS: [Kind; 4] = [
    Kind { name: "weir", command: weir::command },
    Kind { name: "haproxy", command: haproxy::command },
    Kind { name: "nginx", command: nginx::command },
    Kind { name: "envoy", command: envoy::command },
];

/// What a configuration is made from.
pub(crate) struct Setup<'a> {
    scenario: &'a Scenario,
    /// Where it has to listen.
    address: &'a str,
    stable: String,
    canary: String,
    certificate: &'a Certificate,
    directory: &'a Path,
}

/// What proxies show to clients.
pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub(crate) pair: PathBuf,
}

/// A proxy that runs; ended with its handle.
pub(crate) struct Peer {
    name: &'static str,
    child: Child,
    address: String,
}

impl Certificate {
    /// Makes one that is its own authority.
    pub(crate) fn make(directory: &Path) -> Result<Certificate> {
        let made = rcgen::generate_simple_self_signed(["shop.example.com".to_owned()])?;
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).map(|()| path)
        };
        Ok(Certificate {
            pair: write("pair.pem", format!("{cert}{key}"))?,
            cert: write("cert.pem", cert)?,
            key: write("key.pem", key)?,
        })
    }
}

impl Peer {
    pub(crate) fn start(
        kind: &Kind,
        scenario: &Scenario,
        upstreams: &Upstreams,
        certificate: &Certificate,
        directory: &Path,
    ) -> Result<Peer> {
        // Free when it is asked for; nobody else here takes ports meanwhile.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let directory = directory.join(format!("{}-{}", kind.name, scenario.name));
        fs::create_dir_all(&directory)?;
        let unix = |path: &Path| path.display().to_string();
        let (stable, canary) = if scenario.unix {
            (unix(&upstreams.stable_unix), unix(&upstreams.canary_unix))
        } else {
            (upstreams.stable.clone(), upstreams.canary.clone())
        };
        let setup = Setup { scenario, address: &address, stable, canary, certificate, directory: &directory };
        let log = fs::File::create(directory.join("log"))?;
        let mut command = (kind.command)(&setup)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut peer = Peer { name: kind.name, child, address: address.clone() };
        let give_up = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&address).is_err() {
            if peer.child.try_wait()?.is_some() || Instant::now() > give_up {
                let log = fs::read_to_string(directory.join("log"))?;
                return Err(format!("it did not start: {}", log.lines().last().unwrap_or("it said nothing")).into());
            }
            std::thread::yield_now();
        }
        Ok(peer)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn cpu_us(&self) -> Result<Cpu> {
        Cpu::of(self.child.id())
    }

    pub(crate) fn memory_kib(&self) -> Result<f64> {
        resident_kib(self.child.id())
    }
}

impl Setup<'_> {
    /// Writes a configuration file.
    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The paths of the routes that nobody asks for.
    fn others(&self) -> impl Iterator<Item = String> {
        (0..self.scenario.others).map(|number| format!("/other-{number}"))
    }

    /// A program that runs on the proxies' core.
    fn program(&self, name: &str) -> Command {
        pinned(0, Path::new(name))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
