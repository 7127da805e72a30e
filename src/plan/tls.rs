//! TLS of a listener, compiled: which certificate answers which name, and who may be a client.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// How a listener speaks TLS. Two are equal when they were made of the same files and words.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What handshakes are made with.
    pub server: Arc<ServerConfig>,
    /// Its certificates, in the order of the configuration.
    pub certificates: Vec<Certificate>,
    /// Whether clients show certificates, or may.
    pub clients: bool,
    /// Digest of everything that it was made of.
    pub(crate) made_of: [u8; 32],
}

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The path of its file, as the configuration writes it.
    pub file: String,
    /// When it expires, in seconds since 1970.
    pub expires_unix: i64,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        self.made_of == other.made_of
    }
}

impl Eq for Tls {}

/// Chooses a certificate by the name that a client asks for (RFC 6066 §3).
#[derive(Debug)]
pub(crate) struct Keyring {
    /// The first is for clients that ask for none of the names, or for no name at all.
    all: Vec<Arc<CertifiedKey>>,
    /// Places in `all` by name in lower case; a wildcard by what follows its `*.`, under [`WILD`].
    by_name: HashMap<String, Vec<usize>>,
}

/// Begins the entry of a wildcard: no host name does.
const WILD: &str = "*.";

impl Keyring {
    /// A keyring of certificates, each with the names that it is valid for.
    pub(crate) fn new(certificates: Vec<(Arc<CertifiedKey>, Vec<String>)>) -> Keyring {
        let mut keyring = Keyring { all: Vec::new(), by_name: HashMap::new() };
        for (place, (certified, names)) in certificates.into_iter().enumerate() {
            keyring.all.push(certified);
            for name in names {
                keyring.by_name.entry(name.to_ascii_lowercase()).or_default().push(place);
            }
        }
        keyring
    }

    /// Exact names before wildcards, which stand for one label.
    fn places(&self, name: &str) -> Option<&[usize]> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let wild = || self.by_name.get(&format!("{WILD}{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(wild).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Keyring {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let places = hello.server_name().and_then(|name| self.places(name)).unwrap_or(&[0]);
        // A name may have certificates of several key types: the first that the client can verify.
        let fits = |place: &&usize| self.all[**place].key.choose_scheme(hello.signature_schemes()).is_some();
        places.iter().find(fits).or(places.first()).map(|place| Arc::clone(&self.all[*place]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_wins_over_a_wildcard_which_stands_for_one_label() {
        let by_name = [("shop.example.com", 1), ("*.example.com", 2)];
        let by_name = by_name.into_iter().map(|(name, place)| (name.to_owned(), vec![place])).collect();
        let keyring = Keyring { all: Vec::new(), by_name };
        for (name, place) in [
            ("shop.example.com", Some(1)),
            ("SHOP.example.com.", Some(1)),
            ("other.example.com", Some(2)),
            ("a.b.example.com", None),
            ("example.com", None),
            ("com", None),
            ("", None),
        ] {
            assert_eq!(keyring.places(name).map(|places| places[0]), place, "{name}");
        }
    }
}
