//! Where clients come in: Unix sockets, the PROXY protocol, limits on connections, and ports that a new
//! process takes over.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    plain_config,
    support::{Client, Process, Proxy, Upstream, raw_exchange},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";

/// A listener with these keys, that trusts this machine.
fn listener(keys: &str) -> String {
    format!("[[listeners]]\nname = \"edge\"\ntrusted_networks = [\"127.0.0.1\"]\n{keys}\n")
}

#[tokio::test]
async fn a_unix_socket_is_served_with_its_mode_and_goes_with_its_process() {
    let mut upstream = Upstream::named("v1");
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("edge.sock");
    let keys = format!("address = \"unix:{}\"\nmode = \"600\"", path.display());
    let proxy = Proxy::start(&plain_config(upstream.address, "", &listener(&keys)));
    let file = fs::symlink_metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let mut client = Client::over(tokio::net::UnixStream::connect(&path).await.unwrap()).await;
    for _ in 0..2 {
        assert_eq!(client.get("/", &[("x-forwarded-for", "192.0.2.7")]).await.text(), "v1");
        // Who may connect is on this machine.
        assert_eq!(upstream.seen().await.headers["x-forwarded-for"], "192.0.2.7, 127.0.0.1");
    }
    let mut http2 = UnixStream::connect(&path).unwrap();
    http2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    http2.read_exact(&mut [0; 9]).unwrap();
    drop(http2);
    proxy.into_app().drain().await;
    assert!(!path.exists());
}

/// What a raw upstream was told of the client.
async fn forwarded_for(upstream: &mut Upstream) -> String {
    upstream.seen().await.headers["x-forwarded-for"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_proxy_protocol_of_a_trusted_peer_names_the_client() {
    let mut upstream = Upstream::named("v1");
    let keys = "address = \"127.0.0.1:0\"\nproxy_protocol = true";
    let proxy = Proxy::start(&plain_config(upstream.address, "", &listener(keys)));
    let version_2 =
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[192, 0, 2, 9, 198, 51, 100, 1, 0x30, 0x39, 0, 80]]
            .concat();
    for (preamble, client) in [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 80\r\n".as_slice(), "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&version_2, "192.0.2.9"),
    ] {
        let answer = raw_exchange(proxy.address(), &[preamble, GET].concat());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(forwarded_for(&mut upstream).await, client);
    }
    // The client that it names is not trusted for it.
    let claim = b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\n\
                  connection: close\r\n\r\n";
    raw_exchange(proxy.address(), claim);
    assert_eq!(forwarded_for(&mut upstream).await, "192.0.2.7");
    // Byte by byte.
    let mut slow = TcpStream::connect(proxy.address()).unwrap();
    slow.set_nodelay(true).unwrap();
    for byte in [b"PROXY TCP4 192.0.2.8 198.51.100.1 1 2\r\n".as_slice(), GET].concat() {
        slow.write_all(&[byte]).unwrap();
    }
    assert_eq!(forwarded_for(&mut upstream).await, "192.0.2.8");
    // One that has to speak it and does not.
    assert_eq!(raw_exchange(proxy.address(), GET), "");
    assert_eq!(proxy.metric("weir_proxy_protocol_failures_total{listener=\"edge\"}").await, 1.0);
    assert!(upstream.saw_nothing());
}

#[tokio::test]
async fn the_proxy_protocol_is_waited_for_no_longer_than_configured() {
    let upstream = Upstream::named("v1");
    let rest = listener("address = \"127.0.0.1:0\"\nproxy_protocol = true");
    let proxy =
        Proxy::start(&plain_config(upstream.address, "", &format!("{rest}[timeouts]\nproxy_protocol = \"100ms\"\n")));
    assert_eq!(raw_exchange(proxy.address(), b"PROXY "), "");
    assert_eq!(proxy.metric("weir_proxy_protocol_failures_total{listener=\"edge\"}").await, 1.0);
}

#[tokio::test]
async fn a_peer_that_is_not_trusted_names_nobody() {
    let upstream = Upstream::named("v1");
    let keys = "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n";
    let proxy = Proxy::start(&plain_config(upstream.address, "", keys));
    assert!(raw_exchange(proxy.address(), GET).starts_with("HTTP/1.1 200"));
    let answer = raw_exchange(proxy.address(), &[b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n", GET].concat());
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn one_client_gets_only_so_many_connections() {
    let upstream = Upstream::named("v1");
    let rest = "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n[limits]\nconnections_per_source_max = 2\n";
    let proxy = Proxy::start(&plain_config(upstream.address, "", rest));
    let (mut first, second) = (proxy.client().await, proxy.client().await);
    assert_eq!(first.get("/", &[]).await.text(), "v1");
    while proxy.metric("weir_connections{listener=\"edge\"}").await < 2.0 {}
    assert_eq!(raw_exchange(proxy.address(), GET), "");
    let refused = "weir_connections_refused_total{listener=\"edge\",cause=\"connections_per_source_max\"}";
    assert_eq!(proxy.metric(refused).await, 1.0);
    drop(second);
    while proxy.metric("weir_connections{listener=\"edge\"}").await > 1.0 {}
    assert!(raw_exchange(proxy.address(), GET).starts_with("HTTP/1.1 200"), "it may come again");
}

/// Seconds of processor time that a process has used.
fn cpu_seconds(process: &Process) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // User and system time, in hundredths of a second.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

#[tokio::test]
async fn running_out_of_descriptors_neither_spins_nor_kills() {
    let upstream = Upstream::named("v1");
    let mut process = Process::start_by(&plain_config(upstream.address, "", ""), |weir| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "ulimit -n 80 && exec \"$0\" \"$@\"", weir, "run"]);
        shell
    });
    let mut admin = Client::connect(process.admin).await;
    assert_eq!(admin.get("/healthz", &[]).await.status, 200);
    let before = cpu_seconds(&process);
    let mut clients: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(process.address).unwrap()).collect();
    process.logged("no connection could be accepted");
    // Those that are too many are told at once, not left in a queue.
    for mut client in clients.drain(100..) {
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let ended = client.read(&mut [0]);
        assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "one waits");
    }
    let metrics = admin.get("/metrics", &[]).await.text().to_owned();
    assert!(metrics.contains("cause=\"descriptors\"} 2"), "about 230 were turned away: {metrics}");
    assert!(cpu_seconds(&process) - before < 5.0, "it spins");
    drop(clients);
    let serving = Instant::now();
    while !raw_exchange(process.address, GET).starts_with("HTTP/1.1 200") {
        assert!(serving.elapsed() < Duration::from_secs(30), "it does not serve again");
    }
    process.signal("TERM");
    process.logged("weir stopped");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
}

/// Asks on a new connection each time, until it is told to stop; counts answers and failures.
fn asking(address: SocketAddr, stop: &Arc<AtomicBool>, answers: &Arc<AtomicU64>) -> thread::JoinHandle<Vec<String>> {
    let (stop, answers) = (Arc::clone(stop), Arc::clone(answers));
    thread::spawn(move || {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let ask = || {
                let mut stream = TcpStream::connect(address)?;
                stream.write_all(GET)?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                std::io::Result::Ok(answer)
            };
            match ask() {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => drop(answers.fetch_add(1, Ordering::Relaxed)),
                other => failures.push(format!("{other:?}")),
            }
        }
        failures
    })
}

#[test]
fn a_new_process_takes_over_the_ports_and_no_request_is_lost() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "");
    let weir = "[weir]\nworkers = 2\nstate_dir = \"/nonexistent\"\n";
    let mut old = Process::start(&format!("{weir}{config}"));
    let (address, admin) = (old.address, old.admin);
    let config = format!(
        "{weir}[[listeners]]\nname = \"edge\"\naddress = \"{address}\"\n[admin]\naddress = \"{admin}\"\n{config}"
    );
    let stop = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicU64::new(0));
    let asking: Vec<_> = (0..4).map(|_| asking(address, &stop, &answers)).collect();
    // Both serve for a while, and the new one alone.
    let served = |more: u64| {
        let enough = answers.load(Ordering::Relaxed) + more;
        while answers.load(Ordering::Relaxed) < enough {
            thread::yield_now();
        }
    };
    for _ in 0..3 {
        served(50);
        let new = Process::start_by(&config, |weir| {
            let mut command = std::process::Command::new(weir);
            command.args(["run", "--take-over"]);
            command
        });
        served(50);
        old.signal("TERM");
        old.logged("weir stopped");
        assert_eq!(old.child.wait().unwrap().code(), Some(0));
        old = new;
    }
    stop.store(true, Ordering::Relaxed);
    for asking in asking {
        assert_eq!(asking.join().unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_lame_duck_serves_on_while_it_is_not_ready() {
    let upstream = Upstream::named("v1");
    let weir = "[weir]\nworkers = 1\nstate_dir = \"/nonexistent\"\nlame_duck = \"500ms\"\n";
    let mut process = Process::start(&format!("{weir}{}", plain_config(upstream.address, "", "")));
    let mut admin = Client::connect(process.admin).await;
    let told = Instant::now();
    process.signal("TERM");
    process.logged("draining");
    assert_eq!(admin.get("/readyz", &[]).await.status, 503);
    let mut served = 0;
    while told.elapsed() < Duration::from_millis(300) {
        assert!(raw_exchange(process.address, GET).starts_with("HTTP/1.1 200"));
        served += 1;
    }
    assert!(served > 0);
    process.logged("weir stopped");
    assert!(told.elapsed() >= Duration::from_millis(500));
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
}
