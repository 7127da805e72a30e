//! `[ofrep]`, without its address.

use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    issuers::Issuers,
    process::{bytes, count, duration},
    toggles::Toggles,
};
use crate::{
    config::{
        document::Document,
        section::{Field, Section},
        units,
    },
    plan::{AppKey, Ofrep, OfrepLimits, SecretDigest},
};

/// A secret that is shorter could be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// Some hundred answers would not fit the memory that a sidecar has.
const CONTEXT_DEPTH_MAX: u64 = 100;

/// `Some(None)` when there is no `[ofrep]`, `None` when it is wrong.
pub(super) fn ofrep(document: &Document<'_>, issuers: &Issuers<'_>, toggles: &Toggles<'_>) -> Option<Option<Ofrep>> {
    let Some(field) = document.table("ofrep") else { return Some(None) };
    let mut section = field.section()?;
    // The process reads it: it cannot change while it runs.
    let address = section.take("address").and_then(|field| field.text()?.parse::<std::net::SocketAddr>().ok());
    let keys = section.take("keys").map_or(Some(Vec::new()), |field| keys(field, toggles));
    let issuer = section.take("jwt").map_or(Some(None), |field| issuers.reference(&field).map(Some));
    let allowed_origins = section.take("allowed_origins").map_or(Some(Vec::new()), |field| texts(field, origin));
    let allowed_hosts = section.take("allowed_hosts").map_or(Some(Vec::new()), |field| texts(field, host));
    let limits = limits(&mut section);
    let open = keys.as_ref().is_some_and(Vec::is_empty);
    if open && address.is_some_and(|address| !address.ip().is_loopback()) {
        let hint = "add keys = [{ name = \"app\", secret_file = \"app.key\" }], or listen on 127.0.0.1";
        section.warn("everybody who reaches this address may ask for every toggle".to_owned(), hint);
    }
    section.finish();
    Some(Some(Ofrep {
        keys: keys?,
        issuer: issuer?,
        allowed_origins: allowed_origins?,
        allowed_hosts: allowed_hosts?,
        limits: limits?,
    }))
}

fn limits(section: &mut Section<'_>) -> Option<OfrepLimits> {
    let mut limits = OfrepLimits::default();
    let mut requests = usize::try_from(limits.requests_per_second_max).ok()?;
    let streams = section.take("streams_max");
    let wholes = [
        count(section, "connections_max", &mut limits.connections_max),
        streams.as_ref().is_none_or(|field| {
            field
                .integer(1)
                .is_some_and(|number| usize::try_from(number).map(|number| limits.streams_max = number).is_ok())
        }),
        count(section, "requests_per_second_max", &mut requests),
        bytes(section, "body_bytes_max", &mut limits.body_bytes_max),
        count(section, "context_values_max", &mut limits.context_values_max),
        context_depth(section, &mut limits.context_depth_max),
        bytes(section, "context_text_bytes_max", &mut limits.context_text_bytes_max),
        duration(section, "evaluation_timeout", &mut limits.evaluation_timeout),
        duration(section, "idle_timeout", &mut limits.idle_timeout),
        duration(section, "request_timeout", &mut limits.request_timeout),
        duration(section, "stream_heartbeat", &mut limits.stream_heartbeat),
        duration(section, "stream_retry", &mut limits.stream_retry),
    ];
    limits.requests_per_second_max = requests.try_into().ok()?;
    if !wholes.into_iter().all(|whole| whole) {
        return None;
    }
    if limits.streams_max >= limits.connections_max {
        let message = format!("{} streams would leave no connection to ask over", limits.streams_max);
        let hint = format!("keep streams_max below connections_max, which is {}", limits.connections_max);
        match streams {
            Some(field) => field.refuse(message, &hint),
            None => section.refuse(message, &hint),
        }
        return None;
    }
    Some(limits)
}

/// serde_json gives up at 128 levels of its own.
fn context_depth(section: &mut Section<'_>, depth: &mut usize) -> bool {
    let Some(field) = section.take("context_depth_max") else { return true };
    let Some(number) = field.integer(1) else { return false };
    if number > CONTEXT_DEPTH_MAX {
        field.refuse("a context cannot be that deep".to_owned(), &format!("write 1 to {CONTEXT_DEPTH_MAX}"));
        return false;
    }
    usize::try_from(number).map(|number| *depth = number).is_ok()
}

fn keys(field: Field<'_>, toggles: &Toggles<'_>) -> Option<Vec<AppKey>> {
    let mut keys: Vec<AppKey> = Vec::new();
    let mut whole = true;
    for field in field.list()? {
        let made = field.clone().section().and_then(|section| key(section, toggles));
        let Some(key) = made else {
            whole = false;
            continue;
        };
        if let Some(earlier) = keys.iter().find(|earlier| earlier.name == key.name || earlier.digest == key.digest) {
            let shared = if earlier.name == key.name { "this name" } else { "this secret" };
            field.refuse(format!("two keys have {shared}"), "give each its own: then it can be told who asks");
            whole = false;
        }
        keys.push(key);
    }
    whole.then_some(keys)
}

fn key(mut section: Section<'_>, toggles: &Toggles<'_>) -> Option<AppKey> {
    let name = section.require("name", "name who holds it: name = \"app\"");
    let name = name.and_then(|field| field.parse(units::name_of));
    let secret = section.require("secret_file", "name a file that holds it: secret_file = \"app.key\"");
    let secret = secret.and_then(|field| secret_of(&field));
    let allowed = section.take("toggles").map_or(Some(None), |field| {
        let ids: Vec<_> = field.list()?.iter().map(|field| toggles.reference(field)).collect();
        let mut ids: Vec<_> = ids.into_iter().collect::<Option<_>>()?;
        ids.sort_unstable();
        Some(Some(ids))
    });
    section.finish();
    let digest = secret?;
    Some(AppKey { name: name?, digest, stream_token: stream_token(&digest), toggles: allowed? })
}

/// The digest of the secret that a file holds, without the line break at its end.
fn secret_of(field: &Field<'_>) -> Option<SecretDigest> {
    let secret = field.file()?.trim_ascii();
    let hint = "write 16 to 1000 visible characters into it, as `openssl rand -base64 32` prints them";
    if !(SECRET_BYTES_MIN..=1000).contains(&secret.len()) || !secret.iter().all(u8::is_ascii_graphic) {
        field.refuse("the file holds no secret that a header could carry".to_owned(), hint);
        return None;
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
    Some(SecretDigest(bytes))
}

/// Tells nothing of the secret, and changes with it.
fn stream_token(digest: &SecretDigest) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &digest.0);
    URL_SAFE_NO_PAD.encode(&hmac::sign(&key, b"weir ofrep events").as_ref()[..16])
}

fn texts(field: Field<'_>, read: impl Fn(&str) -> Result<String, &'static str>) -> Option<Vec<String>> {
    let texts: Vec<_> = field.one_or_more().iter().map(|field| field.parse(&read)).collect();
    texts.into_iter().collect()
}

/// An origin as a browser writes it (RFC 6454 §6.2).
fn origin(text: &str) -> Result<String, &'static str> {
    const SYNTAX: &str = "an origin is a scheme and a host, with a port where it is not the usual one, and no path, as \
                          in \"https://shop.example.com\"";
    let (scheme, authority) = text.split_once("://").ok_or(SYNTAX)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    let written = matches!(scheme, "http" | "https") && !authority.is_empty() && authority.bytes().all(plain);
    if written { Ok(text.to_owned()) } else { Err(SYNTAX) }
}

fn host(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._[]:".contains(&byte);
    let whole = !text.is_empty() && text.bytes().all(plain) && crate::identity::canonical_host(text) == text;
    if whole {
        Ok(text.to_owned())
    } else {
        Err("a host is a name in lower case without a port, as in \"flags.internal\"")
    }
}
