//! A plan to serve by: a service, and a rule that a header decides.

use crate::{
    config::{Sources, compile},
    plan::Plan,
};

/// The plan, with further keys of its listener and further tables.
pub(super) fn plan(listener: &str, more: &str) -> Plan {
    let text = format!(
        r#"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
{listener}
[services.o]
split = {{ toggle = "t", on = "stable", off = "stable" }}
arms.stable = {{ endpoints = ["127.0.0.1:1"] }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
[toggles.t]
category = "ops"
owner = "team"
variants = {{ on = true, off = false }}
default = "off"
[[toggles.t.rules]]
name = "beta"
when = {{ attr = "header:x-cohort", equals = "beta" }}
serve = "on"
{more}
"#
    );
    compile(&Sources::of_text(&text)).unwrap_or_else(|report| panic!("{report}")).plan
}
