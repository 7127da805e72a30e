//! `fractional`: shares by the hash of a key, in the arithmetic of the toggle's own [`Bucketing`].

use serde_json::Value;

use super::{
    Aim, Targeting,
    datum::Datum,
    evaluating::{Exhausted, Frame, Run},
    expression::{Expression, Fractional},
};
use crate::{bucket::Bucketing, toggle::Toggle};

/// What the weights may come to in all.
pub(super) const WEIGHTS_MAX: i64 = i32::MAX as i64;

impl Targeting {
    /// What each share of the keys aims at and its weight, in their order, where the whole expression is one
    /// `fractional` of the toggle's own key that writes all of it out. Without a key it comes to nothing.
    pub(in crate::toggle) fn shares(&self, toggle: &Toggle) -> Option<Vec<(Aim, u64)>> {
        let Expression::Fractional(fractional) = &self.expression else { return None };
        if fractional.key.is_some() {
            return None;
        }
        let share = |(variant, weight): &(Expression, Option<Expression>)| {
            let Expression::Literal(variant) = variant else { return None };
            let weight = match weight {
                None | Some(Expression::Literal(Value::Null)) => 1,
                Some(Expression::Literal(weight)) => whole_weight(weight.as_f64()?)?,
                Some(_) => return None,
            };
            Some((Aim::of(toggle, &outcome(Datum::from(variant))), u64::try_from(weight).ok()?))
        };
        fractional.buckets.iter().map(share).collect()
    }
}

/// What a share gives: null when it names nothing.
fn outcome(variant: Datum<'_>) -> Datum<'_> {
    if matches!(variant, Datum::Text(_) | Datum::Flag(_) | Datum::Number(_)) { variant } else { Datum::Null }
}

impl<'a> Run<'a> {
    /// The variant of the bucket that the key falls in; null where there is no key, no weight, or a weight
    /// that is no whole number.
    pub(super) fn fractional(
        &mut self,
        fractional: &'a Fractional,
        frame: Frame<'_, 'a>,
    ) -> Result<Datum<'a>, Exhausted> {
        let Some(hash) = self.hash(fractional, frame)? else { return Ok(Datum::Null) };
        let mut total = 0;
        for (_, weight) in &fractional.buckets {
            let Some(weight) = self.weight(weight.as_ref(), frame)? else { return Ok(Datum::Null) };
            total += weight;
        }
        if total > WEIGHTS_MAX {
            return Ok(Datum::Null);
        }
        let slot = (i64::from(hash) * total) >> 32;
        let mut end = 0;
        for (variant, weight) in &fractional.buckets {
            end += self.weight(weight.as_ref(), frame)?.unwrap_or_default();
            if slot < end {
                return self.evaluate(variant, frame).map(outcome);
            }
        }
        Ok(Datum::Null)
    }

    fn hash(&mut self, fractional: &'a Fractional, frame: Frame<'_, 'a>) -> Result<Option<u32>, Exhausted> {
        let given = match &fractional.key {
            Some(key) => Some(self.evaluate(key, frame)?),
            None => None,
        };
        Ok(match (given, self.bucketing) {
            (None, _) | (Some(Datum::Null), Bucketing::FlagdV2) => {
                match self.look(&fractional.targeting_key, frame)? {
                    Datum::Text(key) if !key.is_empty() => Some(self.bucketing.hash(self.salt, &key)),
                    _ => None,
                }
            }
            // The bytes of the text alone, which need no copy.
            (Some(Datum::Text(text)), Bucketing::FlagdV2) => Some(Bucketing::FlagdV2.hash("", &text)),
            (Some(Datum::Array(_) | Datum::List(_)), _) => None,
            (Some(given), bucketing) => bucketing.hash_value(&given.to_value()),
        })
    }

    /// A weight: 1 where none is written, nothing where it is below; `None` when it is no whole number.
    fn weight(
        &mut self,
        weight: Option<&'a super::expression::Expression>,
        frame: Frame<'_, 'a>,
    ) -> Result<Option<i64>, Exhausted> {
        let Some(weight) = weight else { return Ok(Some(1)) };
        Ok(match self.evaluate(weight, frame)? {
            Datum::Null => Some(1),
            Datum::Number(number) => whole_weight(number),
            _ => None,
        })
    }
}

/// The weight as flagd reads it; `None` when it is no whole number or too large.
pub(super) fn whole_weight(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "what is out of range is refused right after")]
    let weight = number as i64;
    let whole = number.fract() == 0.0 && weight <= WEIGHTS_MAX;
    whole.then_some(weight.max(0))
}
