//! Work that takes a core for a while and that no request waits for: the workers go first.

use std::{io, thread};

use tokio::sync::oneshot;

/// Does it on a thread of its own; `None` when it panicked.
///
/// # Errors
/// That there can be no other thread.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Option<T>> {
    let (done, doing) = oneshot::channel();
    let body = move || {
        give_way();
        // Nobody waits for it any more when the process ends.
        done.send(work()).ok();
    };
    thread::Builder::new().name("weir-aside".to_owned()).spawn(body)?;
    Ok(doing.await.ok())
}

/// The priority is a thread's own on Linux alone; elsewhere it would be the workers', too.
fn give_way() {
    /// A tenth of the workers' share of a core that both want.
    #[cfg(target_os = "linux")]
    const NICE: i32 = 10;
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "compiling has the priority of the workers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_workers_go_first() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let own = nice();
        assert_eq!(aside(nice).await.unwrap(), Some((own + 10).min(19)));
        assert_eq!(nice(), own);
    }

    #[tokio::test]
    async fn a_panic_ends_its_thread_alone() {
        assert_eq!(aside(|| assert!(fastrand::u8(..1) > 0)).await.unwrap(), None);
    }
}
