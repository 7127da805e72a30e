//! weir inside another program: start it, change its configuration, drain it.
//!
//! ```text
//! cargo run --example embed
//! ```

#![allow(clippy::print_stdout, reason = "what it has to tell goes to standard output")]

use std::{error::Error, fs};

use weir::{App, Outcome};

const CONFIG: &str = r#"
[weir]
workers = 1
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
[services.orders]
arms.stable = { endpoints = ["127.0.0.1:9001"] }
[[routes]]
name = "orders"
match = { path_prefix = "/orders" }
service = "orders"
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("weir-embed-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let state_dir = format!("state_dir = {:?}\n", directory.join("state"));
    let config = CONFIG.replacen("workers = 1\n", &format!("workers = 1\n{state_dir}"), 1);
    fs::write(directory.join("weir.toml"), &config)?;

    // Threads of its own serve from here on; this one is free.
    let app = App::start(&directory)?;
    for (name, address) in &app.addresses().listeners {
        println!("{name} listens on http://{address}");
    }

    // Files are watched; `reload` does it now and tells what came of it.
    fs::write(directory.join("weir.toml"), config.replace("/orders", "/v2/orders"))?;
    match app.reload().await {
        Outcome::Applied { generation, changes, .. } => println!("generation {generation}: {changes}"),
        Outcome::Unchanged => println!("nothing changed"),
        Outcome::Unsettled => println!("the files are still being written"),
        Outcome::Rejected(report) => println!("{report}"),
    }

    app.drain().await;
    fs::remove_dir_all(&directory)?;
    Ok(())
}
