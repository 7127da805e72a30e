//! `requires = […]` of toggles: what they need of each other, without cycles and without end.

use super::{shares, toggles::Toggles};
use crate::{
    config::section::Field,
    plan::{PlannedToggle, ToggleId},
    toggle::{Category, Prerequisite},
};

/// How many toggles may stand in one chain of prerequisites.
const DEPTH_MAX: usize = 32;

/// How many toggles one decision may ask in all; a prerequisite of several is asked for each.
const ASKED_MAX: u64 = 1_000;

/// What is known of a toggle's prerequisites.
#[derive(Clone, Copy)]
enum Known {
    Nothing,
    /// It is on the way that is being walked.
    Open,
    /// Its prerequisites are walked: the longest chain below it, and how many toggles a decision asks.
    Walked {
        depth: usize,
        asked: u64,
    },
}

/// Reads the prerequisites, once every toggle has its place, and puts them on their toggles.
pub(super) fn attach(toggles: &mut Toggles<'_>, fields: Vec<(ToggleId, Field<'_>)>) {
    let mut edges: Vec<Vec<ToggleId>> = vec![Vec::new(); toggles.count()];
    let mut places: Vec<Option<Field<'_>>> = vec![None; toggles.count()];
    for (id, field) in fields {
        let entries = field.clone().list();
        let read =
            entries.map(|entries| entries.into_iter().map(|entry| prerequisite(entry, toggles)).collect::<Vec<_>>());
        let requires: Option<Vec<Prerequisite>> = read.and_then(|read| read.into_iter().collect());
        edges[id.0] = requires.iter().flatten().map(|needed| needed.toggle).collect();
        places[id.0] = Some(field);
        match (requires, toggles.get_mut(id)) {
            (Some(requires), Some(planned)) => planned.toggle.requires = requires,
            (None, _) => toggles.drop_refused(id),
            (Some(_), None) => {}
        }
    }
    walk(toggles, &edges, &places);
    for (id, place) in places.iter().enumerate() {
        if let Some(place) = place {
            refuse_claims(toggles, ToggleId(id), &edges, place);
        }
    }
}

/// Refuses a permission that follows from what a client says of itself, by way of what it requires.
fn refuse_claims(toggles: &Toggles<'_>, id: ToggleId, edges: &[Vec<ToggleId>], place: &Field<'_>) {
    let of_permission = |planned: &PlannedToggle| planned.toggle.category == Category::Permission;
    if !toggles.get(id).is_some_and(of_permission) {
        return;
    }
    let mut reached = vec![false; edges.len()];
    let mut way = edges[id.0].clone();
    while let Some(needed) = way.pop() {
        if std::mem::replace(&mut reached[needed.0], true) {
            continue;
        }
        if let Some(claim) = toggles.get(needed).and_then(|planned| planned.toggle.claim()) {
            let name = toggles.name(needed);
            let message = format!("{name:?} depends on {claim}, and a permission is not given on a client's own word");
            place.refuse(message, "require toggles that look only at what is verified, or that are the same for all");
            return;
        }
        way.extend(&edges[needed.0]);
    }
}

fn prerequisite(field: Field<'_>, toggles: &Toggles<'_>) -> Option<Prerequisite> {
    let mut section = field.section()?;
    let toggle = section.require("toggle", "name the other toggle: toggle = \"payments-v3\"");
    let variant = section.require("variant", "name what it has to give: variant = \"on\"");
    section.finish();
    let toggle = toggles.reference(&toggle?)?;
    let variant = shares::variant(&variant?, &toggles.get(toggle)?.toggle.variants)?;
    Some(Prerequisite { toggle, variant })
}

/// Looks for cycles, chains that are too long and decisions that ask too much. By hand, not by recursion: a
/// configuration may hold a chain that is longer than any stack.
fn walk(toggles: &Toggles<'_>, edges: &[Vec<ToggleId>], places: &[Option<Field<'_>>]) {
    let mut known = vec![Known::Nothing; edges.len()];
    for start in 0..edges.len() {
        let mut way = vec![(start, 0)];
        while let Some((at, next)) = way.pop() {
            if next == 0 && !matches!(known[at], Known::Nothing) {
                continue;
            }
            known[at] = Known::Open;
            let Some(needed) = edges[at].get(next).map(|id| id.0) else {
                known[at] = walked(toggles, at, edges, places, &known);
                continue;
            };
            way.push((at, next + 1));
            match known[needed] {
                Known::Nothing => way.push((needed, 0)),
                Known::Open => report_cycle(toggles, &way, needed, places),
                Known::Walked { .. } => {}
            }
        }
    }
}

fn walked(
    toggles: &Toggles<'_>,
    at: usize,
    edges: &[Vec<ToggleId>],
    places: &[Option<Field<'_>>],
    known: &[Known],
) -> Known {
    let (mut depth, mut asked) = (0, 1_u64);
    for needed in &edges[at] {
        if let Known::Walked { depth: below, asked: more } = known[needed.0] {
            depth = depth.max(below + 1);
            asked = asked.saturating_add(more);
        }
    }
    if let Some(place) = &places[at] {
        // Told once, where it grows too long; not again by all that need this one.
        if depth == DEPTH_MAX {
            let message =
                format!("{} stands at the end of a chain of more than {DEPTH_MAX} toggles", toggles.name(ToggleId(at)));
            place.refuse(message, "let it require the first toggles of the chain directly");
        }
        if asked > ASKED_MAX {
            let message = format!("one decision would ask more than {ASKED_MAX} toggles");
            place.refuse(message, "require fewer: a toggle that others require is asked again for each of them");
            asked = 1;
        }
    }
    Known::Walked { depth, asked }
}

fn report_cycle(toggles: &Toggles<'_>, way: &[(usize, usize)], closing: usize, places: &[Option<Field<'_>>]) {
    let names = way.iter().map(|(at, _)| *at).skip_while(|at| *at != closing).chain([closing]);
    let path: Vec<&str> = names.map(|at| toggles.name(ToggleId(at))).collect();
    if let Some(place) = &places[closing] {
        place.refuse(format!("toggles require each other in a circle: {}", path.join(" -> ")), "take one of them out");
    }
}
