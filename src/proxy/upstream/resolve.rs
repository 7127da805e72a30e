//! Looking up names. The system's resolver does it (`/etc/hosts`, search domains, its own cache), on the
//! control thread; it tells no time to live, so that names are looked up again at an interval.

use std::{fmt, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

/// How names of endpoints are looked up: by the system, unless a program that embeds weir has a way of its
/// own.
#[derive(Clone)]
pub struct Resolver(Arc<LookUp>);

type LookUp = dyn Fn(&str, u16) -> Answer + Send + Sync;
type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Resolver {
    /// Looks names up by a function, which gets a name and a port. It is called on the control thread and on
    /// workers: it must not block. Its answer is waited for as long as `timeouts.dns` says.
    pub fn new<F>(look_up: impl Fn(&str, u16) -> F + Send + Sync + 'static) -> Resolver
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Resolver(Arc::new(move |host, port| Box::pin(look_up(host, port))))
    }

    /// The system's.
    #[must_use]
    pub fn system() -> Resolver {
        Resolver::new(|host, port| {
            let host = host.to_owned();
            async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }
        })
    }

    /// What a name stands for now, in the order of the answer.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0(host, port).await
    }

    /// All addresses of a name, in order; `None` when there is no answer in time, or an empty one.
    pub(super) async fn addresses(&self, host: &str, port: u16, within: Duration) -> Option<Vec<SocketAddr>> {
        let mut addresses = tokio::time::timeout(within, self.look_up(host, port)).await.ok()?.ok()?;
        addresses.sort_unstable();
        addresses.dedup();
        (!addresses.is_empty()).then_some(addresses)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
