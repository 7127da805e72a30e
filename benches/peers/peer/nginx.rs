//! nginx: `split_clients` hashes the user.

use std::{fmt::Write, process::Command};

use super::Setup;
use crate::{Result, scenario::Protocol};

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let http2 = if setup.scenario.protocol == Protocol::Http2 { " http2" } else { "" };
    let (ssl, pair) = if setup.scenario.tls {
        let (cert, key) = (setup.certificate.cert.display(), setup.certificate.key.display());
        (" ssl", format!("ssl_certificate {cert}; ssl_certificate_key {key};"))
    } else {
        ("", String::new())
    };
    let server = |text: &str| if setup.scenario.unix { format!("unix:{text}") } else { text.to_owned() };
    let proxied = "{ proxy_pass http://$arm; }";
    let mut locations = format!("location /orders {proxied}\n");
    for path in setup.others() {
        writeln!(locations, "    location {path} {proxied}")?;
    }
    let config = format!(
        "
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log {directory}/error.log error;
pid {directory}/nginx.pid;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 60s;
  variables_hash_max_size 4096;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  split_clients $http_x_user_id $arm {{ 10% canary; * stable; }}
  upstream stable {{ server {stable}; keepalive 128; keepalive_requests 1000000000; }}
  upstream canary {{ server {canary}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {address}{ssl}{http2} backlog=4096;
    {pair}
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Request-Id $request_id;
    {locations}
  }}
}}
",
        directory = setup.directory.display(),
        stable = server(&setup.stable),
        canary = server(&setup.canary),
        address = setup.address,
    );
    let mut command = setup.program("nginx");
    command.arg("-p").arg(setup.directory).arg("-c").arg(setup.file("nginx.conf", &config)?);
    Ok(command)
}
