//! How decisions travel with requests, and what follows from them for a route.

use http::StatusCode;

use super::Plan;
use crate::{
    bucket::Weight,
    identity::{Asking, Attribute},
    propagation::{Entry, Keyring},
    route::RouteId,
    toggle::{Pin, Reason, ToggleId, VariantId},
};

/// `[propagation]`.
#[derive(Clone, Debug)]
pub struct Propagation {
    /// What members are signed with; `None` where decisions are told to the application alone.
    pub keyring: Option<Keyring>,
    /// The most bytes of a member.
    pub bytes_max: usize,
    /// How old a member's first decision may be, in seconds.
    pub max_age_s: i64,
    /// How many of the traces that begin here ask to be recorded.
    pub traces_sampled: Weight,
    /// Whether the application gets a plain header for each decision.
    pub headers: bool,
}

/// What a toggle has to give for a request to be let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The toggle.
    pub toggle: ToggleId,
    /// The variant it has to give.
    pub variant: VariantId,
    /// The answer otherwise.
    pub status: StatusCode,
}

/// The cookie that holds an anonymous user's assignment key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name.
    pub name: String,
    /// What follows its value in `Set-Cookie`.
    pub attributes: String,
    /// By [`RouteId`]: the lists of key sources, of toggles that take part, which the cookie is in.
    pub readers: Vec<Vec<Vec<Attribute>>>,
}

/// Why a decision that came with a request pins nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPin {
    /// There is no such toggle.
    Toggle,
    /// The toggle has no such variant.
    Variant(ToggleId),
}

impl Plan {
    /// The toggle of that name.
    #[must_use]
    pub fn toggle_named(&self, name: &str) -> Option<ToggleId> {
        self.toggle_ids.get(name).copied()
    }

    /// The pin that a verified decision of another weir is here.
    ///
    /// # Errors
    /// When the toggle or the variant is unknown.
    pub fn pin(&self, entry: &Entry<'_>) -> Result<Pin, UnknownPin> {
        let toggle = self.toggle_named(entry.toggle).ok_or(UnknownPin::Toggle)?;
        let variant = self.toggle(toggle).toggle.variant_named(entry.variant).ok_or(UnknownPin::Variant(toggle))?;
        Ok(Pin { toggle, variant, reason: Reason::Pinned })
    }

    /// The secrets that members are signed with.
    #[must_use]
    pub fn keyring(&self) -> Option<&Keyring> {
        self.propagation.as_ref()?.keyring.as_ref()
    }
}

impl StickyCookie {
    /// Whether some toggle that takes part would find no assignment key; `is_key` says of the cookie's
    /// value whether it can be one.
    #[must_use]
    pub fn is_missing(&self, route: RouteId, asking: &Asking<'_>, is_key: impl Fn(&str) -> bool) -> bool {
        let own = |source: &Attribute| matches!(source, Attribute::Cookie(name) if *name == self.name);
        let keyless = |sources: &Vec<Attribute>| {
            for source in sources {
                match source.read(asking) {
                    Some(value) if !own(source) || is_key(&value) => return false,
                    // Left as it is, it would be hashed.
                    Some(_malformed) => return true,
                    None => {}
                }
            }
            true
        };
        self.readers.get(route.0).is_some_and(|readers| readers.iter().any(keyless))
    }
}
