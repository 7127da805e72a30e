//! `[propagation]`: how decisions travel, and to whom.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;

use crate::{
    bucket::Weight,
    config::{
        document::Document,
        section::{Field, Section},
        units,
    },
    identity::{canonical_host, within},
    plan::{Arm, PlannedToggle, Propagation, ToggleId},
    propagation::{Keyring, MEMBER_BYTES_MAX, Secret, SecretError},
    route::HostPattern,
    toggle::REASON_CODES,
};

/// The least room for a member: less than this holds no decision with names of usual length.
const BYTES_MAX_LEAST: u64 = 128;

/// Header fields that applications are sent; most refuse a head of more than a hundred.
const APP_HEADERS_MAX: usize = 64;

/// Hosts that decisions may travel to.
#[derive(Debug)]
pub(super) struct TrustedHosts {
    networks: Vec<IpNet>,
    names: Vec<HostPattern>,
}

/// What the table says; without it nothing travels.
pub(super) struct Propagated {
    pub(super) propagation: Option<Propagation>,
    pub(super) hosts: TrustedHosts,
}

impl TrustedHosts {
    /// This machine alone.
    fn loopback() -> TrustedHosts {
        let networks = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        let networks = networks.into_iter().map(|ip| if ip.is_ipv4() { IpNet::new_assert(ip, 8) } else { ip.into() });
        TrustedHosts { networks: networks.collect(), names: vec![HostPattern::Exact("localhost".to_owned())] }
    }

    /// Whether decisions may travel to an endpoint, by its `host:port`.
    pub(super) fn trusts(&self, authority: &str) -> bool {
        let host = canonical_host(authority);
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return within(&self.networks, ip);
        }
        self.names.iter().any(|name| match name {
            HostPattern::Exact(name) => *name == *host,
            HostPattern::Suffix(suffix) => {
                host.strip_suffix(&**suffix).is_some_and(|label| label.len() > 1 && label.ends_with('.'))
            }
            HostPattern::Any => false,
        })
    }
}

pub(super) fn propagation(document: &Document<'_>) -> Option<Propagated> {
    let Some(field) = document.table("propagation") else {
        return Some(Propagated { propagation: None, hosts: TrustedHosts::loopback() });
    };
    let mut section = field.section()?;
    let headers = section.take("headers").map_or(Some(false), |field| field.flag());
    let keyring = keyring(&mut section, headers == Some(true));
    let bytes_max = section.take("max_bytes").map_or(Some(MEMBER_BYTES_MAX), |field| bytes_max(&field));
    let max_age = section.take("max_age").map_or(Some(Duration::from_secs(3600)), |field| field.parse(units::duration));
    let hosts = section.take("trusted_hosts").map_or_else(|| Some(TrustedHosts::loopback()), hosts);
    let sampled = section.take("traces_sampled").map_or(Some(Weight::WHOLE), |field| field.parse(str::parse::<Weight>));
    section.finish();
    let propagation = Propagation {
        keyring: keyring?,
        bytes_max: bytes_max?,
        max_age_s: i64::try_from(max_age?.as_secs()).unwrap_or(i64::MAX).max(1),
        traces_sampled: sampled?,
        headers: headers?,
    };
    Some(Propagated { propagation: Some(propagation), hosts: hosts? })
}

/// `secret_file` alone, or `secrets` with the one that signs first.
fn keyring(section: &mut Section<'_>, headers: bool) -> Option<Option<Keyring>> {
    let secrets = match (section.take("secret_file"), section.take("secrets")) {
        (Some(field), None) => vec![secret(&field, None)?],
        (None, Some(field)) => {
            let secrets: Vec<_> =
                field.clone().list()?.into_iter().map(|field| named_secret(field.section()?)).collect();
            let secrets = secrets.into_iter().collect::<Option<Vec<Secret>>>()?;
            let mut ids = BTreeSet::new();
            if let Some(twice) = secrets.iter().find(|secret| !ids.insert(secret.id())) {
                field.refuse(format!("two secrets are called {:?}", twice.id()), "keep one of them");
                return None;
            }
            secrets
        }
        (None, None) if headers => return Some(None),
        (None, None) => {
            let hint = "name a file with a secret that all weirs of the chain have: secret_file = \"…\"";
            section.refuse("without a secret no decision can travel".to_owned(), hint);
            return None;
        }
        (Some(_), Some(field)) => {
            field.refuse("secret_file and secrets say the same".to_owned(), "keep one of them");
            return None;
        }
    };
    let mut secrets = secrets.into_iter();
    let Some(signing) = secrets.next() else {
        section.refuse("there is no secret".to_owned(), "write at least one: secrets = [{ secret_file = \"…\" }]");
        return None;
    };
    Some(Some(Keyring::new(signing, secrets.collect())))
}

fn named_secret(mut section: Section<'_>) -> Option<Secret> {
    let id = section.take("id");
    let file = section.require("secret_file", "name the file that holds it: secret_file = \"…\"");
    section.finish();
    secret(&file?, id.as_ref())
}

fn secret(file: &Field<'_>, id: Option<&Field<'_>>) -> Option<Secret> {
    let name = match id {
        Some(field) => Some(field.text()?),
        None => None,
    };
    match (Secret::new(name, file.file()?), id) {
        (Ok(secret), _) => Some(secret),
        (Err(error @ SecretError::Id), Some(id)) => {
            id.refuse("the id is not valid".to_owned(), &error.to_string());
            None
        }
        (Err(error), _) => {
            file.refuse("the secret is too short".to_owned(), &error.to_string());
            None
        }
    }
}

fn bytes_max(field: &Field<'_>) -> Option<usize> {
    let size = field.size()?;
    if !(BYTES_MAX_LEAST..=MEMBER_BYTES_MAX as u64).contains(&size) {
        let hint = format!("write {BYTES_MAX_LEAST} to {MEMBER_BYTES_MAX}");
        field.refuse("a member cannot be limited to that".to_owned(), &hint);
        return None;
    }
    usize::try_from(size).ok()
}

fn hosts(field: Field<'_>) -> Option<TrustedHosts> {
    let mut hosts = TrustedHosts { networks: Vec::new(), names: Vec::new() };
    let mut whole = true;
    for field in field.list()? {
        let read = field.parse(|text| match units::network(text) {
            Ok(network) => Ok((Some(network), None)),
            Err(_not_a_network) => text
                .parse::<HostPattern>()
                .map(|name| (None, Some(name)))
                .map_err(|_not_a_name| "write a host name, \"*.\" and a suffix, an address or a network"),
        });
        whole &= read.is_some();
        let (network, name) = read.unwrap_or_default();
        hosts.networks.extend(network);
        hosts.names.extend(name);
    }
    whole.then_some(hosts)
}

/// An arm whose stand-in is not trusted is not trusted either: who serves is found out too late to tell.
pub(super) fn settle(arms: &mut [Option<Arm>]) {
    let trusted: Vec<bool> = arms.iter().map(|arm| arm.as_ref().is_some_and(|arm| arm.propagates)).collect();
    for arm in arms.iter_mut().flatten() {
        arm.propagates &= arm.on_unavailable.is_none_or(|stand_in| trusted[stand_in.0]);
    }
}

/// The toggles that are decided for every request, where somebody would see it. Warns of more than a
/// member has room for, and refuses two that applications could not tell apart.
pub(super) fn carried(
    document: &Document<'_>,
    toggles: &[PlannedToggle],
    propagation: Option<&Propagation>,
    in_flight: bool,
) -> Vec<ToggleId> {
    if propagation.is_none() && !in_flight {
        return Vec::new();
    }
    let carried: Vec<ToggleId> =
        (0..toggles.len()).filter(|place| toggles[*place].toggle.propagate).map(ToggleId).collect();
    let (Some(field), Some(propagation)) = (document.table("propagation"), propagation) else { return carried };
    if propagation.headers {
        if carried.len() > APP_HEADERS_MAX {
            let message =
                format!("{} toggles propagate, and an application is told at most {APP_HEADERS_MAX}", carried.len());
            field.refuse(message, "let fewer propagate, or leave headers out: the application can ask for flags");
        }
        let mut names = BTreeSet::new();
        for id in &carried {
            let name = crate::propagation::app_header(&toggles[id.0].toggle.name);
            if !names.insert(name.clone()) {
                let hint = "letters of either case, \"-\", \"_\" and \".\" look the same in it: rename one of them";
                field.refuse(format!("two toggles would be told in the header {name}"), hint);
            }
        }
    }
    let longest = |id: &ToggleId| {
        let toggle = &toggles[id.0].toggle;
        let variant = toggle.variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0);
        let reason = REASON_CODES.iter().map(|code| code.len()).max().unwrap_or(0);
        toggle.name.len() + variant + reason + 3
    };
    let bytes = FRAME_BYTES + carried.iter().map(longest).sum::<usize>();
    if propagation.keyring.is_some() && bytes > propagation.bytes_max {
        let message =
            format!("the toggles that propagate may need {bytes} bytes, and {} are allowed", propagation.bytes_max);
        field.warn(
            message,
            "those that have no room are left out, by their names: propagate fewer, or shorten their names",
        );
    }
    carried
}

/// What a member takes besides its decisions: key, version, a secret's id, a time and the signature.
const FRAME_BYTES: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_trusted_and_others_as_they_are_listed() {
        let listed = TrustedHosts {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            names: ["orders", "*.internal"].map(|name| name.parse().unwrap()).into(),
        };
        let loopback = TrustedHosts::loopback();
        for (authority, by_default, by_list) in [
            ("127.0.0.1:80", true, false),
            ("127.9.9.9:80", true, false),
            ("[::1]:80", true, false),
            ("[::ffff:127.0.0.1]:80", true, false),
            ("localhost:80", true, false),
            ("LOCALHOST.:80", true, false),
            ("localhost.example.com:80", false, false),
            ("10.1.2.3:80", false, true),
            ("11.1.2.3:80", false, false),
            ("orders:80", false, true),
            ("orders.internal:80", false, true),
            ("internal:80", false, false),
            ("ordersinternal:80", false, false),
            ("evil-orders:80", false, false),
        ] {
            assert_eq!((loopback.trusts(authority), listed.trusts(authority)), (by_default, by_list), "{authority}");
        }
    }
}
