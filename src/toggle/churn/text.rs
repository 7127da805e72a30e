//! Churn in words.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Churn, Move, Note, Population, Portion, Shift};

impl fmt::Display for Portion {
    /// In percent, to the last digit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, rest) = (self.0 / 100_000_000, self.0 % 100_000_000);
        match format!("{rest:08}").trim_end_matches('0') {
            "" => write!(f, "{percent}%"),
            digits => write!(f, "{percent}.{digits}%"),
        }
    }
}

impl Serialize for Portion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Churn {
    /// `toggle checkout-v2: 4% off -> on (everybody else)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "toggle {}: ", self.toggle)?;
        for (index, shift) in self.shifts.iter().enumerate() {
            write!(f, "{}{shift}", if index == 0 { "" } else { "; " })?;
        }
        for (index, note) in self.notes.iter().enumerate() {
            write!(f, "{}{note}", if index == 0 && self.shifts.is_empty() { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, moved) in self.moves.iter().enumerate() {
            write!(f, "{}{moved}", if index == 0 { "" } else { ", " })?;
        }
        match &self.population {
            Population::Everybody => f.write_str(" (everybody)"),
            Population::EverybodyElse => f.write_str(" (everybody else)"),
            Population::Keyless => f.write_str(" (whoever brings no key)"),
            Population::LeftOut => f.write_str(" (whoever lacks what it requires)"),
            Population::Rule(name) => write!(f, " (rule {name:?})"),
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |variant: &Option<String>| variant.clone().unwrap_or_else(|| "no variant".to_owned());
        write!(f, "{} {} -> {}", self.portion, name(&self.from), name(&self.to))?;
        if self.from == self.to { f.write_str(" of another value") } else { Ok(()) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Added => f.write_str("new"),
            Note::Removed => f.write_str("gone"),
            Note::Redrawn => f.write_str("all are drawn anew, since bucketing, salt or bucket_by differs"),
            Note::Requires => f.write_str("it requires other toggles"),
            Note::Required(portion) => write!(f, "what it requires moved up to {portion}"),
            Note::RuleAdded(name) => write!(f, "rule {name:?} is new"),
            Note::RuleRemoved(name) => write!(f, "rule {name:?} is gone"),
            Note::RuleChanged(name) => write!(f, "rule {name:?} matches others"),
            Note::Targeting => f.write_str("its targeting expression decides otherwise, for as many as all"),
            Note::Steers(service) => {
                write!(f, "it picks the arms of service {service} otherwise than before, however many that moves")
            }
            Note::SwitchedOff => f.write_str("switched off, however many that moves"),
            Note::Rematched(portion) => {
                write!(f, "at most {portion} of those concerned move, however many they are")
            }
            Note::Reordered => f.write_str("its rules are tried in another order"),
        }
    }
}
