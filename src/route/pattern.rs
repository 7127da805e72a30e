//! What a route matches.

use std::{fmt, str::FromStr};

use http::{HeaderName, HeaderValue, Method};

use crate::identity::{Asking, canonical_host};

/// The hosts of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Any host.
    Any,
    /// `*.example.com`, held as `example.com`: every host below it, not itself.
    Suffix(String),
    /// This host.
    Exact(String),
}

/// The paths of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// The path itself and everything below it, by whole segments; held without trailing slash, so
    /// the empty prefix is every path.
    Prefix(String),
    /// This path.
    Exact(String),
}

/// Everything a route asks of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
    /// Which methods; empty is any.
    pub methods: Vec<Method>,
    /// Header fields that must be there with this value, sorted by name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a text is not a host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host is a name without port, or \"*.\" and a name")]
pub struct HostPatternError;

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a path starts with \"/\" and has no query and no fragment")]
pub struct PathPatternError;

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<HostPattern, HostPatternError> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let canonical = canonical_host(name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'[' | b']' | b':');
        let keeps_its_length = canonical.len() == name.len() || format!("{canonical}.").len() == name.len();
        if canonical.is_empty() || canonical.ends_with('.') || !keeps_its_length || !canonical.bytes().all(plain) {
            return Err(HostPatternError);
        }
        let host = canonical.into_owned();
        Ok(if name.len() == text.len() { HostPattern::Exact(host) } else { HostPattern::Suffix(host) })
    }
}

impl PathPattern {
    /// The path itself.
    ///
    /// # Errors
    /// When the text is no path.
    pub fn exact(text: &str) -> Result<PathPattern, PathPatternError> {
        Ok(PathPattern::Exact(path(text)?.to_owned()))
    }

    /// The path and everything below it.
    ///
    /// # Errors
    /// When the text is no path.
    pub fn prefix(text: &str) -> Result<PathPattern, PathPatternError> {
        Ok(PathPattern::Prefix(path(text)?.trim_end_matches('/').to_owned()))
    }
}

fn path(text: &str) -> Result<&str, PathPatternError> {
    let plain = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if plain { Ok(text) } else { Err(PathPatternError) }
}

impl Pattern {
    /// Whether method and header fields match; host and path are looked up by the table.
    #[must_use]
    pub fn admits(&self, asking: &Asking<'_>) -> bool {
        let method = self.methods.is_empty() || self.methods.contains(asking.method);
        method && self.headers.iter().all(|(name, value)| asking.headers.get(name) == Some(value))
    }

    /// How specific method and headers are, among routes of one host and path.
    pub(super) fn rank(&self) -> (bool, usize) {
        (!self.methods.is_empty(), self.headers.len())
    }

    /// Whether some request matches both and neither is more specific.
    pub(super) fn ties_with(&self, other: &Pattern) -> bool {
        let one_method = self.methods.is_empty() || self.methods.iter().any(|method| other.methods.contains(method));
        let contradict = self.headers.iter().any(|(name, value)| {
            other.headers.iter().any(|(other_name, other_value)| name == other_name && value != other_value)
        });
        self.host == other.host && self.path == other.path && self.rank() == other.rank() && one_method && !contradict
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Any => f.write_str("any host")?,
            HostPattern::Suffix(suffix) => write!(f, "host *.{suffix}")?,
            HostPattern::Exact(host) => write!(f, "host {host}")?,
        }
        match &self.path {
            PathPattern::Prefix(prefix) if prefix.is_empty() => f.write_str(", any path")?,
            PathPattern::Prefix(prefix) => write!(f, ", path prefix {prefix}")?,
            PathPattern::Exact(path) => write!(f, ", path {path}")?,
        }
        if !self.methods.is_empty() {
            let methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
            write!(f, ", method {}", methods.join(" or "))?;
        }
        for (name, value) in &self.headers {
            write!(f, ", header {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        Ok(())
    }
}
