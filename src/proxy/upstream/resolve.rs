//! Looking up names. The system's resolver does it (`/etc/hosts`, search domains, its own cache), on the
//! control thread; it tells no time to live, so that names are looked up again at an interval.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

/// Look-ups at once: each takes a thread while it lasts.
const AT_ONCE_MAX: usize = 8;

/// Looks names up, few at once.
#[derive(Clone, Debug)]
pub(super) struct Resolver(Arc<Semaphore>);

impl Resolver {
    pub(super) fn new() -> Resolver {
        Resolver(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }

    /// All addresses of a name, in order; `None` when there is no answer, or an empty one.
    pub(super) async fn addresses(&self, host: &str, port: u16, within: Duration) -> Option<Vec<SocketAddr>> {
        let _turn = self.0.acquire().await.ok()?;
        let answer = tokio::time::timeout(within, tokio::net::lookup_host((host, port))).await.ok()?.ok()?;
        let mut addresses: Vec<SocketAddr> = answer.collect();
        addresses.sort_unstable();
        addresses.dedup();
        (!addresses.is_empty()).then_some(addresses)
    }
}
