//! `arms.NAME` of a service: where a version runs, how it is spoken to, and what is done when it fails.

use super::{
    contracts::Shelf,
    own::Addresses,
    policies,
    propagation::TrustedHosts,
    services::{Backends, place_of_arm},
    upstream_tls,
};
use crate::{
    config::{
        section::{Field, Section},
        units,
    },
    plan::{Arm, ArmId, Endpoint, EndpointId, Place, Probe, Protocol, ServiceId, UpstreamTls},
};

/// An endpoint that gets this many times another one's share is rather several endpoints.
const WEIGHT_MAX: u64 = 1000;

const HINT: &str = "write where it runs: endpoints = [\"127.0.0.1:9001\"]";

pub(super) fn arm(
    name: &str,
    mut section: Section<'_>,
    service: ServiceId,
    backends: &mut Backends<'_>,
    shelf: &mut Shelf<'_>,
    own: &Addresses,
    hosts: Option<&TrustedHosts>,
) -> Option<Arm> {
    let named = units::name(name).map_err(|hint| section.refuse(format!("{name:?} is not a valid name"), hint));
    let endpoints = section.require("endpoints", HINT).and_then(|field| places(&field, own));
    let protocol = section.take("protocol");
    let protocol = match &protocol {
        Some(field) => field.word(&[("http1", Protocol::Http1), ("h2", Protocol::Http2), ("auto", Protocol::Auto)]),
        None => Some(Protocol::Http1),
    };
    let tls = section.take("tls");
    if tls.is_none() && protocol == Some(Protocol::Auto) {
        let hint = "write \"http1\" or \"h2\"; only ALPN, a part of TLS, tells which of them an endpoint takes";
        section.refuse("protocol = \"auto\" needs tls".to_owned(), hint);
    }
    let tls = match (tls, &endpoints, protocol) {
        (None, ..) => Some(Vec::new()),
        (Some(field), Some(endpoints), Some(protocol)) => {
            let hosts = endpoints.iter().map(|(_, place, _)| place);
            upstream_tls::tls(field, &hosts.collect::<Vec<_>>(), protocol)
        }
        // What the table says is only known to fit once the rest is.
        (Some(field), ..) => field.section().map(|_| Vec::new()),
    };
    let health = section.take("health").map_or(Some(None), |field| {
        let check = policies::health(field.clone())?;
        if matches!(check.probe, Probe::Grpc(_)) && protocol == Some(Protocol::Http1) {
            field.refuse("gRPC is not spoken by HTTP/1.1".to_owned(), "write protocol = \"h2\" beside it");
            return None;
        }
        Some(Some(check))
    });
    let trailers = section.take("trailers").map_or(Some(false), |field| field.flag());
    let contract = section.take("contract").map_or(Some(None), |field| shelf.contract(&field).map(Some));
    let on_unavailable = stand_in(name, &mut section, service, backends);
    let limits = section.take("limits").map_or(Some(policies::LIMITS), policies::limits);
    let ejection = section.take("ejection").map_or(Some(Some(policies::EJECTION)), policies::ejection);
    let balance = section.take("balance").map_or(Some(policies::BALANCE), policies::balance);
    let slow_start = section.take("slow_start").map_or(Some(None), |field| field.parse(units::duration).map(Some));
    let propagate = section.take("propagate").map_or(Some(None), |field| field.flag().map(Some));
    section.finish();
    named.ok()?;
    let (protocol, health, tls, trailers) = (protocol?, health?, tls?, trailers?);
    let endpoints = endpoints?;
    let trusted = |authority: &str| hosts.is_some_and(|hosts| hosts.trusts(authority));
    let propagates = propagate?.unwrap_or_else(|| endpoints.iter().all(|(authority, ..)| trusted(authority)));
    let endpoints = endpoints.into_iter().enumerate().map(|(index, (authority, place, weight))| {
        let tls: Option<UpstreamTls> = tls.get(index).cloned();
        let endpoint = Endpoint { authority: authority.into(), place, protocol, tls, trailers, health: health.clone() };
        (backends.endpoint(endpoint), weight)
    });
    Some(Arm {
        name: name.to_owned(),
        service,
        endpoints: once_each(endpoints),
        contract: contract?,
        on_unavailable: on_unavailable?,
        propagates,
        limits: limits?,
        ejection: ejection?,
        balance: balance?,
        slow_start: slow_start?,
    })
}

/// The endpoints with their texts and weights.
fn places(field: &Field<'_>, own: &Addresses) -> Option<Vec<(String, Place, u32)>> {
    let fields = field.clone().list()?;
    if fields.is_empty() {
        field.refuse("the arm has no endpoint".to_owned(), HINT);
        return None;
    }
    let places: Vec<_> = fields.iter().map(|field| place(field, own)).collect();
    places.into_iter().collect()
}

fn place(field: &Field<'_>, own: &Addresses) -> Option<(String, Place, u32)> {
    let read = |field: &Field<'_>| {
        let place = field.parse(|text| units::place(text).map(|place| (text.to_owned(), place)));
        place.inspect(|(text, _)| own.refuse(field, text))
    };
    if !field.is_table() {
        return read(field).map(|(text, place)| (text, place, 1));
    }
    let mut section = field.clone().section()?;
    let address = section.require("address", "write where it runs: address = \"127.0.0.1:9001\"");
    let weight = section.take("weight").map_or(Some(1), |field| {
        let weight = field.integer(1)?;
        if weight > WEIGHT_MAX {
            field.refuse("the weight is too large".to_owned(), &format!("at most {WEIGHT_MAX}"));
            return None;
        }
        u32::try_from(weight).ok()
    });
    section.finish();
    let (text, place) = address.and_then(|field| read(&field))?;
    Some((text, place, weight?))
}

fn stand_in(
    name: &str,
    section: &mut Section<'_>,
    service: ServiceId,
    backends: &Backends<'_>,
) -> Option<Option<ArmId>> {
    let names = backends.arm_names(service);
    let stand_in = match section.take("on_unavailable") {
        Some(field) if field.is_word("fail") => None,
        Some(field) => {
            let place = field.reference("arm", &names)?;
            if names[place] == name {
                field.refuse("an arm cannot stand in for itself".to_owned(), "name another arm, or \"fail\"");
            }
            Some(place)
        }
        None => place_of_arm(&names, "stable").filter(|_| name != "stable"),
    };
    Some(stand_in.map(|place| backends.arm(service, place)))
}

/// An endpoint that is named twice has both weights.
fn once_each(endpoints: impl Iterator<Item = (EndpointId, u32)>) -> Vec<(EndpointId, u32)> {
    let mut once: Vec<(EndpointId, u32)> = Vec::new();
    for (endpoint, weight) in endpoints {
        match once.iter_mut().find(|(other, _)| *other == endpoint) {
            Some((_, sum)) => *sum += weight,
            None => once.push((endpoint, weight)),
        }
    }
    once
}
