//! What the peer of a connection of HTTP/2 announces by its settings (RFC 9113 §6.5).

use std::cell::Cell;

use tokio::sync::Notify;

/// Requests at once for as long as the peer has said nothing: hyper's own default.
const STREAMS_BEFORE: usize = 100;

/// What h2 is told in the place of [`STREAMS_BEFORE`], so that it shows when settings have come: a peer that
/// names a number has 32 bits for it, and one that names none is given `usize::MAX`.
pub(super) const UNANNOUNCED: usize = usize::MAX - 1;

/// A peer's settings, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Announced {
    known: Cell<bool>,
    streams_max: Cell<usize>,
    tunnels: Cell<bool>,
    learned: Notify,
}

impl Announced {
    /// Takes over what h2 knows. Tells whether the peer has announced anything yet.
    pub(super) fn learn(&self, streams_max: usize, tunnels: bool) -> bool {
        if streams_max == UNANNOUNCED {
            return false;
        }
        self.streams_max.set(streams_max);
        self.tunnels.set(tunnels);
        self.know();
        true
    }

    /// The connection has ended.
    pub(super) fn end(&self) {
        if !self.known.get() {
            // Not refused: what is sent on it fails, and tells why.
            self.tunnels.set(true);
            self.know();
        }
    }

    /// Requests at once.
    pub(super) fn streams_max(&self) -> usize {
        if self.known.get() { self.streams_max.get() } else { STREAMS_BEFORE }
    }

    /// Whether the peer takes extended CONNECT (RFC 8441 §3). Before its settings came nobody may ask for it:
    /// they are waited for.
    pub(super) async fn tunnels(&self) -> bool {
        while !self.known.get() {
            self.learned.notified().await;
        }
        self.tunnels.get()
    }

    fn know(&self) {
        self.known.set(true);
        self.learned.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn settings_are_waited_for_and_an_end_refuses_nothing() {
        for (told, answer) in [(Some((usize::MAX, true)), true), (Some((100, false)), false), (None, true)] {
            let announced = Rc::new(Announced::default());
            assert!(!announced.learn(UNANNOUNCED, false));
            assert_eq!(announced.streams_max(), STREAMS_BEFORE);
            let (asked, ()) = tokio::join!(announced.tunnels(), async {
                match told {
                    Some((streams_max, tunnels)) => assert!(announced.learn(streams_max, tunnels)),
                    None => announced.end(),
                }
            });
            assert_eq!(asked, answer, "{told:?}");
        }
    }
}
