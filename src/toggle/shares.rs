//! What a toggle serves to whom, in words.

use super::{Rule, Serve, Share, Split, Toggle, VariantId};
use crate::bucket::{SLOTS, Weight};

impl Toggle {
    /// What each cohort and everybody else gets, such as `beta testers: on; else 10% on, 90% off`. Equal
    /// texts serve alike, as long as the conditions are the same.
    #[must_use]
    pub fn serves(&self, share: Option<Share>) -> String {
        let name = |variant: VariantId| &*self.variants[variant.0].name;
        let default = self.default.map_or("the application's default", name);
        let mut text = String::new();
        for rule in &self.rules {
            let served = match &rule.serve {
                Serve::Variant(variant) => name(*variant).to_owned(),
                Serve::Split(split) => self.divided(split),
            };
            text.push_str(&format!("{}: {served}; ", rule.name));
        }
        if let Some(targeting) = &self.targeting {
            text.push_str(&format!("targeting {}; ", targeting.source()));
        }
        if !text.is_empty() {
            text.push_str("else ");
        }
        text + &match (&self.split, share) {
            (Some(split), _) => self.divided(split),
            (None, Some(share)) => {
                let rest = Weight::from_slots(SLOTS - share.weight.slots());
                format!("{} {}, {rest} {default}", share.weight, name(share.variant))
            }
            (None, None) => default.to_owned(),
        }
    }

    /// What everybody gets who has what it requires, of the rules that count; `None` where it depends on who
    /// asks.
    #[must_use]
    pub fn uniform(&self, share: Option<Share>, counts: impl Fn(&Rule) -> bool) -> Option<Option<VariantId>> {
        if self.targeting.is_some() {
            return None;
        }
        let whole = |split: &Split| split.bands.iter().all(|band| band.variant == split.bands[0].variant);
        let of_split = |split: &Split| whole(split).then(|| split.bands.first().map(|band| band.variant));
        let rest = match (&self.split, share) {
            (Some(split), _) => of_split(split)?,
            (None, Some(share)) if share.weight == Weight::WHOLE => Some(share.variant),
            (None, Some(share)) if share.weight.slots() > 0 && Some(share.variant) != self.default => return None,
            _ => self.default,
        };
        let same = |serve: &Serve| match serve {
            Serve::Variant(variant) => Some(*variant) == rest,
            Serve::Split(split) => of_split(split) == Some(rest),
        };
        self.rules.iter().filter(|rule| counts(rule)).all(|rule| same(&rule.serve)).then_some(rest)
    }

    fn divided(&self, split: &Split) -> String {
        let shares = self.variants.iter().enumerate().map(|(place, variant)| (split.weight(VariantId(place)), variant));
        let shares = shares.filter(|(weight, _)| weight.slots() > 0);
        shares.map(|(weight, variant)| format!("{weight} {}", variant.name)).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toggle::{
        Band,
        sample::{OFF, ON, toggle},
    };

    #[test]
    fn one_variant_for_everybody_is_found_and_told() {
        let share = |weight: &str| Some(Share { variant: ON, weight: weight.parse().unwrap() });
        let split = |bands: &[(u32, VariantId)]| {
            let bands = bands.iter().map(|(end, variant)| Band { end: *end, variant: *variant }).collect();
            Some(Split { salt: "t".into(), bucket_by: Vec::new(), bands })
        };
        let plain = toggle("t");
        let half = Toggle { split: split(&[(50_000, ON), (100_000, OFF)]), ..toggle("t") };
        let whole = Toggle { split: split(&[(50_000, ON), (100_000, ON)]), ..toggle("t") };
        for (toggle, share, serves, settled) in [
            (&plain, None, "off", Some(OFF)),
            (&plain, share("0%"), "0% on, 100% off", Some(OFF)),
            (&plain, share("10%"), "10% on, 90% off", None),
            (&plain, share("100%"), "100% on, 0% off", Some(ON)),
            (&half, None, "50% on, 50% off", None),
            (&whole, None, "100% on", Some(ON)),
        ] {
            assert_eq!((&*toggle.serves(share), toggle.uniform(share, |_| true)), (serves, settled.map(Some)));
        }
    }
}
