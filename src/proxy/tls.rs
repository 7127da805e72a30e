//! Handshakes: from a connection to one that is encrypted, and what is known of the client then.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use rustls::{CertificateError, Error, HandshakeKind, ServerConfig};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::transport::Wire;
use crate::telemetry::HandshakeOutcome;

/// The longest name of a client that counts, in bytes; it ends up in logs.
const CONSUMER_BYTES_MAX: usize = 2048;

/// A connection after its handshake.
pub(super) struct Secured {
    pub(super) stream: Box<TlsStream<Wire>>,
    /// Whether HTTP/2 was agreed on.
    pub(super) http2: bool,
    pub(super) outcome: HandshakeOutcome,
    /// What the client's verified certificate names it.
    pub(super) consumer: Option<Rc<str>>,
}

/// Shakes hands with a client, within a time.
pub(super) async fn secure(
    server: Arc<ServerConfig>,
    wire: Wire,
    within: Duration,
) -> Result<Secured, HandshakeOutcome> {
    let handshake = Box::pin(TlsAcceptor::from(server).accept(wire));
    let stream = match tokio::time::timeout(within, handshake).await {
        Ok(Ok(stream)) => Box::new(stream),
        Ok(Err(error)) => {
            let outcome = outcome(&error);
            tracing::debug!(%error, outcome = outcome.code(), "a TLS handshake failed");
            return Err(outcome);
        }
        Err(_elapsed) => return Err(HandshakeOutcome::Timeout),
    };
    let session = stream.get_ref().1;
    let outcome = match session.handshake_kind() {
        Some(HandshakeKind::Resumed) => HandshakeOutcome::Resumed,
        _ => HandshakeOutcome::Full,
    };
    let consumer = session.peer_certificates().and_then(|chain| consumer(chain.first()?)).map(Rc::from);
    let http2 = session.alpn_protocol() == Some(b"h2");
    Ok(Secured { stream, http2, outcome, consumer })
}

fn outcome(error: &io::Error) -> HandshakeOutcome {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) else {
        return HandshakeOutcome::Closed;
    };
    match cause {
        Error::InvalidMessage(_) => HandshakeOutcome::NotTls,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } | Error::PeerMisbehaved(_) => {
            HandshakeOutcome::Misbehaved
        }
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeOutcome::Incompatible,
        Error::NoCertificatesPresented => HandshakeOutcome::ClientCertificateMissing,
        Error::InvalidCertificate(CertificateError::Revoked) => HandshakeOutcome::ClientCertificateRevoked,
        Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
            HandshakeOutcome::ClientCertificateInvalid
        }
        Error::AlertReceived(_) => HandshakeOutcome::Alert,
        _ => HandshakeOutcome::Other,
    }
}

/// The client's name: its SPIFFE id, else its first DNS name, else its common name.
pub(super) fn consumer(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = || names.iter().flat_map(|names| &names.value.general_names);
    let spiffe = names().find_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some(*uri),
        _ => None,
    });
    let dns = || {
        names().find_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
    };
    let common = || certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let name = spiffe.or_else(dns).or_else(common)?;
    let sound = (1..=CONSUMER_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    sound.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_client_is_named_by_its_spiffe_id_else_its_dns_name_else_its_common_name() {
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
        let spiffe = "spiffe://example.org/ns/shop/sa/cart";
        for (names, common, expected) in [
            (vec![dns("cart.shop"), uri("https://x"), uri(spiffe)], "cart", Some(spiffe)),
            (vec![uri("https://x"), dns("cart.shop"), dns("other")], "cart", Some("cart.shop")),
            (vec![uri("https://x")], "cart", Some("cart")),
            (vec![], "bad\u{1b}[31m", None),
            (vec![], "", None),
        ] {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names.clone();
            params.distinguished_name.push(DnType::CommonName, common);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(consumer(certificate.der()).as_deref(), expected, "{names:?} {common:?}");
        }
        assert_eq!(consumer(b"no certificate"), None);
    }
}
