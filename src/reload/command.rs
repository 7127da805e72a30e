//! Commands to the one task that publishes, and what it answers.

use std::{io, path::PathBuf, time::Instant};

use tokio::sync::oneshot;

use crate::{
    config::{Changes, Report},
    plan::Kill,
    toggle::Churn,
};

/// Characters of a principal's name.
const PRINCIPAL_CHARS_MAX: usize = 100;

/// Characters of a note.
const NOTE_CHARS_MAX: usize = 500;

/// What the task can be told.
#[derive(Debug)]
pub enum Command {
    /// Files may have changed: look, and say nothing when they have not.
    Look {
        /// When it was noticed.
        noticed: Instant,
    },
    /// Another process may have changed the overlay's file: look, and say nothing when it has not.
    Glimpse {
        /// When it was noticed.
        noticed: Instant,
    },
    /// Load the files now and answer.
    Load(oneshot::Sender<Outcome>),
    /// Kill a toggle: everybody gets its `off` variant, whatever the configuration says.
    Kill {
        /// Which, and by whom.
        order: Order,
        /// Who waits for it.
        answer: oneshot::Sender<Result<Killed, OrderError>>,
    },
    /// Take a kill back.
    Restore {
        /// Which, and by whom.
        order: Order,
        /// Who waits for it.
        answer: oneshot::Sender<Result<Restored, OrderError>>,
    },
}

/// Who wants which toggle changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The toggle's name.
    pub toggle: String,
    /// Who orders it.
    pub by: String,
    /// What they say about it.
    pub note: Option<String>,
}

/// What came of a kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Killed {
    /// It is in force, and on the disk.
    Now {
        /// The new generation.
        generation: u64,
    },
    /// It was killed before, which stays as it was.
    Already(Kill),
}

/// What came of a restoration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The toggle is decided again as the configuration says.
    Now {
        /// The new generation.
        generation: u64,
        /// The kill that was taken back.
        kill: Kill,
    },
    /// It was not killed.
    NotKilled,
}

/// Why an order was not carried out. Nothing has changed then. A message that ends in what to do holds its cause,
/// and no source tells it again.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Neither the configuration nor the overlay has the toggle.
    #[error("unknown toggle {toggle:?}; {hint}")]
    UnknownToggle {
        /// The name.
        toggle: String,
        /// What may have been meant.
        hint: String,
    },
    /// It is not said who orders it.
    #[error("it is not said who orders it: a name of 1 to {PRINCIPAL_CHARS_MAX} characters")]
    Principal,
    /// The note is too long.
    #[error("the note is too long: at most {NOTE_CHARS_MAX} characters")]
    Note,
    /// The change could not be kept, and would be forgotten by a restart.
    #[error(
        "nothing was changed, since it could not be kept in {}: {cause}; check weir.state_dir, \
         or set enabled = false in the configuration", path.display()
    )]
    Store {
        /// The overlay's file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The process ends.
    #[error("weir is stopping")]
    Stopping,
}

/// What came of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The files are in force, as this generation.
    Applied {
        /// The new generation.
        generation: u64,
        /// What is different.
        changes: Changes,
        /// Whom it moves, by toggle.
        churn: Vec<Churn>,
    },
    /// They were in force already.
    Unchanged,
    /// They kept changing while they were read, or there was no thread to read them on; the watch will load them
    /// when they rest, and there is one.
    Unsettled,
    /// They were refused; the last good configuration serves on.
    Rejected(Report),
}

impl Order {
    /// Whether it says who and stays within its limits.
    ///
    /// # Errors
    /// [`OrderError::Principal`] and [`OrderError::Note`].
    pub(super) fn check(&self) -> Result<(), OrderError> {
        if self.by.trim().is_empty() || self.by.chars().count() > PRINCIPAL_CHARS_MAX {
            return Err(OrderError::Principal);
        }
        if self.note.as_ref().is_some_and(|note| note.chars().count() > NOTE_CHARS_MAX) {
            return Err(OrderError::Note);
        }
        Ok(())
    }
}
