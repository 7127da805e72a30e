//! Comparing: population by population, what it got before and what it gets after.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Churn, Move, Needs, Note, Population, Portion, Side, layout::Layout};
use crate::toggle::{Rule, Targeting, Timestamp, Toggle, VariantId};

/// One side as things stand at a moment.
struct Face<'a> {
    side: Side<'a>,
    /// What everybody gets who has what the toggle requires, while nothing but its own state decides.
    flat: Option<Layout<'a>>,
    /// What those get who lack what it requires; `None` where nobody does.
    left_out: Option<Layout<'a>>,
    needs: Needs,
    /// Those in effect.
    rules: Vec<&'a Rule>,
    /// What those get whom no rule matches and targeting leaves alone.
    rest: Layout<'a>,
    aims: Aims<'a>,
}

/// What targeting gives whom no rule matches.
enum Aims<'a> {
    /// There is none, or it is not asked.
    Nothing,
    /// Shares of the keys.
    Laid(Layout<'a>),
    /// Nobody knows what to whom.
    Anything(&'a Targeting),
}

/// What a change moves, as things stand at `now`.
#[must_use]
pub fn churn(before: Side<'_>, after: Side<'_>, now: Timestamp) -> Churn {
    let mut churn = Churn { toggle: after.toggle.name.clone(), shifts: Vec::new(), notes: Vec::new() };
    let (left, right) = (Face::of(before, now), Face::of(after, now));
    let varying = [left.needs, right.needs].contains(&Needs::Varying);
    let shut = |face: &Face<'_>| matches!(face.needs, Needs::Unmet { .. });
    // Where some have what it requires on one side, and nobody on the other, who stays lacks it on both.
    if !varying || !(shut(&left) || shut(&right)) {
        churn.compare_faces(&left, &right, varying);
    }
    if let (true, Some(left_out), Some(still)) = (varying, &left.left_out, &right.left_out) {
        churn.compare(Population::LeftOut, left_out, still);
    }
    let switched_off = |face: &Face<'_>| match face.needs {
        Needs::Unmet { switched_off } => switched_off,
        Needs::Met | Needs::Varying => !face.side.toggle.enabled,
    };
    if switched_off(&right) && !switched_off(&left) && (varying || !churn.is_empty()) {
        churn.notes.push(Note::SwitchedOff);
    }
    churn
}

/// The largest share of any population that a toggle gives something else than this variant, or may.
#[must_use]
pub fn lacking(side: Side<'_>, variant: VariantId, now: Timestamp) -> Portion {
    let face = Face::of(side, now);
    let lacks = |layout: &Layout<'_>| {
        let others = layout.owned().filter(|(given, _)| *given != Some(variant));
        others.fold(Portion::default(), |sum, (_, portion)| sum + portion)
    };
    if let Some(flat) = &face.flat {
        return lacks(flat);
    }
    let aimed = match &face.aims {
        Aims::Nothing => Portion::default(),
        Aims::Laid(layout) => lacks(layout),
        Aims::Anything(_) => Portion::WHOLE,
    };
    let rules = face.rules.iter().map(|rule| lacks(&Layout::of_serve(side.toggle, &rule.serve)));
    rules.fold(aimed.max(lacks(&face.rest)), Portion::max)
}

impl<'a> Face<'a> {
    fn of(side: Side<'a>, now: Timestamp) -> Face<'a> {
        let toggle = side.toggle;
        let rules = toggle.rules.iter().filter(|rule| rule.schedule.holds(now)).collect();
        if let Some(choice) = toggle.overruled(side.killed, now) {
            // What it requires is not asked.
            let flat = Layout::constant(toggle, choice.variant);
            return Face::flat(side, flat.clone(), Some(flat), Needs::Met, rules);
        }
        let off = || Layout::constant(toggle, toggle.off);
        let waiting = || (!toggle.schedule.holds(now)).then(|| Layout::constant(toggle, toggle.default));
        let (flat, left_out) = match side.needs {
            Needs::Met => (waiting(), None),
            Needs::Unmet { .. } => (Some(off()), Some(off())),
            Needs::Varying => (waiting(), Some(off())),
        };
        if let Some(flat) = flat {
            return Face::flat(side, flat, left_out, side.needs, rules);
        }
        let rest = Layout::of_rest(side);
        let aims = match &toggle.targeting {
            None => Aims::Nothing,
            Some(targeting) => match Layout::of_targeting(toggle, targeting, &rest) {
                Some(layout) => Aims::Laid(layout),
                None => Aims::Anything(targeting),
            },
        };
        Face { side, flat: None, left_out, needs: side.needs, rules, rest, aims }
    }

    /// While a toggle's own state decides, its targeting is not asked.
    fn flat(
        side: Side<'a>,
        flat: Layout<'a>,
        left_out: Option<Layout<'a>>,
        needs: Needs,
        rules: Vec<&'a Rule>,
    ) -> Face<'a> {
        Face { side, flat: Some(flat.clone()), left_out, needs, rules, rest: flat, aims: Aims::Nothing }
    }

    /// What those get whom each rule matches.
    fn served(&self) -> impl Iterator<Item = Layout<'a>> {
        self.rules.iter().map(|rule| Layout::of_serve(self.side.toggle, &rule.serve))
    }

    /// What each population gets; `None` where nobody knows of one.
    fn populations(&self) -> Option<Vec<Layout<'a>>> {
        if matches!(self.aims, Aims::Anything(_)) {
            return None;
        }
        let mut distinct: Vec<Layout<'a>> = Vec::new();
        for layout in self.served().chain([self.rest.clone(), self.keyed().clone()]) {
            if !distinct.iter().any(|other| other.is_same_as(&layout)) {
                distinct.push(layout);
            }
        }
        Some(distinct)
    }

    /// What those get whom no rule matches and who have a key, as far as that is known.
    fn keyed(&self) -> &Layout<'a> {
        match &self.aims {
            Aims::Laid(layout) => layout,
            Aims::Nothing | Aims::Anything(_) => &self.rest,
        }
    }
}

/// Whether targeting that nobody can lay out may give users something else than before.
fn aims_elsewhere(before: &Face<'_>, after: &Face<'_>) -> bool {
    let (Aims::Anything(left), Aims::Anything(right)) = (&before.aims, &after.aims) else {
        return [before, after].iter().any(|face| matches!(face.aims, Aims::Anything(_)));
    };
    let (before, after) = (before.side.toggle, after.side.toggle);
    let named = |toggle: &Toggle| -> BTreeMap<String, Value> {
        toggle.variants.iter().map(|variant| (variant.name.clone(), variant.value.clone())).collect()
    };
    left != right
        || named(before) != named(after)
        || left.draws() && (before.bucketing, &before.salt) != (after.bucketing, &after.salt)
        || left.asks_key() && before.bucket_by != after.bucket_by
}

/// Who gets something else, and what.
fn moved<'a>(
    before: &'a Layout<'_>,
    after: &'a Layout<'_>,
) -> impl Iterator<Item = ((Option<VariantId>, Option<VariantId>), Portion)> {
    let overlaps = if before.is_redrawn_by(after) { before.products(after) } else { before.overlaps(after) };
    overlaps
        .into_iter()
        .filter(|((from, to), portion)| before.variant(*from) != after.variant(*to) && *portion > Portion::default())
}

/// The largest share of a population that moves, whichever it was in before and is in afterwards.
fn most_between(before: &Option<Vec<Layout<'_>>>, after: &Option<Vec<Layout<'_>>>) -> Portion {
    let (Some(before), Some(after)) = (before, after) else {
        let nobody = |layouts: &Option<Vec<Layout<'_>>>| layouts.as_ref().is_some_and(Vec::is_empty);
        return if nobody(before) || nobody(after) { Portion::default() } else { Portion::WHOLE };
    };
    let pairs = before.iter().flat_map(|before| after.iter().map(move |after| (before, after)));
    let portions = pairs.map(|(before, after)| moved(before, after).map(|(_, portion)| portion));
    portions.map(|portions| portions.fold(Portion::default(), |sum, portion| sum + portion)).max().unwrap_or_default()
}

/// Whom a rule matches: equal texts match the same users.
fn cohort(rule: &Rule) -> String {
    format!("{} {:?}", rule.from_anyone, rule.when)
}

impl Churn {
    /// Compares what those get who have what the toggle requires.
    fn compare_faces(&mut self, left: &Face<'_>, right: &Face<'_>, some_are_left_out: bool) {
        let (before, after) = (left.side, right.side);
        match (&left.flat, &right.flat) {
            (None, None) => self.compare_rules(left, right),
            (Some(_), Some(_)) => {}
            // Who is a population of one side is decided alike on the other.
            (Some(flat), None) => {
                for rule in &right.rules {
                    let population = Population::Rule(rule.name.clone());
                    self.compare(population, flat, &Layout::of_serve(after.toggle, &rule.serve));
                }
            }
            (None, Some(flat)) => {
                for rule in &left.rules {
                    let population = Population::Rule(rule.name.clone());
                    self.compare(population, &Layout::of_serve(before.toggle, &rule.serve), flat);
                }
            }
        }
        let alike = left.rules.is_empty() && right.rules.is_empty() || left.flat.is_some() && right.flat.is_some();
        let rest = if alike && !some_are_left_out { Population::Everybody } else { Population::EverybodyElse };
        if [left, right].iter().any(|face| matches!(face.aims, Aims::Anything(_))) {
            self.compare(Population::EverybodyElse, &left.rest, &right.rest);
        } else {
            self.compare(rest, left.keyed(), right.keyed());
        }
        if [left, right].iter().any(|face| matches!(face.aims, Aims::Laid(_))) {
            self.compare(Population::Keyless, &left.rest, &right.rest);
        }
        if aims_elsewhere(left, right) {
            self.notes.push(Note::Targeting);
        }
    }

    fn compare_rules(&mut self, left: &Face<'_>, right: &Face<'_>) {
        let (before, after) = (left.side.toggle, right.side.toggle);
        let earlier = &left.rules;
        let cohorts: Vec<String> = earlier.iter().map(|rule| cohort(rule)).collect();
        let mut taken = vec![false; earlier.len()];
        let mut order = Vec::new();
        let mut unmatched = Vec::new();
        for rule in &right.rules {
            let text = cohort(rule);
            let place = (0..earlier.len()).find(|place| !taken[*place] && cohorts[*place] == text);
            let Some(place) = place else {
                unmatched.push(rule);
                continue;
            };
            taken[place] = true;
            order.push(place);
            let population = Population::Rule(rule.name.clone());
            let layout = Layout::of_serve(before, &earlier[place].serve);
            self.compare(population, &layout, &Layout::of_serve(after, &rule.serve));
        }
        let told = self.notes.len();
        let fresh = unmatched.iter().map(|rule| Layout::of_serve(after, &rule.serve)).collect();
        let gone = earlier.iter().zip(&taken).filter(|(_, taken)| !**taken);
        let gone = gone.map(|(rule, _)| Layout::of_serve(before, &rule.serve)).collect();
        for rule in unmatched {
            let same_name = (0..earlier.len()).find(|place| !taken[*place] && earlier[*place].name == rule.name);
            self.notes.push(match same_name {
                Some(place) => {
                    taken[place] = true;
                    Note::RuleChanged(rule.name.clone())
                }
                None => Note::RuleAdded(rule.name.clone()),
            });
        }
        let removed = earlier.iter().zip(&taken).filter(|(_, taken)| !**taken);
        self.notes.extend(removed.map(|(rule, _)| Note::RuleRemoved(rule.name.clone())));
        let caught = most_between(&left.populations(), &Some(fresh));
        let mut most = caught.max(most_between(&Some(gone), &right.populations()));
        if !order.is_sorted() {
            self.notes.push(Note::Reordered);
            // Whom two rules match both times gets what the other one says.
            most = most.max(most_between(&Some(left.served().collect()), &Some(right.served().collect())));
        }
        if self.notes.len() > told && most > Portion::default() {
            self.notes.push(Note::Rematched(most));
        }
    }

    fn compare(&mut self, population: Population, before: &Layout<'_>, after: &Layout<'_>) {
        let redrawn = before.is_redrawn_by(after);
        let moves = moved(before, after).map(|((from, to), portion)| Move {
            from: before.name(from),
            to: after.name(to),
            portion,
        });
        let moves: Vec<Move> = moves.collect();
        if redrawn && !self.notes.contains(&Note::Redrawn) {
            self.notes.push(Note::Redrawn);
        }
        if !moves.is_empty() {
            self.shifts.push(super::Shift { population, moves });
        }
    }
}
