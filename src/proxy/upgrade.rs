//! Upgrades: the protocol that a client asks for, by `Upgrade` over HTTP/1.1 (RFC 9110 §7.8) or by extended
//! CONNECT over HTTP/2 (RFC 8441), said to a service in either way.
//!
//! Only WebSocket has a handshake of its own, and only over HTTP/1.1: where one side of it is missing, weir
//! shakes hands in its place.

use std::{cell::Cell, rc::Rc};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request};

use super::{
    asking::Note,
    body::Outbound,
    http2::Protocol,
    rejection::Rejection,
    tunnel::{Place, Tunnel},
    upstream::Served,
    worker::Snapshot,
};
use crate::plan::{Decision, Plan, Route};

/// The registered name of the protocol that has a handshake.
const WEBSOCKET: &str = "websocket";

/// What a service of WebSocket puts behind the key before it digests both (RFC 6455 §1.3).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An upgrade that a client may have.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    protocol: HeaderValue,
    by: By,
}

/// How a client asks for it.
#[derive(Clone, Debug)]
enum By {
    /// By `Upgrade`: its half of the handshake of WebSocket is a key, where it sent one.
    Switch { key: Option<HeaderValue> },
    /// By extended CONNECT, which knows no keys. A service of HTTP/1.1 gets one of weir's own, made of this;
    /// another one for each try.
    Connect { nonce: Cell<u128> },
}

impl Upgrade {
    /// The protocol that a client asks for. Comes before the fields of one hop are removed.
    pub(super) fn asked_for(head: &mut request::Parts) -> Option<Upgrade> {
        if let Some(protocol) = head.extensions.remove::<Protocol>() {
            // What is no field value is allowed nowhere.
            let protocol = HeaderValue::from_str(protocol.as_str()).unwrap_or(HeaderValue::from_static(""));
            return Some(Upgrade { protocol, by: By::Connect { nonce: Cell::default() } });
        }
        head.extensions.get::<Note>().filter(|note| **note == Note::Upgrade)?;
        let protocol = head.headers.get(header::UPGRADE)?.clone();
        let mut keys = head.headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
        let key = keys.next().filter(|_| keys.next().is_none()).cloned();
        Some(Upgrade { protocol, by: By::Switch { key } })
    }

    /// Whether the route lets its clients have it.
    pub(super) fn is_allowed(&self, plan: &Plan, decision: &Decision) -> bool {
        lets(plan.route(decision.route), self.protocol.as_bytes())
    }

    /// Whether the client can do nothing with an answer but the agreement or a refusal. One of HTTP/1.1 asks
    /// for a response that may come by another protocol.
    pub(super) fn is_extended(&self) -> bool {
        matches!(self.by, By::Connect { .. })
    }

    /// Asks a service of HTTP/1.1 for it.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        headers.remove(header::TE);
        let key = match &self.by {
            // An earlier try, over HTTP/2, may have taken it off.
            By::Switch { key } => key.clone(),
            By::Connect { nonce } => {
                headers.remove(header::CONTENT_LENGTH);
                nonce.set(fastrand::u128(..));
                HeaderValue::from_str(&key(nonce)).ok()
            }
        };
        if let (true, Some(key)) = (self.is_websocket(), key) {
            headers.insert(header::SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Asks a service of HTTP/2 for it (RFC 8441 §5): what names the protocol makes it a CONNECT there.
    ///
    /// # Errors
    /// [`Rejection::WebSocketKey`] when weir could not shake hands with the client in the service's place.
    pub(super) fn ask_by_connect(&self, request: &mut Request<Outbound>) -> Result<(), Rejection> {
        if self.is_websocket() {
            if let By::Switch { key } = &self.by {
                key.as_ref().filter(|key| is_key(key.as_bytes())).ok_or(Rejection::WebSocketKey)?;
            }
            // One of weir's own, too, which an earlier try over HTTP/1.1 may have put there.
            request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
        }
        // Field values compare without case, and pseudo-fields may not.
        let name = if self.is_websocket() { Some(WEBSOCKET) } else { self.protocol.to_str().ok() };
        request.extensions_mut().insert(name.map(Protocol::from).ok_or(Rejection::UpgradeNotAllowed)?);
        for name in [header::TE, header::CONTENT_LENGTH] {
            request.headers_mut().remove(name);
        }
        Ok(())
    }

    fn is_websocket(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
    }

    /// Makes the tunnel once the upstream agreed, which the client's connection, or its stream of HTTP/2, is turned into
    /// with the response.
    ///
    /// # Errors
    /// [`Rejection::UpgradeFailed`] when one of the two connections cannot be switched, or the upstream did
    /// not understand what it agreed to.
    pub(super) fn agreed(
        &self,
        snapshot: &Rc<Snapshot>,
        place: Place,
        served: &mut Served,
    ) -> Result<Box<Tunnel>, Rejection> {
        let (upstream, stream) = served.lease.take_half().ok_or(Rejection::UpgradeFailed)?;
        let (status, headers) = (served.response.status(), served.response.headers_mut());
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        headers.remove(header::CONTENT_LENGTH);
        let tunnel = Tunnel::new(snapshot, place, upstream, stream);
        match &self.by {
            By::Connect { nonce } => {
                if switched && self.is_websocket() && !takes_accept(headers, key(nonce).as_bytes()) {
                    return Err(Rejection::UpgradeFailed);
                }
                *served.response.status_mut() = StatusCode::OK;
            }
            By::Switch { key } => {
                if let (false, true, Some(key)) = (switched, self.is_websocket(), key)
                    && let Ok(accept) = HeaderValue::from_str(&accept(key.as_bytes()))
                {
                    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
                }
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::UPGRADE, self.protocol.clone());
                *served.response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            }
        }
        Ok(Box::new(tunnel))
    }
}

/// What a service says that its client has to switch to (RFC 9110 §15.5.22), as far as the route lets it: who asked for
/// more would be refused it. Comes before the fields of one hop are removed.
pub(super) fn required(response: &Response<()>, route: &Route) -> Option<HeaderValue> {
    if response.status() != StatusCode::UPGRADE_REQUIRED {
        return None;
    }
    let fields = response.headers().get_all(header::UPGRADE).iter().filter_map(|field| field.to_str().ok());
    let protocols = fields.flat_map(|field| field.split(',')).map(str::trim);
    let allowed: Vec<_> = protocols.filter(|protocol| lets(route, protocol.as_bytes())).collect();
    HeaderValue::from_str(&allowed.join(", ")).ok().filter(|allowed| !allowed.is_empty())
}

/// Whether a route lets its clients have a protocol.
fn lets(route: &Route, protocol: &[u8]) -> bool {
    route.upgrades.iter().any(|token| token.as_bytes().eq_ignore_ascii_case(protocol))
}

fn key(nonce: &Cell<u128>) -> String {
    BASE64_STANDARD.encode(nonce.get().to_be_bytes())
}

/// Whether it is 16 bytes in Base64 (RFC 6455 §4.2.1), whatever the last digit says beyond them.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(digit))
}

/// What the service of WebSocket answers to a key (RFC 6455 §4.2.2).
fn accept(key: &[u8]) -> String {
    let keyed = [key, WEBSOCKET_GUID].concat();
    BASE64_STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &keyed))
}

/// Takes the service's half of a handshake off a response; tells whether it fits the key.
fn takes_accept(headers: &mut HeaderMap, key: &[u8]) -> bool {
    let told = headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    told.is_some_and(|told| told.as_bytes() == accept(key).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn asked() -> (Upgrade, Request<Outbound>) {
        let upgrade = Upgrade {
            protocol: HeaderValue::from_static("WebSocket"),
            by: By::Switch { key: Some(HeaderValue::from_static(KEY)) },
        };
        let request = Request::get("/chat").header(header::SEC_WEBSOCKET_KEY, KEY);
        (upgrade, request.body(Outbound::Empty).unwrap())
    }

    #[test]
    fn a_key_is_answered_as_the_example_of_rfc_6455_has_it() {
        assert_eq!(accept(KEY.as_bytes()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_that_is_no_business_of_http_2_is_there_again_when_a_service_of_http_1_1_is_tried_next() {
        let (upgrade, mut request) = asked();
        upgrade.ask_by_connect(&mut request).unwrap();
        assert_eq!(request.headers().len(), 0);
        assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        upgrade.ask(request.headers_mut());
        assert_eq!(request.headers()[header::SEC_WEBSOCKET_KEY], KEY);
    }
}
