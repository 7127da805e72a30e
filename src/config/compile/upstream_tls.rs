//! `tls` of an arm: who its endpoints have to be, and who weir is to them.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::{
    config::section::{Field, Section},
    plan::{Place, Protocol, UpstreamTls},
};

/// Reads the table, for each of these places.
pub(super) fn tls(field: Field<'_>, places: &[&Place], protocol: Protocol) -> Option<Vec<UpstreamTls>> {
    let mut section = field.section()?;
    let mut digest = Context::new(&SHA256);
    let ca = section.take("ca");
    let roots = match &ca {
        Some(field) => roots(field, &mut digest),
        None => system_roots().or_else(|| {
            let hint = "name the CA that signed the endpoints' certificates: tls = { ca = \"…\" }";
            section.refuse("this system has no root certificates".to_owned(), hint);
            None
        }),
    };
    let identity = identity(&mut section, &mut digest);
    let names = names(&mut section, places);
    section.finish();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    // The provider has suites for both versions.
    let builder = builder.with_safe_default_protocol_versions().ok()?.with_root_certificates(roots?);
    let mut config = match identity? {
        None => builder.with_no_client_auth(),
        Some((place, chain, key)) => match builder.with_client_auth_cert(chain, key) {
            Ok(config) => config,
            Err(error) => {
                let hint = "cert and key have to be a pair: the key that the certificate was asked for with";
                place.refuse(format!("the client certificate cannot be used: {error}"), hint);
                return None;
            }
        },
    };
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
        Protocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    let config = Arc::new(config);
    let each = names?.into_iter().map(|server_name| {
        let mut digest = digest.clone();
        digest.update(server_name.to_str().as_bytes());
        let mut whole = [0; 32];
        whole.copy_from_slice(digest.finish().as_ref());
        UpstreamTls { config: Arc::clone(&config), server_name, digest: whole }
    });
    Some(each.collect())
}

fn roots(field: &Field<'_>, digest: &mut Context) -> Option<RootCertStore> {
    let certificates = certificates(field, digest)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        if let Err(error) = roots.add(certificate) {
            field.refuse(format!("the file holds a certificate that no CA can have: {error}"), CA_HINT);
            return None;
        }
    }
    Some(roots)
}

const CA_HINT: &str = "a PEM file with the certificate of the CA, or with several";

/// Those that this machine trusts, read once: its operator and its distribution keep them, and add their
/// own CAs; a list built into weir would know neither, and age.
fn system_roots() -> Option<RootCertStore> {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    (!roots.is_empty()).then(|| roots.clone())
}

type Identity<'a> = (Field<'a>, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The client certificate, if there is one.
fn identity<'a>(section: &mut Section<'a>, digest: &mut Context) -> Option<Option<Identity<'a>>> {
    match (section.take("cert"), section.take("key")) {
        (None, None) => Some(None),
        (Some(cert), Some(key)) => {
            let chain = certificates(&cert, digest);
            let bytes = key.file()?;
            digest.update(bytes);
            let Ok(read) = PrivateKeyDer::from_pem_slice(bytes) else {
                key.refuse("the file holds no private key".to_owned(), "a PEM file with one unencrypted key");
                return None;
            };
            Some(Some((cert, chain?, read)))
        }
        (Some(field), None) | (None, Some(field)) => {
            field.refuse("cert and key stand together".to_owned(), "write both, or none of them");
            None
        }
    }
}

fn certificates(field: &Field<'_>, digest: &mut Context) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = field.file()?;
    digest.update(bytes);
    match CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Some(certificates),
        _none_or_broken => {
            field.refuse("the file holds no certificate".to_owned(), CA_HINT);
            None
        }
    }
}

/// The name that each place's certificate has to have.
fn names(section: &mut Section<'_>, places: &[&Place]) -> Option<Vec<ServerName<'static>>> {
    if let Some(field) = section.take("server_name") {
        let syntax = "the name in the endpoints' certificate, as in \"orders.internal\"";
        let name = field.parse(|text| ServerName::try_from(text.to_owned()).map_err(|_invalid| syntax))?;
        return Some(vec![name; places.len()]);
    }
    let name = |place: &&Place| match place {
        Place::Address(address) => Some(ServerName::IpAddress(address.ip().into())),
        Place::Name { host, .. } => ServerName::try_from(host.to_string()).ok(),
        Place::Unix(_) => None,
    };
    let names: Option<Vec<_>> = places.iter().map(name).collect();
    if names.is_none() {
        let hint = "write server_name = \"…\", the name in the endpoint's certificate";
        section.refuse("an endpoint has no name that a certificate could have".to_owned(), hint);
    }
    names
}
