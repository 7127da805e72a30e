//! The access log as it is configured.

use std::{fmt, path::PathBuf};

use crate::bucket::Weight;

/// Which requests are logged, how, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines are written.
    pub target: LogTarget,
    /// How a line looks.
    pub format: LogFormat,
    /// Which requests get one.
    pub lines: LogLines,
    /// The share of requests that is looked at for that.
    pub sample: Weight,
    /// Lines that may wait to be written; more are dropped.
    pub lines_waiting_max: usize,
}

/// Where lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file.
    File(PathBuf),
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// The common log format.
    Common,
}

/// Which requests get a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLines {
    /// All.
    All,
    /// Those with a status of 400 or more, and those whose response broke off.
    Errors,
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogTarget::Stdout => f.write_str("stdout"),
            LogTarget::Stderr => f.write_str("stderr"),
            LogTarget::File(path) => path.display().fmt(f),
        }
    }
}
