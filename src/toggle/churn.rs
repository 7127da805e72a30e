//! Churn: which share of users a change of a toggle moves from each variant to each other.
//!
//! It is computed from the layouts, not sampled. Under one keying (bucketing, salt and sources of the key)
//! a user keeps the slot, so the shares are lengths of overlaps. Under another one the two assignments are
//! independent, so they are products of shares.
//!
//! Targeting that is nothing but shares of the toggle's own key is as exact as a split. Of any other
//! expression it is only known that it differs: then all are reckoned with.
//!
//! Whom a rule matches that comes, goes or matches others, nobody knows either. They were one population before
//! and are one afterwards, so of them at most so many move as of any pair of populations.
//!
//! What a toggle requires of others is either the same for everybody, and then exact, or it varies: then
//! whoever it moves is reckoned with on top, since nobody knows which users the two have in common.

mod comparing;
mod layout;
mod portion;
mod text;

use serde::Serialize;

use super::{Share, Toggle};

pub use comparing::{churn, lacking};
pub use portion::Portion;

/// One state of a toggle.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The toggle.
    pub toggle: &'a Toggle,
    /// What its rollout gives.
    pub share: Option<Share>,
    /// Whether an operator killed it.
    pub killed: bool,
    /// Whether it has what it requires of others.
    pub needs: Needs,
}

/// Whether a toggle has what it requires of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// For everybody; so does one that requires nothing.
    Met,
    /// For nobody.
    Unmet {
        /// Whether that is since `enabled = false` switched one of the others off.
        switched_off: bool,
    },
    /// For some.
    Varying,
}

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
    /// Those who bring no key, where those who do are told of: flagd's shares are of keys alone.
    Keyless,
    /// Those who lack what it requires, before and after.
    LeftOut,
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
    /// It requires others, or other variants of them.
    Requires,
    /// What it requires moved, for at most so many of any population.
    Required(Portion),
    /// A rule is new.
    RuleAdded(String),
    /// A rule is gone.
    RuleRemoved(String),
    /// A rule of that name matches others.
    RuleChanged(String),
    /// The rules are tried in another order.
    Reordered,
    /// Whom other rules match than before, or none: nobody knows how many they are. At most so many of them move.
    Rematched(Portion),
    /// The targeting expression decides otherwise: any number may move, so all are reckoned with.
    Targeting,
    /// It picks the arms of this service, and did not, or picked others.
    Steers(String),
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
        self.most_where(|_| true)
    }

    /// The largest share of any population that gets this variant, or loses it, or may.
    #[must_use]
    pub fn most_of(&self, variant: &str) -> Portion {
        let gives = |name: &Option<String>| name.as_deref() == Some(variant);
        self.most_where(|moved| gives(&moved.from) != gives(&moved.to))
    }

    fn most_where(&self, counts: impl Fn(&Move) -> bool) -> Portion {
        if self.notes.contains(&Note::Targeting) {
            return Portion::WHOLE;
        }
        let moved = |shift: &Shift| {
            let moves = shift.moves.iter().filter(|moved| counts(moved));
            moves.fold(Portion::default(), |sum, moved| sum + moved.portion)
        };
        let rematched = self.notes.iter().filter_map(|note| match note {
            Note::Rematched(portion) => Some(*portion),
            _ => None,
        });
        let required = self.notes.iter().filter_map(|note| match note {
            Note::Required(portion) => Some(*portion),
            _ => None,
        });
        let most = self.shifts.iter().map(moved).chain(rematched).max().unwrap_or_default();
        required.fold(most, Portion::beside)
    }
}

#[cfg(test)]
mod tests;
