//! The token of a request: found, verified once, and remembered while its generation lasts.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use http::{HeaderMap, HeaderName, header};

use super::{asking::Peer, worker::Snapshot};
use crate::{
    identity::{Attribute, Claims, TokenError, cookie},
    plan::{Issuer, IssuerId, Plan},
    toggle::Timestamp,
};

/// Tokens that were verified. A signature takes tens of microseconds, and a client sends the same token
/// with every request. A new generation starts with none: its keys may be others.
#[derive(Debug, Default)]
pub(super) struct Tokens(RefCell<HashMap<Box<str>, Verified>>);

#[derive(Debug)]
struct Verified {
    by: IssuerId,
    claims: Rc<Claims>,
}

/// What the request's token says, when its listener verifies tokens and this one holds.
pub(super) fn claims(snapshot: &Snapshot, peer: &Peer, headers: &HeaderMap) -> Option<Rc<Claims>> {
    let plan = &snapshot.serving.plan;
    let id = snapshot.listener(peer).issuer?;
    let token = find(plan, plan.issuer(id), headers)?;
    let verified = token.and_then(|token| snapshot.tokens().verify(snapshot, id, token));
    snapshot.count_token(verified.as_ref().map_or_else(|error| error.index(), |_claims| 0));
    verified.ok()
}

/// What a request's token of an issuer says, without anything remembered; `None` when there is none to
/// look at.
#[must_use]
pub fn read(plan: &Plan, issuer: IssuerId, headers: &HeaderMap, now: Timestamp) -> Option<Result<Claims, TokenError>> {
    let issuer = plan.issuer(issuer);
    let token = find(plan, issuer, headers)?;
    Some(token.and_then(|token| issuer.verifier.verify(token, now.0)))
}

/// The token as it stands where the issuer's tokens are; one that is too long is not looked at.
fn find<'a>(plan: &Plan, issuer: &Issuer, headers: &'a HeaderMap) -> Option<Result<&'a str, TokenError>> {
    let token = match &issuer.found_in {
        Attribute::Header(name) => credentials(name, headers)?,
        Attribute::Cookie(name) => cookie(headers, name)?,
        _ => return None,
    };
    Some(if token.len() > plan.limits.token_bytes_max { Err(TokenError::Malformed) } else { Ok(token) })
}

/// A header's token, behind `Bearer` (RFC 6750 §2.1) or bare.
fn credentials<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<&'a str> {
    let field = headers.get(name)?.to_str().ok()?.trim();
    match field.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        // Another scheme's credentials are no token.
        Some(_) => None,
        None => (name != header::AUTHORIZATION && !field.is_empty()).then_some(field),
    }
}

impl Tokens {
    fn verify(&self, snapshot: &Snapshot, id: IssuerId, token: &str) -> Result<Rc<Claims>, TokenError> {
        let plan = &snapshot.serving.plan;
        let issuer = plan.issuer(id);
        let now_s = snapshot.now().0;
        let mut known = self.0.borrow_mut();
        if let Some(Verified { claims, .. }) = known.get(token).filter(|verified| verified.by == id) {
            return issuer.verifier.holds(claims, now_s).map(|()| Rc::clone(claims));
        }
        let claims = Rc::new(issuer.verifier.verify(token, now_s)?);
        // Full, it starts anew: the clients that are still there come back within a request.
        if known.len() >= plan.limits.tokens_remembered_max {
            known.clear();
        }
        known.insert(token.into(), Verified { by: id, claims: Rc::clone(&claims) });
        Ok(claims)
    }
}
