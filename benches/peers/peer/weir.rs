//! weir: a toggle's rollout splits, sticky by the user.

use std::{fmt::Write, process::Command};

use super::Setup;
use crate::Result;

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let endpoint = |text: &str| if setup.scenario.unix { format!("unix:{text}") } else { text.to_owned() };
    let tls = if setup.scenario.tls {
        format!("tls = {{ cert = {:?}, key = {:?} }}", setup.certificate.cert, setup.certificate.key)
    } else {
        String::new()
    };
    let mut config = format!(
        r#"
[weir]
workers = 1
state_dir = {state:?}
[limits]
connections_max = 20000
[[listeners]]
name = "edge"
address = {address:?}
{tls}
[services.orders]
split = {{ toggle = "orders-v2", on = "canary", off = "stable" }}
arms.stable = {{ endpoints = [{stable:?}] }}
arms.canary = {{ endpoints = [{canary:?}] }}
[[routes]]
name = "orders"
match = {{ path_prefix = "/orders" }}
service = "orders"
[rollouts.orders]
toggle = "orders-v2"
variant = "on"
weight = "10%"
"#,
        state = setup.directory.join("state"),
        address = setup.address,
        stable = endpoint(&setup.stable),
        canary = endpoint(&setup.canary),
    );
    toggle(&mut config, "orders-v2")?;
    for (number, path) in setup.others().enumerate() {
        let name = format!("other-{number}");
        toggle(&mut config, &name)?;
        write!(config, "[[routes]]\nname = {name:?}\nmatch = {{ path_prefix = {path:?} }}\nservice = \"orders\"\n")?;
    }
    let file = setup.file("weir.toml", &config)?;
    let mut command = setup.program(env!("CARGO_BIN_EXE_weir"));
    command.args(["run", "--config"]).arg(file);
    Ok(command)
}

fn toggle(config: &mut String, name: &str) -> std::fmt::Result {
    write!(
        config,
        "[toggles.{name}]\ncategory = \"ops\"\nowner = \"bench\"\nvariants = {{ on = true, off = false }}\n\
         default = \"off\"\nbucket_by = \"header:x-user-id\"\n"
    )
}
