//! Both ends byte by byte: what hyper would never send.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Longer than anything here takes: a test that would hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, read and written as bytes.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Raw {
        Raw::new(TcpStream::connect(address).unwrap())
    }

    fn new(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Raw { stream }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads until the text ends so, and returns all of it; what there is when the peer closes before.
    pub(crate) fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(end.as_bytes()) {
            match self.stream.read(&mut byte) {
                Ok(1) => text.push(byte[0]),
                _gone => break,
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads a head.
    pub(crate) fn head(&mut self) -> String {
        self.read_until("\r\n\r\n")
    }

    /// Reads until the peer closes.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = Vec::new();
        // A reset after the answer ends the reading just as a close does.
        let ended = self.stream.read_to_end(&mut text);
        assert!(!ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it was not closed in time");
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A server that answers each head by a function.
#[derive(Debug)]
pub(crate) struct RawUpstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<RwLock<Vec<String>>>,
}

impl RawUpstream {
    /// `act` gets each head with its connection, and tells whether that goes on. Its threads end with their
    /// connections; the one that accepts ends with the process.
    pub(crate) fn start(act: impl Fn(&str, &mut Raw) -> bool + Send + Sync + 'static) -> RawUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, heads, act) = (Arc::new(AtomicUsize::new(0)), Arc::default(), Arc::new(act));
        let upstream = RawUpstream { address, connections: Arc::clone(&connections), heads: Arc::clone(&heads) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::Relaxed);
                let (heads, act) = (Arc::clone(&heads), Arc::clone(&act));
                thread::spawn(move || {
                    let mut raw = Raw::new(stream.unwrap());
                    loop {
                        let head = raw.head();
                        if head.is_empty() {
                            break;
                        }
                        heads.write().unwrap().push(head.clone());
                        if !act(&head, &mut raw) {
                            break;
                        }
                    }
                });
            }
        });
        upstream
    }

    /// Writes the same to each head, and goes on.
    pub(crate) fn saying(bytes: &'static [u8]) -> RawUpstream {
        RawUpstream::start(move |_head, raw| {
            raw.write(bytes);
            true
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The heads that came, in their order.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.read().unwrap().clone()
    }
}
