//! Aside: work that takes a core for a while and that no request waits for. The workers go first.
//!
//! *Invariants*
//! - A piece of work has its own thread: one that hangs on a slow volume holds nothing else up. Where there can be no
//!   thread, it is done where it stands.
//! - What a kill waits for is not done here.

use std::{sync::mpsc, thread};

use tokio::sync::oneshot;

/// Does it on a thread of its own; `None` when it panicked, which is told of already.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, doing) = oneshot::channel();
    // Nobody waits for it any more when the process ends.
    do_aside(move || drop(done.send(work())));
    doing.await.ok()
}

/// Ends what nobody uses any more.
pub(crate) fn end<T: Send + 'static>(gone: T) {
    do_aside(move || drop(gone));
}

fn do_aside<W: FnOnce() + Send + 'static>(work: W) {
    // Given to the thread once there is one: that there can be none must not lose it.
    let (give, given) = mpsc::channel::<W>();
    let body = move || {
        give_way();
        if let Ok(work) = given.recv() {
            work();
        }
    };
    if let Err(error) = thread::Builder::new().name("weir-aside".to_owned()).spawn(body) {
        tracing::warn!(%error, "there can be no other thread, raise the limit of them (ulimit -u, pids.max)");
    }
    if let Err(mpsc::SendError(work)) = give.send(work) {
        work();
    }
}

/// The priority is a thread's own on Linux alone; elsewhere it would be the workers', too.
fn give_way() {
    /// A tenth of the workers' share of a core that both want.
    #[cfg(target_os = "linux")]
    const NICE: i32 = 10;
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "what is done aside has the priority of the workers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_workers_go_first() {
        let own = nice();
        assert_eq!(aside(nice).await, Some((own + 10).min(19)));
        assert_eq!(nice(), own);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_nobody_uses_ends_there() {
        /// Tells at which priority it ended.
        struct Last(Option<oneshot::Sender<i32>>);
        impl Drop for Last {
            fn drop(&mut self) {
                self.0.take().unwrap().send(nice()).unwrap();
            }
        }
        let (told, ended) = oneshot::channel();
        end(Last(Some(told)));
        assert_eq!(ended.await.unwrap(), aside(nice).await.unwrap());
    }

    #[tokio::test]
    async fn a_panic_ends_its_thread_alone() {
        assert_eq!(aside(|| assert!(fastrand::u8(..1) > 0)).await, None);
    }
}
