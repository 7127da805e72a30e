//! Churn: which share of users a change of a toggle moves from each variant to each other.
//!
//! It is computed from the layouts, not sampled. Under one keying (bucketing, salt and sources of the key)
//! a user keeps the slot, so the shares are lengths of overlaps. Under another one the two assignments are
//! independent, so they are products of shares.

mod layout;
mod text;

use std::ops::{Add, AddAssign};

use serde::Serialize;

use self::layout::Layout;
use super::{OnExpiry, Rule, Share, Timestamp, Toggle};
use crate::bucket::{SLOTS, Weight};

/// One state of a toggle.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The toggle.
    pub toggle: &'a Toggle,
    /// What its rollout gives.
    pub share: Option<Share>,
    /// Whether an operator killed it.
    pub killed: bool,
}

/// A share of a population, exact: it is counted in slots of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Portion(u64);

/// What a change of one toggle does to its users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Churn {
    /// The toggle.
    pub toggle: String,
    /// Who moves, by population; each has at least one move.
    pub shifts: Vec<Shift>,
    /// What moves somebody, and it cannot be told how many.
    pub notes: Vec<Note>,
}

/// The moves of one population.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shift {
    /// Who.
    pub population: Population,
    /// From each variant to each other.
    pub moves: Vec<Move>,
}

/// Users who are decided alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Population {
    /// All of them: the toggle has no rule.
    Everybody,
    /// Those whom no rule matches.
    EverybodyElse,
    /// Those who reach this rule, and whom it matches, before and after.
    Rule(String),
}

/// Some of a population, from one variant to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Move {
    /// The variant they had; `None` where the toggle gave none.
    pub from: Option<String>,
    /// The variant they get. The same name is another value of that variant.
    pub to: Option<String>,
    /// How many of the population.
    pub portion: Portion,
}

/// A change whose users cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The toggle is new.
    Added,
    /// The toggle is gone.
    Removed,
    /// Keys fall in other slots: bucketing, salt or the sources of the key differ.
    Redrawn,
    /// What it requires differs.
    Requires,
    /// A rule is new.
    RuleAdded(String),
    /// A rule is gone.
    RuleRemoved(String),
    /// A rule of that name matches others.
    RuleChanged(String),
    /// The rules are tried in another order.
    Reordered,
    /// The targeting expression decides otherwise: any number may move, so all are reckoned with.
    Targeting,
    /// The configuration switches it off: whoever moves gets `off`, which no guard may keep from them.
    SwitchedOff,
}

impl Churn {
    /// A toggle of which only this can be said.
    #[must_use]
    pub fn noted(toggle: &str, note: Note) -> Churn {
        Churn { toggle: toggle.to_owned(), shifts: Vec::new(), notes: vec![note] }
    }

    /// Whether nobody moves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shifts.is_empty() && self.notes.is_empty()
    }

    /// The largest share of any population that moves, or may move. What switches it off counts as nobody: a
    /// kill switch has to work however many it moves.
    #[must_use]
    pub fn most(&self) -> Portion {
        if self.notes.contains(&Note::SwitchedOff) {
            return Portion::default();
        }
        if self.notes.contains(&Note::Targeting) {
            return Portion::WHOLE;
        }
        self.shifts.iter().map(Shift::moved).max().unwrap_or_default()
    }
}

impl Shift {
    /// How many of the population move at all.
    #[must_use]
    pub fn moved(&self) -> Portion {
        self.moves.iter().fold(Portion::default(), |sum, moved| sum + moved.portion)
    }
}

impl Portion {
    /// All of them.
    pub const WHOLE: Portion = Portion(SLOTS as u64 * SLOTS as u64);

    /// The share as a fraction of one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "ten digits keep their precision")]
    pub fn ratio(self) -> f64 {
        self.0 as f64 / Portion::WHOLE.0 as f64
    }

    /// The smallest weight that is at least as much.
    #[must_use]
    pub fn ceiling(self) -> Weight {
        Weight::from_slots(u32::try_from(self.0.div_ceil(u64::from(SLOTS))).unwrap_or(SLOTS))
    }
}

impl From<Weight> for Portion {
    fn from(weight: Weight) -> Portion {
        Portion(u64::from(weight.slots()) * u64::from(SLOTS))
    }
}

impl Add for Portion {
    type Output = Portion;

    fn add(self, other: Portion) -> Portion {
        Portion(self.0 + other.0)
    }
}

impl AddAssign for Portion {
    fn add_assign(&mut self, other: Portion) {
        self.0 += other.0;
    }
}

/// What a change moves, as things stand at `now`.
#[must_use]
pub fn churn(before: Side<'_>, after: Side<'_>, now: Timestamp) -> Churn {
    let mut churn = Churn { toggle: after.toggle.name.clone(), shifts: Vec::new(), notes: Vec::new() };
    let (flat_before, flat_after) = (flat(before, now), flat(after, now));
    let (rules_before, rules_after) = (in_effect(before.toggle, now), in_effect(after.toggle, now));
    let everybody = rules_before.is_empty() && rules_after.is_empty();
    match (&flat_before, &flat_after) {
        (None, None) => churn.compare_rules(&before, &after, &rules_before, &rules_after),
        (Some(_), Some(_)) => {}
        // Who is a population of one side is decided alike on the other.
        (Some(flat), None) => {
            for rule in rules_after {
                let population = Population::Rule(rule.name.clone());
                churn.compare(population, flat, &Layout::of_serve(after.toggle, &rule.serve));
            }
        }
        (None, Some(flat)) => {
            for rule in rules_before {
                let population = Population::Rule(rule.name.clone());
                churn.compare(population, &Layout::of_serve(before.toggle, &rule.serve), flat);
            }
        }
    }
    let flats = (flat_before.is_some(), flat_after.is_some());
    let all_flat = flats.0 && flats.1;
    let rest_before = flat_before.unwrap_or_else(|| Layout::of_rest(before));
    let rest_after = flat_after.unwrap_or_else(|| Layout::of_rest(after));
    let rest = if everybody || all_flat { Population::Everybody } else { Population::EverybodyElse };
    churn.compare(rest, &rest_before, &rest_after);
    if aims_elsewhere(before.toggle, flats.0, after.toggle, flats.1) {
        churn.notes.push(Note::Targeting);
    }
    if before.toggle.enabled && !after.toggle.enabled && !churn.is_empty() {
        churn.notes.push(Note::SwitchedOff);
    }
    churn
}

/// Whether targeting expressions may give users something else than before.
fn aims_elsewhere(before: &Toggle, before_is_flat: bool, after: &Toggle, after_is_flat: bool) -> bool {
    // While a toggle's own state decides, its expression is not asked.
    let aims =
        [before.targeting.as_ref().filter(|_| !before_is_flat), after.targeting.as_ref().filter(|_| !after_is_flat)];
    let keyed = |toggle: &Toggle| (toggle.bucketing, toggle.salt.clone(), format!("{:?}", toggle.bucket_by));
    aims[0] != aims[1] || (aims[0].is_some() && keyed(before) != keyed(after))
}

/// What everybody gets while nothing but the toggle's own state decides.
fn flat(Side { toggle, killed, .. }: Side<'_>, now: Timestamp) -> Option<Layout<'_>> {
    if !toggle.enabled || killed {
        return Some(Layout::constant(toggle, toggle.off));
    }
    let over = toggle.on_expiry == OnExpiry::Default && toggle.is_expired(now);
    (over || !toggle.schedule.holds(now)).then(|| Layout::constant(toggle, toggle.default))
}

fn in_effect(toggle: &Toggle, now: Timestamp) -> Vec<&Rule> {
    toggle.rules.iter().filter(|rule| rule.schedule.holds(now)).collect()
}

/// Whom a rule matches: equal texts match the same users.
fn cohort(rule: &Rule) -> String {
    format!("{} {:?}", rule.from_anyone, rule.when)
}

impl Churn {
    fn compare_rules(&mut self, before: &Side<'_>, after: &Side<'_>, earlier: &[&Rule], later: &[&Rule]) {
        let cohorts: Vec<String> = earlier.iter().map(|rule| cohort(rule)).collect();
        let mut taken = vec![false; earlier.len()];
        let mut order = Vec::new();
        let mut unmatched = Vec::new();
        for rule in later {
            let text = cohort(rule);
            let place = (0..earlier.len()).find(|place| !taken[*place] && cohorts[*place] == text);
            let Some(place) = place else {
                unmatched.push(rule);
                continue;
            };
            taken[place] = true;
            order.push(place);
            let population = Population::Rule(rule.name.clone());
            let layout = Layout::of_serve(before.toggle, &earlier[place].serve);
            self.compare(population, &layout, &Layout::of_serve(after.toggle, &rule.serve));
        }
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
        let gone = earlier.iter().zip(&taken).filter(|(_, taken)| !**taken);
        self.notes.extend(gone.map(|(rule, _)| Note::RuleRemoved(rule.name.clone())));
        if !order.is_sorted() {
            self.notes.push(Note::Reordered);
        }
    }

    fn compare(&mut self, population: Population, before: &Layout<'_>, after: &Layout<'_>) {
        let redrawn = before.is_redrawn_by(after);
        let overlaps = if redrawn { before.products(after) } else { before.overlaps(after) };
        let moves = overlaps.into_iter().filter_map(|((from, to), portion)| {
            let moved = before.variant(from) != after.variant(to) && portion > Portion::default();
            moved.then(|| Move { from: before.name(from), to: after.name(to), portion })
        });
        let moves: Vec<Move> = moves.collect();
        if redrawn && !self.notes.contains(&Note::Redrawn) {
            self.notes.push(Note::Redrawn);
        }
        if !moves.is_empty() {
            self.shifts.push(Shift { population, moves });
        }
    }
}

#[cfg(test)]
mod tests;
