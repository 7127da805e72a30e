//! `[[listeners]]`.

use std::time::Duration;

use super::issuers::Issuers;
use crate::{
    config::{
        document::Document,
        report::Problems,
        section::{Field, Section},
        source::Sources,
        units,
    },
    plan::{Address, Listener},
};

/// Who may connect to a Unix socket unless said otherwise: its owner and their group.
const MODE: u32 = 0o660;

pub(super) fn listeners(
    document: &Document<'_>,
    issuers: &Issuers<'_>,
    sources: &Sources,
    problems: &Problems,
) -> Option<Vec<Listener>> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut whole = true;
    for field in document.list("listeners") {
        match field.section().and_then(|section| listener(section, issuers, &listeners)) {
            Some(listener) => listeners.push(listener),
            None => whole = false,
        }
    }
    if listeners.is_empty() && whole && document.is_whole() {
        let hint = "add one: [[listeners]] with name = \"edge\" and address = \"0.0.0.0:8080\"";
        problems.add_for_file(&sources.name(), "there is no listener".to_owned(), hint);
        return None;
    }
    whole.then_some(listeners)
}

fn listener(mut section: Section<'_>, issuers: &Issuers<'_>, earlier: &[Listener]) -> Option<Listener> {
    let name = section.require("name", "name the listener, for metrics and logs: name = \"edge\"");
    let address = section.require("address", "write where to listen, as in address = \"0.0.0.0:8080\"");
    let trusted = section.take("trusted_networks");
    let issuer = section.take("jwt").map_or(Some(None), |field| issuers.reference(&field).map(Some));
    let tls = section.take("tls");
    let proxy_protocol = section.take("proxy_protocol").map_or(Some(false), |field| field.flag());
    let mode = section.take("mode");
    let connection_age_max = unless_off(section.take("connection_age_max"), age);
    let requests_per_connection_max = unless_off(section.take("requests_per_connection_max"), |field| field.integer(1));
    section.finish();
    let name = name.and_then(|field| {
        let name = field.parse(units::name_of)?;
        let taken = earlier.iter().any(|listener| listener.name == name);
        if taken {
            field.refuse("two listeners have this name".to_owned(), "give each its own");
        }
        (!taken).then_some(name)
    });
    let trusted_networks = match trusted {
        Some(field) => {
            let networks = field.list().map(|fields| fields.iter().map(|field| field.parse(units::network)).collect());
            // Collected first, so that each of them is read and reports its problem.
            networks.and_then(|networks: Vec<_>| networks.into_iter().collect())
        }
        None => Some(Vec::new()),
    };
    let address = address.and_then(|field| place(&field, mode.as_ref(), earlier));
    let tls = tls.map_or(Some(None), |field| super::tls::tls(&field).map(Some));
    Some(Listener {
        name: name?,
        address: address?,
        proxy_protocol: proxy_protocol?,
        trusted_networks: trusted_networks?,
        tls: tls?,
        issuer: issuer?,
        connection_age_max: connection_age_max?,
        requests_per_connection_max: requests_per_connection_max?,
    })
}

/// A limit that is off unless it is there and says otherwise.
fn unless_off<T>(field: Option<Field<'_>>, read: impl FnOnce(&Field<'_>) -> Option<T>) -> Option<Option<T>> {
    field.filter(|field| !field.is_word("off")).map_or(Some(None), |field| read(&field).map(Some))
}

fn age(field: &Field<'_>) -> Option<Duration> {
    field.parse(|text| units::duration(text).map_err(|hint| format!("{hint}; or \"off\"")))
}

/// Reads where a listener is bound; `mode` is for Unix sockets alone.
fn place(field: &Field<'_>, mode: Option<&Field<'_>>, earlier: &[Listener]) -> Option<Address> {
    let mode_read = mode.map_or(Some(MODE), |field| field.parse(units::mode));
    let address = match field.text()?.strip_prefix("unix:") {
        Some("") => {
            field.refuse("the socket has no path".to_owned(), "write it as in \"unix:/run/weir/edge.sock\"");
            return None;
        }
        Some(path) => Address::Unix { path: path.into(), mode: mode_read? },
        None => {
            if let Some(mode) = mode {
                mode.refuse("a TCP address has no mode".to_owned(), "leave it out, or listen at \"unix:/path\"");
            }
            Address::Tcp(field.parse(units::listening_address)?)
        }
    };
    let same = |other: &Address| match (other, &address) {
        (Address::Tcp(other), Address::Tcp(address)) => other == address && address.port() != 0,
        (other, address) => other.path() == address.path() && address.path().is_some(),
    };
    if earlier.iter().any(|listener| same(&listener.address)) {
        field.refuse("two listeners have this address".to_owned(), "give each its own");
        return None;
    }
    (mode.is_none() || address.path().is_some()).then_some(address)
}
