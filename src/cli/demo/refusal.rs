//! Broken orders, and how weir refuses them.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde::Deserialize;

use super::{client::Client, scene::Script};

/// A value that must never come back: refusals end up in logs.
const SECRET: &str = "4111 1111 1111 1111";

/// How often each broken order is sent, by another user each time.
const ROUNDS: usize = 5;

/// Users between two who send broken orders, so that both versions have some of theirs among them.
const STRIDE: usize = 19;

/// Orders that break both contracts, in different ways.
fn broken_orders() -> [String; 4] {
    [
        format!(r#"{{"item":"tea","quantity":"{SECRET}"}}"#),
        format!(r#"{{"item":"{SECRET}","quantity":0}}"#),
        format!(r#"{{"item":"{SECRET}"}}"#),
        format!(r#"{{"item":["{SECRET}"],"quantity":1}}"#),
    ]
}

/// How broken orders were answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    /// Broken orders sent.
    pub(super) sent: u64,
    /// Answers that were 400 with a problem document which names the contract and points at the place.
    pub(super) refused: u64,
    /// Answers in which the secret value stood.
    pub(super) echoed: u64,
    /// The pointers given, each once.
    pub(super) pointers: Vec<String>,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    contract: String,
    errors: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    pointer: String,
}

/// Sends broken orders, one after the other.
pub(super) async fn send_broken_orders(edge: SocketAddr, script: &Script) -> Refusals {
    let mut client = Client::new(edge);
    let mut refusals = Refusals::default();
    let orders = broken_orders();
    let users = script.users().iter().step_by(STRIDE);
    for (user, order) in users.zip(orders.iter().cycle().take(orders.len() * ROUNDS)) {
        refusals.sent += 1;
        // No answer is no refusal: the count tells.
        if let Ok(response) = client.send(user, "/orders", Some(Bytes::from(order.clone()))).await {
            refusals.enter(&response);
        }
    }
    refusals
}

impl Refusals {
    fn enter(&mut self, response: &Response<Bytes>) {
        let fields = response.headers().values().map(|value| value.as_bytes());
        if fields.chain([&response.body()[..]]).any(|text| String::from_utf8_lossy(text).contains(SECRET)) {
            self.echoed += 1;
        }
        let Some(pointer) = refusal_pointer(response) else { return };
        self.refused += 1;
        if !self.pointers.contains(&pointer) {
            self.pointers.push(pointer);
        }
    }
}

/// Where the refusal points; `None` when the response is no proper refusal.
fn refusal_pointer(response: &Response<Bytes>) -> Option<String> {
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if response.status() != StatusCode::BAD_REQUEST || !is_problem {
        return None;
    }
    let problem: Problem = serde_json::from_slice(response.body()).ok()?;
    let proper = problem.code == "contract" && problem.contract.starts_with("orders@");
    let pointer = problem.errors.into_iter().next()?.pointer;
    (proper && pointer.starts_with('#')).then_some(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proper_refusal_counts_and_an_echo_is_noticed() {
        let proper = r##"{"code":"contract","contract":"orders@1.0.0","errors":[{"pointer":"#/quantity"}]}"##;
        let problem = |status: u16, body: &str| {
            let response = Response::builder().status(status).header("content-type", "application/problem+json");
            response.body(Bytes::from(body.to_owned())).unwrap()
        };
        let mut refusals = Refusals::default();
        refusals.enter(&problem(400, proper));
        assert_eq!((refusals.refused, refusals.echoed), (1, 0));
        refusals.enter(&problem(200, proper));
        refusals.enter(&problem(400, r#"{"code":"contract","contract":"orders@1.0.0","errors":[]}"#));
        refusals.enter(&problem(400, SECRET));
        assert_eq!((refusals.refused, refusals.echoed), (1, 1));
    }
}
