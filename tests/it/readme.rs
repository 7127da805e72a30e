//! The README is true: its commands run, its configuration compiles.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;
use weir::config::{Sources, compile};

use crate::support::{Proxy, Upstream, request};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(&opening) {
        let block = &rest[start + opening.len()..];
        let end = block.find("\n```").expect("a block is closed");
        blocks.push(block[..=end].to_owned());
        rest = &block[end..];
    }
    blocks
}

/// The lines that a reader would type.
fn commands(text: &str) -> Vec<String> {
    let blocks = blocks(text, "console").join("");
    blocks.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// A command line as a shell divides it; a comment ends it.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            '#' if !quoted => break,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_configuration_block_compiles() {
    let blocks = blocks(&readme(), "toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        let directory = TempDir::new().unwrap();
        let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/contracts");
        fs::create_dir(directory.path().join("contracts")).unwrap();
        for contract in fs::read_dir(contracts).unwrap() {
            let contract = contract.unwrap();
            fs::copy(contract.path(), directory.path().join("contracts").join(contract.file_name())).unwrap();
        }
        fs::write(directory.path().join("propagation.secret"), [b'x'; 32]).unwrap();
        fs::write(directory.path().join("weir.toml"), &block).unwrap();
        let compiled = Sources::read(directory.path()).and_then(|sources| compile(&sources));
        assert!(compiled.is_ok(), "{block}\n{}", compiled.unwrap_err());
    }
}

#[tokio::test]
async fn every_command_runs() {
    let commands = commands(&readme());
    assert!(commands.len() > 5, "{commands:?}");
    let (stable, canary) = (Upstream::named("v1"), Upstream::named("v2"));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let text = ["weir.toml", "orders.toml"].map(|file| fs::read_to_string(config.join(file)).unwrap()).concat();
    let ports = [(":8080", ":0"), (":9900", ":0"), (":9901", ":0"), (":8016", ":0")];
    let text = ports.iter().fold(text, |text, (port, any)| text.replace(port, any));
    let text = text.replace("127.0.0.1:9001", &stable.address.to_string());
    let text = text.replace("127.0.0.1:9002", &canary.address.to_string());
    let state = TempDir::new().unwrap();
    let text = text.replace("\"state\"", &format!("{:?}", state.path()));
    let contracts = ["orders@1.0.0.yaml", "orders@2.0.0.yaml"]
        .map(|name| (name, fs::read_to_string(config.join("contracts").join(name)).unwrap()));
    let proxy = Proxy::start_with(&text, &contracts.each_ref().map(|(name, text)| (*name, &**text)));
    for line in commands {
        let words = words(&line);
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            // Run by whoever runs this test; by its own test; with fixed ports, which a test must not take.
            ["git" | "cd", ..] | ["cargo", "test" | "bench", ..] => {}
            ["cargo", "run", "--example", ..] => {}
            ["cargo", "run", "--release", "--", "demo", ..] | ["cargo", "run", "--release", "--", "run", ..] => {}
            ["cargo", "run", "--release", "--", ref verb @ ..] => {
                let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
                let output = weir.args(verb).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
                assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
                assert!(!output.stdout.is_empty(), "{line}");
            }
            ["curl", ref arguments @ ..] => curl(&proxy, &line, arguments).await,
            _ => panic!("the README has a command that no test runs: {line}"),
        }
    }
}

/// Sends what curl would send; the comment behind the command tells the status that comes.
async fn curl(proxy: &Proxy, line: &str, arguments: &[&str]) {
    let expected: u16 = line.rsplit_once("# ").expect("a curl line tells its status").1.parse().unwrap();
    let (mut fields, mut body, mut url) = (Vec::new(), "", "");
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "-s" | "-i" | "-si" => {}
            "-H" => fields.push(arguments.next().unwrap().split_once(": ").unwrap()),
            "-d" => body = arguments.next().unwrap(),
            other => url = other,
        }
    }
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let address = match authority {
        "127.0.0.1:8080" => proxy.address(),
        "127.0.0.1:9900" => proxy.app().addresses().admin.unwrap(),
        "127.0.0.1:8016" => proxy.app().addresses().ofrep.unwrap(),
        other => panic!("{other} is no address of the reference configuration"),
    };
    let method = if body.is_empty() { http::Method::GET } else { http::Method::POST };
    if !fields.iter().any(|(name, _)| *name == "host") && address != proxy.address() {
        fields.push(("host", authority));
    }
    let mut client = crate::support::Client::connect(address).await;
    let answer = client.send(request(method, &format!("/{path}"), &fields, body.to_owned())).await.unwrap();
    assert_eq!(answer.status, expected, "{line}\n{}", answer.text());
}

#[test]
fn the_demo_proves_its_claims() {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).arg("demo").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("users moved back"), "{text}");
}

#[test]
fn a_command_line_is_divided_like_in_a_shell() {
    assert_eq!(words("a -H 'x: 1' b  # c"), ["a", "-H", "x: 1", "b"]);
    assert_eq!(commands("```console\n$ a\nb\n$ c\n```\n"), ["a", "c"]);
}
