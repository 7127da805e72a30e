//! The keys that lead to a value, put into words only when a problem names them: most values have none.

use std::{fmt, rc::Rc};

/// A value's key and the keys of the tables and lists around it.
#[derive(Clone)]
pub(super) struct Key<'a> {
    /// `None` for the keys at the top of a file.
    pub(super) within: Option<Rc<Key<'a>>>,
    pub(super) step: Step<'a>,
}

/// The last part of a key.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl fmt::Display for Key<'_> {
    /// As TOML writes a dotted key; elements of lists by their places from 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(within) = &self.within {
            within.fmt(f)?;
        }
        match self.step {
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Name(name) => {
                let dot = if self.within.is_some() { "." } else { "" };
                let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                if !name.is_empty() && name.bytes().all(is_bare) {
                    write!(f, "{dot}{name}")
                } else {
                    write!(f, "{dot}{name:?}")
                }
            }
        }
    }
}
