//! weir's own addresses: no endpoint may lead back to them.

use std::net::{IpAddr, SocketAddr};

use crate::{
    config::section::Field,
    plan::{Listener, Process},
};

/// Where this process listens.
pub(super) struct Addresses {
    sockets: Vec<(SocketAddr, String)>,
    /// Of Unix sockets, as configuration writes them.
    files: Vec<(String, String)>,
}

impl Addresses {
    pub(super) fn new(process: Option<&Process>, listeners: Option<&[Listener]>) -> Addresses {
        let name = |listener: &Listener| format!("the listener {:?}", listener.name);
        let listeners = listeners.unwrap_or_default();
        let files = listeners.iter().filter(|listener| listener.address.tcp().is_none());
        let files = files.map(|listener| (listener.address.to_string(), name(listener))).collect();
        let named = |address: Option<SocketAddr>, name: &str| address.map(|address| (address, name.to_owned()));
        let admin = process.into_iter().filter_map(|process| named(process.admin, "[admin]"));
        let telemetry = process.into_iter().filter_map(|process| named(process.telemetry, "[telemetry]"));
        let listeners = listeners.iter().filter_map(|listener| Some((listener.address.tcp()?, name(listener))));
        let ofrep = process.into_iter().filter_map(|process| named(process.ofrep, "[ofrep]"));
        Addresses { sockets: listeners.chain(admin).chain(telemetry).chain(ofrep).collect(), files }
    }

    /// Refuses an endpoint that leads back here: requests would go round for ever, or reach the admin
    /// interface as if they came from this machine. Names are looked at again when they are resolved.
    pub(super) fn refuse(&self, field: &Field<'_>, authority: &str) {
        let socket = || {
            let endpoint = literal(authority)?;
            self.sockets.iter().find(|(own, _)| leads_to(endpoint, *own)).map(|(_, name)| name)
        };
        let file = || self.files.iter().find(|(own, _)| own == authority).map(|(_, name)| name);
        if let Some(name) = socket().or_else(file) {
            field.refuse(
                format!("the endpoint {authority} is {name} of weir itself"),
                "name the address of the service",
            );
        }
    }
}

/// The address that an endpoint surely has.
fn literal(authority: &str) -> Option<SocketAddr> {
    let (host, port) = authority.rsplit_once(':')?;
    if host.eq_ignore_ascii_case("localhost") {
        return Some(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port.parse().ok()?));
    }
    authority.parse().ok()
}

fn leads_to(endpoint: SocketAddr, own: SocketAddr) -> bool {
    let (ip, own_ip) = (endpoint.ip().to_canonical(), own.ip().to_canonical());
    // To connect to the unspecified address is to connect to this machine; to listen on it, on all addresses.
    let here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    let same = ip == own_ip || own_ip.is_unspecified() && here(ip) || ip.is_unspecified() && here(own_ip);
    same && endpoint.port() == own.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_leads_back_when_it_has_a_port_and_an_address_of_weir_s() {
        for (endpoint, own, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8081", "127.0.0.1:8080", false),
            ("127.0.0.1:8080", "0.0.0.0:8080", true),
            ("127.0.0.9:8080", "[::]:8080", true),
            ("[::1]:8080", "[::]:8080", true),
            ("[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "127.0.0.1:8080", true),
            ("localhost:8080", "0.0.0.0:8080", true),
            ("LOCALHOST:8080", "127.0.0.1:8080", true),
            ("10.0.0.5:8080", "0.0.0.0:8080", false),
            ("10.0.0.5:8080", "10.0.0.5:8080", true),
            ("127.0.0.2:8080", "127.0.0.1:8080", false),
        ] {
            let endpoint = literal(endpoint).unwrap();
            assert_eq!(leads_to(endpoint, own.parse().unwrap()), expected, "{endpoint} {own}");
        }
        assert_eq!(literal("orders.internal:80"), None);
    }
}
