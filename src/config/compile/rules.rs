//! The rules of toggles, and what follows from them for headers of untrusted peers.

use std::collections::HashSet;

use http::HeaderName;

use super::{
    conditions::Scope,
    segments::Segments,
    shares::{self, Whose},
};
use crate::{
    config::section::{Field, Section},
    identity::Attribute,
    plan::{PlannedToggle, Route},
    route::Pattern,
    toggle::{Category, Rule, Schedule, Serve},
};

pub(super) fn rule(mut section: Section<'_>, index: usize, whose: Whose<'_>, segments: &Segments) -> Option<Rule> {
    let name = section.take("name");
    let when = section.require("when", "say who is meant: when = { attr = \"header:x-cohort\", equals = \"beta\" }");
    let keys = shares::Keys::of_rule(&mut section);
    let serve = match section.take("serve") {
        Some(field) if keys.has_split() => {
            field.refuse("a rule serves either one variant or a split".to_owned(), "keep one of serve and split");
            None
        }
        Some(field) => Some(field),
        None if keys.has_split() => None,
        None => section.require("serve", "name the variant they get: serve = \"on\""),
    };
    let from = section.take("from");
    let schedule = section.take("schedule").map_or(Some(Schedule::default()), |field| schedule(&field));
    section.finish();
    let name = match name {
        Some(field) => field.text().map(str::to_owned),
        None => Some(format!("rule {}", index + 1)),
    };
    let from_anyone = match from {
        Some(field) => field.word(&[("anyone", true), ("trusted", false)]),
        None => Some(false),
    };
    // Against no variants at all, every name would be unknown: that was reported already.
    let variant = serve.and_then(|field| shares::variant(&field, whose.variants?)).map(Serve::Variant);
    let split = keys.read(whose);
    let scope = Scope::of_rule(segments, whose.category == Some(Category::Permission));
    let when = when.and_then(|field| scope.condition(field));
    let serve = split?.map(Serve::Split).or(variant);
    Some(Rule { name: name?, when: when?, serve: serve?, schedule: schedule?, from_anyone: from_anyone? })
}

/// `{ from = …, until = … }`.
pub(super) fn schedule(field: &Field<'_>) -> Option<Schedule> {
    let mut section = field.clone().section()?;
    let from = section.take("from").map_or(Some(None), |field| field.moment().map(Some));
    let until = section.take("until").map_or(Some(None), |field| field.moment().map(Some));
    if let (Some(None), Some(None)) = (from, until)
        && !section.has_unknown()
    {
        section.refuse("the schedule has no bound".to_owned(), "write from = 2027-01-15T08:00:00Z, until = …, or both");
    }
    section.finish();
    let schedule = Schedule { from: from?, until: until? };
    if schedule.from.zip(schedule.until).is_some_and(|(from, until)| from >= until) {
        field.refuse("the schedule ends before it begins".to_owned(), "make until later than from");
        return None;
    }
    Some(schedule)
}

/// Headers that decide only for trusted peers: rules read them, none for anyone, and neither routes
/// nor assignment keys need them.
pub(super) fn cohort_headers(toggles: &[&PlannedToggle], routes: &[Option<(Pattern, Route)>]) -> Vec<HeaderName> {
    let mut cohorts: HashSet<&HeaderName> = HashSet::new();
    let mut needed: HashSet<&HeaderName> = HashSet::new();
    for toggle in toggles.iter().map(|planned| &planned.toggle) {
        needed.extend(toggle.bucket_by.iter().filter_map(header));
        needed.extend(toggle.split.iter().flat_map(|split| &split.bucket_by).filter_map(header));
        if let Some(targeting) = &toggle.targeting {
            cohorts.extend(targeting.compared().into_iter().filter_map(header));
            needed.extend(targeting.hashed().into_iter().filter_map(header));
        }
        for rule in &toggle.rules {
            let read = if rule.from_anyone { &mut needed } else { &mut cohorts };
            rule.when.each_attribute(&mut |attr| read.extend(header(attr)));
            if let Serve::Split(split) = &rule.serve {
                needed.extend(split.bucket_by.iter().filter_map(header));
            }
        }
    }
    needed.extend(routes.iter().flatten().flat_map(|(pattern, _)| pattern.headers.iter().map(|(name, _)| name)));
    let mut names: Vec<HeaderName> = cohorts.difference(&needed).map(|name| (*name).clone()).collect();
    names.sort_by(|left, right| left.as_str().cmp(right.as_str()));
    names
}

fn header(attr: &Attribute) -> Option<&HeaderName> {
    match attr {
        Attribute::Header(name) => Some(name),
        _ => None,
    }
}
