//! `*.flagd.json`: flags as flagd defines them.

use std::collections::BTreeSet;

use super::toggles::Toggles;
use crate::{
    config::{
        document::Document,
        expiry::{self, Expiry},
        flagd::{self, Defaults, File},
        guard::OwnGuard,
        report::Problems,
        source::Sources,
    },
    plan::PlannedToggle,
};

/// What comes of the files beside the toggles.
pub(super) struct Flags {
    /// Each flag with what it says, for telling changes.
    pub(super) items: Vec<(String, String)>,
    /// Each flag with its limit, as far as it has one of its own.
    pub(super) guards: Vec<(String, OwnGuard)>,
}

/// Adds every flag to the toggles; `None` when something is wrong.
pub(super) fn flags(
    document: &Document<'_>,
    sources: &Sources,
    problems: &Problems,
    toggles: &mut Toggles<'_>,
) -> Option<Flags> {
    let defaults = Defaults::read(document);
    let mut whole = defaults.is_some();
    let mut made = Flags { items: Vec::new(), guards: Vec::new() };
    let mut names: BTreeSet<String> = toggles.names().map(str::to_owned).collect();
    for source in sources.flags() {
        let file = File::new(source, problems);
        let (Some(definition), Some(defaults)) = (flagd::read(&file), &defaults) else {
            whole = false;
            continue;
        };
        for flag in &definition.flags {
            let (key, pointer, _) = flag;
            let toggle = flagd::toggle(&file, flag, &definition, defaults);
            if !names.insert(key.clone()) {
                let message = format!("the toggle {key:?} is defined twice");
                file.refuse(pointer, message, "keep one: a toggle stands in one file, as TOML or as flagd's JSON");
                whole = false;
                continue;
            }
            whole &= toggle.is_some();
            made.items.extend(toggle.as_ref().map(|toggle| (format!("toggles.{key}"), format!("{toggle:?}"))));
            made.guards.push((key.clone(), flagd::guard(&file, flag, &definition)));
            let expiry = toggle.as_ref().and_then(|toggle| {
                let at = toggle.expires?;
                let (message, hint) = expiry::told(key, at, toggle.on_expiry);
                Some(Expiry { at, problem: file.later(&format!("{pointer}/metadata/weir.expires"), message, hint) })
            });
            toggles.put(key, toggle.map(|toggle| PlannedToggle { toggle, rollout: None }), expiry);
        }
    }
    whole.then_some(made)
}
