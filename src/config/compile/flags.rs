//! `*.flagd.json`: flags as flagd defines them.

use std::collections::BTreeSet;

use super::toggles::Toggles;
use crate::{
    config::{
        document::Document,
        flagd::{self, Defaults, File},
        report::Problems,
        source::Sources,
    },
    plan::PlannedToggle,
};

/// Adds every flag to the toggles. Gives each flag with what it says, for telling changes; `None` when
/// something is wrong.
pub(super) fn flags(
    document: &Document<'_>,
    sources: &Sources,
    problems: &Problems,
    toggles: &mut Toggles<'_>,
) -> Option<Vec<(String, String)>> {
    let defaults = Defaults::read(document);
    let mut whole = defaults.is_some();
    let mut items = Vec::new();
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
            items.extend(toggle.as_ref().map(|toggle| (format!("toggles.{key}"), format!("{toggle:?}"))));
            toggles.put(key, toggle.map(|toggle| PlannedToggle { toggle, rollout: None }));
        }
    }
    whole.then_some(items)
}
