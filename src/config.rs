//! Configuration: bytes on disk → a [`Plan`](crate::plan::Plan), or every problem at once.
//!
//! Three steps, each a value that the next one demands: [`Sources`] are read, compiled into
//! [`Compiled`], and compared with the last ones by [`Change`].
//!
//! *Invariants*
//! - Reading and compiling never stop at the first problem, and never panic on any input.
//! - Every problem has a file, and where it can a line and a key; each says what to do.
//! - Unknown keys are errors: nothing that is written is silently ignored.
//! - Defaults stand here and nowhere else.

mod attached;
mod change;
mod compile;
mod document;
mod expiry;
mod flagd;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guard;
mod names;
mod report;
mod section;
mod source;
mod units;

pub use change::{Change, Changes, Inventory};
pub use compile::{Compiled, compile};
pub use expiry::Expiry;
pub use flagd::import_flags;
pub use guard::Guards;
pub use report::{Problem, Report, Severity};
pub(crate) use section::did_you_mean;
pub use source::Sources;
pub(crate) use source::is_source;
