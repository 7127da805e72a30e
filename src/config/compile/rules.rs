//! The rules of toggles, and what follows from them for headers of untrusted peers.

use http::HeaderName;
use regex::Regex;

use crate::{
    config::{
        section::{Field, Section},
        units,
    },
    identity::Attribute,
    plan::{PlannedToggle, Route},
    route::Pattern,
    toggle::{Condition, Rule, Schedule, Serve, Test, Variant, VariantId},
};

pub(super) fn rule(mut section: Section<'_>, index: usize, variants: Option<&[Variant]>) -> Option<Rule> {
    let name = section.take("name");
    let when = section.require("when", "say who is meant: when = { attr = \"header:x-cohort\", equals = \"beta\" }");
    let serve = section.require("serve", "name the variant they get: serve = \"on\"");
    let from = section.take("from");
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
    let names: Option<Vec<&str>> = variants.map(|variants| variants.iter().map(|variant| &*variant.name).collect());
    let serve = serve.and_then(|field| field.reference("variant", &names?)).map(VariantId);
    let when = when.and_then(|field| condition(field.section()?));
    Some(Rule {
        name: name?,
        when: when?,
        serve: Serve::Variant(serve?),
        schedule: Schedule::default(),
        from_anyone: from_anyone?,
    })
}

fn condition(mut section: Section<'_>) -> Option<Condition> {
    let hint = "name what is looked at: header:NAME, cookie:NAME, query:NAME, jwt:CLAIM, context:NAME, method, path, host or ip";
    let attr = section
        .require("attr", hint)
        .and_then(|field| field.parse(|text| text.parse::<Attribute>().map_err(|error| format!("{error}; {hint}"))));
    let mut tests = Vec::new();
    let mut whole = true;
    for key in ["equals", "in", "starts_with", "ends_with", "contains", "matches", "in_network", "exists"] {
        if let Some(field) = section.take(key) {
            let test = test(key, &field);
            whole &= test.is_some();
            tests.extend(test);
        }
    }
    let test = match tests.len() {
        1 => tests.pop(),
        // A test that is wrong or misspelt is reported as that.
        0 if !whole || section.has_unknown() => None,
        count => {
            let hint = "write exactly one of equals, in, starts_with, ends_with, contains, matches, in_network, exists";
            section.refuse(format!("the condition has {count} tests"), hint);
            None
        }
    };
    if let (Some(Attribute::Ip), Some(other)) = (&attr, &test)
        && !matches!(other, Test::InNetwork(_))
    {
        section.refuse("an address is not a text".to_owned(), "test ip with in_network = [\"10.0.0.0/8\"]");
        whole = false;
    }
    section.finish();
    Some(Condition { attr: attr?, test: test? }).filter(|_| whole)
}

fn test(key: &str, field: &Field<'_>) -> Option<Test> {
    let text = || field.text().map(str::to_owned);
    match key {
        "equals" => text().map(Test::Equals),
        "in" => each(field, |field| field.text().map(str::to_owned)).map(Test::In),
        "starts_with" => text().map(Test::StartsWith),
        "ends_with" => text().map(Test::EndsWith),
        "contains" => text().map(Test::Contains),
        "matches" => field.parse(|text| Regex::new(text).map_err(|error| regex_error(&error))).map(Test::Matches),
        "in_network" => each(field, |field| field.parse(units::network)).map(Test::InNetwork),
        _ => field.flag().map(Test::Exists),
    }
}

/// Reads one or several; all of them are read, so that each reports its problem.
fn each<T>(field: &Field<'_>, read: impl Fn(&Field<'_>) -> Option<T>) -> Option<Vec<T>> {
    let values: Vec<Option<T>> = field.clone().one_or_more().iter().map(read).collect();
    values.into_iter().collect()
}

/// The library draws the pattern and a caret over several lines; the last one says what is wrong.
fn regex_error(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Headers that decide only for trusted peers: rules read them, none for anyone, and neither routes
/// nor assignment keys need them.
pub(super) fn cohort_headers(toggles: &[&PlannedToggle], routes: &[Option<(Pattern, Route)>]) -> Vec<HeaderName> {
    let header = |attribute: &Attribute| match attribute {
        Attribute::Header(name) => Some(name.clone()),
        _ => None,
    };
    let rules = || toggles.iter().flat_map(|planned| &planned.toggle.rules);
    let mut names: Vec<HeaderName> =
        rules().filter(|rule| !rule.from_anyone).filter_map(|rule| header(&rule.when.attr)).collect();
    let needed: Vec<HeaderName> = rules()
        .filter(|rule| rule.from_anyone)
        .filter_map(|rule| header(&rule.when.attr))
        .chain(toggles.iter().flat_map(|planned| &planned.toggle.bucket_by).filter_map(header))
        .chain(routes.iter().flatten().flat_map(|(pattern, _)| pattern.headers.iter().map(|(name, _)| name.clone())))
        .collect();
    names.retain(|name| !needed.contains(name));
    names.sort_by(|left, right| left.as_str().cmp(right.as_str()));
    names.dedup();
    names
}
