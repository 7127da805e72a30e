//! Portions: exact shares of a population.

use std::ops::{Add, AddAssign, Mul, Sub};

use crate::bucket::{SLOTS, Weight};

/// A share of a population. It is counted in slots of slots, so that the product of two weights is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Portion(pub(super) u64);

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

    /// The first `part` of `total`, to the last digit that is shown.
    pub(super) fn of(part: u64, total: u64) -> Portion {
        let wide = u128::from(part) * u128::from(Portion::WHOLE.0) / u128::from(total);
        u64::try_from(wide).map_or(Portion::WHOLE, Portion).min(Portion::WHOLE)
    }

    /// Both together, where they may be the same users and are at most all.
    #[must_use]
    pub fn beside(self, other: Portion) -> Portion {
        (self + other).min(Portion::WHOLE)
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

impl Sub for Portion {
    type Output = Portion;

    fn sub(self, other: Portion) -> Portion {
        Portion(self.0.saturating_sub(other.0))
    }
}

impl Mul for Portion {
    type Output = Portion;

    /// The share of one within an independent other; what is finer than a unit counts as one.
    fn mul(self, other: Portion) -> Portion {
        let wide = (u128::from(self.0) * u128::from(other.0)).div_ceil(u128::from(Portion::WHOLE.0));
        u64::try_from(wide).map_or(Portion::WHOLE, Portion)
    }
}
