//! `[assignment]`: the cookie that keeps anonymous users where they are.

use std::time::Duration;

use crate::{
    config::{
        document::Document,
        section::{Field, Section},
        units,
    },
    identity::Attribute,
    plan::{PlannedToggle, Route, Service, Split, StickyCookie, ToggleId},
    toggle::Serve,
};

/// How long a browser keeps the cookie when nothing else is said.
const MAX_AGE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The cookie, and where it is written; `None` inside when there is none.
pub(super) fn cookie<'a>(document: &Document<'a>) -> Option<Option<(StickyCookie, Field<'a>)>> {
    let Some(field) = document.table("assignment") else { return Some(None) };
    let mut section = field.section()?;
    let cookie = section.require("cookie", "name it: cookie = { name = \"weir-key\" }");
    section.finish();
    let field = cookie?;
    let cookie = sticky(field.clone().section()?)?;
    Some(Some((cookie, field)))
}

fn sticky(mut section: Section<'_>) -> Option<StickyCookie> {
    let name = section.require("name", "name the cookie: name = \"weir-key\"");
    let max_age = section.take("max_age").map_or(Some(MAX_AGE), |field| field.parse(units::duration));
    let words = [("lax", "Lax"), ("strict", "Strict"), ("none", "None")];
    let same_site = section.take("same_site").map_or(Some("Lax"), |field| field.word(&words));
    let secure = section.take("secure").map_or(Some(true), |field| field.flag());
    let domain = section.take("domain").map_or(Some(None), |field| field.parse(units::name_of).map(Some));
    let name = name.and_then(|field| field.parse(units::name_of));
    let (name, max_age, same_site, secure, domain) = (name?, max_age?, same_site?, secure?, domain?);
    if !secure && (same_site == "None" || name.starts_with("__")) {
        let hint = "write secure = true, or choose another name and same_site";
        section.refuse("browsers would not keep this cookie".to_owned(), hint);
        return None;
    }
    if name.starts_with("__Host-") && domain.is_some() {
        section.refuse("browsers would not keep this cookie".to_owned(), "leave domain out, or choose another name");
        return None;
    }
    section.finish();
    let domain = domain.map_or(String::new(), |domain| format!("; Domain={domain}"));
    let secure = if secure { "; Secure" } else { "" };
    let max_age = max_age.as_secs();
    let attributes = format!("; Path=/{domain}; Max-Age={max_age}; HttpOnly{secure}; SameSite={same_site}");
    Some(StickyCookie { name, attributes, readers: Vec::new() })
}

/// Finds out which routes the cookie matters for.
pub(super) fn attach(
    cookie: Option<(StickyCookie, Field<'_>)>,
    toggles: &[PlannedToggle],
    carried: &[ToggleId],
    routes: &[Route],
    services: &[Service],
) -> Option<StickyCookie> {
    let (mut cookie, field) = cookie?;
    let mut always = vec![false; toggles.len()];
    carried.iter().for_each(|id| take_part(*id, toggles, &mut always));
    let readers = routes.iter().map(|route| {
        let mut parts = always.clone();
        if let Split::Toggle { toggle, .. } = services[route.service.0].split {
            take_part(toggle, toggles, &mut parts);
        }
        if let Some(required) = route.require {
            take_part(required.toggle, toggles, &mut parts);
        }
        let mut lists: Vec<Vec<Attribute>> = Vec::new();
        let parts = toggles.iter().zip(parts).filter(|(_, part)| *part);
        for list in parts.flat_map(|(planned, _)| key_sources(planned)) {
            let reads = list.iter().any(|source| matches!(source, Attribute::Cookie(name) if *name == cookie.name));
            if reads && !lists.contains(list) {
                lists.push(list.clone());
            }
        }
        lists
    });
    cookie.readers = readers.collect();
    if cookie.readers.iter().all(Vec::is_empty) {
        let message = format!("no toggle that decides for a request reads the cookie {:?}", cookie.name);
        field.warn(message, &format!("add \"cookie:{}\" to the bucket_by of one", cookie.name));
    }
    Some(cookie)
}

/// Marks a toggle and what it requires.
fn take_part(id: ToggleId, toggles: &[PlannedToggle], parts: &mut [bool]) {
    if std::mem::replace(&mut parts[id.0], true) {
        return;
    }
    toggles[id.0].toggle.requires.iter().for_each(|needed| take_part(needed.toggle, toggles, parts));
}

/// The lists of key sources that a toggle's shares go by.
fn key_sources(planned: &PlannedToggle) -> impl Iterator<Item = &Vec<Attribute>> {
    let toggle = &planned.toggle;
    let rules = toggle.rules.iter().filter_map(|rule| match &rule.serve {
        Serve::Split(split) => Some(split),
        Serve::Variant(_) => None,
    });
    let splits = rules.chain(&toggle.split);
    let splits = splits.map(|split| if split.bucket_by.is_empty() { &toggle.bucket_by } else { &split.bucket_by });
    splits.chain(planned.rollout.as_ref().map(|_| &toggle.bucket_by))
}
