//! `[jwt.NAME]`: whose tokens prove who a client is.

use std::time::Duration;

use crate::{
    config::{
        document::Document,
        section::{Field, Section},
        units,
    },
    identity::{Attribute, Keys, Verifier},
    plan::{Issuer, IssuerId},
};

/// How far the clocks of issuer and proxy may differ when the configuration does not say.
const LEEWAY: Duration = Duration::from_secs(30);

/// Issuers so far; `None` stands where one was refused, so that references to it still resolve.
pub(super) struct Issuers<'a> {
    names: Vec<&'a str>,
    issuers: Vec<Option<Issuer>>,
}

impl Issuers<'_> {
    /// The issuer that a field names.
    pub(super) fn reference(&self, field: &Field<'_>) -> Option<IssuerId> {
        field.reference("issuer of tokens", &self.names).map(IssuerId)
    }

    /// All of them; `None` when one was refused.
    pub(super) fn finish(self) -> Option<Vec<Issuer>> {
        self.issuers.into_iter().collect()
    }
}

pub(super) fn issuers<'a>(document: &Document<'a>) -> Issuers<'a> {
    let mut issuers = Issuers { names: Vec::new(), issuers: Vec::new() };
    for (name, field) in document.named("jwt") {
        if let Err(hint) = units::name(name) {
            field.refuse(format!("{name:?} is not a valid name"), hint);
        }
        issuers.names.push(name);
        issuers.issuers.push(field.section().and_then(|section| issuer(name, section)));
    }
    issuers
}

fn issuer(name: &str, mut section: Section<'_>) -> Option<Issuer> {
    let keys = match (section.take("jwks"), section.take("secret_file")) {
        (Some(field), None) => keys(&field, Keys::from_jwks),
        (None, Some(field)) => keys(&field, Keys::from_secret),
        _ => {
            let hint = "write jwks = \"keys.json\" for public keys, or secret_file = \"secret\" for a shared secret";
            section.refuse("tokens are verified with either a key set or a secret".to_owned(), hint);
            None
        }
    };
    let iss = section.take("issuer").map_or(Some(None), |field| field.text().map(|text| Some(text.to_owned())));
    let audiences = section.take("audience").map_or(Some(Vec::new()), |field| {
        let texts: Vec<_> = field.one_or_more().iter().map(|field| field.text().map(str::to_owned)).collect();
        texts.into_iter().collect()
    });
    let found_in =
        section.take("found_in").map_or(Some(Attribute::Header(http::header::AUTHORIZATION)), |field| found_in(&field));
    let leeway = section.take("leeway").map_or(Some(LEEWAY), |field| field.parse(units::duration));
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        let hint = "name yours: audience = \"shop\"; else a token that was made for another service counts here too";
        section.warn("no audience is asked for".to_owned(), hint);
    }
    section.finish();
    let verifier = Verifier {
        keys: keys?,
        issuer: iss?,
        audiences: audiences?,
        leeway_s: i64::try_from(leeway?.as_secs()).unwrap_or(i64::MAX),
    };
    Some(Issuer { name: name.to_owned(), found_in: found_in?, verifier })
}

fn keys<E: std::fmt::Display>(field: &Field<'_>, read: impl Fn(&[u8]) -> Result<Keys, E>) -> Option<Keys> {
    match read(field.file()?) {
        Ok(keys) => Some(keys),
        Err(error) => {
            let hint =
                "a key set is the JSON that the issuer publishes as its jwks_uri; a secret is a file of random text";
            field.refuse(format!("the file {:?} cannot be used: {error}", field.text()?), hint);
            None
        }
    }
}

fn found_in(field: &Field<'_>) -> Option<Attribute> {
    let attribute = field.parse(|text| text.parse::<Attribute>().map_err(|error| error.to_string()))?;
    let carries = matches!(attribute, Attribute::Header(_) | Attribute::Cookie(_));
    if !carries {
        field.refuse(format!("{attribute} carries no token"), "write header:NAME or cookie:NAME");
    }
    carries.then_some(attribute)
}
