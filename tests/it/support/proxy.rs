//! A proxy on a configuration of its own, in this process or in one of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir::{App, Outcome, Resolver};

use super::client::Client;

/// A proxy in this process.
pub(crate) struct Proxy {
    directory: TempDir,
    app: App,
}

/// A proxy in a process of its own, which ends with its handle.
pub(crate) struct Process {
    directory: TempDir,
    pub(crate) child: Child,
    pub(crate) log: BufReader<ChildStderr>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Listener, admin and one worker, unless the configuration says otherwise.
fn complete(directory: &Path, config: &str) -> String {
    let mut whole = String::new();
    if !config.contains("[weir]") {
        whole.push_str(&format!("[weir]\nworkers = 1\nstate_dir = {:?}\n", directory.join("state")));
    }
    if !config.contains("[[listeners]]") {
        whole.push_str(
            "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\ntrusted_networks = [\"127.0.0.0/8\"]\n",
        );
    }
    if !config.contains("[admin]") {
        whole.push_str("[admin]\naddress = \"127.0.0.1:0\"\n");
    }
    whole + config
}

impl Proxy {
    /// Starts on a configuration.
    pub(crate) fn start(config: &str) -> Proxy {
        Proxy::start_with(config, &[])
    }

    /// Starts on a configuration with contracts, by their file names.
    pub(crate) fn start_with(config: &str, contracts: &[(&str, &str)]) -> Proxy {
        let files: Vec<_> = contracts.iter().map(|(name, text)| (format!("contracts/{name}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (&**name, *text)).collect();
        Proxy::start_beside(config, &files)
    }

    /// Starts on a configuration with other files beside it.
    pub(crate) fn start_beside(config: &str, files: &[(&str, &str)]) -> Proxy {
        Proxy::start_resolving(config, files, Resolver::system())
    }

    /// Starts with a way to look up names.
    pub(crate) fn start_resolving(config: &str, files: &[(&str, &str)], resolver: Resolver) -> Proxy {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("contracts")).unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        fs::write(directory.path().join("weir.toml"), complete(directory.path(), config)).unwrap();
        let app = App::start_resolving(directory.path(), resolver).unwrap();
        Proxy { directory, app }
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn into_app(self) -> App {
        self.app
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app.addresses().listeners[0].1.tcp().unwrap()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("weir.toml")
    }

    /// The text that a configuration is written as.
    pub(crate) fn complete(&self, config: &str) -> String {
        complete(self.directory.path(), config)
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    /// Writes another configuration and loads it.
    pub(crate) async fn reload(&self, config: &str) -> Outcome {
        fs::write(self.file(), self.complete(config)).unwrap();
        self.app.reload().await
    }

    /// The value of a series, by how its line starts; 0 when it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a series has this value.
    pub(crate) async fn shows(&self, series: &str, value: f64) {
        let asked = Instant::now();
        while self.metric(series).await != value {
            assert!(asked.elapsed() < Duration::from_secs(60), "{series} is never {value}");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn metrics(&self) -> String {
        let mut admin = Client::connect(self.app.addresses().admin.unwrap()).await;
        admin.get("/metrics", &[]).await.text().to_owned()
    }
}

impl Process {
    /// Starts `weir run`, and waits until it tells where it listens.
    pub(crate) fn start(config: &str) -> Process {
        Process::start_by(config, |weir| {
            let mut command = Command::new(weir);
            command.arg("run");
            command
        })
    }

    /// Starts it by a command that is made from the path of the binary and ends with `run`.
    pub(crate) fn start_by(config: &str, command: impl FnOnce(&str) -> Command) -> Process {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("weir.toml"), complete(directory.path(), config)).unwrap();
        let mut command = command(env!("CARGO_BIN_EXE_weir"));
        command.args(["--log-format", "json", "--config"]).arg(directory.path()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("weir started") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it started");
        }
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = line["listeners"].as_str().unwrap().split_once('=').unwrap().1.parse().unwrap();
        let admin = line["admin"].as_str().unwrap().parse().unwrap();
        Process { directory, child, log, address, admin }
    }

    /// Writes another configuration.
    pub(crate) fn rewrite(&self, config: &str) {
        fs::write(self.directory.path().join("weir.toml"), complete(self.directory.path(), config)).unwrap();
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The next log line that says this.
    pub(crate) fn logged(&mut self, message: &str) -> serde_json::Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "it ended without logging {message:?}");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"].as_str().is_some_and(|text| text.contains(message)) {
                return line;
            }
        }
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory that it has now, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what most tests want.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
