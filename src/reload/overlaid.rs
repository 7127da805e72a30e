//! The overlay's file: what orders change, and what another process changed in it.

use std::{path::PathBuf, sync::Arc, time::Instant};

use super::command::OrderError;
use crate::{
    plan::Overlay,
    store::{self, OverlayError},
};

/// Where the overlay is kept.
#[derive(Clone, Debug)]
pub(super) struct Overlaid {
    /// The directory of this process's start: the one that the next start reads.
    state_dir: PathBuf,
}

/// What the file said when it was looked at.
#[derive(Debug)]
pub(super) struct Glimpse {
    /// Since when it may have been another one.
    pub(super) noticed: Instant,
    /// What was in force before it was read.
    pub(super) before: Arc<Overlay>,
    /// `None` where there is no file: that restores nothing.
    pub(super) found: Result<Option<Overlay>, OverlayError>,
}

impl Overlaid {
    pub(super) fn new(state_dir: PathBuf) -> Overlaid {
        Overlaid { state_dir }
    }

    /// Changes the file; see [`store::change_overlay`].
    ///
    /// # Errors
    /// [`OrderError::Store`] and [`OrderError::Stopping`].
    pub(super) async fn change<T: Send + 'static>(
        &self,
        known: &Arc<Overlay>,
        change: impl FnOnce(&mut Overlay) -> T + Send + 'static,
    ) -> Result<(Overlay, T), OrderError> {
        let (state_dir, known) = (self.state_dir.clone(), Arc::clone(known));
        // Off this thread: a slow volume must not hold up health and metrics.
        let changing = tokio::task::spawn_blocking(move || store::change_overlay(&state_dir, &known, change));
        match changing.await {
            Ok(Ok(changed)) => Ok(changed),
            Ok(Err(cause)) => Err(OrderError::Store { path: self.state_dir.join(store::OVERLAY), cause }),
            Err(_ended) => Err(OrderError::Stopping),
        }
    }

    /// Reads the file, off the calling thread. `None` is the end of the process.
    pub(super) async fn glimpse(self, noticed: Instant, before: Arc<Overlay>) -> Option<Glimpse> {
        let found = tokio::task::spawn_blocking(move || store::kept_overlay(&self.state_dir)).await.ok()?;
        Some(Glimpse { noticed, before, found })
    }
}
