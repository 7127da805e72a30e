//! Requests to decide for, in tests.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Asking, Caller, Subject};

/// `GET http://shop.example.com/checkout/pay` of a trusted peer, until told otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) method: Method,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) ip: IpAddr,
    pub(crate) trusted: bool,
    pub(crate) client_trusted: bool,
}

impl Visit {
    pub(crate) fn new() -> Visit {
        let ip = Ipv4Addr::new(203, 0, 113, 7).into();
        Visit {
            method: Method::GET,
            query: String::new(),
            headers: HeaderMap::new(),
            ip,
            trusted: true,
            client_trusted: true,
        }
    }

    pub(crate) fn with(fields: &[(&'static str, &str)]) -> Visit {
        let mut visit = Visit::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            visit.headers.append(HeaderName::from_static(name), value);
        }
        visit
    }

    /// A user by the header that the sample toggles bucket by.
    pub(crate) fn of_user(user: u32) -> Visit {
        Visit::with(&[("x-user-id", &user.to_string())])
    }

    pub(crate) fn untrusted(mut self) -> Visit {
        self.trusted = false;
        self.client_trusted = false;
        self
    }

    /// Of a client that is not trusted, by way of a peer that is.
    pub(crate) fn forwarded(mut self) -> Visit {
        self.client_trusted = false;
        self
    }

    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking {
            method: &self.method,
            host: "shop.example.com".into(),
            path: "/checkout/pay",
            query: Some(&self.query),
            headers: &self.headers,
            caller: Caller { ip: self.ip, trusted: self.trusted, client_trusted: self.client_trusted },
            claims: None,
            consumer: None,
        }
    }

    pub(crate) fn see<T>(&self, look: impl FnOnce(&Subject<'_>) -> T) -> T {
        look(&Subject::Request(&self.asking()))
    }
}
