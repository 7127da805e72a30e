//! `tls` of a listener: certificates, keys, and who may be a client.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs as provider},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, parse_x509_crl},
};

use crate::{
    config::section::{Field, Section},
    plan::{Certificate, Keyring, Tls},
};

/// A certificate is warned of when it expires within this time.
const EXPIRY_NEAR: Duration = Duration::from_hours(14 * 24);

/// Protocols offered by ALPN (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// One certificate with its key.
struct Pair {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    certificate: Certificate,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientAuth {
    Require,
    Optional,
}

/// Reads one table, or a list of them with one certificate each.
pub(super) fn tls(field: &Field<'_>) -> Option<Tls> {
    let crypto = Arc::new(provider::default_provider());
    let mut made_of = digest::Context::new(&digest::SHA256);
    let (mut pairs, mut verifier) = (Vec::new(), Some(WebPkiClientVerifier::no_client_auth()));
    for (place, field) in field.clone().one_or_more().into_iter().enumerate() {
        let Some(mut section) = field.section() else {
            pairs.push(None);
            continue;
        };
        pairs.push(pair(&mut section, &crypto, &mut made_of));
        if place == 0 {
            verifier = clients(&mut section, &crypto, &mut made_of);
        } else {
            refuse_clients(&mut section);
        }
        section.finish();
    }
    if pairs.is_empty() {
        field.refuse("there is no certificate".to_owned(), "write tls = { cert = \"…\", key = \"…\" }");
        return None;
    }
    let pairs: Vec<Pair> = pairs.into_iter().collect::<Option<_>>()?;
    let certificates = pairs.iter().map(|pair| pair.certificate.clone()).collect();
    let keyring = Keyring::new(pairs.into_iter().map(|pair| (pair.certified, pair.names)).collect());
    let verifier = verifier?;
    let clients = verifier.offer_client_auth();
    let server = server(crypto, verifier, keyring).map_err(|error| {
        field.refuse(format!("TLS cannot be set up: {error}"), "this is a fault of weir or its machine: report it");
    });
    let made_of = made_of.finish().as_ref().try_into().ok()?;
    Some(Tls { server: Arc::new(server.ok()?), certificates, clients, made_of })
}

fn server(
    crypto: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    keyring: Keyring,
) -> Result<ServerConfig, rustls::Error> {
    let mut server = ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(keyring));
    server.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    // Sessions are resumed by tickets, whose key rotates and which every worker can read; a store of
    // sessions would be a lock between the workers. A changed listener has keys of its own, so that
    // no ticket outlives the revocation of the client that got it.
    server.ticketer = provider::Ticketer::new()?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(server)
}

/// Reads `cert` and `key`.
fn pair(section: &mut Section<'_>, crypto: &CryptoProvider, made_of: &mut digest::Context) -> Option<Pair> {
    let cert = section.require("cert", "name the PEM file with the certificate and what it was issued by");
    let key = section.require("key", "name the PEM file with the certificate's private key");
    let chain = cert.as_ref().and_then(|field| certificates(field, made_of));
    let private_key = key.as_ref().and_then(|field| private_key(field, made_of));
    let (cert, key, chain, private_key) = (cert?, key?, chain?, private_key?);
    let (names, expires_unix) = inspect(&cert, &chain[0])?;
    warn_of_expiry(&cert, expires_unix);
    let certified = CertifiedKey::from_der(chain, private_key, crypto).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let message = "the key is not that of the certificate".to_owned();
            key.refuse(message, "put certificate and key of one pair there, and only then reload");
        }
        error => {
            key.refuse(format!("the key cannot be used: {error}"), "use RSA of 2048 bits or more, ECDSA or Ed25519")
        }
    });
    let file = cert.text()?.to_owned();
    Some(Pair { certified: Arc::new(certified.ok()?), names, certificate: Certificate { file, expires_unix } })
}

/// The certificates of a PEM file, at least one.
fn certificates(field: &Field<'_>, made_of: &mut digest::Context) -> Option<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_slice_iter(attached(field, made_of)?).collect::<Result<Vec<_>, pem::Error>>();
    match read {
        Ok(certificates) if !certificates.is_empty() => Some(certificates),
        Ok(_) => {
            field.refuse("the file holds no certificate".to_owned(), "a PEM file has a block BEGIN CERTIFICATE");
            None
        }
        Err(error) => {
            field.refuse(format!("the file is no sound PEM: {error}"), "write the certificate out again");
            None
        }
    }
}

fn private_key(field: &Field<'_>, made_of: &mut digest::Context) -> Option<PrivateKeyDer<'static>> {
    let read = PrivateKeyDer::from_pem_slice(attached(field, made_of)?);
    let hint = "a PEM file has a block BEGIN PRIVATE KEY; a key behind a passphrase has to be decrypted first";
    // What is wrong with the bytes of a key is not told: they are secret.
    read.map_err(|_secret| field.refuse("the file holds no private key".to_owned(), hint)).ok()
}

/// The bytes of the named file; they become part of what the listener is made of.
fn attached<'a>(field: &Field<'a>, made_of: &mut digest::Context) -> Option<&'a [u8]> {
    let bytes = field.file()?;
    for part in [field.text()?.as_bytes(), bytes] {
        made_of.update(&part.len().to_be_bytes());
        made_of.update(part);
    }
    Some(bytes)
}

/// The names that a certificate is valid for, and when it expires.
fn inspect(field: &Field<'_>, der: &CertificateDer<'_>) -> Option<(Vec<String>, i64)> {
    let (_, parsed) = X509Certificate::from_der(der)
        .map_err(|error| field.refuse(format!("the certificate cannot be read: {error}"), "issue it anew"))
        .ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Some((names.collect(), parsed.validity().not_after.timestamp()))
}

fn warn_of_expiry(field: &Field<'_>, expires_unix: i64) {
    let left = expires_unix.saturating_sub(unix_now());
    if left <= 0 {
        let message = "the certificate has expired".to_owned();
        field.warn(message, "clients refuse it: issue a new one and put it in its place");
    } else if left <= EXPIRY_NEAR.as_secs().cast_signed() {
        field.warn(format!("the certificate expires in {} days", left / 86_400), "issue a new one in time");
    }
}

/// Reads who may be a client.
fn clients(
    section: &mut Section<'_>,
    crypto: &Arc<CryptoProvider>,
    made_of: &mut digest::Context,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let (ca, crl, auth) = (section.take("client_ca"), section.take("crl"), section.take("client_auth"));
    let Some(ca) = ca else {
        for (key, field) in [("crl", crl), ("client_auth", auth)] {
            if let Some(field) = field {
                field.refuse(format!("{key} says nothing without client_ca"), "name the authorities of clients");
                return None;
            }
        }
        return Some(WebPkiClientVerifier::no_client_auth());
    };
    let auth = auth.map_or(Some(ClientAuth::Require), |field| {
        field.word(&[("require", ClientAuth::Require), ("optional", ClientAuth::Optional)])
    });
    let lists = crl.map_or(Some(Vec::new()), |field| {
        let lists = field.one_or_more().into_iter().map(|field| revocations(&field, made_of));
        // Collected first, so that each of them is read and reports its problem.
        lists.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
    });
    let mut roots = RootCertStore::empty();
    let authorities = ca.clone().one_or_more().into_iter().map(|field| authority(&field, &mut roots, made_of));
    let whole = authorities.collect::<Vec<_>>().into_iter().all(|authority| authority.is_some());
    let (auth, lists) = (auth?, lists?);
    if !whole {
        return None;
    }
    made_of.update(&[u8::from(auth == ClientAuth::Require)]);
    // An expired list would let in whoever was revoked since: OpenSSL's proxies refuse it as well.
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(crypto))
        .with_crls(lists.into_iter().flatten())
        .enforce_revocation_expiration();
    let builder = if auth == ClientAuth::Optional { builder.allow_unauthenticated() } else { builder };
    let hint = "client_ca and crl are PEM files of certificates and of revocation lists";
    builder.build().map_err(|error| ca.refuse(format!("clients cannot be verified: {error}"), hint)).ok()
}

fn authority(field: &Field<'_>, roots: &mut RootCertStore, made_of: &mut digest::Context) -> Option<()> {
    for certificate in certificates(field, made_of)? {
        let added = roots.add(certificate);
        added.map_err(|error| field.refuse(format!("a certificate cannot be used: {error}"), "issue it anew")).ok()?;
    }
    Some(())
}

fn revocations(field: &Field<'_>, made_of: &mut digest::Context) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let bytes = attached(field, made_of)?;
    let read = CertificateRevocationListDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, pem::Error>>();
    let lists = read.ok().filter(|lists| !lists.is_empty());
    let hint = "a PEM file has a block BEGIN X509 CRL: openssl crl -inform DER -in list.crl -out list.pem";
    let Some(lists) = lists else {
        field.refuse("the file holds no revocation list".to_owned(), hint);
        return None;
    };
    let next_updates = lists.iter().filter_map(|list| parse_x509_crl(list).ok()?.1.next_update());
    if next_updates.into_iter().any(|next_update| next_update.timestamp() <= unix_now()) {
        let message = "the revocation list has expired".to_owned();
        field.warn(message, "no client that it is about can connect: put the new list in its place");
    }
    Some(lists)
}

/// What a client must show cannot depend on the name that it asks for, since its requests may name another.
fn refuse_clients(section: &mut Section<'_>) {
    for key in ["client_ca", "crl", "client_auth"] {
        if let Some(field) = section.take(key) {
            let hint = "write it with the first certificate: it holds for all of the listener's names";
            field.refuse(format!("{key} belongs to the listener, not to one certificate"), hint);
        }
    }
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}
