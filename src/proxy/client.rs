//! What of a request concerns the connections that it comes and goes by, and not what it says.

use std::{cell::Cell, rc::Rc};

use http::{HeaderValue, Request, StatusCode, Version, header, request};

use super::{
    asking::Peer,
    body::Outbound,
    headers,
    interim::Interims,
    rejection::Rejection,
    tunnel::{Place, Tunnel},
    upgrade::{self, Upgrade},
    upstream::Served,
    worker::Snapshot,
};
use crate::plan::{Decision, Plan};

/// What the client's connection wants of a request.
pub(super) struct Client {
    /// Where interim responses go.
    pub(super) interims: Option<Interims>,
    /// The protocol that the client asks for.
    upgrade: Option<Upgrade>,
    /// It welcomes trailers.
    trailers: bool,
    /// The place of the tunnel that would be made.
    place: Cell<Option<Place>>,
}

impl Client {
    /// Reads it, and takes the fields of this one hop out of the head: what is decided and checked is what is
    /// forwarded.
    ///
    /// # Errors
    /// When the request may not be forwarded, whatever it asks for.
    pub(super) fn read(
        head: &mut request::Parts,
        plan: &Plan,
        interims: Option<Interims>,
    ) -> Result<Client, Rejection> {
        headers::vet(head, plan)?;
        let upgrade = Upgrade::asked_for(head);
        let trailers = headers::strip_hop_by_hop(&mut head.headers);
        // Not to HTTP/1.0 (RFC 9110 §15.2).
        let interims = interims.filter(|_| head.version >= Version::HTTP_11);
        Ok(Client { interims, upgrade, trailers, place: Cell::default() })
    }

    /// Forgets an upgrade that the route does not let the client have, and takes a place for one that it may have.
    ///
    /// # Errors
    /// [`Rejection::UpgradeNotAllowed`] when the request cannot be answered without, and [`Rejection::TunnelsMax`].
    pub(super) fn may_tunnel(&mut self, snapshot: &Snapshot, decision: &Decision) -> Result<(), Rejection> {
        let plan = &snapshot.serving.plan;
        match self.upgrade.take_if(|upgrade| !upgrade.is_allowed(plan, decision)) {
            Some(upgrade) if upgrade.is_extended() => return Err(Rejection::UpgradeNotAllowed),
            _ => {}
        }
        if self.upgrade.is_some() {
            self.place.set(Some(snapshot.tunnel_place().ok_or(Rejection::TunnelsMax)?));
        }
        Ok(())
    }

    /// Says to the next connection what the client wants of it. On one of HTTP/2 no protocol is switched, and trailers
    /// are always welcome.
    ///
    /// # Errors
    /// [`Rejection::WebSocketKey`].
    pub(super) fn begin(&self, request: &mut Request<Outbound>, over_http2: bool) -> Result<(), Rejection> {
        match &self.upgrade {
            Some(upgrade) if over_http2 => return upgrade.ask_by_connect(request),
            Some(upgrade) => upgrade.ask(request.headers_mut()),
            None if self.trailers && !over_http2 => {
                request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("te"));
            }
            None => {}
        }
        if request.body().wants_consent() {
            request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
        Ok(())
    }

    /// Makes the upstream's response the client's; gives the tunnel that the client's connection, or its stream of HTTP/2,
    /// is turned into with it.
    ///
    /// # Errors
    /// [`Rejection::UpgradeFailed`].
    pub(super) fn follow(
        &self,
        snapshot: &Rc<Snapshot>,
        (peer, decision): (&Peer, &Decision),
        served: &mut Served,
    ) -> Result<Option<Box<Tunnel>>, Rejection> {
        let plan = &snapshot.serving.plan;
        let required = upgrade::required(&served.response, plan.route(decision.route)).filter(|_| peer.http1);
        headers::rewrite_response(&mut served.response, plan);
        let head = served.response.headers_mut();
        if let Some(protocols) = required {
            head.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            head.insert(header::UPGRADE, protocols);
        }
        if served.unwanted && peer.http1 {
            // Whether the body still comes, only the client knows: what follows could be it or a request.
            head.append(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let Some(upgrade) = &self.upgrade else { return Ok(None) };
        let (status, connected) = (served.response.status(), served.lease.is_http2());
        let agreement = if connected { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS };
        if status == agreement {
            let place = self.place.take().ok_or(Rejection::UpgradeFailed)?;
            return upgrade.agreed(snapshot, place, served).map(Some);
        }
        // Any success agrees to CONNECT: to the client, which would wait for a tunnel, and to weir. Only 200 is what
        // RFC 8441 §4 has.
        if status.is_success() && (upgrade.is_extended() || connected) {
            return Err(Rejection::UpgradeFailed);
        }
        Ok(None)
    }
}
