//! What weir tells of clients: names of certificates, lines of the access log.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::{Request, StatusCode, request::Parts};
use serde_json::Value;

use super::super::{access_log::Line, tls::consumer};
use super::{peer, plan};
use crate::{
    live::Serving,
    plan::{Overlay, Plan},
    telemetry::Meters,
};

static SERVINGS: LazyLock<[Arc<Serving>; 2]> = LazyLock::new(|| ["json", "common"].map(|format| serving(plan(format))));

fn serving(plan: Plan) -> Arc<Serving> {
    let meters = Arc::new(Meters::new(&plan, 1));
    Arc::new(Serving::new(Arc::new(plan), Arc::new(Overlay::default()), meters, 1))
}

/// A request, and the name in the client's certificate: each is one line without a control character, from
/// which the same can be read again.
pub(crate) fn access_log(head: Parts, consumer: &[u8]) {
    let consumer = std::str::from_utf8(consumer).ok().filter(|name| !name.is_empty());
    let mut peer = peer([203, 0, 113, 7]);
    peer.consumer = consumer.map(Into::into);
    let (host, path) = (head.headers.get("host").cloned(), head.uri.path().to_owned());
    let request = Request::from_parts(head, ());
    let [json, common] = SERVINGS.each_ref().map(|serving| {
        let mut line = Line::begin(serving, &peer, &request).unwrap_or_else(|| panic!("every request is logged"));
        line.end(StatusCode::OK, Duration::from_millis(5));
        let mut text = Vec::new();
        line.write(&mut text);
        let text = String::from_utf8(text).unwrap_or_else(|error| panic!("a line is text: {error}"));
        let line = text.strip_suffix('\n').unwrap_or_else(|| panic!("a line ends: {text:?}")).to_owned();
        assert!(!line.contains(char::is_control), "{line:?}");
        line
    });
    let read: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(read["path"], *path, "{json}");
    assert_eq!(read.get("consumer").and_then(Value::as_str), consumer, "{json}");
    if let Some(host) = host {
        assert_eq!(read["host"], *String::from_utf8_lossy(host.as_bytes()), "{json}");
    }
    assert_eq!((common.matches('"').count(), common.matches('[').count() > 0), (2, true), "{common}");
    let quoted = common.split('"').nth(1).unwrap_or_default();
    assert_eq!(quoted.split(' ').count(), 3, "{common}");
}

/// A client's certificate: its name can be shown and kept.
pub(crate) fn certificate(input: &[u8]) {
    if let Some(name) = consumer(input) {
        assert!(!name.is_empty() && name.len() <= 1024 && !name.contains(char::is_control), "{name:?}");
        assert!(input.windows(name.len()).any(|window| window == name.as_bytes()), "{name:?} is not in it");
    }
}
