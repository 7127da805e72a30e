//! Envoy: weighted clusters.

use std::process::Command;

use serde_json::{Value, json};

use super::Setup;
use crate::{Result, scenario::Protocol};

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    // JSON is YAML too.
    let config = setup.file("envoy.yaml", &serde_json::to_string_pretty(&config(setup)?)?)?;
    let mut command = setup.program("envoy");
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(config);
    Ok(command)
}

fn config(setup: &Setup<'_>) -> Result<Value> {
    let weighted = json!({ "weighted_clusters": { "clusters": [
        { "name": "stable", "weight": 90 }, { "name": "canary", "weight": 10 }
    ] } });
    let paths = setup.others().chain(["/orders".to_owned()]);
    let routes: Vec<Value> =
        paths.map(|path| json!({ "match": { "prefix": path }, "route": weighted.clone() })).collect();
    let codec = match (setup.scenario.tls, setup.scenario.protocol) {
        (true, _) => "AUTO",
        (false, Protocol::Http1) => "HTTP1",
        (false, Protocol::Http2) => "HTTP2",
    };
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": codec,
        "use_remote_address": true,
        "generate_request_id": true,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
        "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
    });
    let mut chain = json!({
        "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }]
    });
    if setup.scenario.tls {
        let file = |path: &std::path::Path| json!({ "filename": path.display().to_string() });
        chain["transport_socket"] = json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": file(&setup.certificate.cert), "private_key": file(&setup.certificate.key) }],
            },
        } });
    }
    let listener = json!({ "name": "edge", "address": socket(setup.address)?, "filter_chains": [chain] });
    let clusters = [cluster(setup, "stable", &setup.stable)?, cluster(setup, "canary", &setup.canary)?];
    Ok(json!({ "static_resources": { "listeners": [listener], "clusters": clusters } }))
}

fn cluster(setup: &Setup<'_>, name: &str, at: &str) -> Result<Value> {
    let address = if setup.scenario.unix { json!({ "pipe": { "path": at } }) } else { socket(at)? };
    Ok(json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": { "cluster_name": name, "endpoints": [
            { "lb_endpoints": [{ "endpoint": { "address": address } }] }
        ] },
    }))
}

fn socket(at: &str) -> Result<Value> {
    let (address, port) = at.rsplit_once(':').ok_or("an address has a port")?;
    Ok(json!({ "socket_address": { "address": address, "port_value": port.parse::<u16>()? } }))
}
