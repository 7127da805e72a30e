//! Reload: the single writer of the snapshot, and the watch on the files.
//!
//! *Invariants*
//! - One task publishes; file events, signals and calls are commands to it, so writers cannot race.
//! - A configuration that does not compile changes nothing but a metric and a log line.
//! - Files that are being written are not read as if they were whole: two equal readings count, or one that equals
//!   what is in force.
//! - What another process orders on the same `state_dir` is in force here, too, as soon as its file is seen.
//! - An overlay is on the disk before it is published, and waits for no file of the configuration, read or kept.
//! - A retired snapshot is freed aside, not on a worker; on this thread where there can be no other.

mod bound;
mod command;
mod keeping;
mod overlaid;
mod reading;
mod saying;
mod watch;
mod writer;

pub use command::{Command, Killed, Order, OrderError, Outcome, Restored};
pub use watch::{watch, watch_overlay};
pub use writer::Writer;
