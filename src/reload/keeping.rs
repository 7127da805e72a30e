//! Keeps the last good configuration, beside the task that publishes: a slow volume must not hold up a kill.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::JoinSet;

use crate::{
    aside::{self, Thread},
    config::Sources,
    store,
};

/// One writes at a time, and after it the newest: what was put in force last is what is kept in the end.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    under_way: JoinSet<()>,
    /// What to keep after that, and where.
    next: Option<(PathBuf, Arc<Sources>)>,
}

impl Keeping {
    /// Keeps what is in force now.
    pub(super) fn want(&mut self, state_dir: PathBuf, sources: Arc<Sources>) {
        self.next = Some((state_dir, sources));
        self.start();
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Waits for the one that is under way, and starts the next. Nothing is lost when it is given up.
    pub(super) async fn step(&mut self) {
        // It logs its own failure; an error here is the end of the process.
        self.under_way.join_next().await;
        self.start();
    }

    fn start(&mut self) {
        if self.under_way.is_empty()
            && let Some((state_dir, sources)) = self.next.take()
        {
            // Off this thread: it serves health and metrics too.
            self.under_way.spawn(kept(aside::thread(), state_dir, sources));
        }
    }
}

async fn kept(thread: io::Result<Thread>, state_dir: PathBuf, sources: Arc<Sources>) {
    match thread {
        // Without anything, it panicked, which was told of.
        Ok(thread) => thread.run(move || keep(&state_dir, &sources)).await.unwrap_or_default(),
        Err(error) => tracing::warn!(%error, "the last good configuration is not kept: there can be no other thread"),
    }
}

/// Keeps it, or tells why not: nothing else depends on it.
pub(super) fn keep(state_dir: &Path, sources: &Sources) {
    if let Err(error) = store::keep_last_good(state_dir, sources) {
        let state_dir = state_dir.display();
        tracing::warn!(%error, "the last good configuration cannot be kept in {state_dir}: check weir.state_dir");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn of_many_the_newest_is_kept_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let (config, state_dir) = (directory.path().join("weir.toml"), directory.path().join("state"));
        let mut keeping = Keeping::default();
        for number in 0..9 {
            fs::write(&config, format!("# {number}")).unwrap();
            keeping.want(state_dir.clone(), Arc::new(Sources::read(&config).unwrap()));
        }
        while keeping.is_busy() {
            keeping.step().await;
        }
        let kept = fs::read_to_string(state_dir.join(store::LAST_GOOD).join("weir.toml")).unwrap();
        assert_eq!(kept, "# 8");
    }
}
