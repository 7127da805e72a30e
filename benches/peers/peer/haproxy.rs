//! HAProxy: a hash of the user picks the backend.

use std::{fmt::Write, process::Command};

use super::Setup;
use crate::{Result, scenario::Protocol};

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let bind = match (setup.scenario.tls, setup.scenario.protocol) {
        (false, Protocol::Http1) => String::new(),
        (false, Protocol::Http2) => "proto h2".to_owned(),
        (true, _) => format!("ssl crt {} alpn h2,http/1.1", setup.certificate.pair.display()),
    };
    let proto = if setup.scenario.tls { "https" } else { "http" };
    let mut map = String::from("/orders orders\n");
    for path in setup.others() {
        writeln!(map, "{path} orders")?;
    }
    let map = setup.file("routes.map", &map)?;
    let server = |text: &str| if setup.scenario.unix { format!("unix@{text}") } else { text.to_owned() };
    let config = format!(
        "
global
  nbthread 1
  no strict-limits
  maxconn 20000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 2s
  http-reuse always
  option forwardfor
frontend edge
  bind {address} {bind}
  unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
  unique-id-header x-request-id
  http-request set-header x-forwarded-proto {proto}
  http-request set-header x-forwarded-host %[req.hdr(host)]
  http-request set-var(txn.service) path,map_beg({map})
  http-request set-var(txn.slot) req.hdr(x-user-id),xxh32,mod(10)
  use_backend canary if {{ var(txn.service) -m str orders }} {{ var(txn.slot) -m int 0 }}
  use_backend stable if {{ var(txn.service) -m str orders }}
backend stable
  server stable {stable}
backend canary
  server canary {canary}
",
        address = setup.address,
        map = map.display(),
        stable = server(&setup.stable),
        canary = server(&setup.canary),
    );
    let mut command = setup.program("haproxy");
    command.arg("-f").arg(setup.file("haproxy.cfg", &config)?);
    Ok(command)
}
