//! The flag API for the application beside the proxy, over real sockets.

mod access;
mod answers;
mod bounds;
mod pins;
mod streams;

use serde_json::Value;

use crate::support::{Answer, Client, Proxy};

const FLAGS: &str = "/ofrep/v1/evaluate/flags";
const EVENTS: &str = "/ofrep/v1/events";

/// A proxy with the flag API, and what else `rest` defines.
fn config(ofrep: &str, rest: &str) -> String {
    format!(
        r#"
[ofrep]
address = "127.0.0.1:0"
{ofrep}
[services.o]
arms.stable = {{ endpoints = ["127.0.0.1:9"] }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
{rest}
"#
    )
}

/// A toggle with two variants and more keys.
fn toggle(name: &str, more: &str) -> String {
    format!(
        "[toggles.{name}]\ncategory = \"ops\"\nowner = \"team\"\nvariants = {{ on = true, off = false }}\n\
         default = \"off\"\n{more}\n"
    )
}

async fn caller(proxy: &Proxy) -> Client {
    Client::connect(proxy.app().addresses().ofrep.unwrap()).await
}

/// Posts a body from this machine, with more header fields.
async fn post(client: &mut Client, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut all = vec![("host", "127.0.0.1:8016"), ("content-type", "application/json")];
    all.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
    all.extend_from_slice(fields);
    client.post(path, &all, body.to_owned()).await
}

/// Asks for one toggle.
async fn ask(proxy: &Proxy, key: &str, context: &Value) -> (u16, Value) {
    let body = serde_json::json!({ "context": context }).to_string();
    let answer = post(&mut caller(proxy).await, &format!("{FLAGS}/{key}"), &[], &body).await;
    (answer.status.as_u16(), json(&answer))
}

/// Asks for all of them.
async fn ask_all(proxy: &Proxy, fields: &[(&str, &str)]) -> Answer {
    post(&mut caller(proxy).await, FLAGS, fields, "{\"context\":{\"targetingKey\":\"u1\"}}").await
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// The JSON's text: of two equal numbers it tells the integer from the float.
fn text(value: &Value) -> String {
    value.to_string()
}
